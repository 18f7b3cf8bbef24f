package check

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"
)

// observed is the current state of a connection to a kubelet.
type observed struct {
	Accepted time.Time
	// Local and Remote are the addresses of the connection.
	Local, Remote string
	// Hello is the ClientHello; nil if none was received.
	Hello *clientHello
	// HandshakeError is the reason why the TLS handshake failed; nil if it has not failed.
	HandshakeError error
	// TLS is the TLS state after the handshake; nil before its end.
	TLS *tls.ConnectionState
	// Requests are the received requests, oldest first. Requests is empty if the kubelet does not serve HTTP.
	Requests []request
	// Read and Written count bytes on the wire.
	Read, Written int64
	// Closed is the time when either side closed the connection; zero while it is open.
	Closed time.Time
}

// clientHello has the parts of a ClientHello that checks need.
type clientHello struct {
	ServerName   string
	Protocols    []string // offered by ALPN
	Versions     []uint16
	CipherSuites []uint16
}

// request describes a received HTTP request.
type request struct {
	Time time.Time
	// Protocol is HTTP/1.1 or HTTP/2.0.
	Protocol     string
	Method, Host string
	// URI is the path with the query.
	URI string
	// Headers are the header names. The values are not recorded, because one may be a credential.
	Headers []string
}

// connection is a connection to a kubelet that records its state.
type connection struct {
	net.Conn
	kubelet  *kubelet
	observed observed // guarded by the kubelet's mu; slices and pointers are replaced, not modified
}

// NetConn returns the underlying connection.
func (c *connection) NetConn() net.Conn { return c.Conn }

// change updates the state of the connection and wakes await.
func (c *connection) change(how func(*observed)) {
	c.kubelet.mu.Lock()
	defer c.kubelet.mu.Unlock()
	how(&c.observed)
	c.kubelet.notify()
}

func (c *connection) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.change(func(s *observed) {
		s.Read += int64(n)
		if err != nil && s.Closed.IsZero() && !isTimeout(err) {
			s.Closed = time.Now()
		}
	})
	return n, err
}

func (c *connection) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.change(func(s *observed) { s.Written += int64(n) })
	return n, err
}

func (c *connection) Close() error {
	c.change(func(s *observed) {
		if s.Closed.IsZero() {
			s.Closed = time.Now()
		}
	})
	return c.Conn.Close()
}

// isTimeout reports whether an error comes from an expired deadline. net/http sets a deadline to interrupt a read.
func isTimeout(err error) bool {
	n, ok := err.(net.Error)
	return ok && n.Timeout()
}

type connectionKey struct{}

// recordRequests records each request in the state of its connection.
func recordRequests(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c := connectionOf(r.Context()); c != nil {
			request := request{
				Time:     time.Now(),
				Protocol: r.Proto,
				Method:   r.Method,
				Host:     r.Host,
				URI:      r.URL.RequestURI(),
			}
			for name := range r.Header {
				request.Headers = append(request.Headers, name)
			}
			slices.Sort(request.Headers)
			c.change(func(s *observed) { s.Requests = append(slices.Clip(s.Requests), request) })
		}
		next.ServeHTTP(w, r)
	})
}

// connectionOf returns the connection that carries a request, from the request's context.
func connectionOf(ctx context.Context) *connection {
	conn, _ := ctx.Value(connectionKey{}).(*tls.Conn)
	if conn == nil {
		return nil
	}
	return conn.NetConn().(*connection)
}

// requests returns the requests of all connections.
func requests(all []observed) []request {
	var every []request
	for _, s := range all {
		every = append(every, s.Requests...)
	}
	return every
}

func (r request) String() string {
	return strings.Join([]string{r.Protocol, r.Method, r.Host + r.URI}, " ")
}
