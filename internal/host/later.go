package host

import (
	"context"
	"net"
	"sync"

	"fauxlet/server"
)

// prepareLater opens the port of the i-th node and adds the node to its cluster. The node's server is made later, by
// serveLater. It differs from the first node's server only in names and ports, so making it does not fail.
func (h *Host) prepareLater(n *Node, i int) error {
	static, err := h.scenario.staticPods()
	if err != nil {
		return err
	}
	if n.store, err = NewStore(); err != nil {
		return err
	}
	h.makeFaults(n)
	port := h.options.Config.Kubelet.Port
	if port != 0 {
		port += int32(i)
	}
	if n.listeners, err = server.OpenSecurePort(h.options.Config, port); err != nil {
		return err
	}
	n.followFaults()
	return h.register(n, h.options.Config, static)
}

// serveLater waits for the first connection to a node, and then makes the node's server and serves the node until ctx
// is done. So a node without connections needs little memory.
func (h *Host) serveLater(ctx context.Context, n *Node) error {
	port := n.listeners.Secure
	if port == nil {
		<-ctx.Done()
		return nil
	}
	stop := context.AfterFunc(ctx, n.listeners.Close)
	first, err := port.Accept()
	if !stop() {
		if err == nil {
			first.Close()
		}
		return nil
	}
	begun := &begunListener{Listener: port}
	if err == nil { // after an error, the server accepts the next connection, or returns the error
		begun.first = first
	}
	options, _, err := h.serverOptions(n)
	if err == nil {
		n.server, err = server.New(options)
	}
	if err != nil {
		begun.Close()
		return err
	}
	n.faults.FollowCaches(n.server.ResetCaches)
	return n.server.Serve(ctx, &server.Listeners{Secure: begun})
}

// begunListener is a listener that has already accepted a connection. Close also closes this connection, unless Accept
// has returned it.
type begunListener struct {
	net.Listener
	mu    sync.Mutex
	first net.Conn // nil once it is accepted or closed
}

func (l *begunListener) Accept() (net.Conn, error) {
	if first := l.take(); first != nil {
		return first, nil
	}
	return l.Listener.Accept()
}

func (l *begunListener) Close() error {
	if first := l.take(); first != nil {
		first.Close()
	}
	return l.Listener.Close()
}

func (l *begunListener) take() net.Conn {
	l.mu.Lock()
	defer l.mu.Unlock()
	first := l.first
	l.first = nil
	return first
}
