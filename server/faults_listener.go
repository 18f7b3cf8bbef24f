package server

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"fauxlet/authchain"
	"fauxlet/internal/faults"
)

// faultyListener is one of a Server's ports, with the faults that strike connections. Connections that are idle when such
// a fault begins or ends are closed: a client that keeps them would see nothing of it.
type faultyListener struct {
	server *Server
	// secure is false of the read-only port, which can be closed, and has no other faults.
	secure  bool
	address net.Addr
	follow  func() // ends the following of faults

	mu sync.Mutex
	// inner is nil while connections are refused; changed is closed when it is another.
	inner   net.Listener
	changed chan struct{}
	closed  bool
	retry   *time.Timer
	// conns are those that are open, holes those that are never answered, with the fault that made them so.
	conns map[*faultyConn]bool
	holes map[net.Conn]*faults.Active
	// active are the faults of connections that strike this node.
	active []*faults.Active
	// change counts changes of active.
	change atomic.Int64
}

// spoilt is one of the Server's ports with the faults that strike its connections, from now on until it is closed.
func (s *Server) spoilt(inner net.Listener, secure bool) net.Listener {
	if _, already := inner.(*faultyListener); already || s.faults == nil {
		return inner
	}
	l := &faultyListener{
		server: s, secure: secure, address: inner.Addr(), inner: inner, changed: make(chan struct{}),
		conns: map[*faultyConn]bool{}, holes: map[net.Conn]*faults.Active{},
	}
	l.follow = s.faults.Follow(l.apply)
	l.apply()
	return l
}

func (l *faultyListener) Addr() net.Addr { return l.address }

// ofConnections are the kinds that strike connections, and ofSecure those that the read-only port has not.
var (
	ofConnections = []string{faults.ConnectionRefused}
	ofSecure      = []string{faults.ConnectionRefused, faults.ServingCertificate, faults.ConnectionReset, faults.ConnectionBlackHole, faults.SlowHandshake}
)

// apply has the listener be as the faults of this moment want it.
func (l *faultyListener) apply() {
	kinds := ofConnections
	if l.secure {
		kinds = ofSecure
		l.server.currentChain() // is looked at, at each change, so that nothing is remembered that should be forgotten
	}
	node := l.server.target()
	active := l.server.faults.Version().OfNode(node.Node, kinds...)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || slices.Equal(active, l.active) {
		return
	}
	l.active = active
	l.change.Add(1)
	for conn := range l.conns {
		if conn.idle.Load() {
			conn.Conn.Close()
		}
	}
	for conn, fault := range l.holes {
		if !slices.Contains(active, fault) {
			conn.Close()
		}
	}
	refused := len(active) > 0 && active[0].Kind == faults.ConnectionRefused
	switch {
	case refused && l.inner != nil:
		active[0].Apply(&node)
		l.inner.Close()
		l.become(nil)
		l.server.logger.Warn("connections are refused from now on, by a fault", zap.String("fault", active[0].Name), zap.Stringer("address", l.address))
	case !refused && l.inner == nil:
		l.reopen()
	}
}

// become has another listener, or none, behind this one.
func (l *faultyListener) become(inner net.Listener) {
	l.inner = inner
	close(l.changed)
	l.changed = make(chan struct{})
}

// retryListen is how long it takes until a port that another program has taken is tried again.
const retryListen = time.Second

// reopen listens again where it did, as soon as that is possible.
func (l *faultyListener) reopen() {
	inner, err := net.Listen(l.address.Network(), l.address.String())
	if err == nil {
		l.become(inner)
		l.server.logger.Info("connections are accepted again", zap.Stringer("address", l.address))
		return
	}
	l.server.logger.Error("the port that was closed by a fault cannot be opened again; it is tried each second", zap.Stringer("address", l.address), zap.Error(err))
	l.retry = time.AfterFunc(retryListen, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.inner == nil && !l.closed && !slices.ContainsFunc(l.active, func(a *faults.Active) bool { return a.Kind == faults.ConnectionRefused }) {
			l.reopen()
		}
	})
}

func (l *faultyListener) state() (inner net.Listener, changed <-chan struct{}, closed bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.inner, l.changed, l.closed
}

func (l *faultyListener) Accept() (net.Conn, error) {
	for {
		inner, changed, closed := l.state()
		switch {
		case closed:
			return nil, net.ErrClosed
		case inner == nil:
			<-changed
			continue
		}
		accepted, err := inner.Accept()
		if err != nil {
			if now, _, closed := l.state(); now == inner && !closed {
				return nil, err
			}
			continue
		}
		if conn := l.accepted(accepted); conn != nil {
			return conn, nil
		}
	}
}

// accepted is a connection that is to be served, nil if a fault has taken it away.
func (l *faultyListener) accepted(accepted net.Conn) net.Conn {
	conn := &faultyConn{Conn: accepted, listener: l, change: l.change.Load()}
	if l.secure && !l.server.faults.Empty() {
		node := l.server.target()
		if reset := l.server.faults.Apply(&node, faults.ConnectionReset); reset != nil {
			if tcp, ok := accepted.(interface{ SetLinger(int) error }); ok {
				tcp.SetLinger(0)
			}
			accepted.Close()
			l.server.lost(accepted, reset, "the connection was reset before a handshake")
			return nil
		}
		if hole := l.server.faults.Apply(&node, faults.ConnectionBlackHole); hole != nil {
			l.swallow(accepted, hole)
			l.server.lost(accepted, hole, "the connection was accepted, and is never answered")
			return nil
		}
		if slow := l.server.faults.Apply(&node, faults.SlowHandshake); slow != nil {
			conn.slow = slow
			conn.strike(slow)
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		accepted.Close()
		return nil
	}
	l.conns[conn] = true
	return conn
}

// lost tells of a connection that a fault has taken away.
func (s *Server) lost(conn net.Conn, fault *faults.Active, why string) {
	s.metrics.handshakes.Inc()
	decision := authchain.FailedHandshake(conn.RemoteAddr().String(), why)
	decision.AddAffectedBy(fault.Name)
	s.tell(decision)
}

// swallow keeps a connection, and answers nothing that comes, until the client goes, the fault ends, or the listener closes.
func (l *faultyListener) swallow(conn net.Conn, fault *faults.Active) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || !slices.Contains(l.active, fault) {
		conn.Close()
		return
	}
	l.holes[conn] = fault
	go func() {
		io.Copy(io.Discard, conn)
		conn.Close()
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.holes, conn)
	}()
}

func (l *faultyListener) Close() error {
	l.follow()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil
	}
	l.closed = true
	if l.retry != nil {
		l.retry.Stop()
	}
	for conn := range l.holes {
		conn.Close()
	}
	var err error
	if l.inner != nil {
		err = l.inner.Close()
	}
	l.become(nil)
	return err
}

// faultyConn is a connection of a faultyListener.
type faultyConn struct {
	net.Conn
	listener *faultyListener
	// faults are the names of those that struck it. They are written until its handshake is done.
	faults []string
	// slow is waited for once, before anything is read.
	slow *faults.Active
	// idle: no request is under way. kept: there was one. change is that of the listener when the connection was made.
	idle   atomic.Bool
	kept   bool
	change int64
}

// strike says that a fault has struck the connection, which its handshake will be told with if it fails.
func (c *faultyConn) strike(fault *faults.Active) {
	c.faults = append(c.faults, fault.Name)
	c.listener.server.struck.Store(c.RemoteAddr().String(), c)
}

func (c *faultyConn) Read(p []byte) (int, error) {
	if slow := c.slow; slow != nil {
		c.slow = nil
		if err := c.listener.server.wait(context.Background(), slow.Delay.Duration); err != nil {
			return 0, err
		}
	}
	return c.Conn.Read(p)
}

func (c *faultyConn) Close() error {
	l := c.listener
	l.mu.Lock()
	delete(l.conns, c)
	l.mu.Unlock()
	l.server.struck.Delete(c.RemoteAddr().String())
	return c.Conn.Close()
}

// CloseWrite is net/http's way to end a connection on which the client may still be sending.
func (c *faultyConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// changed is told what becomes of the connection, by its own goroutine.
func (c *faultyConn) changed(state http.ConnState) {
	c.idle.Store(state == http.StateIdle)
	if state != http.StateIdle {
		return
	}
	c.kept = true
	if c.isStale() {
		c.Conn.Close()
	}
}

// isStale says whether faults of connections have begun or ended since the connection was made.
func (c *faultyConn) isStale() bool { return c.change != c.listener.change.Load() }

// leaveStale has a request that comes over a stale connection sent over another one: with HTTP/1.1 as if the connection had
// been closed before the request came, which clients expect of a connection that was idle; with HTTP/2, where others may be
// under way, after this request.
func leaveStale(w http.ResponseWriter, r *http.Request) {
	c := connOf(r)
	if c == nil || !c.isStale() {
		return
	}
	if r.ProtoMajor > 1 {
		w.Header().Set("Connection", "close")
	} else if c.kept {
		panic(http.ErrAbortHandler)
	}
}

func faultyConnOf(conn net.Conn) *faultyConn {
	if secure, ok := conn.(*tls.Conn); ok {
		conn = secure.NetConn()
	}
	c, _ := conn.(*faultyConn)
	return c
}

// connOf is the connection that a request came over, nil where it is not of a faultyListener.
func connOf(r *http.Request) *faultyConn {
	if c, _ := r.Context().Value(connectionKey{}).(*connection); c != nil {
		return c.faulty
	}
	return nil
}
