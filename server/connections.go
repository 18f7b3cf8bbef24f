package server

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"fauxlet/authchain"
)

// connections are those of one http.Server. Of a connection that ends without a request net/http says nothing, and no
// handler hears of it; here it becomes a Decision.
type connections struct {
	server *Server
	open   sync.Map // of *connection, by net.Conn
}

// connection is what is known of one until it ends.
type connection struct {
	opened time.Time
	// asked: a request has come, and is told of by itself.
	asked atomic.Bool
	// spoke: something was read. It is of the connection's own goroutine.
	spoke bool
	// affected names what affects it; nil if its listener says nothing of that.
	affected affected
}

type connectionKey struct{}

// affected is a connection that names what affects it; see [Listeners].
type affected interface{ AffectedBy() []string }

// affectedOf returns a connection, also below TLS, that names what affects it, or nil.
func affectedOf(conn net.Conn) affected {
	if secure, ok := conn.(*tls.Conn); ok {
		conn = secure.NetConn()
	}
	a, _ := conn.(affected)
	return a
}

// affectedBy names what affects the connection of a request.
func affectedBy(r *http.Request) []string {
	if c, ok := r.Context().Value(connectionKey{}).(*connection); ok && c.affected != nil {
		return c.affected.AffectedBy()
	}
	return nil
}

// follow has server tell of its connections.
func (s *Server) follow(server *http.Server) {
	c := &connections{server: s}
	server.ConnContext = c.opened
	server.ConnState = c.changed
}

func (c *connections) opened(ctx context.Context, conn net.Conn) context.Context {
	opened := &connection{opened: time.Now(), affected: affectedOf(conn)}
	c.open.Store(conn, opened)
	if opened.affected != nil {
		c.server.affected.Store(conn.RemoteAddr().String(), opened.affected)
	}
	return context.WithValue(ctx, connectionKey{}, opened)
}

// asked notes that a connection has had a request.
func asked(r *http.Request) {
	if c, ok := r.Context().Value(connectionKey{}).(*connection); ok && !c.asked.Load() {
		c.asked.Store(true)
	}
}

func (c *connections) changed(conn net.Conn, state http.ConnState) {
	switch state {
	case http.StateActive:
		if known, ok := c.open.Load(conn); ok {
			known.(*connection).spoke = true
		}
	case http.StateHijacked:
		c.forget(conn)
	case http.StateClosed:
		if known := c.forget(conn); known != nil {
			c.closed(conn, known)
		}
	}
}

// forget returns what is known of a connection, and keeps nothing of it.
func (c *connections) forget(conn net.Conn) *connection {
	value, ok := c.open.LoadAndDelete(conn)
	if !ok {
		return nil
	}
	known := value.(*connection)
	if known.affected != nil {
		c.server.affected.CompareAndDelete(conn.RemoteAddr().String(), known.affected)
	}
	return known
}

func (c *connections) closed(conn net.Conn, known *connection) {
	if known.asked.Load() {
		return
	}
	why := "the connection was closed without a word"
	var state *tls.ConnectionState
	if secure, ok := conn.(*tls.Conn); ok {
		now := secure.ConnectionState()
		if !now.HandshakeComplete {
			return // the errorLog has told
		}
		state, why = &now, "the TLS handshake was done, and the connection was closed without a request"
	}
	switch {
	case known.spoke && state != nil && state.NegotiatedProtocol == "h2":
		why = "the client began to speak HTTP/2, and asked for nothing"
	case known.spoke:
		why = "what the client sent was not a whole and valid HTTP request"
	}
	decision := authchain.NoRequest(known.opened, conn.RemoteAddr().String(), state, why)
	if known.affected != nil {
		decision.AddAffectedBy(known.affected.AffectedBy()...)
	}
	c.server.tell(decision)
}
