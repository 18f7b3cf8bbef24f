// Package hostile is a kubelet that misbehaves: it answers a request in a way that no kubelet does, on the raw connection,
// and keeps what the other side did about it. The checks of a kube-apiserver put it behind a Node, and look whether the
// apiserver follows, leaks its credential, hangs, or lets its user do what only it may.
//
// What is not here: a kubelet that gives the log of another pod, or runs another command than it was asked to. No apiserver
// can tell, since all that it knows of a pod's log is what the pod's kubelet says.
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
	// Name is a word or several, with hyphens.
	Name string
	// Does says what the kubelet does, and Must what an apiserver must do about it.
	Does, Must string
	// NotHTTP: what it sends does not even begin as an answer does.
	NotHTTP bool
	answer  func(*exchange) error
}

// Connection is what one connection has come to.
type Connection struct {
	// Behavior is the name of that which was chosen for the first request; empty where there was no request.
	Behavior string
	// Method, Path and Header are those of the first request; the path has its query.
	Method, Path string
	Header       http.Header
	// Certificate is what the client has shown; nil for none.
	Certificate *x509.Certificate
	// More are the method and path of each further request on the connection, and Noise counts the bytes that were none.
	More  []string
	Noise int64
	// Sent counts the bytes that the other side's system took, in the answer.
	Sent int64
	// Answered: the answer was sent in full, or as far as the behavior goes.
	Answered bool
	// Ended is when the connection was, by whichever side; zero while it is open.
	Ended time.Time
}

// Kubelet serves connections. The zero value with Choose is ready.
type Kubelet struct {
	// Choose has the behavior for the first request of a connection.
	Choose func(*http.Request) Behavior

	mu      sync.Mutex
	visits  []*Connection
	changed chan struct{} // closed at the next change; nil while nobody waits
}

// Serve answers on a connection and closes it. It returns when the connection has ended, on which the other side decides
// unless the behavior does, or ctx is done. A *tls.Conn is asked for its handshake first.
func (k *Kubelet) Serve(ctx context.Context, conn net.Conn) {
	visit := &Connection{}
	k.change(func() { k.visits = append(k.visits, visit) })
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer func() {
		stop()
		conn.Close()
		k.change(func() { visit.Ended = time.Now() })
	}()
	if secure, ok := conn.(*tls.Conn); ok {
		if err := secure.HandshakeContext(ctx); err != nil {
			return
		}
		if shown := secure.ConnectionState().PeerCertificates; len(shown) > 0 {
			k.change(func() { visit.Certificate = shown[0] })
		}
	}
	in := bufio.NewReader(conn)
	request, err := http.ReadRequest(in)
	if err != nil {
		return
	}
	behavior := k.Choose(request)
	k.change(func() {
		visit.Behavior, visit.Method, visit.Path, visit.Header = behavior.Name, request.Method, request.URL.RequestURI(), request.Header
	})
	if _, err := io.Copy(io.Discard, request.Body); err != nil {
		return
	}
	// While it answers it also reads, which is how it learns that the other side has gone.
	x := &exchange{conn: conn, in: in, kubelet: k, visit: visit, gone: make(chan struct{})}
	go x.listen()
	err = behavior.answer(x)
	k.change(func() { visit.Answered = err == nil })
	if errors.Is(err, errHangUp) {
		conn.Close()
	}
	<-x.gone
}

// Connections are those so far, in the order of their beginning.
func (k *Kubelet) Connections() []Connection {
	k.mu.Lock()
	defer k.mu.Unlock()
	visits := make([]Connection, len(k.visits))
	for i, v := range k.visits {
		visits[i] = *v
		visits[i].More = slices.Clone(v.More)
	}
	return visits
}

// Wait waits until done says so of the visits. It returns them as they were last, and whether they were done before ctx.
func (k *Kubelet) Wait(ctx context.Context, done func([]Connection) bool) ([]Connection, bool) {
	for {
		k.mu.Lock()
		if k.changed == nil {
			k.changed = make(chan struct{})
		}
		changed := k.changed
		k.mu.Unlock()
		visits := k.Connections()
		if done(visits) {
			return visits, true
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return visits, false
		}
	}
}

func (k *Kubelet) change(do func()) {
	k.mu.Lock()
	defer k.mu.Unlock()
	do()
	if k.changed != nil {
		close(k.changed)
		k.changed = nil
	}
}

// errHangUp ends an answer with the end of the connection: it is what the behavior does.
var errHangUp = errors.New("hang up")

// exchange is what a behavior answers on.
type exchange struct {
	conn    net.Conn
	in      *bufio.Reader
	kubelet *Kubelet
	visit   *Connection
	gone    chan struct{} // the other side has ended the connection, or we have
}

// send writes text as it is.
func (x *exchange) send(text string) error {
	n, err := io.WriteString(x.conn, text)
	x.kubelet.change(func() { x.visit.Sent += int64(n) })
	return err
}

// flood sends text again and again until the limit in bytes, or until the other side has had enough.
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

// listen reads what comes after the first request until the connection ends. Each further request is kept, and answered
// as by a kubelet that goes on talking: with its own words, which a user can recognize.
func (x *exchange) listen() {
	defer close(x.gone)
	for {
		request, err := http.ReadRequest(x.in)
		if err != nil {
			// What is no request is read all the same, so that the end is seen.
			_, _ = io.Copy(noise{x}, x.in)
			x.conn.Close()
			return
		}
		x.kubelet.change(func() { x.visit.More = append(x.visit.More, request.Method+" "+request.URL.RequestURI()) })
		_, _ = io.Copy(io.Discard, request.Body)
		if x.send("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 10\r\n\r\n"+Smuggled) != nil {
			return
		}
	}
}

// noise counts what is written to it.
type noise struct{ x *exchange }

func (n noise) Write(p []byte) (int, error) {
	n.x.kubelet.change(func() { n.x.visit.Noise += int64(len(p)) })
	return len(p), nil
}

// Smuggled is the body by which a hostile kubelet answers a request that should not have reached it.
const Smuggled = "smuggled!\n"
