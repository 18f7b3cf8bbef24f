package same

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The function "shrink" stops after this number of tries or after this time. It then returns the smallest conversation
// that it has found.
const (
	mostTries = 150
	mostTime  = 30 * time.Second
)

// shrink removes all parts of a conversation that are not needed to reproduce a difference.
func (c *comparison) shrink(talk conversation, aspects []string) conversation {
	talk.vector = nil
	tries, began := 0, time.Now()
	differs := func(smaller *conversation) bool {
		tries++
		for _, f := range c.differences(smaller, c.hold(smaller)) {
			if slices.Contains(aspects, f.aspect) {
				return true
			}
		}
		return false
	}
	for again := true; again; {
		again = false
		for _, smaller := range talk.smaller() {
			if tries >= mostTries || time.Since(began) > mostTime {
				return talk
			}
			if differs(&smaller) {
				talk, again = smaller, true
				break
			}
		}
	}
	return talk
}

// The method "smaller" returns simpler variants of a conversation. Each variant differs from the conversation in one
// way, for example by a missing request or header. The variants that leave out most come first.
func (c conversation) smaller() []conversation {
	var all []conversation
	with := func(change func(*conversation)) {
		smaller := c
		smaller.requests = slices.Clone(c.requests)
		change(&smaller)
		all = append(all, smaller)
	}
	if len(c.requests) > 1 {
		for i := range c.requests {
			with(func(s *conversation) { s.requests = []request{c.requests[i]} })
		}
		for i := range c.requests {
			with(func(s *conversation) { s.requests = slices.Delete(s.requests, i, i+1) })
		}
	}
	if c.pipelined {
		with(func(s *conversation) { s.pipelined = false })
	}
	for _, as := range []string{"no-credential", "kubelet-client"} {
		if c.as == as {
			break
		}
		with(func(s *conversation) { s.as = as })
	}
	for i, r := range c.requests {
		set := func(smaller request) { with(func(s *conversation) { s.requests[i] = smaller }) }
		if r.header != "" {
			less := r
			less.header, less.body = "", ""
			set(less)
		}
		if r.body != "" && !strings.Contains(r.header, "chunked") {
			less := r
			less.body = ""
			less.header = without(r.header, func(line string) bool {
				return strings.HasPrefix(strings.ToLower(line), "content-length:")
			})
			set(less)
		}
		if r.protocol != "" && r.protocol != "HTTP/1.1" {
			less := r
			less.protocol = ""
			set(less)
		}
		if r.method != "GET" {
			less := r
			less.method = "GET"
			set(less)
		}
		headers := strings.SplitAfter(r.header, "\r\n")
		for h, line := range headers {
			if line == "" || r.body != "" && (strings.HasPrefix(line, "Content-Length") ||
				strings.HasPrefix(line, "Transfer-Encoding")) {
				continue
			}
			less := r
			less.header = strings.Join(slices.Delete(slices.Clone(headers), h, h+1), "")
			set(less)
		}
		path, query, _ := strings.Cut(r.path, "?")
		if query != "" {
			less := r
			less.path = path
			set(less)
			parts := strings.Split(query, "&")
			for q := range parts {
				if len(parts) > 1 {
					less.path = path + "?" + strings.Join(slices.Delete(slices.Clone(parts), q, q+1), "&")
					set(less)
				}
			}
		}
		segments := strings.Split(path, "/")
		for p := 1; p < len(segments); p++ {
			less := r
			less.path = strings.Join(slices.Delete(slices.Clone(segments), p, p+1), "/")
			if query != "" {
				less.path += "?" + query
			}
			if strings.HasPrefix(less.path, "/") {
				set(less)
			}
			if len(segments[p]) > 30 {
				less.path = strings.Join(
					slices.Concat(segments[:p], []string{segments[p][:len(segments[p])/2]}, segments[p+1:]),
					"/")
				set(less)
			}
		}
	}
	return all
}

func without(header string, drop func(string) bool) string {
	return strings.Join(slices.DeleteFunc(strings.SplitAfter(header, "\r\n"), drop), "")
}

// curl returns a curl command that sends the conversation to one of the servers. In that command, the file of a client
// certificate is named after the client.
func (c *conversation) curl(s *side) string {
	scheme, address := "https", s.Secure
	if c.readOnly {
		scheme, address = "http", s.ReadOnly
	}
	as := s.clients[c.as]
	var text strings.Builder
	for i, r := range c.requests {
		if i == 0 {
			text.WriteString("curl -k -i --path-as-is")
		} else {
			text.WriteString(" --next -k -i --path-as-is")
		}
		switch {
		case c.http2:
			text.WriteString(" --http2")
		case r.protocol == "HTTP/1.0":
			text.WriteString(" --http1.0")
		default:
			text.WriteString(" --http1.1")
		}
		if as.certificate != nil {
			fmt.Fprintf(&text, " --cert %s.crt --key %s.key", c.as, c.as)
		}
		if r.method != "GET" {
			text.WriteString(" -X " + quoted(r.method))
		}
		for line := range strings.SplitSeq(strings.TrimSuffix(as.header+r.header, "\r\n"), "\r\n") {
			if line != "" {
				text.WriteString(" -H " + quoted(line))
			}
		}
		if r.body != "" {
			text.WriteString(" --data-binary " + quoted(r.body))
		}
		if strings.HasPrefix(r.path, "/") {
			text.WriteString(" " + quoted(scheme+"://"+address+r.path))
		} else {
			text.WriteString(" --request-target " + quoted(r.path) + " " + scheme + "://" + address)
		}
	}
	if c.pipelined {
		text.WriteString("   # all sent at once")
	}
	for _, fault := range c.faults {
		fmt.Fprintf(&text, "   # while a %s is answered with %d", fault.Review, fault.Status)
	}
	return text.String()
}

// quoted quotes a word for a shell.
func quoted(word string) string {
	const most = 2000
	if len(word) > most {
		word = word[:most] + fmt.Sprintf("... (%d more bytes)", len(word)-most)
	}
	for i := range len(word) {
		if word[i] < ' ' || word[i] > '~' || word[i] == '\'' {
			return "$'" + strings.ReplaceAll(strings.Trim(strconv.QuoteToASCII(word), `"`), "'", `\'`) + "'"
		}
	}
	return "'" + word + "'"
}
