package recordings

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
	"regexp"
	"slices"
	"strings"
	"time"

	"fauxlet/internal/faults"
	"fauxlet/internal/reviewapi"
	"fauxlet/internal/vectors"
)

// Request is an HTTP request that the client writes to the connection itself, because HTTP clients would correct
// malformed requests.
type Request struct {
	Method, Path string
	Protocol     string // empty: HTTP/1.1
	Header       string // complete header lines
	Body         string
}

// octetRequest is the form of a Request in JSON.
type octetRequest struct {
	Method   Octets `json:"method,omitempty"`
	Path     Octets `json:"path,omitempty"`
	Protocol Octets `json:"protocol,omitempty"`
	Header   Octets `json:"header,omitempty"`
	Body     Octets `json:"body,omitempty"`
}

func (r Request) MarshalJSON() ([]byte, error) {
	return json.Marshal(octetRequest{Octets(r.Method), Octets(r.Path), Octets(r.Protocol), Octets(r.Header),
		Octets(r.Body)})
}

func (r *Request) UnmarshalJSON(data []byte) error {
	var o octetRequest
	err := json.Unmarshal(data, &o)
	*r = Request{string(o.Method), string(o.Path), string(o.Protocol), string(o.Header), string(o.Body)}
	return err
}

// Conversation is a sequence of requests that one client sends over one connection.
type Conversation struct {
	From      string `json:"-"`  // the file or the generator that the requests come from
	As        string `json:"as"` // name of the client that sends the requests, such as "kubelet-client"
	ReadOnly  bool   `json:"readOnly,omitempty"`
	HTTP2     bool   `json:"http2,omitempty"`
	Pipelined bool   `json:"pipelined,omitempty"` // the client sends all requests before it reads an answer
	// Quick means that the client saves time. It sends plain requests in groups, it sends the remaining requests over a
	// new connection if the server closes one, and it resumes TLS sessions.
	Quick    bool           `json:"quick,omitempty"`
	Faults   []faults.Fault `json:"faults,omitempty"` // active in the server that answers the reviews
	Requests []Request      `json:"requests"`
	Vector   *vectors.Case  `json:"-"` // the case of internal/vectors that the only request comes from, or nil
}

// ID describes the request with the given index: port, client, method, path and headers.
func (c *Conversation) ID(i int) string {
	port := "secure"
	if c.ReadOnly {
		port = "readOnly"
	}
	r := c.Requests[i]
	id := port + " " + c.As + " " + r.Method + " " + r.Path
	if header := strings.TrimSuffix(strings.TrimSpace(strings.TrimPrefix(r.Header, HangUp)), "\r\n"); header != "" {
		header = strings.ReplaceAll(header, "\r\n", ", ")
		id += " " + header[:min(len(header), 80)]
	}
	if r.Body != "" {
		id += " with a body"
	}
	return id
}

// Observation is the answer to a request, and the observed effects of the request.
type Observation struct {
	Failed     string // the reason why there was no response
	Status     string
	Code       int
	Header     http.Header
	Body       string
	Reviews    []string
	Connection string // "kept", "closed" or "upgraded"

	Records []reviewapi.Record
}

// Peer is a server to which conversations are sent, with its clients and the server that answers its reviews.
type Peer struct {
	Secure, ReadOnly string // listening addresses
	Clients          map[string]Client
	// Take returns the reviews that the server has sent since the last call.
	Take func() []reviewapi.Record
	// Same replaces addresses and folders in the server's answers, so that the answers can be compared with the answers
	// of another server.
	Same *Names

	sessions map[string]tls.ClientSessionCache // the TLS sessions of each client, for quick conversations
}

// Patience limits the time that a client waits for an answer.
const Patience = 10 * time.Second

// Hold sends the requests of a conversation to one server, and returns an Observation for each.
func (c *Conversation) Hold(s *Peer) []Observation {
	s.Take()
	var seen []Observation
	if c.HTTP2 {
		seen = c.holdHTTP2(s)
	} else {
		seen = c.holdHTTP1(s)
	}
	for i := range seen {
		seen[i].Reviews = inWords(seen[i].Records)
		seen[i].mask(s)
		if lengthOfMasked(c.Requests[i].Method, c.Requests[i].Path, seen[i].Code) {
			seen[i].Header.Del("Content-Length")
		}
	}
	return seen
}

func (c *Conversation) holdHTTP1(s *Peer) []Observation {
	seen := make([]Observation, len(c.Requests))
	header := s.Clients[c.As].Header
	var conn net.Conn // nil before the first request, and after a connection that the server has closed
	var reader *bufio.Reader
	defer func() {
		if conn != nil {
			conn.Close()
		}
	}()
	sent := 0
	for i, r := range c.Requests {
		o := &seen[i]
		if conn == nil {
			var err error
			if conn, err = c.Dial(s, ""); err != nil {
				conn = nil
				failed(seen[i:], "no connection: "+Reason(err))
				return seen
			}
			reader, sent = bufio.NewReader(conn), i
		}
		if i == sent {
			_ = conn.SetDeadline(time.Now().Add(Patience))
			var group strings.Builder
			for more := true; more; {
				group.WriteString(c.Requests[sent].Text(header))
				sent++
				more = sent < len(c.Requests) && (c.Pipelined || c.Quick && sent-i < mostInGroup &&
					c.Requests[sent-1].plain(header) && c.Requests[sent].plain(header))
			}
			_, _ = io.WriteString(conn, group.String()) // if the write fails, the test reports a missing response
		}
		open, last := o.read(r, conn, reader), i == len(c.Requests)-1
		if i == sent-1 || !open {
			o.Records = s.Take() // of all requests of the group
		}
		switch {
		case open && last:
			o.Connection = afterwards(conn, reader)
		case !open && c.Quick && !c.Pipelined:
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
func (r *Request) plain(header string) bool {
	if strings.Contains(header, "Upgrade") || r.Protocol != "" || r.Body != "" || r.Follows() ||
		!slices.Contains([]string{"GET", "POST", "PUT", "HEAD", "PATCH", "DELETE", "OPTIONS"}, r.Method) ||
		!strings.HasPrefix(r.Path, "/") || !printable.MatchString(r.Path) || strings.Contains(r.Path, " ") {
		return false
	}
	for line := range strings.Lines(r.Header) {
		if !slices.ContainsFunc([]string{"Accept", "Range: ", "If-"},
			func(harmless string) bool { return strings.HasPrefix(line, harmless) }) {
			return false
		}
	}
	_, err := url.ParseRequestURI(r.Path)
	return err == nil
}

// failed records that there was no response to several requests, and the reason.
func failed(seen []Observation, why string) {
	for i := range seen {
		seen[i].Failed = why
	}
}

// Dial connects to the server as the client of the conversation. A protocol, if not empty, is the only one that the
// client offers (ALPN).
func (c *Conversation) Dial(s *Peer, protocol string) (net.Conn, error) {
	dialer := &net.Dialer{Timeout: Patience}
	if c.ReadOnly {
		return dialer.Dial("tcp", s.ReadOnly)
	}
	config := s.Clients[c.As].TLS()
	if protocol != "" {
		config.NextProtos = []string{protocol}
	}
	if c.Quick {
		config.ClientSessionCache, config.CurvePreferences = s.session(c.As), []tls.CurveID{tls.X25519, tls.CurveP256}
	}
	return tls.DialWithDialer(dialer, "tcp", s.Secure, config)
}

// session returns the cache of the TLS sessions of a client.
func (s *Peer) session(client string) tls.ClientSessionCache {
	if s.sessions == nil {
		s.sessions = map[string]tls.ClientSessionCache{}
	}
	if s.sessions[client] == nil {
		s.sessions[client] = tls.NewLRUClientSessionCache(1)
	}
	return s.sessions[client]
}

// TLS returns a TLS configuration for a client. With this configuration, the client presents its
// certificate even if the server does not list the certificate's CA as acceptable.
func (c Client) TLS() *tls.Config {
	config := &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS10}
	if c.Certificate != nil {
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return c.Certificate,
				nil
		}
	}
	return config
}

// HangUp is a request header that makes the server close the connection after its answer.
const HangUp = "Connection: close\r\n"

// Text returns the bytes of the request. The parameter "header" has the complete header lines of the client.
func (r *Request) Text(header string) string {
	protocol := r.Protocol
	if protocol == "" {
		protocol = "HTTP/1.1"
	}
	if strings.Contains(header, "Connection:") && strings.HasPrefix(r.Header, HangUp) {
		return r.Method + " " + r.Path + " " + protocol + "\r\nHost: node-1:10250\r\n" + header +
			strings.TrimPrefix(r.Header, HangUp) + "\r\n" + r.Body
	}
	return r.Method + " " + r.Path + " " + protocol + "\r\nHost: node-1:10250\r\n" + header + r.Header + "\r\n" + r.Body
}

// Follows reports whether a request follows a log. The answer to such a request never ends.
func (r *Request) Follows() bool {
	_, query, _ := strings.Cut(r.Path, "?")
	values, _ := url.ParseQuery(query)
	value, there := values["follow"]
	return there && value[0] != "0" && !strings.EqualFold(value[0], "false")
}

// read reads a response. It also reports whether the client can send another request on the connection.
func (o *Observation) read(r Request, conn net.Conn, reader *bufio.Reader) bool {
	var response *http.Response
	for {
		var err error
		if response, err = http.ReadResponse(reader, &http.Request{Method: r.Method}); err != nil {
			o.Failed = "no response: " + Reason(err)
			return false
		}
		if response.StatusCode >= 200 || response.StatusCode == http.StatusSwitchingProtocols {
			break
		}
		o.Status += response.Status + ", "
	}
	defer response.Body.Close()
	o.Status += response.Proto + " " + response.Status
	o.Code, o.Header = response.StatusCode, response.Header
	if len(response.TransferEncoding) > 0 { // net/http moves Transfer-Encoding from the header to this field
		o.Header["Transfer-Encoding"] = response.TransferEncoding
	}
	if response.StatusCode == http.StatusSwitchingProtocols {
		o.Connection = "upgraded"
		return false
	}
	if r.Follows() && response.StatusCode == http.StatusOK {
		_ = conn.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
	}
	body, err := io.ReadAll(response.Body)
	o.Body = string(body)
	if err != nil {
		o.Connection = "broken off: " + Reason(err)
		return false
	}
	if response.Close {
		o.Connection = "closed"
		if _, err := reader.ReadByte(); err != io.EOF && !errors.Is(err, io.ErrUnexpectedEOF) {
			o.Connection = "said to be closed: " + Reason(err)
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
		return "no second response: " + Reason(err)
	}
	defer response.Body.Close()
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		return "second response: " + Reason(err)
	}
	return fmt.Sprintf("kept: %d", response.StatusCode)
}

// Reason describes an error without the parts that differ between connections, such as port numbers.
func Reason(err error) string {
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

// OffersHTTP2 reports whether the server offers HTTP/2 on the secure port.
func (s *Peer) OffersHTTP2() bool {
	conn, err := (&Conversation{As: "no-credential"}).Dial(s, "h2")
	if err != nil {
		return false
	}
	defer conn.Close()
	return conn.(*tls.Conn).ConnectionState().NegotiatedProtocol == "h2"
}

// holdHTTP2 sends the requests of a conversation over HTTP/2, one after another, and returns the observations.
func (c *Conversation) holdHTTP2(s *Peer) []Observation {
	seen := make([]Observation, len(c.Requests))
	as := s.Clients[c.As]
	transport := &http.Transport{
		ForceAttemptHTTP2: true, DisableCompression: true,
		DialTLSContext: func(context.Context, string, string) (net.Conn, error) {
			conn, err := c.Dial(s, "h2")
			if err == nil && conn.(*tls.Conn).ConnectionState().NegotiatedProtocol != "h2" {
				return nil, errors.Join(errors.New("the server does not offer HTTP/2"), conn.Close())
			}
			return conn, err
		},
	}
	defer transport.CloseIdleConnections()
	for i, r := range c.Requests {
		o := &seen[i]
		ctx, cancel := context.WithTimeout(context.Background(), Patience)
		request, err := http.NewRequestWithContext(ctx, r.Method, "https://node-1:10250/", strings.NewReader(r.Body))
		if err != nil {
			o.Failed = "not sent: " + err.Error()
			cancel()
			continue
		}
		request.URL.Opaque = "//node-1:10250" + r.Path
		for line := range strings.SplitSeq(strings.TrimSpace(as.Header+r.Header), "\r\n") {
			if name, value, ok := strings.Cut(line, ": "); ok {
				request.Header.Add(name, value)
			}
		}
		response, err := transport.RoundTrip(request)
		if err != nil {
			o.Failed = "no response: " + err.Error()
		} else {
			body, err := io.ReadAll(response.Body)
			response.Body.Close()
			o.Status, o.Code, o.Header, o.Body = response.Proto+" "+response.Status, response.StatusCode,
				response.Header,
				string(body)
			if err != nil {
				o.Connection = "broken off"
			}
		}
		o.Records = s.Take()
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

// printable matches text that has only printable ASCII characters and ends of lines.
var printable = regexp.MustCompile(`^[ -~\r\n]*$`)
