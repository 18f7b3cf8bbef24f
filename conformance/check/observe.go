package check

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"os"
	"slices"
	"time"
)

// observed is the current state of a connection to a kubelet.
type observed struct {
	Local, Remote string               // the addresses of the connection
	Hello         *tls.ClientHelloInfo // nil if none was received
	// HandshakeError is the reason why the TLS handshake failed; nil if it has not failed.
	HandshakeError error
	// TLS is the TLS state after the handshake; nil before its end.
	TLS *tls.ConnectionState
	// Requests are the received requests, oldest first; empty if the kubelet does not serve HTTP.
	Requests []request
	// Closed is the time when either side closed the connection; zero while it is open.
	Closed time.Time
}

// describe returns the kubelet's address and the first request of a connection in one line of evidence.
func (s *observed) describe() string {
	if len(s.Requests) == 0 {
		return "listening on " + s.Local + "; connection without a request"
	}
	return "listening on " + s.Local + "; request: " + s.Requests[0].text
}

// request describes a received HTTP request.
type request struct {
	Protocol string // HTTP/1.1 or HTTP/2.0
	text     string // the protocol, the method and the URL, without headers, which may contain a credential
	upgrade  string // the requested protocol, such as SPDY/3.1 or websocket; may be empty
	Ended    bool   // the kubelet has responded
}

// requests returns the requests of all connections.
func requests(all []observed) []request {
	var every []request
	for _, s := range all {
		every = append(every, s.Requests...)
	}
	return every
}

func isClosed(s observed) bool { return !s.Closed.IsZero() }

// connection is a connection to a kubelet that records its state.
type connection struct {
	net.Conn
	kubelet  *kubelet
	observed *observed
}

// NetConn returns the TCP connection. Package hostile uses it to reset the connection.
func (c *connection) NetConn() net.Conn { return c.Conn }

func (c *connection) change(how func(*observed)) { c.kubelet.states.Update(func() { how(c.observed) }) }

func (c *connection) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) { // net/http sets a deadline to interrupt a read
		c.recordEnd()
	}
	return n, err
}

func (c *connection) Close() error {
	c.recordEnd()
	return c.Conn.Close()
}

func (c *connection) recordEnd() {
	c.change(func(s *observed) {
		if !isClosed(*s) {
			s.Closed = time.Now()
		}
	})
}

// recordHello records the ClientHello of each connection.
func recordHello(hello *tls.ClientHelloInfo) (*tls.Config, error) {
	hello.Conn.(*connection).change(func(s *observed) { s.Hello = hello })
	return nil, nil
}

type connectionKey struct{}

// withConnection makes the connection on which a request arrives available in the context of the request.
func withConnection(ctx context.Context, conn net.Conn) context.Context {
	return context.WithValue(ctx, connectionKey{}, conn.(*tls.Conn).NetConn())
}

// recordRequests records the beginning and the end of each request in the state of its connection.
func recordRequests(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := r.Context().Value(connectionKey{}).(*connection)
		index := 0
		c.change(func(s *observed) {
			index = len(s.Requests)
			text := r.Proto + " " + r.Method + " " + r.Host + r.URL.RequestURI()
			s.Requests = append(slices.Clone(s.Requests), request{Protocol: r.Proto, text: text,
				upgrade: r.Header.Get("Upgrade")})
		})
		defer c.change(func(s *observed) {
			s.Requests = slices.Clone(s.Requests)
			s.Requests[index].Ended = true
		})
		next.ServeHTTP(w, r)
	})
}
