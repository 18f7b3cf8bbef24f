package faulty

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"fauxlet/internal/faults"
)

// conn is a connection that a listener has accepted, with the faults that affect it.
type conn struct {
	net.Conn
	listener *listener
	// affectedBy lists the names of the faults that affect the connection. It is complete when the handshake is done.
	affectedBy []string
	// slow is a slow-handshake fault that delays the first Read, or nil. If there is one, the context "open" ends when
	// Close calls the function "closed".
	slow   *faults.Active
	open   context.Context
	closed context.CancelFunc
	// idle is true while no request is in progress. reused is true after the first request. The field "change" is the
	// value of the counter listener.changes when the connection was made.
	idle   atomic.Bool
	reused bool
	change int64
}

// AffectedBy returns the names of faults, which the server adds to its Decisions about the connection.
func (c *conn) AffectedBy() []string { return c.affectedBy }

// NetConn returns the connection without faults.
func (c *conn) NetConn() net.Conn { return c.Conn }

func (c *conn) addAffectedBy(fault *faults.Active) { c.affectedBy = append(c.affectedBy, fault.Name) }

func (c *conn) Read(p []byte) (int, error) {
	if slow := c.slow; slow != nil {
		c.slow = nil
		if c.listener.node.wait(c.open, slow.Delay.Duration) != nil {
			return 0, net.ErrClosed
		}
	}
	return c.Conn.Read(p)
}

// Close also ends the delay of a slow-handshake fault.
func (c *conn) Close() error {
	if c.closed != nil {
		c.closed()
	}
	l := c.listener
	l.mu.Lock()
	delete(l.conns, c)
	l.mu.Unlock()
	return c.Conn.Close()
}

// CloseWrite closes the sending side of the connection, for net/http.
func (c *conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// setState closes an idle connection if connection faults have begun or ended since it was made. The http.Server calls
// setState in the connection's own goroutine when the state of the connection changes.
func (c *conn) setState(state http.ConnState) {
	c.idle.Store(state == http.StateIdle)
	if state != http.StateIdle {
		return
	}
	c.reused = true
	if c.isStale() {
		c.Conn.Close()
	}
}

// isStale reports whether connection faults have begun or ended since the connection was made.
func (c *conn) isStale() bool { return c.change != c.listener.changes.Load() }

// connOf returns the conn inside a TLS or plain connection, or nil if no listener of this package has accepted it.
func connOf(inner net.Conn) *conn {
	if secure, ok := inner.(*tls.Conn); ok {
		inner = secure.NetConn()
	}
	c, _ := inner.(*conn)
	return c
}

// lostConn stands for a connection that a fault has reset or left unanswered. Its Read returns the reason as an error,
// so that the server records a failed handshake.
type lostConn struct {
	remote, local net.Addr
	fault         string
	err           error
}

func newLostConn(c net.Conn, fault *faults.Active, reason string) *lostConn {
	return &lostConn{c.RemoteAddr(), c.LocalAddr(), fault.Name, errors.New(reason)}
}

func (c *lostConn) AffectedBy() []string             { return []string{c.fault} }
func (c *lostConn) Read([]byte) (int, error)         { return 0, c.err }
func (c *lostConn) Write([]byte) (int, error)        { return 0, c.err }
func (c *lostConn) Close() error                     { return nil }
func (c *lostConn) LocalAddr() net.Addr              { return c.local }
func (c *lostConn) RemoteAddr() net.Addr             { return c.remote }
func (c *lostConn) SetDeadline(time.Time) error      { return nil }
func (c *lostConn) SetReadDeadline(time.Time) error  { return nil }
func (c *lostConn) SetWriteDeadline(time.Time) error { return nil }
