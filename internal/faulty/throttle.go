package faulty

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"fauxlet/internal/faults"
)

// throttle applies a slow-body fault, which limits the rate of writes, and a cut fault, which makes writes fail after a
// number of bytes.
type throttle struct {
	node      *Node
	ctx       context.Context
	slow, cut *faults.Active // the slow-body fault or nil, and the cut fault or nil
	written   int64
	isCut     bool
}

// chunksPerSecond is how many chunks per second are written during a slow-body fault.
const chunksPerSecond = 10

// write passes p to the function "send", in chunks. It returns an error if a cut fault ends the stream within p.
func (t *throttle) write(p []byte, send func([]byte) (int, error)) (written int, err error) {
	for len(p) > 0 {
		chunk := p
		if t.cut != nil {
			left := t.cut.After - t.written
			if left <= 0 {
				t.isCut = true
				return written, fmt.Errorf("the fault %s ends the connection after %d bytes", t.cut.Name,
					t.cut.After)
			}
			chunk = chunk[:min(int64(len(chunk)), left)]
		}
		if t.slow != nil {
			chunk = chunk[:min(int64(len(chunk)), max(t.slow.Rate/chunksPerSecond, 1))]
		}
		n, err := send(chunk)
		written, t.written = written+n, t.written+int64(n)
		if err != nil {
			return written, err
		}
		if t.slow != nil {
			if err := t.node.wait(t.ctx, time.Duration(n)*time.Second/time.Duration(t.slow.Rate)); err != nil {
				return written, err
			}
		}
		p = p[n:]
	}
	return written, nil
}

// responseWriter writes a response with a slow-body or cut fault.
type responseWriter struct {
	http.ResponseWriter
	throttle
}

func (w *responseWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// Write writes nothing after the byte at which a cut fault ends the response, not even a handler's error message.
func (w *responseWriter) Write(p []byte) (int, error) {
	if len(p) == 0 {
		return w.ResponseWriter.Write(p)
	}
	written, err := w.write(p, func(chunk []byte) (int, error) {
		n, err := w.ResponseWriter.Write(chunk)
		if w.slow != nil && err == nil {
			err = http.NewResponseController(w.ResponseWriter).Flush()
		}
		return n, err
	})
	if w.isCut {
		// The client must receive the headers and everything that was written before the cut.
		w.ResponseWriter.Write(nil)
		http.NewResponseController(w.ResponseWriter).Flush()
	}
	return written, err
}

// Hijack returns a connection that applies the slow-body or cut fault to the stream to the client. A cut fault counts
// the bytes after the response's headers.
func (w *responseWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	inner, buffered, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	stream := &streamConn{Conn: inner, throttle: w.throttle}
	return stream, bufio.NewReadWriter(buffered.Reader, bufio.NewWriter(stream)), nil
}

// streamConn is a hijacked connection with a slow-body or cut fault.
type streamConn struct {
	net.Conn
	// mu is locked during Write, which is also the only user of the fields below.
	mu sync.Mutex
	throttle
	headWritten bool // whether the response's status line and headers have been written
}

// CloseWrite closes the sending side of the connection, after a concurrent Write has ended. The server waits with it
// until the client has received everything.
func (c *streamConn) CloseWrite() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}

func (c *streamConn) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	head := 0
	if !c.headWritten {
		end := bytes.Index(p, []byte("\r\n\r\n"))
		if end < 0 {
			return c.Conn.Write(p)
		}
		c.headWritten, head = true, end+4
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

// hangUp closes a connection as if the node had failed: it sends no TLS close_notify alert.
func hangUp(c net.Conn) {
	if secure, ok := c.(*tls.Conn); ok {
		c = secure.NetConn()
	}
	c.Close()
}
