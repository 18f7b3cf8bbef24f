package server_test

import (
	"crypto/tls"
	"io"
	"net"
	"regexp"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

var date = regexp.MustCompile(`Date: [^\r]*`)

// dial opens a connection and sends nothing.
func (f *fixture) dial(t testing.TB) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", f.address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(30 * time.Second))
	return conn
}

// raw sends bytes over TLS and returns everything that it receives until the server closes the connection.
func (f *fixture) raw(t testing.TB, certificate *tls.Certificate, request string) string {
	t.Helper()
	conn := tls.Client(f.dial(t),
		&tls.Config{RootCAs: f.ca.Pool(), ServerName: "localhost", Certificates: []tls.Certificate{*certificate}})
	defer conn.Close()
	if err := conn.Handshake(); err != nil {
		t.Fatal(err)
	}
	go io.WriteString(conn, request) // the server may close the connection before it has read everything
	answer, _ := io.ReadAll(conn)
	return string(answer)
}

func TestBadInput(t *testing.T) {
	f := newFixture(t, fixtureOptions{})
	certificate := f.certificate(t, "kubelet-client")
	const head = " HTTP/1.1\r\nHost: node-1\r\nConnection: close\r\n"
	const path = "/containerLogs/default/nginx/nginx?tailLines=0"
	for name, test := range map[string]struct{ request, want string }{
		"a body on GET": {"GET " + path + head + "Content-Length: 4\r\n\r\nbody",
			"HTTP/1.1 200 OK"},
		"a body on GET that never comes": {"GET " + path + head + "Content-Length: 400\r\n\r\n",
			"HTTP/1.1 200 OK"},
		"a chunked body on GET": {"GET " + path + head + "Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
			"HTTP/1.1 200 OK"},
		"chunks that are none": {"GET " + path + head + "Transfer-Encoding: chunked\r\n\r\nzz\r\n",
			"HTTP/1.1 200 OK"},
		"two lengths": {"GET " + path + head + "Content-Length: 1\r\nContent-Length: 2\r\n\r\n",
			"HTTP/1.1 400 Bad Request"},
		"headers of 1 MB": {"GET " + path + head + "X: " + strings.Repeat("x",
			1<<20+1<<12) + "\r\n\r\n", "HTTP/1.1 431 Request Header Fields Too Large"},
		"headers of nearly 1 MB": {"GET " + path + head + "X: " + strings.Repeat("x",
			1<<20-1<<12) + "\r\n\r\n", "HTTP/1.1 200 OK"},
		"a path of 1 MB": {"GET /" + strings.Repeat("x", 1<<20+1<<13) + head + "\r\n",
			"HTTP/1.1 431 Request Header Fields Too Large"},
		"a path of 100 KB": {"GET /containerLogs/default/nginx/" + strings.Repeat("x",
			100<<10) + head + "\r\n", "HTTP/1.1 404 Not Found"},
		"a path of 30,000 segments": {"GET /containerLogs" + strings.Repeat("/x", 30000) + head + "\r\n",
			"HTTP/1.1 404 Not Found"},
		"a path of 30,000 escaped segments": {"GET /containerLogs/" + strings.Repeat("%2F", 30000) + head + "\r\n",
			"HTTP/1.1 404 Not Found"},
		"a path of 30,000 empty segments": {"GET /containerLogs" + strings.Repeat("/", 30000) + head + "\r\n",
			"HTTP/1.1 307 Temporary Redirect"},
		"a query of 100 KB": {"GET " + path + "&x=" + strings.Repeat("x", 100<<10) + head + "\r\n",
			"HTTP/1.1 200 OK"},
		"a query that does not parse": {"GET /containerLogs/default/nginx/nginx?%zz&;&tailLines=0&=&&%" + head + "\r\n",
			"HTTP/1.1 200 OK"},
		"an escape that is none": {"GET /containerLogs/%zz" + head + "\r\n", "HTTP/1.1 400 Bad Request"},
		"a control character in the path": {"GET /containerLogs/a\x01b" + head + "\r\n",
			"HTTP/1.1 400 Bad Request"},
		"a path without a slash": {"GET pods" + head + "\r\n", "HTTP/1.1 400 Bad Request"},
		"an absolute URL": {"GET http://elsewhere/containerLogs/default/nginx/nginx?tailLines=0" + head + "\r\n",
			"HTTP/1.1 200 OK"},
		"OPTIONS *":            {"OPTIONS *" + head + "\r\n", "HTTP/1.1 200 OK"},
		"GET *":                {"GET *" + head + "\r\n", "HTTP/1.1 400 Bad Request"},
		"CONNECT":              {"CONNECT elsewhere:443" + head + "\r\n", "HTTP/1.1 404 Not Found"},
		"a method with spaces": {"GET GET /pods" + head + "\r\n", "HTTP/1.1 400 Bad Request"},
		"no host": {"GET /pods HTTP/1.1\r\n\r\n",
			"HTTP/1.1 400 Bad Request: missing required Host header"},
		"HTTP/1.0": {"GET " + path + " HTTP/1.0\r\n\r\n", "HTTP/1.0 200 OK"},
		"HTTP/3.0": {"GET /pods HTTP/3.0\r\nHost: h\r\n\r\n",
			"HTTP/1.1 505 HTTP Version Not Supported: unsupported protocol version"},
		"HTTP/2 that was not agreed on": {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "HTTP/1.1 400 Bad Request"},
		"a header without a name":       {"GET /pods" + head + ": x\r\n\r\n", "HTTP/1.1 400 Bad Request"},
		"garbage": {strings.Repeat("\x00\xff", 2000) + "\r\n\r\n",
			"HTTP/1.1 400 Bad Request"},
		"an authorization header of nothing": {"GET " + path + head + "Authorization:\r\n\r\n", "HTTP/1.1 200 OK"},
		"an expectation": {"GET " + path + head +
			"Expect: 100-continue\r\nContent-Length: 4\r\n\r\n", "HTTP/1.1 200 OK"},
		"an upgrade": {"GET /exec/default/nginx/nginx?output=1 HTTP/1.1\r\nHost: " +
			"h\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\r\nGET /nothing" + head + "\r\n",
			"HTTP/1.1 400 Bad Request"},
	} {
		t.Run(name, func(t *testing.T) {
			got := f.raw(t, certificate, test.request)
			if status, _, _ := strings.Cut(got, "\r\n"); status != test.want {
				t.Errorf("%q, want %s", got[:min(len(got), 300)], test.want)
			}
			answers(t, f)
		})
	}
}

// The function "answers" checks that the server still answers a request of another client.
func answers(t testing.TB, f *fixture) {
	t.Helper()
	if got, body := get(t, f.client(t, f.certificate(t, "kubelet-client")),
		f.url+"/healthz"); got.StatusCode != 200 || body != "ok" {
		t.Errorf("the next request: %d %q", got.StatusCode, body)
	}
}

func TestPlainHTTPToTheTLSPort(t *testing.T) {
	f := newFixture(t, fixtureOptions{})
	conn := f.dial(t)
	io.WriteString(conn, "GET /healthz HTTP/1.1\r\nHost: node-1\r\n\r\n")
	answer, err := io.ReadAll(conn)
	if want := "HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n"; err != nil ||
		string(answer) != want {
		t.Errorf("%q %v, want %q", answer, err, want)
	}
	answers(t, f)
}

// TestSilentClients connects clients that send nothing, half a handshake, or half a request. They must not delay other
// clients. They must not delay the end of Serve by more than Drain either: Serve closes their connections.
func TestSilentClients(t *testing.T) {
	core, lines := observer.New(zap.WarnLevel)
	f := newFixture(t, fixtureOptions{drain: time.Millisecond, logger: zap.New(core)})
	for range 20 {
		f.dial(t)
	}
	io.WriteString(f.dial(t), "\x16\x03\x01\x02\x00\x01")
	half := tls.Client(f.dial(t), &tls.Config{RootCAs: f.ca.Pool(), ServerName: "localhost"})
	if _, err := io.WriteString(half, "GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	answers(t, f)
	if err := f.stop(); err != nil {
		t.Errorf("Serve: %v", err)
	}
	if lines.FilterMessage("closing connections with requests still under way").Len() != 1 {
		t.Errorf("the log has no message about the half request: %v", lines.All())
	}
}
