// Package oneconn serves HTTP on a connection that is there already.
package oneconn

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
)

// Serve serves handler on conn until the connection ends, and closes it. The context of its requests is done once the
// other side is gone, even where a handler has taken the connection over and sees it only through its own reads.
func Serve(ctx context.Context, conn net.Conn, server *http.Server) {
	ctx, cancel := context.WithCancel(ctx)
	listener := &listener{done: make(chan struct{})}
	watched := &watched{Conn: conn, gone: cancel, closed: sync.OnceFunc(func() { close(listener.done) })}
	listener.conn = watched
	server.ConnContext = func(context.Context, net.Conn) context.Context { return ctx }
	stop := context.AfterFunc(ctx, func() { watched.Close() })
	defer stop()
	_ = server.Serve(listener) // which ends with the listener
}

// listener gives the one connection, and ends when it is closed.
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

// watched tells when the connection is of no more use.
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
