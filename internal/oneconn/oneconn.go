// Package oneconn serves HTTP on one existing connection. [Pair] makes a connection within the process.
package oneconn

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
)

// Serve runs server on conn until the connection ends or ctx is done, and then closes conn. When the client closes the
// connection, or only its side for writing, the context of the current request is cancelled; the response can still be
// written. If a handler has hijacked the connection, the context is cancelled only if that handler reads from the
// connection. Serve sets server.ConnContext.
func Serve(ctx context.Context, conn net.Conn, server *http.Server) {
	requests, cancel := context.WithCancel(ctx)
	listener := &listener{done: make(chan struct{})}
	watched := &watched{Conn: conn, gone: cancel, closed: sync.OnceFunc(func() { close(listener.done) })}
	listener.conn = watched
	server.ConnContext = func(context.Context, net.Conn) context.Context { return requests }
	stop := context.AfterFunc(ctx, func() { watched.Close() })
	defer stop()
	_ = server.Serve(listener) // returns when Accept fails
}

// listener accepts one connection. The second call of Accept waits until the connection is closed, and then fails.
type listener struct {
	conn  net.Conn
	given bool
	done  chan struct{}
}

func (l *listener) Accept() (net.Conn, error) {
	if !l.given {
		l.given = true
		return l.conn, nil
	}
	<-l.done
	return nil, io.EOF
}

func (l *listener) Close() error   { return nil }
func (l *listener) Addr() net.Addr { return l.conn.LocalAddr() }

// watched is a connection that calls the function "gone" when a read fails, except with a timeout. When the connection
// is closed, it calls "gone" and then the function "closed".
type watched struct {
	net.Conn
	gone   context.CancelFunc
	closed func()
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.Conn.Read(p)
	if timeout := net.Error(nil); err != nil && !(errors.As(err, &timeout) && timeout.Timeout()) {
		w.gone()
	}
	return n, err
}

func (w *watched) Close() error {
	err := w.Conn.Close()
	w.gone()
	w.closed()
	return err
}
