// Package hostile provides a kubelet that misbehaves. It answers each request on the raw connection in a way that no
// real kubelet would, and records how the client reacts. Package check, which checks a kube-apiserver, registers this
// kubelet as the kubelet of a Node. Its checks observe whether the kube-apiserver follows redirects, leaks its
// credential, hangs, or lets a user act with its rights. The file behaviors.go defines the ways to misbehave.
//
// The kubelet does not send a log with wrong contents or run a wrong command, because a kube-apiserver could not detect
// it.
package hostile

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	"fauxlet/internal/states"
)

// Behavior is one way to misbehave.
type Behavior struct {
	Name string // lower-case words with hyphens
	// Action describes what the kubelet does, as a verb phrase: "answers 302".
	Action string
	// NotHTTP means that even the head of the response is not valid HTTP.
	NotHTTP bool
	respond func(*exchange) error
}

// Connection records one connection of a client.
type Connection struct {
	// Path is the path of the first request with the query; empty if there was no request.
	Path string
	// More lists the method and path of every further request. Noise counts the received bytes that are not requests.
	More  []string
	Noise int64
	// Sent counts the response bytes that the kernel accepted.
	Sent int64
	// Answered is true once the behavior has sent its whole response.
	Answered bool
	// Ended is the time when either side closed the connection; zero while it is open.
	Ended time.Time
}

// Kubelet is a kubelet that misbehaves. The zero value is ready for use, but Misbehave must be called before Serve.
type Kubelet struct {
	current     atomic.Pointer[performance]
	connections states.List[Connection]
}

// performance is the behavior that Misbehave set, with its context. When the context is done, the connections that have
// this behavior are closed.
type performance struct {
	ctx      context.Context
	behavior Behavior
}

// Misbehave sets the behavior for new connections. When ctx is done, the connections that have this behavior are
// closed.
func (k *Kubelet) Misbehave(ctx context.Context, b Behavior) { k.current.Store(&performance{ctx, b}) }

// Serve answers on a connection and closes it. It returns when the client or the behavior ends the connection, or when
// the behavior's context is done. For a *tls.Conn it completes the handshake first.
func (k *Kubelet) Serve(conn net.Conn) {
	current := k.current.Load()
	record := k.connections.Add(Connection{})
	update := func(change func(*Connection)) { k.connections.Update(func() { change(record) }) }
	stop := context.AfterFunc(current.ctx, func() { conn.Close() })
	defer func() {
		stop()
		conn.Close()
		update(func(c *Connection) { c.Ended = time.Now() })
	}()
	if secure, ok := conn.(*tls.Conn); ok {
		if err := secure.HandshakeContext(current.ctx); err != nil {
			return
		}
	}
	in := bufio.NewReader(conn)
	request, err := http.ReadRequest(in)
	if err != nil {
		return
	}
	update(func(c *Connection) { c.Path = request.URL.RequestURI() })
	if _, err := io.Copy(io.Discard, request.Body); err != nil {
		return
	}
	// Read while the behavior responds, because only a read detects that the client has closed the connection.
	x := &exchange{conn: conn, in: in, update: update, gone: make(chan struct{})}
	go x.listen()
	err = current.behavior.respond(x)
	update(func(c *Connection) { c.Answered = err == nil })
	if errors.Is(err, errHangUp) {
		conn.Close()
	}
	<-x.gone
}

// Connections returns all connections so far, in the order in which they began.
func (k *Kubelet) Connections() []Connection { return k.connections.All() }

// Wait waits until the given function "done" returns true, or until ctx is done. It calls the function at once and
// again after every change, and each time passes all connections to it. Wait returns the connections of the last call.
// The boolean result is false if ctx was done first.
func (k *Kubelet) Wait(ctx context.Context, done func([]Connection) bool) ([]Connection, bool) {
	return k.connections.Wait(ctx, done)
}

// errHangUp is the error that a behavior returns to make the kubelet close the connection.
var errHangUp = errors.New("hang up")

// exchange is one connection from a kube-apiserver, on which a [Behavior] sends its response.
type exchange struct {
	conn   net.Conn
	in     *bufio.Reader
	update func(change func(*Connection)) // changes the record of the connection
	gone   chan struct{}                  // closed when the connection has ended
}

// send writes text unchanged.
func (x *exchange) send(text string) error {
	if text == "" {
		return nil
	}
	n, err := io.WriteString(x.conn, text)
	x.update(func(c *Connection) { c.Sent += int64(n) })
	return err
}

// listen reads all data after the first request, until the connection ends. It records every further request, and
// answers it with the body Smuggled. A check can recognize this body.
func (x *exchange) listen() {
	defer close(x.gone)
	for {
		request, err := http.ReadRequest(x.in)
		if err != nil {
			// Read the remaining data as well, to detect the end of the connection.
			_, _ = io.Copy(noiseCounter{x}, x.in)
			x.conn.Close()
			return
		}
		x.update(func(c *Connection) {
			c.More = append(slices.Clone(c.More), request.Method+" "+request.URL.RequestURI())
		})
		_, _ = io.Copy(io.Discard, request.Body)
		if x.send(head(http.StatusOK, "Content-Type: text/plain", "Content-Length: 10")+Smuggled) != nil {
			return
		}
	}
}

// noiseCounter is a writer that adds the number of written bytes to Connection.Noise.
type noiseCounter struct{ *exchange }

func (n noiseCounter) Write(p []byte) (int, error) {
	n.update(func(c *Connection) { c.Noise += int64(len(p)) })
	return len(p), nil
}

// Smuggled is the response body for a request that must not reach the kubelet.
const Smuggled = "smuggled!\n"
