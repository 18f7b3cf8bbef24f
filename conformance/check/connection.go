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

// seen is what was seen of a connection so far.
type seen struct {
	Accepted time.Time
	// Local is where it was accepted, Remote who connected.
	Local, Remote string
	// Hello is the first that the client said; nil, if it said nothing.
	Hello *hello
	// HandshakeError is why there is no TLS; nil while shaking hands, too.
	HandshakeError error
	// TLS is the connection after its handshake; nil before.
	TLS *tls.ConnectionState
	// Requests are those that came, oldest first. They are none where bytes are exchanged by hand.
	Requests []request
	// Read and Written are bytes on the wire.
	Read, Written int64
	// Closed is when it was closed by us, or the client's end of it was noticed; zero while it is open.
	Closed time.Time
}

// hello is what a client offers.
type hello struct {
	ServerName   string
	Protocols    []string // of ALPN
	Versions     []uint16
	CipherSuites []uint16
}

// request is one that came.
type request struct {
	Time time.Time
	// Protocol is HTTP/1.1 or HTTP/2.0.
	Protocol     string
	Method, Host string
	// URI is the path with its query.
	URI string
	// Headers are the names of the headers. Values are not kept: one may be a credential.
	Headers []string
}

// connection is one that came to a kubelet. What goes over it is seen.
type connection struct {
	net.Conn
	kubelet *kubelet
	seen    seen // guarded by the kubelet's mu; its slices and pointers are never changed, but replaced
}

// NetConn is the connection without being seen.
func (c *connection) NetConn() net.Conn { return c.Conn }

// change changes what was seen, and tells those who wait for it.
func (c *connection) change(how func(*seen)) {
	c.kubelet.mu.Lock()
	defer c.kubelet.mu.Unlock()
	how(&c.seen)
	c.kubelet.tell()
}

func (c *connection) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.change(func(s *seen) {
		s.Read += int64(n)
		if err != nil && s.Closed.IsZero() && !isTimeout(err) {
			s.Closed = time.Now()
		}
	})
	return n, err
}

func (c *connection) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.change(func(s *seen) { s.Written += int64(n) })
	return n, err
}

func (c *connection) Close() error {
	c.change(func(s *seen) {
		if s.Closed.IsZero() {
			s.Closed = time.Now()
		}
	})
	return c.Conn.Close()
}

// isTimeout says whether an error is of a deadline, which net/http sets to interrupt a read.
func isTimeout(err error) bool {
	n, ok := err.(net.Error)
	return ok && n.Timeout()
}

type connectionKey struct{}

// recordRequests tells the connection of each request.
func recordRequests(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c := connectionOf(r.Context()); c != nil {
			request := request{Time: time.Now(), Protocol: r.Proto, Method: r.Method, Host: r.Host, URI: r.URL.RequestURI()}
			for name := range r.Header {
				request.Headers = append(request.Headers, name)
			}
			slices.Sort(request.Headers)
			c.change(func(s *seen) { s.Requests = append(slices.Clip(s.Requests), request) })
		}
		next.ServeHTTP(w, r)
	})
}

// connectionOf is the connection by which a request came.
func connectionOf(ctx context.Context) *connection {
	conn, _ := ctx.Value(connectionKey{}).(*tls.Conn)
	if conn == nil {
		return nil
	}
	return conn.NetConn().(*connection)
}

// requests are those of all connections.
func requests(all []seen) []request {
	var every []request
	for _, s := range all {
		every = append(every, s.Requests...)
	}
	return every
}

func (r request) String() string {
	return strings.Join([]string{r.Protocol, r.Method, r.Host + r.URI}, " ")
}
