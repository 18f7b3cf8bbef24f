package faulty_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/apiserver/pkg/authentication/user"

	"fauxlet/authchain"
)

// The function "names" is the faulty.Path for the routes in the tests of [faulty.Node.Handler].
func names(path string) (namespace, pod, uid, container string) {
	if path == "/containerLogs/default/nginx/app" {
		return "default", "nginx", "", "app"
	}
	return "", "", "", ""
}

func TestHandlerIsUnchangedWithoutFaults(t *testing.T) {
	n, set := node()
	next := http.NotFoundHandler()
	inner := httptest.NewRecorder()
	n.Handler(names)(next).ServeHTTP(inner, httptest.NewRequest("GET", "/", nil))
	if inner.Code != http.StatusNotFound {
		t.Errorf("status %d", inner.Code)
	}
	add(t, set, `{"kind": "status", "status": 503}`)
	set.Clear()
	if allocations := testing.AllocsPerRun(100, func() { n.Handler(names) }); allocations > 1 {
		t.Errorf("%v allocations without an active fault", allocations)
	}
}

func TestHandlerAppliesToItsScope(t *testing.T) {
	for name, test := range map[string]struct {
		fault  string
		path   string
		status int
	}{
		"every request": {`{"kind": "status", "status": 503}`, "/pods", 503},
		"this node":     {`{"kind": "status", "status": 503, "node": "node-1"}`, "/pods", 503},
		"another node":  {`{"kind": "status", "status": 503, "node": "node-2"}`, "/pods", 200},
		"this container": {`{"kind": "status", "status": 503, "pod": "nginx", "container": "a*"}`,
			"/containerLogs/default/nginx/app", 503},
		"another container": {`{"kind": "status", "status": 503, "container": "b*"}`,
			"/containerLogs/default/nginx/app", 200},
		"no container": {`{"kind": "status", "status": 503, "container": "*"}`, "/pods", 200},
		"this user":    {`{"kind": "status", "status": 503, "user": "alice"}`, "/pods", 503},
		"another user": {`{"kind": "status", "status": 503, "group": "admins"}`, "/pods", 200},
	} {
		t.Run(name, func(t *testing.T) {
			n, set := node()
			fault := add(t, set, test.fault)
			decision, request := authchain.NewDecision(httptest.NewRequest("GET", test.path, nil))
			decision.User = &user.DefaultInfo{Name: "alice", Groups: []string{"developers"}}
			response := httptest.NewRecorder()
			n.Handler(names)(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})).ServeHTTP(response, request)
			if response.Code != test.status ||
				slices.Contains(decision.AffectedBy, fault.Name) != (test.status == 503) {
				t.Errorf("status %d, affected by %q; want %d", response.Code, decision.AffectedBy, test.status)
			}
			if decision.User.GetName() != "alice" || decision.Status != 0 || decision.Err != "" {
				t.Errorf("a fault edited the Decision: %+v", decision)
			}
		})
	}
}

func TestHandlerCutsAnAnswer(t *testing.T) {
	n, set := node()
	add(t, set, `{"kind": "cut", "after": 4}`)
	web := httptest.NewServer(n.Handler(names)(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, err := io.WriteString(w, "0123456789")
		if err == nil {
			t.Error("the handler was not stopped at the cut")
		}
	})))
	defer web.Close()
	response, err := web.Client().Get(web.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if body, err := io.ReadAll(response.Body); string(body) != "0123" || err == nil {
		t.Errorf("body %q, error %v", body, err)
	}
}

// hijackable is a response whose connection can be hijacked.
type hijackable struct {
	*httptest.ResponseRecorder
	conn net.Conn
}

func (h hijackable) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return h.conn, bufio.NewReadWriter(bufio.NewReader(h.conn), nil), nil
}

// TestHandlerSlowsAStream checks that a slow-body fault limits the rate of a stream, but does not delay the headers.
func TestHandlerSlowsAStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, set := node()
		add(t, set, `{"kind": "slow-body", "rate": 500}`)
		const head = "HTTP/1.1 101 Switching Protocols\r\n\r\n"
		server, client := net.Pipe()
		handler := n.Handler(names)(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			stream, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
			}
			defer server.Close()
			io.WriteString(stream, head+strings.Repeat("x", 1000))
		}))
		begin := time.Now()
		go handler.ServeHTTP(hijackable{httptest.NewRecorder(), server}, httptest.NewRequest("POST", "/exec/", nil))
		if _, err := io.ReadFull(client, make([]byte, len(head))); err != nil || time.Since(begin) != 0 {
			t.Errorf("headers: after %v, error %v", time.Since(begin), err)
		}
		body, err := io.ReadAll(client)
		if len(body) != 1000 || err != nil || time.Since(begin) != 2*time.Second {
			t.Errorf("%d bytes after %v, error %v; want 1000 bytes after 2 s", len(body), time.Since(begin), err)
		}
	})
}

// TestStreamCanBeHalfClosed checks that CloseWrite closes only the sending side of a stream with a slow-body fault. The
// server needs this to wait until the client has received the end of the stream.
func TestStreamCanBeHalfClosed(t *testing.T) {
	n, set := node()
	add(t, set, `{"kind": "slow-body", "rate": 1000000}`)
	received := make(chan string, 1)
	web := httptest.NewServer(n.Handler(names)(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		defer close(received)
		stream, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer stream.Close()
		io.WriteString(stream, "HTTP/1.1 101 Switching Protocols\r\n\r\noutput")
		half, ok := stream.(interface{ CloseWrite() error })
		if !ok {
			t.Error("the stream has no method CloseWrite")
			return
		}
		if err := half.CloseWrite(); err != nil {
			t.Error(err)
		}
		rest, _ := io.ReadAll(stream)
		received <- string(rest)
	})))
	defer web.Close()
	client, err := net.Dial("tcp", web.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	io.WriteString(client, "POST /exec/ HTTP/1.1\r\nHost: node-1\r\n\r\n")
	if output, err := io.ReadAll(client); err != nil || !strings.HasSuffix(string(output), "\r\n\r\noutput") {
		t.Errorf("the client received %q, %v", output, err)
	}
	io.WriteString(client, "input")
	client.Close()
	if rest := <-received; rest != "input" {
		t.Errorf("the server received %q after it had closed its side, want \"input\"", rest)
	}
}

// TestHalfCloseWaitsForWrite checks that CloseWrite does not cut off a Write that a slow-body fault delays.
func TestHalfCloseWaitsForWrite(t *testing.T) {
	n, set := node()
	add(t, set, `{"kind": "slow-body", "rate": 1000}`)
	const head = "HTTP/1.1 101 Switching Protocols\r\n\r\n"
	server, client := net.Pipe()
	writing, ended := make(chan struct{}), make(chan struct{})
	handler := n.Handler(names)(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		defer close(ended)
		stream, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		written := make(chan struct{})
		go func() {
			defer close(written)
			io.WriteString(stream, head+strings.Repeat("x", 300))
		}()
		<-writing
		stream.(interface{ CloseWrite() error }).CloseWrite()
		<-written
	}))
	go handler.ServeHTTP(hijackable{httptest.NewRecorder(), halfClosable{server}},
		httptest.NewRequest("POST", "/exec/", nil))
	if _, err := io.ReadFull(client, make([]byte, len(head))); err != nil {
		t.Fatal(err)
	}
	close(writing)
	if body, err := io.ReadAll(client); len(body) != 300 || err != nil {
		t.Errorf("the client received %d bytes, %v; want 300", len(body), err)
	}
	<-ended
}

// halfClosable is a net.Pipe whose CloseWrite closes both sides.
type halfClosable struct{ net.Conn }

func (h halfClosable) CloseWrite() error { return h.Close() }
