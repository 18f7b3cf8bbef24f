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
	talk.Vector = nil
	tries, began := 0, time.Now()
	differs := func(smaller *conversation) bool {
		tries++
		for _, f := range c.differences(smaller, c.hold(smaller)) {
			if slices.Contains(aspects, f.Aspect) {
				return true
			}
		}
		return false
	}
	for again := true; again; {
		again = false
		for _, smaller := range smallerThan(talk) {
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

// smallerThan returns simpler variants of a conversation. Each variant differs from the conversation in one
// way, for example by a missing request or header. The variants that leave out most come first.
func smallerThan(c conversation) []conversation {
	var all []conversation
	with := func(change func(*conversation)) {
		smaller := c
		smaller.Requests = slices.Clone(c.Requests)
		change(&smaller)
		all = append(all, smaller)
	}
	if len(c.Requests) > 1 {
		for i := range c.Requests {
			with(func(s *conversation) { s.Requests = []request{c.Requests[i]} })
		}
		for i := range c.Requests {
			with(func(s *conversation) { s.Requests = slices.Delete(s.Requests, i, i+1) })
		}
	}
	if c.Pipelined {
		with(func(s *conversation) { s.Pipelined = false })
	}
	for _, as := range []string{"no-credential", "kubelet-client"} {
		if c.As == as {
			break
		}
		with(func(s *conversation) { s.As = as })
	}
	for i, r := range c.Requests {
		set := func(smaller request) { with(func(s *conversation) { s.Requests[i] = smaller }) }
		if r.Header != "" {
			less := r
			less.Header, less.Body = "", ""
			set(less)
		}
		if r.Body != "" && !strings.Contains(r.Header, "chunked") {
			less := r
			less.Body = ""
			less.Header = without(r.Header, func(line string) bool {
				return strings.HasPrefix(strings.ToLower(line), "content-length:")
			})
			set(less)
		}
		if r.Protocol != "" && r.Protocol != "HTTP/1.1" {
			less := r
			less.Protocol = ""
			set(less)
		}
		if r.Method != "GET" {
			less := r
			less.Method = "GET"
			set(less)
		}
		headers := strings.SplitAfter(r.Header, "\r\n")
		for h, line := range headers {
			if line == "" || r.Body != "" && (strings.HasPrefix(line, "Content-Length") ||
				strings.HasPrefix(line, "Transfer-Encoding")) {
				continue
			}
			less := r
			less.Header = strings.Join(slices.Delete(slices.Clone(headers), h, h+1), "")
			set(less)
		}
		path, query, _ := strings.Cut(r.Path, "?")
		if query != "" {
			less := r
			less.Path = path
			set(less)
			parts := strings.Split(query, "&")
			for q := range parts {
				if len(parts) > 1 {
					less.Path = path + "?" + strings.Join(slices.Delete(slices.Clone(parts), q, q+1), "&")
					set(less)
				}
			}
		}
		segments := strings.Split(path, "/")
		for p := 1; p < len(segments); p++ {
			less := r
			less.Path = strings.Join(slices.Delete(slices.Clone(segments), p, p+1), "/")
			if query != "" {
				less.Path += "?" + query
			}
			if strings.HasPrefix(less.Path, "/") {
				set(less)
			}
			if len(segments[p]) > 30 {
				less.Path = strings.Join(
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
func curl(c *conversation, s *side) string {
	scheme, address := "https", s.Secure
	if c.ReadOnly {
		scheme, address = "http", s.ReadOnly
	}
	as := s.clients[c.As]
	var text strings.Builder
	for i, r := range c.Requests {
		if i == 0 {
			text.WriteString("curl -k -i --path-as-is")
		} else {
			text.WriteString(" --next -k -i --path-as-is")
		}
		switch {
		case c.HTTP2:
			text.WriteString(" --http2")
		case r.Protocol == "HTTP/1.0":
			text.WriteString(" --http1.0")
		default:
			text.WriteString(" --http1.1")
		}
		if as.Certificate != nil {
			fmt.Fprintf(&text, " --cert %s.crt --key %s.key", c.As, c.As)
		}
		if r.Method != "GET" {
			text.WriteString(" -X " + quoted(r.Method))
		}
		for line := range strings.SplitSeq(strings.TrimSuffix(as.Header+r.Header, "\r\n"), "\r\n") {
			if line != "" {
				text.WriteString(" -H " + quoted(line))
			}
		}
		if r.Body != "" {
			text.WriteString(" --data-binary " + quoted(r.Body))
		}
		if strings.HasPrefix(r.Path, "/") {
			text.WriteString(" " + quoted(scheme+"://"+address+r.Path))
		} else {
			text.WriteString(" --request-target " + quoted(r.Path) + " " + scheme + "://" + address)
		}
	}
	if c.Pipelined {
		text.WriteString("   # all sent at once")
	}
	for _, fault := range c.Faults {
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
