package server_test

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestServerOptions compares the answers to "OPTIONS *" with the answers of an http.Server that has the settings of a
// kubelet's. It expects one Decision about each request, and no Decision about its connection.
func TestServerOptions(t *testing.T) {
	reference := httptest.NewTLSServer(http.NotFoundHandler())
	t.Cleanup(reference.Close)
	roots := x509.NewCertPool()
	roots.AddCert(reference.Certificate())
	f := newFixture(t, fixtureOptions{})
	certificate := f.certificate(t, "kubelet-client")
	const line, last = "OPTIONS * HTTP/1.1\r\nHost: node-1\r\n", "Connection: close\r\n\r\n"
	decisions := 0
	for _, test := range []struct {
		name, request string
		requests      int
	}{
		{"one", line + last, 1},
		{"two", line + "\r\n" + line + last, 2},
		{"body", line + "Content-Length: 3\r\n" + last + "abc", 1},
		{"chunked body", line + "Transfer-Encoding: chunked\r\n" + last + "3\r\nabc\r\n0\r\n\r\n", 1},
		{"longest body", line + "Content-Length: 4096\r\n\r\n" + strings.Repeat("x", 4096) + line + last, 2},
		{"too long body", line + "Content-Length: 4097\r\n\r\n" + strings.Repeat("x", 4097), 1},
		{"expectation", line + "Expect: 100-continue\r\nContent-Length: 3\r\n" + last + "abc", 1},
		{"HTTP/1.0", "OPTIONS * HTTP/1.0\r\n\r\n", 1},
		{"credential", line + "Authorization: Bearer unknown\r\n" + last, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			conn, err := tls.Dial("tcp", reference.Listener.Addr().String(),
				&tls.Config{RootCAs: roots, ServerName: "example.com"})
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			io.WriteString(conn, test.request)
			want, err := io.ReadAll(conn)
			if err != nil {
				t.Fatal(err)
			}
			got := f.raw(t, certificate, test.request)
			if date.ReplaceAllString(got, "") != date.ReplaceAllString(string(want), "") {
				t.Errorf("%q, want %q", got, want)
			}
			for range test.requests {
				decisions++
				d := f.decision(t, decisions)
				if d.Method != "OPTIONS" || d.Path != "*" || d.Status != 200 || d.Outcome() != "" || d.Duration <= 0 {
					t.Errorf("Decision %+v", d)
				}
			}
		})
	}
	if err := f.stop(); err != nil {
		t.Fatal(err)
	}
	for _, d := range f.connections() {
		t.Errorf("unexpected Decision %q", d.NoRequest)
	}
}
