package server

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"fauxlet/authchain"
)

// serveHijacked calls a handler that may hijack the connection and write its response there. The Decision records the
// status of that response. When the handler closes the connection, serveHijacked calls the function "closed".
func serveHijacked(handler http.Handler, w http.ResponseWriter, r *http.Request, closed func()) {
	if hijacker, ok := w.(http.Hijacker); ok {
		w = &hijackable{w, hijacker, authchain.FromContext(r.Context()), closed}
	}
	handler.ServeHTTP(w, r)
}

type hijackable struct {
	http.ResponseWriter
	hijacker http.Hijacker
	decision *authchain.Decision
	closed   func()
}

func (h *hijackable) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, buffered, err := h.hijacker.Hijack()
	if err != nil {
		return nil, nil, err
	}
	hijacked := &hijacked{Conn: conn, decision: h.decision, closed: h.closed}
	return hijacked, bufio.NewReadWriter(buffered.Reader, bufio.NewWriter(hijacked)), nil
}

// hijacked is a hijacked connection. It records the status of the response from the first write, which begins with the
// status line. Close begins with a call of the function "closed".
type hijacked struct {
	net.Conn
	decision *authchain.Decision
	closed   func()
	begun    sync.Once
}

// linger is how long Close waits for the client to read everything and to close its side.
const linger = 10 * time.Second

// Close first closes the connection for writing. It then reads until the client closes its side too, and finally closes
// the connection. If data were left unread, the kernel would reset the connection, and the client could lose the end of
// the output. (With a real kubelet, the end of the output of an exec is sometimes lost.)
func (h *hijacked) Close() error {
	h.closed()
	if half, ok := h.Conn.(interface{ CloseWrite() error }); ok {
		// Close uses a timer rather than a deadline, because a concurrent reader keeps setting its own deadlines. The
		// timer starts before CloseWrite, because over TLS CloseWrite waits for a concurrent Write.
		timer := time.AfterFunc(linger, func() { h.Conn.Close() })
		defer timer.Stop()
		if half.CloseWrite() == nil {
			io.Copy(io.Discard, h.Conn)
		}
	}
	return h.Conn.Close()
}

func (h *hijacked) Write(p []byte) (int, error) {
	h.begun.Do(func() {
		if fields := bytes.SplitN(p, []byte(" "), 3); len(fields) == 3 && h.decision != nil {
			h.decision.Status, _ = strconv.Atoi(string(fields[1]))
		}
	})
	return h.Conn.Write(p)
}
