package same

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"fauxlet/internal/faults"
	"fauxlet/internal/reviewapi"
	"fauxlet/internal/vectors"
)

// request is an HTTP request that the test writes to the connection itself, because HTTP clients would correct
// malformed requests.
type request struct {
	method, path string
	protocol     string // empty: HTTP/1.1
	header       string // complete header lines
	body         string
}

// conversation is a sequence of requests that one client sends over one connection.
type conversation struct {
	from      string // the file or the generator that the requests come from
	as        string // name of the client that sends the requests, such as "kubelet-client"
	readOnly  bool
	http2     bool
	pipelined bool // the client sends all requests before it reads an answer
	// quick means that the client saves time. It sends plain requests in groups, it sends the remaining requests over a
	// new connection if the server closes one, and it resumes TLS sessions.
	quick    bool
	faults   []faults.Fault
	requests []request
	vector   *vectors.Case
}

func (c *conversation) id(i int) string {
	port := "secure"
	if c.readOnly {
		port = "readOnly"
	}
	r := c.requests[i]
	id := port + " " + c.as + " " + r.method + " " + r.path
	if header := strings.TrimSuffix(strings.TrimSpace(strings.TrimPrefix(r.header, hangUp)), "\r\n"); header != "" {
		header = strings.ReplaceAll(header, "\r\n", ", ")
		id += " " + header[:min(len(header), 80)]
	}
	if r.body != "" {
		id += " with a body"
	}
	return id
}

// observation is the answer to a request, and the observed effects of the request.
type observation struct {
	failed     string // the reason why there was no response
	status     string
	code       int
	header     http.Header
	body       string
	reviews    []string
	connection string // "kept", "closed" or "upgraded"

	records []reviewapi.Record
}

// patience limits the time that a client waits for an answer.
const patience = 10 * time.Second

// hold sends the requests of a conversation to one server, and returns an observation for each.
func (c *conversation) hold(s *side) []observation {
	s.reviews.Take()
	var seen []observation
	if c.http2 {
		seen = c.holdHTTP2(s)
	} else {
		seen = c.holdHTTP1(s)
	}
	for i := range seen {
		seen[i].reviews = inWords(seen[i].records)
		seen[i].mask(s)
		if lengthOfMasked(c.requests[i].method, c.requests[i].path, seen[i].code) {
			seen[i].header.Del("Content-Length")
		}
	}
	return seen
}

func (c *conversation) holdHTTP1(s *side) []observation {
	seen := make([]observation, len(c.requests))
	header := s.clients[c.as].header
	var conn net.Conn // nil before the first request, and after a connection that the server has closed
	var reader *bufio.Reader
	defer func() {
		if conn != nil {
			conn.Close()
		}
	}()
	sent := 0
	for i, r := range c.requests {
		o := &seen[i]
		if conn == nil {
			var err error
			if conn, err = c.dial(s, ""); err != nil {
				conn = nil
				failed(seen[i:], "no connection: "+reason(err))
				return seen
			}
			reader, sent = bufio.NewReader(conn), i
		}
		if i == sent {
			_ = conn.SetDeadline(time.Now().Add(patience))
			var group strings.Builder
			for more := true; more; {
				group.WriteString(c.requests[sent].text(header))
				sent++
				more = sent < len(c.requests) && (c.pipelined || c.quick && sent-i < mostInGroup &&
					c.requests[sent-1].plain(header) && c.requests[sent].plain(header))
			}
			_, _ = io.WriteString(conn, group.String()) // if the write fails, the test reports a missing response
		}
		open, last := o.read(r, conn, reader), i == len(c.requests)-1
		if i == sent-1 || !open {
			o.records = s.reviews.Take() // of all requests of the group
		}
		switch {
		case open && last:
			o.connection = afterwards(conn, reader)
		case !open && c.quick && !c.pipelined:
			conn.Close()
			conn = nil
		case !open:
			failed(seen[i+1:], "the connection was over")
			return seen
		}
	}
	return seen
}

// mostInGroup is the number of plain requests that a quick client sends before it reads the answers.
const mostInGroup = 8

// plain reports whether a client with the given headers can send this request in a group: the answer neither ends the
// connection nor upgrades it. A server that closes a connection with unread data resets it, and the client may then
// lose the earlier answers.
func (r *request) plain(header string) bool {
	if strings.Contains(header, "Upgrade") || r.protocol != "" || r.body != "" || r.follows() ||
		!slices.Contains([]string{"GET", "POST", "PUT", "HEAD", "PATCH", "DELETE", "OPTIONS"}, r.method) ||
		!strings.HasPrefix(r.path, "/") || !printable.MatchString(r.path) || strings.Contains(r.path, " ") {
		return false
	}
	for line := range strings.Lines(r.header) {
		if !slices.ContainsFunc([]string{"Accept", "Range: ", "If-"},
			func(harmless string) bool { return strings.HasPrefix(line, harmless) }) {
			return false
		}
	}
	_, err := url.ParseRequestURI(r.path)
	return err == nil
}

// failed records that there was no response to several requests, and the reason.
func failed(seen []observation, why string) {
	for i := range seen {
		seen[i].failed = why
	}
}

func (c *conversation) dial(s *side, protocol string) (net.Conn, error) {
	dialer := &net.Dialer{Timeout: patience}
	if c.readOnly {
		return dialer.Dial("tcp", s.ReadOnly)
	}
	config := s.clients[c.as].tls()
	if protocol != "" {
		config.NextProtos = []string{protocol}
	}
	if c.quick {
		config.ClientSessionCache, config.CurvePreferences = s.session(c.as), []tls.CurveID{tls.X25519, tls.CurveP256}
	}
	return tls.DialWithDialer(dialer, "tcp", s.Secure, config)
}

// session returns the cache of the TLS sessions of a client.
func (s *side) session(client string) tls.ClientSessionCache {
	if s.sessions == nil {
		s.sessions = map[string]tls.ClientSessionCache{}
	}
	if s.sessions[client] == nil {
		s.sessions[client] = tls.NewLRUClientSessionCache(1)
	}
	return s.sessions[client]
}

// The method "tls" returns a TLS configuration for a client. With this configuration, the client presents its
// certificate even if the server does not list the certificate's CA as acceptable.
func (c client) tls() *tls.Config {
	config := &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS10}
	if c.certificate != nil {
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return c.certificate,
				nil
		}
	}
	return config
}

// hangUp is a request header that makes the server close the connection after its answer.
const hangUp = "Connection: close\r\n"

func (r *request) text(header string) string {
	protocol := r.protocol
	if protocol == "" {
		protocol = "HTTP/1.1"
	}
	if strings.Contains(header, "Connection:") && strings.HasPrefix(r.header, hangUp) {
		return r.method + " " + r.path + " " + protocol + "\r\nHost: node-1:10250\r\n" + header +
			strings.TrimPrefix(r.header, hangUp) + "\r\n" + r.body
	}
	return r.method + " " + r.path + " " + protocol + "\r\nHost: node-1:10250\r\n" + header + r.header + "\r\n" + r.body
}

// The method "follows" reports whether a request follows a log. The answer to such a request never ends.
func (r *request) follows() bool {
	_, query, _ := strings.Cut(r.path, "?")
	values, _ := url.ParseQuery(query)
	value, there := values["follow"]
	return there && value[0] != "0" && !strings.EqualFold(value[0], "false")
}

// read reads a response. It also reports whether the client can send another request on the connection.
func (o *observation) read(r request, conn net.Conn, reader *bufio.Reader) bool {
	var response *http.Response
	for {
		var err error
		if response, err = http.ReadResponse(reader, &http.Request{Method: r.method}); err != nil {
			o.failed = "no response: " + reason(err)
			return false
		}
		if response.StatusCode >= 200 || response.StatusCode == http.StatusSwitchingProtocols {
			break
		}
		o.status += response.Status + ", "
	}
	defer response.Body.Close()
	o.status += response.Proto + " " + response.Status
	o.code, o.header = response.StatusCode, response.Header
	if len(response.TransferEncoding) > 0 { // net/http moves Transfer-Encoding from the header to this field
		o.header["Transfer-Encoding"] = response.TransferEncoding
	}
	if response.StatusCode == http.StatusSwitchingProtocols {
		o.connection = "upgraded"
		return false
	}
	if r.follows() && response.StatusCode == http.StatusOK {
		_ = conn.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
	}
	body, err := io.ReadAll(response.Body)
	o.body = string(body)
	if err != nil {
		o.connection = "broken off: " + reason(err)
		return false
	}
	if response.Close {
		o.connection = "closed"
		if _, err := reader.ReadByte(); err != io.EOF && !errors.Is(err, io.ErrUnexpectedEOF) {
			o.connection = "said to be closed: " + reason(err)
		}
		return false
	}
	return true
}

// The function "afterwards" describes how the server reacts to one more request on the connection.
func afterwards(conn net.Conn, reader *bufio.Reader) string {
	if _, err := io.WriteString(conn, "GET /and/then HTTP/1.1\r\nHost: node-1:10250\r\n\r\n"); err != nil {
		return "closed without a word"
	}
	response, err := http.ReadResponse(reader, &http.Request{Method: http.MethodGet})
	if err != nil {
		return "no second response: " + reason(err)
	}
	defer response.Body.Close()
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		return "second response: " + reason(err)
	}
	return fmt.Sprintf("kept: %d", response.StatusCode)
}

// reason describes an error without the parts that differ between connections, such as port numbers.
func reason(err error) string {
	var network net.Error
	var alert tls.AlertError
	switch {
	case err == nil:
		return "there is more"
	case errors.As(err, &alert):
		return alert.Error()
	case strings.Contains(err.Error(), "remote error: tls"):
		return err.Error()[strings.Index(err.Error(), "remote error: tls"):]
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), strings.Contains(err.Error(), "reset by peer"),
		strings.Contains(err.Error(), "broken pipe"):
		return "closed"
	case errors.As(err, &network) && network.Timeout():
		return "still open"
	}
	return err.Error()
}

func (s *side) offersHTTP2() bool {
	conn, err := (&conversation{as: "no-credential"}).dial(s, "h2")
	if err != nil {
		return false
	}
	defer conn.Close()
	return conn.(*tls.Conn).ConnectionState().NegotiatedProtocol == "h2"
}

// holdHTTP2 sends the requests of a conversation over HTTP/2, one after another, and returns the observations.
func (c *conversation) holdHTTP2(s *side) []observation {
	seen := make([]observation, len(c.requests))
	as := s.clients[c.as]
	transport := &http.Transport{
		ForceAttemptHTTP2: true, DisableCompression: true,
		DialTLSContext: func(context.Context, string, string) (net.Conn, error) {
			conn, err := c.dial(s, "h2")
			if err == nil && conn.(*tls.Conn).ConnectionState().NegotiatedProtocol != "h2" {
				return nil, errors.Join(errors.New("the server does not offer HTTP/2"), conn.Close())
			}
			return conn, err
		},
	}
	defer transport.CloseIdleConnections()
	for i, r := range c.requests {
		o := &seen[i]
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		request, err := http.NewRequestWithContext(ctx, r.method, "https://node-1:10250/", strings.NewReader(r.body))
		if err != nil {
			o.failed = "not sent: " + err.Error()
			cancel()
			continue
		}
		request.URL.Opaque = "//node-1:10250" + r.path
		for line := range strings.SplitSeq(strings.TrimSpace(as.header+r.header), "\r\n") {
			if name, value, ok := strings.Cut(line, ": "); ok {
				request.Header.Add(name, value)
			}
		}
		response, err := transport.RoundTrip(request)
		if err != nil {
			o.failed = "no response: " + err.Error()
		} else {
			body, err := io.ReadAll(response.Body)
			response.Body.Close()
			o.status, o.code, o.header, o.body = response.Proto+" "+response.Status, response.StatusCode,
				response.Header,
				string(body)
			if err != nil {
				o.connection = "broken off"
			}
		}
		o.records = s.reviews.Take()
		cancel()
	}
	return seen
}

// inWords returns a text that describes reviews and the status codes of their responses.
func inWords(records []reviewapi.Record) []string {
	var words []string
	for _, record := range records {
		asked, err := json.Marshal(struct {
			Token, Audiences, Access any
			Code                     int
		}{record.Token, record.Audiences, record.Access, record.Code})
		if err != nil {
			asked = []byte(err.Error())
		}
		words = append(words, record.Kind+" "+string(asked))
	}
	return words
}
