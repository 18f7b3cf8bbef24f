package server_test

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/net/http2"

	"fauxlet/authchain"
)

// TestConnectionsWithoutARequest expects one Decision about each connection without a request, and no additional
// Decision about a connection that had a request.
func TestConnectionsWithoutARequest(t *testing.T) {
	secure := func(protocols ...string) func(*testing.T, *fixture) net.Conn {
		return func(t *testing.T, f *fixture) net.Conn {
			certificate := f.certificate(t, "kubelet-client")
			conn := tls.Client(f.dial(t),
				&tls.Config{RootCAs: f.ca.Pool(), ServerName: "localhost", NextProtos: protocols,
					GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate,
						error) {
						return certificate, nil
					}})
			if err := conn.Handshake(); err != nil {
				t.Fatal(err)
			}
			return conn
		}
	}
	open := func(t *testing.T, f *fixture) net.Conn {
		conn, err := net.Dial("tcp", strings.TrimPrefix(f.readOnly, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		return conn
	}
	for name, test := range map[string]struct {
		dial func(*testing.T, *fixture) net.Conn
		say  string
		want string // empty if no Decision is expected
		user string
		// authentication is passed to newFixture. If it configures no client CA, the Server offers HTTP/2.
		authentication string
	}{
		"secure port, nothing": {dial: secure(),
			want: "the connection was closed after the TLS handshake, before a request", user: "CN=kubelet-client"},
		"secure port, half a request": {dial: secure(), say: "GET / HT",
			want: "the client did not send a complete and valid HTTP request", user: "CN=kubelet-client"},
		"secure port, garbage": {dial: secure(), say: "garbage\r\n\r\n",
			want: "the client did not send a complete and valid HTTP request", user: "CN=kubelet-client"},
		"secure port, HTTP/2": {dial: secure("h2"), say: http2.ClientPreface,
			want: "the client began HTTP/2, but sent no request", authentication: noClientCA},
		"secure port, a request":  {dial: secure(), say: "GET /healthz HTTP/1.1\r\nHost: node-1\r\n\r\n"},
		"read-only port, nothing": {dial: open, want: "the connection was closed before anything was sent"},
		"read-only port, garbage": {dial: open, say: "garbage\r\n\r\n",
			want: "the client did not send a complete and valid HTTP request"},
		"read-only port, a request": {dial: open, say: "GET /healthz HTTP/1.1\r\nHost: node-1\r\n\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, fixtureOptions{authentication: test.authentication,
				flags: []string{"--read-only-port=" + strconv.Itoa(freePort(t))}})
			conn := test.dial(t, f)
			if _, err := io.WriteString(conn, test.say); err != nil {
				t.Fatal(err)
			}
			if test.want == "" {
				f.decision(t, 1)
			}
			conn.Close()
			if test.want != "" {
				eventually(t, "a Decision of the connection", func() bool { return len(f.connections()) > 0 })
			}
			if err := f.stop(); err != nil {
				t.Fatal(err)
			}
			decisions := f.connections()
			if test.want == "" {
				if len(decisions) != 0 {
					t.Errorf("unexpected Decision %q", decisions[0].NoRequest)
				}
				return
			}
			if len(decisions) != 1 || decisions[0].NoRequest != test.want ||
				decisions[0].Remote != conn.LocalAddr().String() ||
				decisions[0].Duration <= 0 || decisions[0].Outcome() != "" {
				t.Fatalf("got %d Decisions, the first is %+v", len(decisions), decisions[0])
			}
			subject := ""
			if decisions[0].TLS != nil && len(decisions[0].TLS.PeerCertificates) > 0 {
				subject = decisions[0].TLS.PeerCertificates[0].Subject.String()
			}
			if subject != test.user {
				t.Errorf("client certificate %q, want %q", subject, test.user)
			}
		})
	}
}

// TestFailedHandshakeIsRecordedOnce expects one Decision about a failed handshake, and no additional Decision about
// its connection.
func TestFailedHandshakeIsRecordedOnce(t *testing.T) {
	f := newFixture(t, fixtureOptions{})
	f.dial(t).Close()
	f.find(t, "of the failed handshake", isHandshake)
	if response, _ := get(t, f.client(t, nil), f.url+"/healthz"); response.StatusCode != http.StatusUnauthorized {
		t.Fatal(response.Status)
	}
	if err := f.stop(); err != nil {
		t.Fatal(err)
	}
	for _, d := range f.connections() {
		t.Errorf("unexpected Decision %q", d.NoRequest)
	}
}

func (f *fixture) connections() []*authchain.Decision {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.unasked
}
