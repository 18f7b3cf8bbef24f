package testcerts_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"fauxlet/testcerts"
)

// must returns the value of a call, or fails the test if the call returned an error:
// must(testcerts.NewAuthority("ca"))(t).
func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func TestAuthorityIsACA(t *testing.T) {
	root := must(testcerts.NewAuthority("root-ca"))(t)
	intermediate := must(root.Intermediate("intermediate-ca"))(t)
	for _, a := range []*testcerts.Authority{root, intermediate} {
		c := a.Cert
		if !c.IsCA || !c.BasicConstraintsValid || c.KeyUsage&x509.KeyUsageCertSign == 0 {
			t.Errorf("%s: IsCA %v, basic constraints %v, key usage %b; want a CA that signs certificates",
				c.Subject, c.IsCA, c.BasicConstraintsValid, c.KeyUsage)
		}
		if len(c.SubjectKeyId) == 0 {
			t.Errorf("%s: no subject key identifier", c.Subject)
		}
	}
	if !bytes.Equal(intermediate.Cert.AuthorityKeyId, root.Cert.SubjectKeyId) {
		t.Error("the intermediate's authority key identifier is not the root's subject key identifier")
	}
}

func TestCertificateFields(t *testing.T) {
	ca := must(testcerts.NewAuthority("ca"))(t)
	before := time.Now()
	client := must(ca.Client("kubelet-client", []string{"system:nodes", "viewers"}))(t).Leaf
	server := must(ca.Server("node-1", []string{"node-1", "*.example.com", "127.0.0.1", "::1"}))(t).Leaf

	slices.Sort(client.Subject.Organization)
	if got := client.Subject; got.CommonName != "kubelet-client" ||
		!slices.Equal(got.Organization, []string{"system:nodes", "viewers"}) {
		t.Errorf("subject %v", got)
	}
	if want := []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}; !slices.Equal(client.ExtKeyUsage, want) {
		t.Errorf("client: extended key usage %v, want %v", client.ExtKeyUsage, want)
	}
	if want := []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}; !slices.Equal(server.ExtKeyUsage, want) {
		t.Errorf("server: extended key usage %v, want %v", server.ExtKeyUsage, want)
	}
	if want := []string{"node-1", "*.example.com"}; !slices.Equal(server.DNSNames, want) {
		t.Errorf("DNS names %q, want %q", server.DNSNames, want)
	}
	if len(server.IPAddresses) != 2 || !server.IPAddresses[0].Equal(net.IPv4(127, 0, 0, 1)) ||
		!server.IPAddresses[1].Equal(net.IPv6loopback) {
		t.Errorf("IP addresses %v", server.IPAddresses)
	}
	for _, c := range []*x509.Certificate{client, server} {
		if !c.NotBefore.Before(before.Add(-30 * time.Minute)) {
			t.Errorf("%s: not before %v: a client whose clock is slow would refuse it", c.Subject, c.NotBefore)
		}
		if !bytes.Equal(c.AuthorityKeyId, ca.Cert.SubjectKeyId) {
			t.Errorf("%s: the authority key identifier is not the CA's", c.Subject)
		}
		if key, ok := c.PublicKey.(*ecdsa.PublicKey); !ok || key.Curve != elliptic.P256() {
			t.Errorf("%s: key %T, want ECDSA on P-256", c.Subject, c.PublicKey)
		}
	}
	if client.SerialNumber.Cmp(server.SerialNumber) == 0 || client.SerialNumber.BitLen() < 64 {
		t.Errorf("serial numbers %v and %v are not random", client.SerialNumber, server.SerialNumber)
	}
}

func TestRSA(t *testing.T) {
	ca := must(testcerts.NewAuthority("ca", testcerts.RSA))(t)
	pair := must(ca.Server("node-1", []string{"node-1"}, testcerts.RSA))(t)
	for _, c := range []*x509.Certificate{ca.Cert, pair.Leaf} {
		if key, ok := c.PublicKey.(*rsa.PublicKey); !ok || key.N.BitLen() != 2048 {
			t.Errorf("%s: key %T, want RSA of 2048 bits", c.Subject, c.PublicKey)
		}
	}
	if err := dial(t, ca, pair, "node-1"); err != nil {
		t.Error(err)
	}
	weak := must(ca.Client("kubelet-client", nil, testcerts.SHA1))(t)
	if weak.Leaf.SignatureAlgorithm != x509.SHA1WithRSA {
		t.Errorf("signed with %v, want SHA1WithRSA", weak.Leaf.SignatureAlgorithm)
	}
}

// TestMutateHasTheLastWord checks that a mutation overrides every default.
func TestMutateHasTheLastWord(t *testing.T) {
	ca := must(testcerts.NewAuthority("ca"))(t)
	from, to := time.Now().Add(-time.Minute).Truncate(time.Second), time.Now().Add(time.Minute).Truncate(time.Second)
	leaf := must(ca.Client("someone", nil, testcerts.ValidFor(from, to), func(c *x509.Certificate) {
		c.Subject = pkix.Name{CommonName: "someone-else"}
		c.KeyUsage = x509.KeyUsageKeyAgreement
		c.SubjectKeyId = []byte{1, 2, 3}
	}))(t).Leaf
	if !leaf.NotBefore.Equal(from) || !leaf.NotAfter.Equal(to) {
		t.Errorf("valid from %v to %v, want %v to %v", leaf.NotBefore, leaf.NotAfter, from, to)
	}
	if leaf.Subject.CommonName != "someone-else" || leaf.KeyUsage != x509.KeyUsageKeyAgreement ||
		!bytes.Equal(leaf.SubjectKeyId, []byte{1, 2, 3}) {
		t.Errorf("subject %v, key usage %b, subject key identifier %x", leaf.Subject, leaf.KeyUsage, leaf.SubjectKeyId)
	}
	_, err := ca.Client("someone", nil, func(c *x509.Certificate) { c.PublicKeyAlgorithm = x509.Ed25519 })
	if err == nil || !strings.Contains(err.Error(), "want ECDSA or RSA") {
		t.Errorf("a key of another algorithm: error %v", err)
	}
}

func TestServerHosts(t *testing.T) {
	ca := must(testcerts.NewAuthority("ca"))(t)
	for _, host := range []string{"", "node-1:10250", "https://node-1", "[::1]", "a..b", "node 1", "-a", "nöde",
		"fe80::1%eth0", strings.Repeat("a", 64)} {
		if _, err := ca.Server("node-1", []string{"good", host}); err == nil ||
			!strings.Contains(err.Error(), "DNS name nor an IP address") {
			t.Errorf("host %q: error %v, want an error that describes a valid host", host, err)
		}
		if _, err := testcerts.SelfSigned("node-1", []string{host}); err == nil {
			t.Errorf("host %q: SelfSigned returned no error", host)
		}
	}
}

func TestIntermediateChain(t *testing.T) {
	root := must(testcerts.NewAuthority("root-ca"))(t)
	upper := must(root.Intermediate("upper-ca"))(t)
	lower := must(upper.Intermediate("lower-ca"))(t)
	pair := must(lower.Server("node-1", []string{"node-1"}))(t)
	if got := len(pair.TLS().Certificate); got != 3 {
		t.Errorf("%d certificates are presented, want the leaf and two intermediates", got)
	}
	if got := bytes.Count(pair.CertPEM, []byte("BEGIN CERTIFICATE")); got != 3 {
		t.Errorf("%d certificates in CertPEM, want 3", got)
	}
	for _, a := range []*testcerts.Authority{root, upper, lower} {
		if err := dial(t, a, pair, "node-1"); err != nil {
			t.Errorf("with the pool of %s: %v", a.Cert.Subject, err)
		}
	}

	// Load the intermediate CA from a file. Clients that trust the root must accept certificates that the loaded CA
	// signs.
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "lower.crt"), filepath.Join(dir, "lower.key")
	if err := lower.Write(certFile, keyFile); err != nil {
		t.Fatal(err)
	}
	loaded := must(testcerts.LoadAuthority(certFile, keyFile))(t)
	again := must(loaded.Server("node-2", []string{"node-2"}))(t)
	if err := dial(t, root, again, "node-2"); err != nil {
		t.Error(err)
	}
	if err := dial(t, loaded, again, "node-2"); err != nil {
		t.Errorf("with the pool of the loaded authority: %v", err)
	}
}

// TestIntermediateOfTheSameName uses an intermediate CA that has the same name as its root. Clients must not confuse
// the two CAs: only their keys differ.
func TestIntermediateOfTheSameName(t *testing.T) {
	root := must(testcerts.NewAuthority("ca"))(t)
	pair := must(must(root.Intermediate("ca"))(t).Server("node-1", []string{"node-1"}))(t)
	if err := dial(t, root, pair, "node-1"); err != nil {
		t.Error(err)
	}
}

func TestLoadErrors(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	ca := must(testcerts.NewAuthority("ca"))(t)
	other := must(testcerts.NewAuthority("other"))(t)
	leaf := must(ca.Client("kubelet-client", nil))(t)
	for _, err := range []error{
		ca.Write(path("ca.crt"), path("ca.key")),
		leaf.Write(path("leaf.crt"), path("leaf.key")),
		os.WriteFile(path("wrong-order.crt"), slices.Concat(ca.CertPEM(), other.CertPEM()), 0o644),
		os.WriteFile(path("garbled.crt"), []byte("garbled"), 0o644),
		os.WriteFile(path("empty.crt"), nil, 0o644),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct{ name, cert, key, want string }{
		{name: "no-file", cert: "absent.crt", key: "ca.key", want: "absent.crt: no such file"},
		{name: "no-key-file", cert: "ca.crt", key: "absent.key", want: "absent.key: no such file"},
		{name: "garbled", cert: "garbled.crt", key: "ca.key",
			want: "garbled.crt and " + path("ca.key") + ": tls: failed to find any PEM data in certificate input"},
		{name: "empty", cert: "empty.crt", key: "ca.key", want: "failed to find any PEM data"},
		{name: "key-of-another", cert: "ca.crt", key: "leaf.key",
			want: "private key does not match public key; put both files of one pair there"},
		{name: "swapped", cert: "ca.key", key: "ca.crt", want: "PEM inputs may have been switched"},
		{name: "not-a-ca", cert: "leaf.crt", key: "leaf.key", want: `"CN=kubelet-client" is not a CA certificate`},
		{name: "chain-in-wrong-order", cert: "wrong-order.crt", key: "ca.key",
			want: `"CN=ca" is not signed by "CN=other"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := testcerts.LoadAuthority(path(c.cert), path(c.key))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
		})
	}
	if loaded := must(testcerts.LoadPair(path("leaf.crt"), path("leaf.key")))(t); !loaded.Leaf.Equal(leaf.Leaf) ||
		!bytes.Equal(loaded.KeyPEM, leaf.KeyPEM) {
		t.Error("the loaded pair differs from the written pair")
	}
}

// dial performs a TLS handshake with a server that uses the pair as its serving certificate. The client trusts the CA
// and expects the host in the certificate, as a kube-apiserver does when it dials the host. The result is the client's
// error.
func dial(t testing.TB, ca *testcerts.Authority, pair *testcerts.Pair, host string) error {
	t.Helper()
	listener := must(tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{pair.TLS()}}))(t)
	done := make(chan struct{})
	go func() {
		defer close(done)
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		_, _ = io.Copy(io.Discard, conn) // read until the client closes the connection
		conn.Close()
	}()
	dialer := &net.Dialer{Timeout: 10 * time.Second}
	conn, err := tls.DialWithDialer(dialer, "tcp", listener.Addr().String(),
		&tls.Config{RootCAs: ca.Pool(), ServerName: host})
	if err == nil {
		conn.Close()
	}
	listener.Close()
	<-done
	return err
}
