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

// connections tracks the connections of one http.Server. It records a Decision about each connection that ends
// without a request, because no handler runs for such a connection and net/http does not log it.
type connections struct {
	*recorder
	open sync.Map // net.Conn -> *connection
}

// connection is an open connection.
type connection struct {
	opened time.Time
	// requested is true if the connection has had a request. The request has its own Decision.
	requested atomic.Bool
	// received is true if the client has sent any bytes. Only the connection's own goroutine uses it.
	received bool
	// affected is the connection itself if it implements the interface affected; otherwise nil.
	affected affected
}

type connectionKey struct{}

// affected is a connection that returns the names of the faults that affect it; see [Listeners].
type affected interface{ AffectedBy() []string }

// affectedOf returns a connection, or the connection below its TLS, if it implements affected; otherwise nil.
func affectedOf(conn net.Conn) affected {
	if secure, ok := conn.(*tls.Conn); ok {
		conn = secure.NetConn()
	}
	a, _ := conn.(affected)
	return a
}

// affectedBy returns the names of the faults that affect the connection of a request.
func affectedBy(r *http.Request) []string {
	if c, ok := r.Context().Value(connectionKey{}).(*connection); ok && c.affected != nil {
		return c.affected.AffectedBy()
	}
	return nil
}

// trackConnections sets the hooks of an http.Server.
func (s *recorder) trackConnections(server *http.Server) {
	c := &connections{recorder: s}
	server.ConnContext = c.opened
	server.ConnState = c.changed
}

func (c *connections) opened(ctx context.Context, conn net.Conn) context.Context {
	opened := &connection{opened: time.Now(), affected: affectedOf(conn)}
	c.open.Store(conn, opened)
	if opened.affected != nil {
		c.affected.Store(conn.RemoteAddr().String(), opened.affected)
	}
	return context.WithValue(ctx, connectionKey{}, opened)
}

// markRequested records that the connection of r has had a request.
func markRequested(r *http.Request) {
	if c, ok := r.Context().Value(connectionKey{}).(*connection); ok && !c.requested.Load() {
		c.requested.Store(true)
	}
}

func (c *connections) changed(conn net.Conn, state http.ConnState) {
	switch state {
	case http.StateActive:
		if value, ok := c.open.Load(conn); ok {
			value.(*connection).received = true
		}
	case http.StateHijacked:
		c.remove(conn)
	case http.StateClosed:
		if closed := c.remove(conn); closed != nil && !closed.requested.Load() {
			c.closed(conn, closed)
		}
	}
}

// remove stops tracking a connection, and returns it. It returns nil if the connection was not tracked.
func (c *connections) remove(conn net.Conn) *connection {
	value, ok := c.open.LoadAndDelete(conn)
	if !ok {
		return nil
	}
	removed := value.(*connection)
	if removed.affected != nil {
		c.affected.CompareAndDelete(conn.RemoteAddr().String(), removed.affected)
	}
	return removed
}

// closed records the Decision about a connection that had no request.
func (c *connections) closed(conn net.Conn, ended *connection) {
	var state *tls.ConnectionState
	if secure, ok := conn.(*tls.Conn); ok {
		now := secure.ConnectionState()
		if !now.HandshakeComplete {
			return // the http.Server has logged the failed handshake
		}
		state = &now
	}
	reason := "the connection was closed before anything was sent"
	switch {
	case ended.received && state != nil && state.NegotiatedProtocol == "h2":
		reason = "the client began HTTP/2, but sent no request"
	case ended.received:
		reason = "the client did not send a complete and valid HTTP request"
	case state != nil:
		reason = "the connection was closed after the TLS handshake, before a request"
	}
	decision := authchain.NoRequest(ended.opened, conn.RemoteAddr().String(), state, reason)
	if ended.affected != nil {
		decision.AddAffectedBy(ended.affected.AffectedBy()...)
	}
	c.record(decision)
}
