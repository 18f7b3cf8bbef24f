package hostile_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"fauxlet/conformance/hostile"
	"fauxlet/testcerts"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// authority signs the certificates of kubelets.
var authority = sync.OnceValues(func() (*testcerts.Authority, error) { return testcerts.NewAuthority("ca") })

// serve starts a kubelet with one behavior. It returns the kubelet, its address, and a client's TLS configuration.
func serve(t *testing.T, behavior hostile.Behavior) (*hostile.Kubelet, string, *tls.Config) {
	t.Helper()
	ca, err := authority()
	must(t, err)
	server, err := ca.Server("node", []string{"127.0.0.1"})
	must(t, err)
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{server.TLS()}})
	must(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	kubelet := &hostile.Kubelet{}
	kubelet.Misbehave(ctx, behavior)
	var served sync.WaitGroup
	served.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			served.Go(func() { kubelet.Serve(conn) })
		}
	})
	t.Cleanup(func() { cancel(); listener.Close(); served.Wait() })
	return kubelet, listener.Addr().String(), &tls.Config{RootCAs: ca.Pool()}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// The function "ended" waits until a kubelet has had n connections, all of which have ended. It returns the
// connections.
func ended(t *testing.T, k *hostile.Kubelet, n int) []hostile.Connection {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	connections, ok := k.Wait(ctx, func(connections []hostile.Connection) bool {
		open := 0
		for _, v := range connections {
			if v.Ended.IsZero() {
				open++
			}
		}
		return len(connections) == n && open == 0
	})
	if !ok {
		t.Fatalf("the connections are %+v, want %d ended connections", connections, n)
	}
	return connections
}

const limit = 4 << 20

// TestBehaviors sends a request with Go's client to every behavior and compares the error, or the status and the body.
func TestBehaviors(t *testing.T) {
	broken := map[string]string{
		"bad-chunk":       "invalid byte in chunk length",
		"huge-chunk":      "http chunk length too large",
		"chunk-extension": "header line too long",
		"short":           "unexpected EOF",
		"long":            "",
		"negative-length": "bad Content-Length",
		"two-lengths":     "message cannot contain multiple Content-Length headers",
		"no-http":         "malformed HTTP response",
		"bad-status":      "malformed HTTP status code",
		"bad-header":      "malformed MIME header",
		"nothing":         "EOF",
		"cut":             "unexpected EOF",
		"reset":           "connection reset by peer",
		"no-tls":          "tls: ",
		"tls-end":         "unexpected EOF",
	}
	type test struct {
		behavior hostile.Behavior
		status   int
		err      string // part of the expected error
		body     string // beginning of the expected body
	}
	tests := []test{
		{hostile.Redirect(302, "a target", "https://127.0.0.1:1/"), 302, "", "moved\n"},
		{hostile.Refuse(403), 403, "", "refused\n"},
		{hostile.NotSwitching(200), 200, "", "refused\n"},
		{hostile.OtherProtocol(), 101, "", ""},
		{hostile.EndlessHeaders(limit), 0, "server response headers exceeded 1048576 bytes", ""},
		{hostile.EndlessHeader(limit), 0, "server response headers exceeded 1048576 bytes", ""},
		{hostile.Informational(limit), 0, "server response headers exceeded 1048576 bytes", ""},
		{hostile.EndlessBody(200, 1<<62), 200, "", "endless endless "},
		{hostile.EndlessBody(500, 1<<62), 500, "", "endless endless "},
		{hostile.Page(200), 200, "", "<html>"},
		{hostile.Drip(time.Microsecond), 200, "", "slowly\nslowly\n"},
	}
	for _, behavior := range hostile.BrokenResponses() {
		words, known := broken[behavior.Name]
		if !known {
			t.Errorf("this test has no expected error for the behavior %s", behavior.Name)
		}
		delete(broken, behavior.Name)
		tests = append(tests, test{behavior: behavior, err: words})
	}
	for name := range broken {
		t.Errorf("the expected error is for an unknown behavior %s", name)
	}
	for _, test := range tests {
		t.Run(test.behavior.Name, func(t *testing.T) {
			t.Parallel()
			kubelet, address, config := serve(t, test.behavior)
			transport := &http.Transport{TLSClientConfig: config, MaxResponseHeaderBytes: 1 << 20}
			defer transport.CloseIdleConnections()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			url := "https://" + address + "/containerLogs/a/b/c?tailLines=1"
			request, err := http.NewRequestWithContext(ctx, "GET", url, nil)
			must(t, err)
			body := make([]byte, 100)
			status := 0
			response, err := transport.RoundTrip(request)
			if err == nil {
				status = response.StatusCode
				if status != http.StatusSwitchingProtocols {
					var n int
					n, err = io.ReadFull(response.Body, body)
					body = body[:n]
					if errors.Is(err, io.ErrUnexpectedEOF) {
						_, err = response.Body.Read(make([]byte, 1)) // returns io.EOF if the body is complete
					}
					if errors.Is(err, io.EOF) {
						err = nil
					}
				}
				cancel()
				response.Body.Close()
			}
			transport.CloseIdleConnections()
			if test.err == "" && err != nil ||
				test.err != "" && (err == nil || !strings.Contains(err.Error(), test.err)) {
				t.Errorf("the client's error is %v, want %q", err, test.err)
			}
			if test.status != 0 && status != test.status {
				t.Errorf("the response has the status %d, want %d", status, test.status)
			}
			if !strings.HasPrefix(string(body), test.body) {
				t.Errorf("the response has the body %q, want it to begin with %q", body, test.body)
			}
			v := ended(t, kubelet, 1)[0]
			if v.Path != "/containerLogs/a/b/c?tailLines=1" || v.More != nil {
				t.Errorf("wrong record of the connection: %+v", v)
			}
			if test.behavior.Action == "" {
				t.Errorf("the behavior has no Action: %+v", test.behavior)
			}
		})
	}
}

// TestListensForMoreRequests checks that a kubelet records and answers further requests after its response to an
// upgrade.
func TestListensForMoreRequests(t *testing.T) {
	for _, behavior := range []hostile.Behavior{hostile.Refuse(500), hostile.NotSwitching(200),
		hostile.OtherProtocol()} {
		t.Run(behavior.Name, func(t *testing.T) {
			t.Parallel()
			kubelet, address, config := serve(t, behavior)
			conn, err := tls.Dial("tcp", address, config)
			must(t, err)
			defer conn.Close()
			in := bufio.NewReader(conn)
			for i, path := range []string{"/exec/a/b/c", "/pods", "/runningpods/"} {
				fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc", path)
				response, err := http.ReadResponse(in, nil)
				must(t, err)
				if response.StatusCode == http.StatusSwitchingProtocols {
					continue
				}
				body, err := io.ReadAll(response.Body)
				must(t, err)
				if smuggled := string(body) == hostile.Smuggled; smuggled != (i > 0) {
					t.Errorf("the request for %s got the wrong body %q", path, body)
				}
			}
			io.WriteString(conn, "\x80\x03no request\r\n\r\n")
			conn.Close()
			v := ended(t, kubelet, 1)[0]
			if got := fmt.Sprint(v.Path, v.More); got != "/exec/a/b/c[POST /pods POST /runningpods/]" {
				t.Errorf("wrong record of the requests: %s", got)
			}
			if !v.Answered || v.Noise == 0 {
				t.Errorf("Answered is %v, want true; Noise is %d bytes, want more than 0", v.Answered, v.Noise)
			}
		})
	}
}

// TestServeReturns checks that Serve returns when the behavior's context is done and when the client closes the
// connection.
func TestServeReturns(t *testing.T) {
	for _, behavior := range []hostile.Behavior{hostile.Silence(), hostile.EndlessBody(200, 1<<62),
		hostile.Drip(time.Hour)} {
		for name, stop := range map[string]func(conn net.Conn, cancel func()){
			"context": func(_ net.Conn, cancel func()) { cancel() },
			"client":  func(conn net.Conn, _ func()) { conn.Close() },
		} {
			t.Run(behavior.Name+"/"+name, func(t *testing.T) {
				t.Parallel()
				client, served := net.Pipe()
				defer client.Close()
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				kubelet := &hostile.Kubelet{}
				kubelet.Misbehave(ctx, behavior)
				returned := make(chan struct{})
				go func() { defer close(returned); kubelet.Serve(served) }()
				io.WriteString(client, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
				if _, ok := kubelet.Wait(t.Context(), func(v []hostile.Connection) bool {
					return len(v) == 1 && v[0].Path == "/"
				}); !ok {
					t.Fatal("the kubelet did not record the request")
				}
				stop(client, cancel)
				<-returned
				if v := kubelet.Connections()[0]; v.Ended.IsZero() {
					t.Errorf("the connection has no end: %+v", v)
				}
			})
		}
	}
}

func TestWaitEndsWithContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if connections, ok := new(hostile.Kubelet).Wait(ctx, func([]hostile.Connection) bool { return false }); ok ||
		len(connections) != 0 {
		t.Errorf("Wait returned the connections %v and %v, want none and false", connections, ok)
	}
}
