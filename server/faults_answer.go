package server

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"k8s.io/apiserver/pkg/endpoints/responsewriter"

	"fauxlet/authchain"
	"fauxlet/internal/faults"
)

// answering serves a request that may pass, with the faults that strike its answer.
func (s *Server) answering(w http.ResponseWriter, r *http.Request, next func(http.ResponseWriter, *http.Request) error) error {
	if s.faults.Empty() {
		return next(w, r)
	}
	target := s.requestTarget(r)
	strike := func(kind string) *faults.Active {
		fault := s.faults.Apply(&target, kind)
		if fault != nil {
			authchain.FromContext(r.Context()).AddAffectedBy(fault.Name)
		}
		return fault
	}
	if slow := strike(faults.SlowFirstByte); slow != nil {
		if err := s.wait(r.Context(), slow.Delay.Duration); err != nil {
			panic(http.ErrAbortHandler) // the client is gone
		}
	}
	if failing := strike(faults.Status); failing != nil {
		return &answer{status: failing.Status, body: cmp.Or(failing.Body, http.StatusText(failing.Status))}
	}
	slow, cut := strike(faults.SlowBody), strike(faults.Cut)
	if slow == nil && cut == nil {
		return next(w, r)
	}
	out := &spoiledWriter{ResponseWriter: w, spoiler: spoiler{server: s, ctx: r.Context(), slow: slow, cut: cut}}
	err := next(responsewriter.WrapForHTTP1Or2(out), r)
	if out.isCut {
		if err != nil {
			authchain.FromContext(r.Context()).Err = err.Error()
		}
		panic(http.ErrAbortHandler)
	}
	return err
}

// requestTarget is the request as faults know it: what its path names, and who sends it.
func (s *Server) requestTarget(r *http.Request) faults.Target {
	t := s.target()
	t.Method, t.Route = r.Method, r.URL.Path
	if d := authchain.FromContext(r.Context()); d.User != nil {
		t.User, t.Groups = d.User.GetName(), d.User.GetGroups()
	}
	part := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	switch last := len(part) - 1; part[0] {
	case "containerLogs", "exec", "attach", "run", "checkpoint":
		if last >= 3 { // between pod and container may be a uid
			t.Namespace, t.Pod, t.Container = part[1], part[2], part[last]
		}
	case "portForward", "allocatedPods":
		if last >= 2 {
			t.Namespace, t.Pod = part[1], part[2]
		}
	}
	return t
}

// wait waits, unless ctx is done first, which is an error, or the Server stops.
func (s *Server) wait(ctx context.Context, delay time.Duration) error {
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-s.draining.Done():
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

// spoiler slows down what is written, cuts it off, or both.
type spoiler struct {
	server    *Server
	ctx       context.Context
	slow, cut *faults.Active // or nil
	written   int64
	isCut     bool
}

// pieces is how many a slow second has.
const pieces = 10

// write writes p piece by piece, which send does, and ends where the cut is.
func (s *spoiler) write(p []byte, send func([]byte) (int, error)) (written int, err error) {
	for len(p) > 0 {
		piece := p
		if s.cut != nil {
			left := s.cut.After - s.written
			if left <= 0 {
				s.isCut = true
				return written, fmt.Errorf("cut after %d bytes by the fault %s", s.cut.After, s.cut.Name)
			}
			piece = piece[:min(int64(len(piece)), left)]
		}
		if s.slow != nil {
			piece = piece[:min(int64(len(piece)), max(s.slow.Rate/pieces, 1))]
		}
		n, err := send(piece)
		written, s.written = written+n, s.written+int64(n)
		if err != nil {
			return written, err
		}
		if s.slow != nil {
			if err := s.server.wait(s.ctx, time.Duration(n)*time.Second/time.Duration(s.slow.Rate)); err != nil {
				return written, err
			}
		}
		p = p[n:]
	}
	return written, nil
}

// spoiledWriter is an answer that is slow or cut off.
type spoiledWriter struct {
	http.ResponseWriter
	spoiler
}

func (w *spoiledWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// Write writes nothing more once the answer has been cut off: an error of the handler is not a part of it.
func (w *spoiledWriter) Write(p []byte) (int, error) {
	if len(p) == 0 {
		return w.ResponseWriter.Write(p)
	}
	written, err := w.write(p, func(piece []byte) (int, error) {
		n, err := w.ResponseWriter.Write(piece)
		if w.slow != nil && err == nil {
			err = http.NewResponseController(w.ResponseWriter).Flush()
		}
		return n, err
	})
	if w.isCut {
		// What came before it goes out, the headers at least.
		w.ResponseWriter.Write(nil)
		http.NewResponseController(w.ResponseWriter).Flush()
	}
	return written, err
}

// Hijack gives a connection whose stream to the client is slow or cut off: what follows the head of the answer.
func (w *spoiledWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, buffered, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	spoiled := &spoiledConn{Conn: conn, spoiler: w.spoiler}
	return spoiled, bufio.NewReadWriter(buffered.Reader, bufio.NewWriter(spoiled)), nil
}

type spoiledConn struct {
	net.Conn
	spoiler
	// begun: the head has been written.
	begun bool
}

func (c *spoiledConn) Write(p []byte) (int, error) {
	head := 0
	if !c.begun {
		end := bytes.Index(p, []byte("\r\n\r\n"))
		if end < 0 {
			return c.Conn.Write(p)
		}
		c.begun, head = true, end+4
		if n, err := c.Conn.Write(p[:head]); err != nil {
			return n, err
		}
	}
	n, err := c.write(p[head:], c.Conn.Write)
	if c.isCut {
		hangUp(c.Conn)
	}
	return head + n, err
}

// hangUp closes a connection as one is closed whose other side is gone: without the word of TLS that it ends here.
func hangUp(conn net.Conn) {
	if secure, ok := conn.(*tls.Conn); ok {
		conn = secure.NetConn()
	}
	conn.Close()
}
