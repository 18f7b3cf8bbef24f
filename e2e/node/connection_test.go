package node

import (
	"io"
	"net"
	"net/url"
	"path/filepath"
	"sync"
	"testing"

	"fauxlet/e2e/internal/controlplane"
	"fauxlet/e2e/internal/expect"
)

// connection forwards TCP connections of a node to kube-apiserver. A test can cut or block them.
type connection struct {
	net.Listener
	to string

	mu    sync.Mutex
	conns map[net.Conn]bool
	// If the field "closed" is true, new connections are closed at once. If the field "silent" is true, connections
	// stay open, but no data is forwarded.
	closed, silent bool
}

// newConnection starts a connection to a control plane. It also returns a kubeconfig with which the node uses the
// connection.
func newConnection(t testing.TB, plane *controlplane.Plane, node string) (*connection, string) {
	t.Helper()
	to, err := url.Parse(plane.URL)
	expect.NoError(t, err)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	expect.NoError(t, err)
	r := &connection{Listener: listener, to: to.Host, conns: map[net.Conn]bool{}}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { r.carry(conn) })
		}
	})
	t.Cleanup(func() {
		listener.Close()
		r.cut()
		serving.Wait()
	})
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	direct := plane.URL
	plane.URL = "https://" + listener.Addr().String()
	err = plane.WriteKubeconfig(kubeconfig, "system:node:"+node, "system:nodes")
	plane.URL = direct
	expect.NoError(t, err)
	return r, kubeconfig
}

func (r *connection) carry(conn net.Conn) {
	defer conn.Close()
	other, err := net.Dial("tcp", r.to)
	if err != nil {
		return
	}
	defer other.Close()
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		return
	}
	r.conns[conn], r.conns[other] = true, true
	r.mu.Unlock()
	var both sync.WaitGroup
	for _, pair := range [][2]net.Conn{{conn, other}, {other, conn}} {
		both.Go(func() {
			_, _ = io.Copy(&muted{r, pair[0]}, pair[1])
			conn.Close()
			other.Close()
		})
	}
	both.Wait()
	r.mu.Lock()
	delete(r.conns, conn)
	delete(r.conns, other)
	r.mu.Unlock()
}

// muted is a writer that discards data while the field "silent" of the connection is true.
type muted struct {
	connection *connection
	to         io.Writer
}

func (m *muted) Write(b []byte) (int, error) {
	m.connection.mu.Lock()
	silent := m.connection.silent
	m.connection.mu.Unlock()
	if silent {
		return len(b), nil
	}
	return m.to.Write(b)
}

// cut closes all open connections.
func (r *connection) cut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for conn := range r.conns {
		conn.Close()
	}
}

func (r *connection) set(closed, silent bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed, r.silent = closed, silent
}
