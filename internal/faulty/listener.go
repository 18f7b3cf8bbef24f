package faulty

import (
	"context"
	"io"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"fauxlet/internal/faults"
)

// listener decorates one of a node's ports with connection faults. When a connection fault begins or ends, the listener
// closes idle connections, so that clients notice the change.
type listener struct {
	node     *Node
	secure   bool // secure is false for the read-only port.
	address  net.Addr
	unfollow func()

	mu sync.Mutex
	// inner is the open port, or nil while connections are refused. When inner is replaced, "changed" is closed.
	inner   net.Listener
	changed chan struct{}
	closed  bool
	retry   *time.Timer
	// conns are the open connections that are served. blackHoles are the open connections that a fault does not answer.
	conns      map[*conn]bool
	blackHoles map[net.Conn]*faults.Active
	active     []*faults.Active // active has the active connection faults of this port.
	changes    atomic.Int64     // changes counts the changes of the field "active".
}

// Listener decorates one of the node's ports with connection faults. The argument "secure" is false for the read-only
// port. While a connection-refused fault is active, the port is closed. Closing the returned listener closes the port
// and ends all delays by faults of the node.
//
// If a fault resets a connection or leaves it unanswered, Accept returns a lostConn in its place. Every read from a
// lostConn fails with the reason, so the server records a failed handshake.
func (n *Node) Listener(inner net.Listener, secure bool) net.Listener {
	l := &listener{node: n, secure: secure, address: inner.Addr(), inner: inner, changed: make(chan struct{}),
		conns: map[*conn]bool{}, blackHoles: map[net.Conn]*faults.Active{}}
	if n.BlackHoles == nil {
		n.BlackHoles = NewBlackHoles(MostBlackHoles)
	}
	l.unfollow = n.faults.Follow(l.update)
	l.update()
	return l
}

func (l *listener) Addr() net.Addr { return l.address }

// connectionKinds are the kinds of fault that affect connections to the secure port. The kind connection-refused must
// be first, because it is the only kind that affects the read-only port too.
var connectionKinds = []string{faults.ConnectionRefused, faults.ServingCertificate, faults.ConnectionReset,
	faults.ConnectionBlackHole, faults.SlowHandshake}

// update makes the listener apply the faults that are active now. It runs after each change of the active faults.
func (l *listener) update() {
	kinds := connectionKinds
	if !l.secure {
		kinds = kinds[:1]
	}
	active := l.node.active(kinds...)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || slices.Equal(active, l.active) {
		return
	}
	l.active = active
	l.changes.Add(1)
	for c := range l.conns {
		if c.idle.Load() {
			c.Conn.Close()
		}
	}
	for c, fault := range l.blackHoles {
		if !slices.Contains(active, fault) {
			c.Close()
		}
	}
	refused := len(active) > 0 && active[0].Kind == faults.ConnectionRefused
	switch {
	case refused && l.inner != nil:
		node := l.node.target()
		active[0].Apply(&node)
		l.inner.Close()
		l.replace(nil)
		l.node.logger.Warn("a fault makes the node refuse connections from now on",
			zap.String("fault", active[0].Name), zap.Stringer("address", l.address))
	case !refused && l.inner == nil:
		l.reopen()
	}
}

// replace sets the field "inner". The caller holds mu.
func (l *listener) replace(inner net.Listener) {
	l.inner = inner
	close(l.changed)
	l.changed = make(chan struct{})
}

// retryInterval is how often the listener tries to open its port again if another program has taken the port meanwhile.
const retryInterval = time.Second

// reopen opens the port again after a connection-refused fault, or tries again later. The caller holds mu.
func (l *listener) reopen() {
	inner, err := net.Listen(l.address.Network(), l.address.String())
	if err == nil {
		l.replace(inner)
		l.node.logger.Info("connections are accepted again", zap.Stringer("address", l.address))
		return
	}
	l.node.logger.Error("cannot reopen the port that a fault closed; retrying every second",
		zap.Stringer("address", l.address), zap.Error(err))
	l.retry = time.AfterFunc(retryInterval, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		refused := len(l.active) > 0 && l.active[0].Kind == faults.ConnectionRefused
		if l.inner == nil && !l.closed && !refused {
			l.reopen()
		}
	})
}

func (l *listener) state() (inner net.Listener, changed <-chan struct{}, closed bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.inner, l.changed, l.closed
}

func (l *listener) Accept() (net.Conn, error) {
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
		if c := l.decorate(accepted); c != nil {
			return c, nil
		}
	}
}

// decorate applies the active faults to an accepted connection, and returns the connection to serve, or nil if the
// listener has been closed meanwhile.
func (l *listener) decorate(accepted net.Conn) net.Conn {
	c := &conn{Conn: accepted, listener: l, change: l.changes.Load()}
	if l.secure && !l.node.faults.Empty() {
		if fault := l.node.applyToNode(faults.ConnectionReset); fault != nil {
			if tcp, ok := accepted.(interface{ SetLinger(int) error }); ok {
				tcp.SetLinger(0)
			}
			accepted.Close()
			return newLostConn(accepted, fault, "the connection was reset before a handshake")
		}
		if fault := l.node.applyToNode(faults.ConnectionBlackHole); fault != nil {
			l.swallow(accepted, fault)
			return newLostConn(accepted, fault, "the connection was accepted, and is never answered")
		}
		if fault := l.node.applyToNode(faults.SlowHandshake); fault != nil {
			c.slow = fault
			c.open, c.closed = context.WithCancel(context.Background())
			c.addAffectedBy(fault)
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		accepted.Close()
		return nil
	}
	l.conns[c] = true
	return c
}

// swallow keeps a connection open and never answers. The connection is closed when the client closes it, when the fault
// ends, when the listener is closed, or when there are too many such connections and this one is the oldest.
func (l *listener) swallow(c net.Conn, fault *faults.Active) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || !slices.Contains(l.active, fault) {
		c.Close()
		return
	}
	l.blackHoles[c] = fault
	counted := l.node.BlackHoles.add(c)
	go func() {
		io.Copy(io.Discard, c)
		c.Close()
		l.node.BlackHoles.remove(counted)
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.blackHoles, c)
	}()
}

func (l *listener) Close() error {
	l.unfollow()
	l.node.stop()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil
	}
	l.closed = true
	if l.retry != nil {
		l.retry.Stop()
	}
	for c := range l.blackHoles {
		c.Close()
	}
	var err error
	if l.inner != nil {
		err = l.inner.Close()
	}
	l.replace(nil)
	return err
}
