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

// serveHijacked serves with a handler that may take the connection over and answer on it past the ResponseWriter, and
// tells the Decision the status of that answer.
func serveHijacked(handler http.Handler, w http.ResponseWriter, r *http.Request) {
	if hijacker, ok := w.(http.Hijacker); ok {
		w = &hijackable{w, hijacker, authchain.FromContext(r.Context())}
	}
	handler.ServeHTTP(w, r)
}

type hijackable struct {
	http.ResponseWriter
	hijacker http.Hijacker
	decision *authchain.Decision
}

func (h *hijackable) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, buffered, err := h.hijacker.Hijack()
	if err != nil {
		return nil, nil, err
	}
	hijacked := &hijacked{Conn: conn, decision: h.decision}
	return hijacked, bufio.NewReadWriter(buffered.Reader, bufio.NewWriter(hijacked)), nil
}

// hijacked is a connection of which the first bytes written are a status line.
type hijacked struct {
	net.Conn
	decision *authchain.Decision
	begun    sync.Once
}

// linger is how long a client is waited for that has been told of the end: until it has read all that was sent before.
const linger = 10 * time.Second

// Close tells the client of the end, and reads what it still sends until it ends too, before it closes: a connection that is
// closed with something unread is reset, and what was on its way to the client is lost. (A kubelet's is; so now and then
// the end of the output of an exec is.)
func (h *hijacked) Close() error {
	if half, ok := h.Conn.(interface{ CloseWrite() error }); ok && half.CloseWrite() == nil {
		// No deadline: who reads beside this sets its own, again and again.
		patience := time.AfterFunc(linger, func() { h.Conn.Close() })
		io.Copy(io.Discard, h.Conn)
		patience.Stop()
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
