package server

import (
	"container/list"
	"context"
	"crypto/tls"
	"log"
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
	open      sync.Map // net.Conn -> *connection
	byAddress sync.Map // address of the client -> *connection
}

type connection struct {
	opened time.Time
	// requested is true if the connection has had a request. The request has its own Decision.
	requested atomic.Bool
	// received is true if the client has sent at least one byte. Only the goroutine that serves the connection uses it.
	received bool
	// serving is the number of requests in progress.
	serving atomic.Int32
	// surplus is true if the ConnectionLimit has closed the connection.
	surplus atomic.Bool
	// The field "in" is the list of the ConnectionLimit that contains this connection, or nil if none does. The field
	// "element" is the connection's element in that list. The mutex of the ConnectionLimit protects both fields.
	in      *list.List
	element *list.Element
	// The field "below" is the network connection that carries the TLS connection. On the read-only port, which has no
	// TLS, it is the connection itself.
	below net.Conn
	// The field "affected" is the same connection as "below" if that has a method AffectedBy, and nil otherwise.
	affected affected
}

type connectionKey struct{}

// affected is a connection to which faults can apply. AffectedBy returns the names of the faults that affect it; see
// [Listeners].
type affected interface{ AffectedBy() []string }

func (c *connection) affectedBy() []string {
	if c == nil || c.affected == nil {
		return nil
	}
	return c.affected.AffectedBy()
}

// connectionOf returns the connection of a request. It returns nil if the caller serves [Server.Handler] on its own
// listener.
func connectionOf(r *http.Request) *connection {
	c, _ := r.Context().Value(connectionKey{}).(*connection)
	return c
}

func (s *recorder) trackConnections(server *http.Server) {
	c := &connections{recorder: s}
	server.ConnContext, server.ConnState = c.opened, c.changed
	server.ErrorLog = log.New(errorWriter{s, c}, "", 0)
}

func (c *connections) opened(ctx context.Context, conn net.Conn) context.Context {
	opened, below := &connection{opened: time.Now()}, conn
	if secure, ok := conn.(*tls.Conn); ok {
		below = secure.NetConn()
	}
	opened.below = below
	opened.affected, _ = below.(affected)
	c.open.Store(conn, opened)
	c.byAddress.Store(conn.RemoteAddr().String(), opened)
	c.limit.add(opened)
	return context.WithValue(ctx, connectionKey{}, opened)
}

// The method "at" returns the open connection from the given client address. It returns nil if there is none.
func (c *connections) at(remote string) *connection {
	if c == nil {
		return nil
	}
	found, _ := c.byAddress.Load(remote)
	open, _ := found.(*connection)
	return open
}

// remove stops tracking a connection and returns it. It returns nil if the connection is not tracked.
func (c *connections) remove(conn net.Conn) *connection {
	value, _ := c.open.LoadAndDelete(conn)
	removed, ok := value.(*connection)
	if ok {
		c.byAddress.CompareAndDelete(conn.RemoteAddr().String(), removed)
		c.limit.remove(removed)
	}
	return removed
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
		if ended := c.remove(conn); ended != nil && !ended.requested.Load() {
			c.closed(conn, ended)
		}
	}
}

// surplusReason is the reason in the Decision about a connection that a ConnectionLimit has closed.
const surplusReason = "the server closed the connection, because too many connections were open"

// The method "closed" records the Decision about a connection that was closed without a request.
func (c *connections) closed(conn net.Conn, ended *connection) {
	var state *tls.ConnectionState
	if secure, ok := conn.(*tls.Conn); ok {
		now := secure.ConnectionState()
		if !now.HandshakeComplete {
			return // errorWriter records the failed handshake
		}
		state = &now
	}
	reason := "the connection was closed before anything was sent"
	switch {
	case ended.surplus.Load():
		reason = surplusReason
	case ended.received && state != nil && state.NegotiatedProtocol == "h2":
		reason = "the client began HTTP/2, but sent no request"
	case ended.received:
		reason = "the client did not send a complete and valid HTTP request"
	case state != nil:
		reason = "the connection was closed after the TLS handshake, before a request"
	}
	decision := authchain.NoRequest(ended.opened, conn.RemoteAddr().String(), state, reason)
	decision.AddAffectedBy(ended.affectedBy()...)
	c.record(decision)
}
