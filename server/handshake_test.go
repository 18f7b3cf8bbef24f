package server_test

import (
	"crypto/tls"
	"io"
	"net"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"fauxlet/authchain"
	"fauxlet/testcerts"
)

func isHandshake(d *authchain.Decision) bool { return d.Handshake != "" }

// TestFailedHandshakes checks that each failed handshake has a Decision and a log line with the cause, and is counted
// in the metrics.
func TestFailedHandshakes(t *testing.T) {
	other, err := testcerts.NewAuthority("other-ca")
	if err != nil {
		t.Fatal(err)
	}
	shake := func(config *tls.Config) func(*testing.T, *fixture) {
		return func(t *testing.T, f *fixture) {
			if _, err := f.handshake(t, config); err == nil {
				t.Error("the handshake succeeded")
			}
		}
	}
	say := func(words string) func(*testing.T, *fixture) {
		return func(t *testing.T, f *fixture) {
			conn := f.dial(t)
			io.WriteString(conn, words)
			conn.(*net.TCPConn).CloseWrite()
			io.Copy(io.Discard, conn)
		}
	}
	for name, test := range map[string]struct {
		client func(*testing.T, *fixture)
		want   string
	}{
		"another CA": {shake(&tls.Config{RootCAs: other.Pool()}),
			"the client does not accept the serving certificate (remote error: tls: bad certificate)"},
		"another CA, 1.2": {shake(&tls.Config{RootCAs: other.Pool(), MaxVersion: tls.VersionTLS12}),
			"the client does not accept the serving certificate (remote error: tls: bad certificate)"},
		"TLS 1.1": {shake(&tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}),
			"the client offers no TLS version that tlsMinVersion allows (tls: client offered only unsupported " +
				"versions: [302 301])"},
		"plain HTTP": {say("GET / HTTP/1.1\r\n\r\n"),
			"the client sent plain HTTP to a TLS port (client sent an HTTP request to an HTTPS server)"},
		"garbage": {say("garbage"),
			"the client does not speak TLS (tls: first record does not look like a TLS handshake)"},
		"nothing": {say(""), "the client closed the connection during the handshake (EOF)"},
		"half a hello": {say("\x16\x03\x01\x02\x00\x01"),
			"the client closed the connection during the handshake (unexpected EOF)"},
		"an unknown CA": {say("\x15\x03\x03\x00\x02\x02\x30"),
			"the client does not trust the serving certificate: its CA is unknown to the client (remote error: " +
				"tls: unknown certificate authority)"},
		"expired": {say("\x15\x03\x03\x00\x02\x02\x2d"),
			"the client does not accept the serving certificate: it has expired (remote error: tls: expired " +
				"certificate)"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			core, lines := observer.New(zap.InfoLevel)
			f := newFixture(t, fixtureOptions{logger: zap.New(core)})
			test.client(t, f)
			d := f.find(t, "of the failed handshake", isHandshake)
			if d.Handshake != test.want {
				t.Errorf("%q, want %q", d.Handshake, test.want)
			}
			if host, _, err := net.SplitHostPort(d.Remote); err != nil || host != "127.0.0.1" {
				t.Errorf("remote %q", d.Remote)
			}
			if found := lines.FilterMessage("TLS handshake failed: " + test.want).All(); len(found) != 1 ||
				found[0].Level != zap.WarnLevel {
				t.Errorf("log %v", lines.All())
			} else {
				_, remedy := found[0].ContextMap()["remedy"]
				if wanted := strings.Contains(test.want, "serving certificate (") ||
					strings.Contains(test.want, "its CA is unknown"); remedy != wanted {
					t.Errorf("a remedy in the log: %v, want %v", remedy, wanted)
				}
			}
			_, metrics := get(t, f.client(t, f.certificate(t, "kubelet-client")), f.url+"/metrics")
			if !strings.Contains(metrics, "\nfauxlet_tls_handshake_failures_total 1\n") {
				t.Errorf("the failed handshake is not counted in the metrics")
			}
			if strings.Contains(metrics, `fauxlet_decisions_total{authenticated_by="none"`) {
				t.Error("the failed handshake is counted as a decision of the chain")
			}
		})
	}
}

// TestHandshakeErrorText checks the text of the net/http log line by which the Server recognizes a failed handshake.
func TestHandshakeErrorText(t *testing.T) {
	f := newFixture(t, fixtureOptions{})
	conn := f.dial(t)
	conn.Close()
	f.find(t, "net/http no longer says `http: TLS handshake error from ADDRESS: `", isHandshake)
}
