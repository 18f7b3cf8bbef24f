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
	// faulty is what faults do to it; nil where there are to be none.
	faulty *faultyConn
}

type connectionKey struct{}

// follow has server tell of its connections.
func (s *Server) follow(server *http.Server) {
	c := &connections{server: s}
	server.ConnContext = c.opened
	server.ConnState = c.changed
}

func (c *connections) opened(ctx context.Context, conn net.Conn) context.Context {
	opened := &connection{opened: time.Now(), faulty: faultyConnOf(conn)}
	c.open.Store(conn, opened)
	return context.WithValue(ctx, connectionKey{}, opened)
}

// asked notes that a connection has had a request.
func asked(r *http.Request) {
	if c, ok := r.Context().Value(connectionKey{}).(*connection); ok && !c.asked.Load() {
		c.asked.Store(true)
	}
}

func (c *connections) changed(conn net.Conn, state http.ConnState) {
	if faulty := faultyConnOf(conn); faulty != nil {
		faulty.changed(state)
	}
	switch state {
	case http.StateActive:
		if known, ok := c.open.Load(conn); ok {
			known.(*connection).spoke = true
		}
	case http.StateHijacked:
		c.open.Delete(conn)
	case http.StateClosed:
		if known, ok := c.open.LoadAndDelete(conn); ok {
			c.closed(conn, known.(*connection))
		}
	}
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
	if known.faulty != nil {
		decision.AddAffectedBy(known.faulty.faults...)
	}
	c.server.tell(decision)
}
