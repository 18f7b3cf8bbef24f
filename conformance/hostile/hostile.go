// Package hostile provides a kubelet that misbehaves. It answers each request on the raw connection in a way that no
// real kubelet would, and records how the client reacts. The checks of a kube-apiserver register it as a Node's
// kubelet and observe whether the kube-apiserver follows redirects, leaks its credential, hangs, or lets a user act
// with the kube-apiserver's rights.
//
// A kubelet that returns the log of another pod or runs another command is out of scope: a kube-apiserver cannot
// detect it.
//
// The file behaviors.go defines the ways to misbehave.
package hostile

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"
)

// Behavior is one way to misbehave.
type Behavior struct {
	// Name consists of lower-case words with hyphens.
	Name string
	// Action describes what the kubelet does, as a verb phrase: "answers 302".
	Action string
	// NotHTTP means that the response is not HTTP from its first byte on.
	NotHTTP bool
	respond func(*exchange) error
}

// Connection records one connection of a client.
type Connection struct {
	// Behavior is the name of the behavior that answered the first request; empty if there was no request.
	Behavior string
	// Method, Path and Header are from the first request. Path includes the query.
	Method, Path string
	Header       http.Header
	// Certificate is the client certificate; nil if the client sent none.
	Certificate *x509.Certificate
	// More lists the method and path of every further request, and Noise counts received bytes that are not a request.
	More  []string
	Noise int64
	// Sent counts the response bytes that the kernel accepted.
	Sent int64
	// Answered is true once the behavior has sent its whole response.
	Answered bool
	// Ended is the time when either side closed the connection; zero while it is open.
	Ended time.Time
}

// Kubelet serves connections. Choose must be set; the other fields need no initialization.
type Kubelet struct {
	// Choose returns the behavior for a connection, given its first request.
	Choose func(*http.Request) Behavior

	mu          sync.Mutex
	connections []*Connection
	changed     chan struct{} // closed at the next change; nil if no Wait is running
}

// Serve answers on a connection and closes it. It returns when the client or the behavior ends the connection, or when
// ctx is done. For a *tls.Conn it completes the handshake first.
func (k *Kubelet) Serve(ctx context.Context, conn net.Conn) {
	record := &Connection{}
	k.update(func() { k.connections = append(k.connections, record) })
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer func() {
		stop()
		conn.Close()
		k.update(func() { record.Ended = time.Now() })
	}()
	if secure, ok := conn.(*tls.Conn); ok {
		if err := secure.HandshakeContext(ctx); err != nil {
			return
		}
		if peer := secure.ConnectionState().PeerCertificates; len(peer) > 0 {
			k.update(func() { record.Certificate = peer[0] })
		}
	}
	in := bufio.NewReader(conn)
	request, err := http.ReadRequest(in)
	if err != nil {
		return
	}
	behavior := k.Choose(request)
	k.update(func() {
		record.Behavior, record.Method = behavior.Name, request.Method
		record.Path, record.Header = request.URL.RequestURI(), request.Header
	})
	if _, err := io.Copy(io.Discard, request.Body); err != nil {
		return
	}
	// listen reads during the response, because only a read detects that the client has closed the connection.
	x := &exchange{conn: conn, in: in, kubelet: k, record: record, gone: make(chan struct{})}
	go x.listen()
	err = behavior.respond(x)
	k.update(func() { record.Answered = err == nil })
	if errors.Is(err, errHangUp) {
		conn.Close()
	}
	<-x.gone
}

// Connections returns all connections so far, in the order in which they began.
func (k *Kubelet) Connections() []Connection {
	k.mu.Lock()
	defer k.mu.Unlock()
	all := make([]Connection, len(k.connections))
	for i, c := range k.connections {
		all[i] = *c
		all[i].More = slices.Clone(c.More)
	}
	return all
}

// Wait waits until done returns true for the connections. It returns the last state of the connections, and false if
// ctx was done first.
func (k *Kubelet) Wait(ctx context.Context, done func([]Connection) bool) ([]Connection, bool) {
	for {
		k.mu.Lock()
		if k.changed == nil {
			k.changed = make(chan struct{})
		}
		changed := k.changed
		k.mu.Unlock()
		all := k.Connections()
		if done(all) {
			return all, true
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return all, false
		}
	}
}

func (k *Kubelet) update(change func()) {
	k.mu.Lock()
	defer k.mu.Unlock()
	change()
	if k.changed != nil {
		close(k.changed)
		k.changed = nil
	}
}

// errHangUp is returned by a behavior after which the kubelet closes the connection.
var errHangUp = errors.New("hang up")

// exchange is a connection on which a behavior responds.
type exchange struct {
	conn    net.Conn
	in      *bufio.Reader
	kubelet *Kubelet
	record  *Connection
	gone    chan struct{} // closed when the connection has ended
}

// send writes text unchanged.
func (x *exchange) send(text string) error {
	n, err := io.WriteString(x.conn, text)
	x.kubelet.update(func() { x.record.Sent += int64(n) })
	return err
}

// flood sends text repeatedly, up to limit bytes or until the client closes the connection.
func (x *exchange) flood(text string, limit int64) error {
	for sent := int64(0); sent < limit; sent += int64(len(text)) {
		if err := x.send(text); err != nil {
			return err
		}
	}
	return nil
}

// drip sends text byte by byte.
func (x *exchange) drip(text string, every time.Duration) error {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for i := range len(text) {
		select {
		case <-ticker.C:
		case <-x.gone:
			return net.ErrClosed
		}
		if err := x.send(text[i : i+1]); err != nil {
			return err
		}
	}
	return nil
}

// listen reads all data after the first request until the connection ends. It records every further request and
// answers it with the body Smuggled, so that a check can recognize the response.
func (x *exchange) listen() {
	defer close(x.gone)
	for {
		request, err := http.ReadRequest(x.in)
		if err != nil {
			// Continue to read, to detect the end of the connection.
			_, _ = io.Copy(noiseCounter{x}, x.in)
			x.conn.Close()
			return
		}
		x.kubelet.update(func() {
			x.record.More = append(x.record.More, request.Method+" "+request.URL.RequestURI())
		})
		_, _ = io.Copy(io.Discard, request.Body)
		if x.send(head(http.StatusOK, "Content-Type: text/plain", "Content-Length: 10")+Smuggled) != nil {
			return
		}
	}
}

// noiseCounter counts the bytes that are written to it, in Connection.Noise.
type noiseCounter struct{ x *exchange }

func (n noiseCounter) Write(p []byte) (int, error) {
	n.x.kubelet.update(func() { n.x.record.Noise += int64(len(p)) })
	return len(p), nil
}

// Smuggled is the response body for a request that must not reach the kubelet.
const Smuggled = "smuggled!\n"
