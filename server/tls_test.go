package server_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"fauxlet/config"
	"fauxlet/internal/pods"
	"fauxlet/server"
	"fauxlet/testcerts"
)

// handshake opens a TLS connection with config. If config has no root CAs, the connection trusts the fixture's CA.
func (f *fixture) handshake(t testing.TB, config *tls.Config) (tls.ConnectionState, error) {
	t.Helper()
	if config.RootCAs == nil {
		config.RootCAs = f.ca.Pool()
	}
	config.ServerName = "localhost"
	conn := tls.Client(f.dial(t), config)
	defer conn.Close()
	err := conn.Handshake()
	return conn.ConnectionState(), err
}

// connect performs a handshake, and fails the test if the handshake fails.
func (f *fixture) connect(t testing.TB, config *tls.Config) tls.ConnectionState {
	t.Helper()
	state, err := f.handshake(t, config)
	if err != nil {
		t.Fatalf("handshake: %v", err)
	}
	return state
}

func TestSelfSignedCertificateIsMadeAndKept(t *testing.T) {
	selfSigned := func(f *fixture) { f.certDir = f.path("own/pki") }
	f := newFixture(t, fixtureOptions{before: selfSigned})
	anyone := &tls.Config{InsecureSkipVerify: true}
	chain := f.connect(t, anyone.Clone()).PeerCertificates
	leaf := chain[0]
	if !regexp.MustCompile(`^node-1@\d{10}$`).MatchString(leaf.Subject.CommonName) {
		t.Errorf("common name %q, want node-1@ and the time", leaf.Subject.CommonName)
	}
	if !slices.Equal(leaf.DNSNames, []string{"node-1"}) || len(leaf.IPAddresses) != 0 {
		t.Errorf("names %v %v, want node-1", leaf.DNSNames, leaf.IPAddresses)
	}
	if len(chain) != 2 || leaf.CheckSignatureFrom(chain[1]) != nil {
		t.Errorf("the issuer's certificate is not sent: %d certificates", len(chain))
	}
	if days := time.Until(leaf.NotAfter).Hours() / 24; days < 364 || days > 365 {
		t.Errorf("the certificate is valid for %.1f days, want a year", days)
	}
	if info, err := os.Stat(filepath.Join(f.certDir, "kubelet.key")); err != nil || info.Mode() != 0o600 {
		t.Errorf("kubelet.key: %v %v, want mode 0600", info.Mode(), err)
	}
	next := newFixture(t, fixtureOptions{before: func(g *fixture) { g.certDir = f.certDir }})
	if again := next.connect(t, anyone.Clone()).PeerCertificates[0]; !again.Equal(leaf) {
		t.Errorf("after a restart the CN is %q, want %q", again.Subject.CommonName, leaf.Subject.CommonName)
	}
}

// TestSelfSignedCertificateDoesNotFollowLinks checks that symbolic links in the place of the certificate and the key
// are replaced, and that nothing is written where they point.
func TestSelfSignedCertificateDoesNotFollowLinks(t *testing.T) {
	f := newFixture(t, fixtureOptions{before: func(f *fixture) {
		f.certDir = f.path("own")
		for _, name := range []string{"kubelet.crt", "kubelet.key"} {
			err := errors.Join(os.MkdirAll(f.certDir, 0o755), os.Symlink(f.path("victim"), filepath.Join(f.certDir, name)))
			if err != nil {
				t.Fatal(err)
			}
		}
	}})
	f.connect(t, &tls.Config{InsecureSkipVerify: true})
	if _, err := os.Lstat(f.path("victim")); err == nil {
		t.Error("a file was written through a symbolic link")
	}
	for name, want := range map[string]os.FileMode{"kubelet.crt": 0o644, "kubelet.key": 0o600} {
		if info, err := os.Lstat(filepath.Join(f.certDir, name)); err != nil {
			t.Error(err)
		} else if info.Mode() != want {
			t.Errorf("%s: mode %v, want a file with mode %v", name, info.Mode(), want)
		}
	}
}

// TestReadOnce expects that changed files are ignored, that no goroutine watches the files, and that wrong files
// cause the same errors as without ReadOnce.
func TestReadOnce(t *testing.T) {
	options := fixtureOptions{readOnce: true, yaml: "tlsCertFile: kubelet.crt\ntlsPrivateKeyFile: kubelet.key\n"}
	f := newFixture(t, options)
	unknownCA, err := testcerts.NewAuthority("unknown-ca")
	if err != nil {
		t.Fatal(err)
	}
	certificate := f.certificate(t, "kubelet-client")
	f.writePair(t, "kubelet", f.mint(t, unknownCA, "another"))
	f.write(t, "ca.crt", string(unknownCA.CertPEM()))
	if response, _ := get(t, f.client(t, certificate), f.url+"/healthz"); response.StatusCode != 200 {
		t.Errorf("status %d", response.StatusCode)
	}

	f.stopReviews()
	before := goleak.IgnoreCurrent()
	unserved, err := f.newServer(t, options)
	if err != nil {
		t.Fatal(err)
	}
	listeners, err := unserved.Listen()
	if err != nil {
		t.Fatal(err)
	}
	listeners.Close()
	f.stopReviews()
	if err := goleak.Find(append(slices.Clone(goleakOptions), before)...); err != nil {
		t.Errorf("a Server that never serves: %v", err)
	}

	f.write(t, "kubelet.key", "no key")
	if _, err := unserved.Listen(); err == nil || !strings.Contains(err.Error(), "tlsPrivateKeyFile") {
		t.Errorf("an invalid key file: error %v, want the field tlsPrivateKeyFile", err)
	}
	f.write(t, "ca.crt", "no CA")
	if _, err := f.newServer(t, options); err == nil || !strings.Contains(err.Error(), "clientCAFile") {
		t.Errorf("an invalid CA file: error %v, want the field clientCAFile", err)
	}
}

func TestServingCertificateIsReadAgain(t *testing.T) {
	f := newFixture(t, fixtureOptions{
		yaml:   "tlsCertFile: given.crt\ntlsPrivateKeyFile: given.key\n",
		before: func(f *fixture) { f.writePair(t, "given", f.mint(t, f.ca, "the first")) },
	})
	served := func() string { return f.connect(t, &tls.Config{}).PeerCertificates[0].Subject.CommonName }
	if got := served(); got != "the first" {
		t.Fatalf("the serving certificate is %q", got)
	}
	f.writePair(t, "given", f.mint(t, f.ca, "the second"))
	eventually(t, "the second certificate", func() bool { return served() == "the second" })

	// The Server does not use an invalid file, but continues to watch the files.
	f.write(t, "given.crt", "no certificate")
	f.write(t, "given.key", "no key")
	if got := served(); got != "the second" {
		t.Errorf("after an invalid file was written the serving certificate is %q", got)
	}
	f.writePair(t, "given", f.mint(t, f.ca, "the third"))
	eventually(t, "the third certificate", func() bool {
		got := served()
		if got != "the second" && got != "the third" {
			t.Fatalf("the serving certificate is %q", got)
		}
		return got == "the third"
	})

	// The Server continues to watch the files after they were missing.
	for _, name := range []string{"given.crt", "given.key"} {
		if err := os.Remove(f.path(name)); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"the fourth", "the fifth"} {
		f.writePair(t, "given", f.mint(t, f.ca, name))
		eventually(t, name+" certificate", func() bool { return served() == name })
	}
}

// TestClientCAIsReadAgain replaces the client CA in several ways. Each time, certificates of the old CA must no longer
// be accepted, even on connections that are already open.
func TestClientCAIsReadAgain(t *testing.T) {
	f := newFixture(t, fixtureOptions{
		authentication: "{x509: {clientCAFile: pki/current/ca.crt}, webhook: {cacheTTL: 1ns}}",
		before: func(f *fixture) {
			makeFolder(t, f.path("pki/current"))
			f.write(t, "pki/current/ca.crt", string(f.ca.CertPEM()))
		},
	})
	status := func(certificate *tls.Certificate) int {
		client := f.client(t, certificate)
		defer client.CloseIdleConnections()
		got, _ := get(t, client, f.url+"/healthz")
		return got.StatusCode
	}
	// withNewCA returns a client certificate, and the PEM of the new CA that has signed it.
	withNewCA := func() (*tls.Certificate, string) {
		ca, err := testcerts.NewAuthority("the-next-ca")
		if err != nil {
			t.Fatal(err)
		}
		pair, err := ca.Client("kubelet-client", nil)
		if err != nil {
			t.Fatal(err)
		}
		certificate := pair.TLS()
		return &certificate, string(ca.CertPEM())
	}
	old := f.certificate(t, "kubelet-client")
	rename := func(from, to string) {
		if err := os.Rename(f.path(from), f.path(to)); err != nil {
			t.Fatal(err)
		}
	}
	remove := func(name string) {
		if err := os.RemoveAll(f.path(name)); err != nil {
			t.Fatal(err)
		}
	}
	for _, way := range []struct {
		name    string
		replace func(newPEM string)
	}{
		{"written in place", func(newPEM string) { f.write(t, "pki/current/ca.crt", newPEM) }},
		{"renamed over the file", func(newPEM string) {
			f.write(t, "pki/current/new.crt", newPEM)
			rename("pki/current/new.crt", "pki/current/ca.crt")
		}},
		{"removed, put back and replaced", func(newPEM string) {
			remove("pki/current/ca.crt")
			another, anotherPEM := withNewCA()
			f.write(t, "pki/current/ca.crt", anotherPEM)
			// The Server must have read the file before it is replaced.
			eventually(t, "the CA that was put back", func() bool { return status(another) == 200 })
			f.write(t, "pki/current/ca.crt", newPEM)
		}},
		{"in a new folder", func(newPEM string) {
			rename("pki/current", "pki/old")
			makeFolder(t, f.path("pki/current"))
			f.write(t, "pki/current/ca.crt", newPEM)
		}},
		{"in a new folder of folders", func(newPEM string) {
			rename("pki", "old")
			makeFolder(t, f.path("pki/current"))
			f.write(t, "pki/current/ca.crt", newPEM)
		}},
		{"behind a symbolic link, as a volume of Kubernetes", func(newPEM string) {
			makeFolder(t, f.path("pki/..data"))
			f.write(t, "pki/..data/ca.crt", newPEM)
			if err := os.Symlink("../..data/ca.crt", f.path("pki/current/link")); err != nil {
				t.Fatal(err)
			}
			rename("pki/current/link", "pki/current/ca.crt")
		}},
		{"as the target of the symbolic link", func(newPEM string) { f.write(t, "pki/..data/ca.crt", newPEM) }},
	} {
		current, newPEM := withNewCA()
		if was, is := status(old), status(current); was != 200 || is != 401 {
			t.Fatalf("%s: a client of the old CA: %d, of the new CA: %d; want 200 and 401", way.name, was, is)
		}
		kept := f.client(t, old)
		get(t, kept, f.url+"/healthz")

		way.replace(newPEM)
		eventually(t, way.name, func() bool { return status(current) == 200 })
		if got := status(old); got != 401 {
			t.Errorf("%s: a new connection with a certificate of the old CA: %d, want 401", way.name, got)
		}
		if got, _ := get(t, kept, f.url+"/healthz"); got.StatusCode != 401 {
			t.Errorf("%s: an open connection with a certificate of the old CA: %d, want 401", way.name, got.StatusCode)
		}
		old = current
	}
}

func makeFolder(t testing.TB, path string) {
	t.Helper()
	if err := os.MkdirAll(path, 0o700); err != nil {
		t.Fatal(err)
	}
}

// TestCertificateRequests checks that a Server requests a client certificate exactly if it has a client CA. It also
// checks the protocol that clients negotiate. A Server that reloads its client CA offers no ALPN protocol, so all its
// clients use HTTP/1.1: as in a kubelet, its GetConfigForClient returns a tls.Config that was made before net/http
// added its protocols. (In such a Server, as in a kubelet, a changed CA may take up to a minute to appear in the list
// of acceptable CAs.) The other Servers offer HTTP/2.
func TestCertificateRequests(t *testing.T) {
	for _, test := range []struct {
		name, authentication, yaml, protocol string
		requested                            bool
	}{
		{"with clientCAFile", "", "", "", true},
		{"with clientCAFile that is not followed", "", "featureGates: {ReloadKubeletClientCAFile: false}\n", "h2",
			true},
		{"without clientCAFile", noClientCA, "", "h2", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := newFixture(t, fixtureOptions{authentication: test.authentication, yaml: test.yaml})
			requested := false
			state := f.connect(t, &tls.Config{
				NextProtos: []string{"h2", "http/1.1"},
				GetClientCertificate: func(request *tls.CertificateRequestInfo) (*tls.Certificate, error) {
					requested = true
					if len(request.AcceptableCAs) != 1 ||
						!bytes.Equal(request.AcceptableCAs[0], f.ca.Cert.RawSubject) {
						t.Errorf("acceptable CAs %q, want the client CA", request.AcceptableCAs)
					}
					return &tls.Certificate{}, nil
				},
			})
			if requested != test.requested || state.NegotiatedProtocol != test.protocol {
				t.Errorf("certificate requested: %v, ALPN %q; want %v and %q", requested, state.NegotiatedProtocol,
					test.requested, test.protocol)
			}
			got, body := get(t, f.withToken(t, "the-token-of-kubelet-client"),
				f.url+"/containerLogs/default/nginx/nginx?tailLines=3")
			if got.StatusCode != 200 || strings.Count(body, "\n") != 3 ||
				(got.ProtoMajor == 2) != (test.protocol == "h2") {
				t.Errorf("%s %d %q", got.Proto, got.StatusCode, body)
			}
		})
	}
}

// TestBadTLSLimits checks that the error names the field with the invalid value.
func TestBadTLSLimits(t *testing.T) {
	store, err := pods.NewStore()
	if err != nil {
		t.Fatal(err)
	}
	f := prepare(t, fixtureOptions{})
	for field, set := range map[string]func(*config.Config){
		"tlsMinVersion":       func(c *config.Config) { c.Kubelet.TLSMinVersion = "VersionTLS9" },
		"tlsCipherSuites":     func(c *config.Config) { c.Kubelet.TLSCipherSuites = []string{"none"} },
		"tlsCurvePreferences": func(c *config.Config) { c.Kubelet.TLSCurvePreferences = []int32{-1} },
	} {
		cfg := f.load(t, []string{"--authorization-mode=AlwaysAllow", "--authentication-token-webhook=false"})
		set(cfg) // config.Load itself would refuse the value
		unserved, err := server.New(server.Options{Config: cfg, Pods: store})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := unserved.Listen(); err == nil || !strings.HasPrefix(err.Error(), field+": ") {
			t.Errorf("%s: error %v, want the name of the field first", field, err)
		}
	}
}

func TestTLSLimits(t *testing.T) {
	with := func(suites ...uint16) *tls.Config {
		return &tls.Config{MaxVersion: tls.VersionTLS12, CipherSuites: suites}
	}
	for _, test := range []struct {
		name, yaml string
		client     *tls.Config
		// refused is a part of the client's error. Empty means that the handshake succeeds.
		refused string
	}{
		{"default, 1.3", "", &tls.Config{MinVersion: tls.VersionTLS13}, ""},
		{"default, 1.2", "", &tls.Config{MaxVersion: tls.VersionTLS12}, ""},
		{"default, 1.1", "", &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11},
			"protocol version not supported"},
		{"VersionTLS13, 1.3", "tlsMinVersion: VersionTLS13", &tls.Config{}, ""},
		{"VersionTLS13, 1.2", "tlsMinVersion: VersionTLS13", &tls.Config{MaxVersion: tls.VersionTLS12},
			"protocol version not supported"},
		{"VersionTLS11, 1.1", "tlsMinVersion: VersionTLS11",
			&tls.Config{MinVersion: tls.VersionTLS11, MaxVersion: tls.VersionTLS11}, ""},
		{"suite, the same", "tlsCipherSuites: [TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256]",
			with(tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256), ""},
		{"suite, another", "tlsCipherSuites: [TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256]",
			with(tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384), "handshake failure"},
		{"suite, 1.3", "tlsCipherSuites: [TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256]", &tls.Config{}, ""},
		{"curve P-384, the same", "tlsCurvePreferences: [24]",
			&tls.Config{CurvePreferences: []tls.CurveID{tls.CurveP384}}, ""},
		{"curve P-384, another", "tlsCurvePreferences: [24]",
			&tls.Config{CurvePreferences: []tls.CurveID{tls.X25519}}, "handshake failure"},
	} {
		for kind, authentication := range map[string]string{"with clientCAFile": "", "without": noClientCA} {
			t.Run(test.name+", "+kind, func(t *testing.T) {
				t.Parallel()
				f := newFixture(t, fixtureOptions{yaml: test.yaml + "\n", authentication: authentication})
				_, err := f.handshake(t, test.client.Clone())
				switch {
				case test.refused == "" && err != nil:
					t.Errorf("refused: %v", err)
				case test.refused != "" && (err == nil || !strings.Contains(err.Error(), test.refused)):
					t.Errorf("error %v, want %q", err, test.refused)
				}
				if test.refused != "" {
					f.find(t, "of the failed handshake", isHandshake)
				}
			})
		}
	}
}

// TestFilesThatDoNotServe checks that an unusable certificate or key file causes an error before any request is served.
// The error names the field, the file and the problem.
func TestFilesThatDoNotServe(t *testing.T) {
	const given = "tlsCertFile: given.crt\ntlsPrivateKeyFile: given.key\n"
	write := func(name, content string) func(*testing.T, *fixture) {
		return func(t *testing.T, f *fixture) { f.write(t, name, content) }
	}
	other := func(t *testing.T, f *fixture) []byte { return f.mint(t, f.ca, "other").KeyPEM }
	for name, test := range map[string]struct {
		yaml   string
		change func(*testing.T, *fixture)
		want   []string
	}{
		"a certificate without its key": {"tlsCertFile: given.crt\n", nil,
			[]string{`tlsCertFile is "`, `given.crt" and tlsPrivateKeyFile is ""`, "set both"}},
		"a key without its certificate": {"tlsPrivateKeyFile: given.key\n", nil,
			[]string{`tlsCertFile is "" and tlsPrivateKeyFile is "`, "set both"}},
		"a certificate that is not there": {given,
			func(_ *testing.T, f *fixture) { os.Remove(f.path("given.crt")) }, []string{"tlsCertFile", "given.crt",
				"no such file"}},
		"a key that is not there": {given,
			func(_ *testing.T, f *fixture) { os.Remove(f.path("given.key")) }, []string{"tlsPrivateKeyFile",
				"given.key", "no such file"}},
		"the key of another certificate": {given,
			func(t *testing.T, f *fixture) { f.write(t, "given.key", string(other(t, f))) }, []string{"tlsCertFile",
				"given.crt", "tlsPrivateKeyFile", "given.key", "private key does not match public key"}},
		"a garbled certificate": {given, write("given.crt", "garbage"),
			[]string{"tlsCertFile", "given.crt", "failed to find any PEM data"}},
		"an empty certificate": {given, write("given.crt", ""), []string{"tlsCertFile", "given.crt"}},
		"a garbled key": {given, write("given.key", "garbage"),
			[]string{"tlsPrivateKeyFile", "given.key", "failed to find any PEM data"}},
		"a CA bundle that is not there": {"", func(_ *testing.T, f *fixture) { os.Remove(f.path("ca.crt")) },
			[]string{"authentication.x509.clientCAFile", "ca.crt", "no such file"}},
		"an empty CA bundle": {"", write("ca.crt", ""),
			[]string{"authentication.x509.clientCAFile", "ca.crt", "PEM"}},
		"a garbled CA bundle": {"", write("ca.crt", "garbage"),
			[]string{"authentication.x509.clientCAFile", "ca.crt", "PEM"}},
		"a CA bundle that is a key": {"",
			func(t *testing.T, f *fixture) {
				f.write(t, "ca.crt",
					string(other(t, f)))
			}, []string{"authentication.x509.clientCAFile", "ca.crt", "PEM"}},
		"a CA bundle with garbage in PEM": {"",
			write("ca.crt", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
			[]string{"authentication.x509.clientCAFile", "ca.crt", "x509"}},
		"a certificate folder with half": {"",
			func(_ *testing.T, f *fixture) { os.Remove(f.path("kubelet.key")) }, []string{"--cert-dir",
				"kubelet.key", "remove both"}},
		"a certificate folder of garbage": {"", write("kubelet.crt", "garbage"),
			[]string{"--cert-dir", "kubelet.crt", "failed to find any PEM data", "remove both"}},
		"a certificate folder that is one": {"", func(t *testing.T, f *fixture) { f.certDir = f.path("ca.crt") },
			[]string{"--cert-dir", "ca.crt", "not a directory"}},
	} {
		t.Run(name, func(t *testing.T) {
			options := fixtureOptions{yaml: test.yaml, before: func(f *fixture) {
				f.writePair(t, "given", f.mint(t, f.ca, "given"))
				if test.change != nil {
					test.change(t, f)
				}
			}}
			f := prepare(t, options)
			standin, err := f.newServer(t, options)
			if err == nil {
				err = serveOnce(t, standin)
			}
			if err == nil {
				t.Fatal("Serve has started, want an error")
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q does not have %q", err, want)
				}
			}
			if strings.Contains(err.Error(), "PRIVATE KEY-") || strings.Contains(err.Error(), "BEGIN CERT") {
				t.Errorf("the error quotes the content of the file: %q", err)
			}
		})
	}
}

// serveOnce calls Listen and Serve, and stops the Server as soon as it accepts a connection. It returns the first
// error.
func serveOnce(t testing.TB, standin *server.Server) error {
	t.Helper()
	listeners, err := standin.Listen()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	served := make(chan error, 1)
	go func() { served <- standin.Serve(ctx, listeners) }()
	go func() {
		// The handshake succeeds if Serve has started. If Serve fails, it closes the listener, and the handshake fails
		// too.
		if conn, err := tls.Dial("tcp", listeners.Secure.Addr().String(),
			&tls.Config{InsecureSkipVerify: true}); err == nil {
			conn.Close()
			cancel()
		}
	}()
	return <-served
}

// TestNoServingCertificate checks that the port is open, but all handshakes fail, until the cluster has issued a
// certificate.
func TestNoServingCertificate(t *testing.T) {
	f := newFixture(t, fixtureOptions{yaml: "serverTLSBootstrap: true\n"})
	if _, err := f.handshake(t, &tls.Config{}); err == nil || !strings.Contains(err.Error(), "internal error") {
		t.Errorf("error %v, want a TLS alert", err)
	}
	if d := f.find(t, "of the failed handshake", isHandshake); !strings.HasPrefix(d.Handshake,
		"there is no serving certificate yet (") {
		t.Errorf("%q", d.Handshake)
	}
}

// TestIssuedCertificate expects the Server to use an issued certificate, and later a renewed certificate, from the
// next handshake on.
func TestIssuedCertificate(t *testing.T) {
	options := fixtureOptions{yaml: "serverTLSBootstrap: true\nauthorization: {mode: AlwaysAllow}\n",
		authentication: "{webhook: {enabled: false}}"}
	f := prepare(t, options)
	store, err := pods.NewStore()
	if err != nil {
		t.Fatal(err)
	}
	var issued atomic.Pointer[tls.Certificate]
	standin, err := server.New(server.Options{Config: f.load(t, nil), Pods: store, ServingCertificate: issued.Load,
		Observe: f.observe})
	if err != nil {
		t.Fatal(err)
	}
	listeners, err := standin.Listen()
	if err != nil {
		t.Fatal(err)
	}
	f.address = listeners.Secure.Addr().String()
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- standin.Serve(ctx, listeners) }()

	if _, err := f.handshake(t, &tls.Config{}); err == nil || !strings.Contains(err.Error(), "internal error") {
		t.Errorf("error %v, want a TLS alert", err)
	}
	for _, name := range []string{"the first", "the second"} {
		certificate := f.mint(t, f.ca, name).TLS()
		issued.Store(&certificate)
		if got := f.connect(t, &tls.Config{}).PeerCertificates[0].Subject.CommonName; got != name {
			t.Errorf("the serving certificate is %q, want %q", got, name)
		}
	}
	stop()
	if err := <-served; err != nil {
		t.Error(err)
	}
}
