package symptoms

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	x509request "k8s.io/apiserver/pkg/authentication/request/x509"

	"fauxlet/testcerts"
)

// TestErrorsOfGo reproduces errors between clients and servers that use Go's net/http and crypto/tls.
func TestErrorsOfGo(t *testing.T) {
	ca, err := testcerts.NewAuthority("cluster-ca")
	check(t, err)
	// serving reproduces the error of a client that trusts ca and connects to a server with a certificate of the given
	// kind. If byName is true, the client connects by DNS name, otherwise by IP address.
	serving := func(kind string, byName bool) func(*testing.T) string {
		return func(t *testing.T) string {
			host := "127.0.0.1"
			if byName {
				host = "node-1"
			}
			k, err := testcerts.KindNamed(kind)
			check(t, err)
			request := testcerts.Request{CommonName: "node-1"}
			if kind != "server-kubelet-default" {
				request.Hosts = []string{"127.0.0.1", "node-1"}
			}
			pair, err := k.Mint(ca, request)
			check(t, err)
			return clientError(t, serve(t, pair.TLS()), ca.Pool(), host)
		}
	}
	prove(t, ofGo, []reproduction{
		{id: "connection-refused", reproduce: func(t *testing.T) string {
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			check(t, err)
			listener.Close()
			return get(t, &http.Transport{}, "https://"+listener.Addr().String()+"/pods")
		}},
		{id: "read-only-port-off", reproduce: refused("http", "10255", "/stats/summary")},
		{id: "kubelet-not-running", reproduce: refused("http", "10248", "/healthz")},
		{id: "port-in-use", reproduce: func(t *testing.T) string {
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			check(t, err)
			defer listener.Close()
			_, err = net.Listen("tcp", listener.Addr().String())
			return withPort(err.Error(), listener.Addr(), "10250")
		}, values: map[string]string{"port": "10250"}},
		{id: "timeout", variant: "dialling", reproduce: func(t *testing.T) string {
			dialer := &net.Dialer{Timeout: time.Nanosecond}
			return get(t, &http.Transport{DialContext: dialer.DialContext}, "https://127.0.0.1:10250/pods")
		}, values: map[string]string{"address": "127.0.0.1:10250"}},
		{id: "timeout", variant: "a handshake", reproduce: func(t *testing.T) string {
			return get(t, &http.Transport{TLSHandshakeTimeout: time.Millisecond},
				"https://"+accept(t, func(conn net.Conn) { io.Copy(io.Discard, conn) })+"/pods")
		}},
		{id: "no-such-host", reproduce: func(t *testing.T) string {
			dialer := &net.Dialer{Resolver: &net.Resolver{PreferGo: true, Dial: emptyDNS}}
			return get(t, &http.Transport{DialContext: dialer.DialContext}, "https://node-1.example:10250/pods")
		}, values: map[string]string{"host": "node-1.example"}},
		{id: "proxy-refuses", reproduce: func(t *testing.T) string {
			proxy := httptest.NewServer(
				http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusForbidden) }))
			t.Cleanup(proxy.Close)
			at, err := url.Parse(proxy.URL)
			check(t, err)
			return get(t, &http.Transport{Proxy: http.ProxyURL(at)},
				"https://192.0.2.7:10250/containerLogs/default/nginx/nginx")
		}},

		{id: "client-certificate-refused", variant: "an expired one", reproduce: refusedClient(ca, "client-expired")},
		{id: "client-certificate-refused", variant: "unknown CA", reproduce: refusedClient(ca, "client-unknown-ca")},
		{id: "client-certificate-refused", variant: "a server's", reproduce: refusedClient(ca, "client-server-usage")},

		{id: "unknown-authority", variant: "unknown CA", reproduce: serving("server-unknown-ca", false)},
		{id: "unknown-authority", variant: "the kubelet's own, by name",
			reproduce: serving("server-kubelet-default", true)},
		{id: "unknown-authority", variant: "a chain that is missing",
			reproduce: serving("server-chain-missing", false)},
		{id: "unknown-authority-other-key", reproduce: func(t *testing.T) string {
			other, err := testcerts.NewAuthority("cluster-ca",
				func(c *x509.Certificate) { c.SubjectKeyId = ca.Cert.SubjectKeyId })
			check(t, err)
			pair, err := other.Server("node-1", []string{"127.0.0.1"})
			check(t, err)
			return clientError(t, serve(t, pair.TLS()), ca.Pool(), "127.0.0.1")
		}, values: map[string]string{"ca": "cluster-ca"}},
		{id: "weak-signature", reproduce: serving("server-sha1", false),
			values: map[string]string{"algorithm": "ECDSA-SHA1"}},
		{id: "no-ip-sans", reproduce: serving("server-common-name-only", false),
			values: map[string]string{"host": "127.0.0.1"}},
		{id: "no-ip-sans", variant: "the kubelet's own", reproduce: serving("server-kubelet-default", false)},
		{id: "common-name-alone", reproduce: serving("server-common-name-only", true)},
		{id: "wrong-name", variant: "an address", reproduce: serving("server-other-host", false),
			values: map[string]string{"host": "127.0.0.1", "valid": "192.0.2.1"}},
		{id: "wrong-name", variant: "a name", reproduce: serving("server-other-host", true),
			values: map[string]string{"host": "node-1", "valid": "other.invalid"}},
		{id: "client-serving-pair", reproduce: func(t *testing.T) string {
			pair, err := ca.Server("node-1", []string{"placeholder"},
				func(c *x509.Certificate) { c.DNSNames = []string{"system:node:node-1"} })
			check(t, err)
			return clientError(t, serve(t, pair.TLS()), ca.Pool(), "node-1")
		}, values: map[string]string{"valid": "system:node:node-1", "host": "node-1"}},
		{id: "no-names", reproduce: func(t *testing.T) string {
			pair, err := ca.Server("node-1", []string{"127.0.0.1"})
			check(t, err)
			return clientError(t, serve(t, pair.TLS()), ca.Pool(), "node-1")
		}, values: map[string]string{"host": "node-1"}},
		{id: "expired", reproduce: serving("server-expired", false)},
		{id: "not-yet-valid", reproduce: serving("server-not-yet-valid", false)},
		{id: "wrong-usage", reproduce: serving("server-client-usage", false)},
		{id: "any-x509", reproduce: func(t *testing.T) string {
			narrow, err := testcerts.NewAuthority("narrow-ca",
				func(c *x509.Certificate) { c.ExcludedDNSDomains = []string{"node-1"} })
			check(t, err)
			pair, err := narrow.Server("node-1", []string{"node-1"})
			check(t, err)
			return clientError(t, serve(t, pair.TLS()), narrow.Pool(), "node-1")
		}},

		{id: "internal-error", reproduce: func(t *testing.T) string {
			s := serve(t)
			return clientError(t, s, ca.Pool(), "127.0.0.1")
		}},
		{id: "no-serving-certificate", reproduce: func(t *testing.T) string {
			s := serve(t)
			clientError(t, s, ca.Pool(), "127.0.0.1")
			return s.logLine(t)
		}},
		{id: "bad-certificate", reproduce: func(t *testing.T) string {
			pair, err := testcerts.SelfSigned("node-1", []string{"127.0.0.1"})
			check(t, err)
			s := serve(t, pair.TLS())
			clientError(t, s, ca.Pool(), "127.0.0.1")
			return s.logLine(t)
		}},
		{id: "not-tls", reproduce: func(t *testing.T) string {
			s := serve(t)
			conn, err := net.Dial("tcp", s.address)
			check(t, err)
			defer conn.Close()
			_, err = conn.Write([]byte("SSH-2.0-scanner\r\n"))
			check(t, err)
			return s.logLine(t)
		}},
		{id: "handshake-eof", reproduce: func(t *testing.T) string {
			s := serve(t)
			conn, err := net.Dial("tcp", s.address)
			check(t, err)
			conn.Close()
			return s.logLine(t)
		}},
		{id: "http-to-https", variant: "net/http", reproduce: func(t *testing.T) string {
			response, err := http.Get("http://" + serve(t).address + "/pods")
			check(t, err)
			defer response.Body.Close()
			body, err := io.ReadAll(response.Body)
			check(t, err)
			return string(body)
		}},
		{id: "http-to-https", variant: "a TLS that answers with an alert", reproduce: func(t *testing.T) string {
			return get(t, &http.Transport{}, "http://"+accept(t, func(conn net.Conn) {
				http.ReadRequest(bufio.NewReader(conn))
				conn.Write([]byte{0x15, 3, 1, 0, 2, 2, 70}) // a TLS 1.0 alert: fatal, protocol version
			})+"/pods")
		}},
		{id: "https-to-http", reproduce: func(t *testing.T) string {
			plain := httptest.NewServer(http.NotFoundHandler())
			t.Cleanup(plain.Close)
			return get(t, &http.Transport{}, "https://"+plain.Listener.Addr().String()+"/pods")
		}},
		{id: "protocol-version", variant: "the version", reproduce: func(t *testing.T) string {
			s := serveWith(t, &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{good(t, ca)}})
			return get(t, &http.Transport{TLSClientConfig: &tls.Config{MaxVersion: tls.VersionTLS12}},
				"https://"+s.address+"/pods")
		}},
		{id: "protocol-version", variant: "the cipher suites", reproduce: func(t *testing.T) string {
			s := serveWith(t, &tls.Config{MaxVersion: tls.VersionTLS12,
				CipherSuites: []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256},
				Certificates: []tls.Certificate{good(t, ca)}})
			return get(t, &http.Transport{TLSClientConfig: &tls.Config{}}, "https://"+s.address+"/pods")
		}},
		{id: "connection-reset", reproduce: func(t *testing.T) string {
			return get(t, &http.Transport{}, "http://"+accept(t, func(conn net.Conn) {
				http.ReadRequest(bufio.NewReader(conn))
				check(t, conn.(*net.TCPConn).SetLinger(0))
			})+"/pods")
		}},
		{id: "eof", variant: "no answer", reproduce: func(t *testing.T) string {
			cut := httptest.NewUnstartedServer(
				http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
			cut.StartTLS()
			t.Cleanup(cut.Close)
			return get(t, cut.Client().Transport, cut.URL+"/pods")
		}},
		{id: "eof", variant: "half an answer", reproduce: func(t *testing.T) string {
			cut := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Length", "100")
				io.WriteString(w, "half")
			}))
			t.Cleanup(cut.Close)
			response, err := http.Get(cut.URL)
			check(t, err)
			defer response.Body.Close()
			_, err = io.ReadAll(response.Body)
			return fmt.Sprint(err)
		}},
	})
}

// get sends a request that must fail, and returns the client's error.
func get(t *testing.T, transport http.RoundTripper, target string) string {
	t.Helper()
	if of, ok := transport.(*http.Transport); ok {
		t.Cleanup(of.CloseIdleConnections)
	}
	response, err := (&http.Client{Transport: transport, Timeout: 30 * time.Second}).Get(target)
	if err == nil {
		response.Body.Close()
		t.Fatalf("GET %s: status %s, want an error", target, response.Status)
	}
	return err.Error()
}

// served is a running HTTPS server. The channel "log" receives the lines that the server logs.
type served struct {
	address string
	log     chan string
}

// serve starts an HTTPS server with the certificates. Without a certificate, the server refuses TLS handshakes with the
// error of a kubelet whose serving certificate has not been issued yet.
func serve(t *testing.T, certificates ...tls.Certificate) *served {
	config := &tls.Config{Certificates: certificates}
	if len(certificates) == 0 {
		config.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			// A kubelet returns this error. (pkg/kubelet/kubelet.go)
			return nil, errors.New("no serving certificate available for the kubelet")
		}
	}
	return serveWith(t, config)
}

func serveWith(t *testing.T, config *tls.Config) *served {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	s := &served{address: listener.Addr().String(), log: make(chan string, 10)}
	server := &http.Server{TLSConfig: config, ErrorLog: log.New(s, "", 0)}
	var done sync.WaitGroup
	done.Go(func() { server.ServeTLS(listener, "", "") })
	t.Cleanup(func() {
		server.Close()
		done.Wait()
	})
	return s
}

func (s *served) Write(line []byte) (int, error) {
	s.log <- string(bytes.TrimSpace(line))
	return len(line), nil
}

// logLine returns the next line of the server's log.
func (s *served) logLine(t *testing.T) string {
	t.Helper()
	select {
	case line := <-s.log:
		return line
	case <-time.After(30 * time.Second):
		t.Fatal("the server logged nothing within 30 s")
		return ""
	}
}

// clientError returns the error of a client that connects to the server. The client trusts the CAs in "roots", and
// accepts only a serving certificate for the name or IP address in "host".
func clientError(t *testing.T, s *served, roots *x509.CertPool, host string) string {
	t.Helper()
	_, port, err := net.SplitHostPort(s.address)
	check(t, err)
	there := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "tcp", s.address)
	}
	return get(t, &http.Transport{DialContext: there, TLSClientConfig: &tls.Config{RootCAs: roots}},
		"https://"+net.JoinHostPort(host, port)+"/containerLogs/default/nginx/nginx")
}

// accept listens on a free port, passes each connection to the function "serve", and returns the address of the
// listener.
func accept(t *testing.T, serve func(net.Conn)) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	var done sync.WaitGroup
	done.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			done.Go(func() {
				defer conn.Close()
				serve(conn)
			})
		}
	})
	t.Cleanup(func() {
		listener.Close()
		done.Wait()
	})
	return listener.Addr().String()
}

func good(t *testing.T, ca *testcerts.Authority) tls.Certificate {
	t.Helper()
	pair, err := ca.Server("node-1", []string{"127.0.0.1"})
	check(t, err)
	return pair.TLS()
}

// emptyDNS connects to a DNS server in memory that has no records.
func emptyDNS(context.Context, string, string) (net.Conn, error) {
	client, server := net.Pipe()
	go func() {
		defer server.Close()
		for {
			// On a stream, as in DNS over TCP, each message begins with its length in two bytes.
			var length [2]byte
			if _, err := io.ReadFull(server, length[:]); err != nil {
				return
			}
			query := make([]byte, int(length[0])<<8|int(length[1]))
			if _, err := io.ReadFull(server, query); err != nil {
				return
			}
			const noSuchName = 3
			query[2], query[3] = query[2]|0x80, noSuchName // make the query a response: no such name
			if _, err := server.Write(append(length[:], query...)); err != nil {
				return
			}
		}
	}()
	return client, nil
}

// refusedClient reproduces the line that a kubelet logs when it refuses a client certificate of the given kind.
func refusedClient(ca *testcerts.Authority, kind string) func(*testing.T) string {
	return func(t *testing.T) string {
		k, err := testcerts.KindNamed(kind)
		check(t, err)
		pair, err := k.Mint(ca, testcerts.Request{CommonName: "kubelet-client"})
		check(t, err)
		options := x509request.DefaultVerifyOptions()
		options.Roots = ca.Pool()
		r := &http.Request{TLS: &tls.ConnectionState{PeerCertificates: []*x509.Certificate{pair.Leaf}}}
		_, _, err = x509request.New(options, x509request.CommonNameUserConversion).AuthenticateRequest(r)
		if err == nil {
			t.Fatal("the authenticator accepts the certificate")
		}
		// The log line has the same form as in a kubelet's log. (kubelet: pkg/kubelet/server/server.go,
		// InstallAuthFilter)
		return `E0102 03:04:05.000000 1 server.go:387] "Unable to authenticate the request due to an error" err=` +
			strings.TrimSpace(fmt.Sprintf("%q", err.Error()))
	}
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// refused reproduces the error of a client that connects to a port of 127.0.0.1 on which nothing listens. In the error,
// the port is replaced by one that a kubelet can have.
func refused(scheme, port, path string) func(*testing.T) string {
	return func(t *testing.T) string {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		check(t, err)
		listener.Close()
		return withPort(get(t, &http.Transport{}, scheme+"://"+listener.Addr().String()+path), listener.Addr(), port)
	}
}

// withPort replaces the port of an address in a text.
func withPort(text string, address net.Addr, port string) string {
	return strings.ReplaceAll(text, address.String(), net.JoinHostPort("127.0.0.1", port))
}
