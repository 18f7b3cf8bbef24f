// Package testcerts makes certificates for tests: CAs, serving certificates and client certificates, valid ones and
// certificates with each of the defects that make a connection between a kube-apiserver and a kubelet fail.
//
// Begin with [NewAuthority], and sign with [Authority.Server] and [Authority.Client]. A [Mutate] changes one
// certificate. [Kinds] lists valid and broken kinds by name. [Folder] keeps certificates in files.
//
// The package is for tests and demonstrations only. An [Authority] signs every certificate without checking it.
//
// Keys are ECDSA on P-256, or RSA of 2048 bits with [RSA]. There is no kind with a 1024-bit RSA key, because
// crypto/rsa refuses such keys unless GODEBUG=rsa1024min=0 is set for the whole process. The weak kinds are signed with
// SHA-1 instead: crypto/x509 still makes SHA-1 signatures, but no longer accepts them.
package testcerts

import (
	"bytes"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"time"
)

// life is the default lifetime of a certificate. backdate is how long before its creation a certificate becomes valid,
// so that clients whose clocks are slow accept it.
const (
	life     = 365 * 24 * time.Hour
	backdate = time.Hour
)

// Mutate changes a certificate's template before it is signed. After the last Mutate, a random serial number and the
// key identifiers are added unless the template already has them.
type Mutate = func(*x509.Certificate)

// Authority is a root or intermediate CA. It is safe for concurrent use if its fields are not changed.
type Authority struct {
	Cert *x509.Certificate
	Key  crypto.Signer
	// The field "above" has the CAs above this CA, from the issuer of Cert up to the root. It is empty for a root CA.
	above []*x509.Certificate
}

// Pair is a certificate with its private key.
type Pair struct {
	// CertPEM is the certificate followed by its intermediate CAs, without the root. KeyPEM is the key, in PKCS #8.
	CertPEM, KeyPEM []byte
	// Leaf is the certificate itself, parsed.
	Leaf  *x509.Certificate
	key   crypto.Signer
	chain [][]byte // the certificates of CertPEM, in DER
}

// NewAuthority makes a root CA that is valid for ten years.
func NewAuthority(commonName string, mutate ...Mutate) (*Authority, error) {
	cert, key, err := mint(authorityTemplate(commonName), nil, mutate)
	if err != nil {
		return nil, fmt.Errorf("CA %q: %w", commonName, err)
	}
	return &Authority{Cert: cert, Key: key}, nil
}

// Intermediate makes an intermediate CA that is valid for ten years. The receiver signs its certificate. Each pair that
// the intermediate CA signs also contains the certificate of the intermediate CA.
func (a *Authority) Intermediate(commonName string, mutate ...Mutate) (*Authority, error) {
	cert, key, err := mint(authorityTemplate(commonName), a, mutate)
	if err != nil {
		return nil, fmt.Errorf("intermediate CA %q: %w", commonName, err)
	}
	return &Authority{Cert: cert, Key: key, above: a.chain()}, nil
}

// Client makes a client certificate that is valid for a year. For a kubelet, commonName is the user and organizations
// are the groups. The encoding of the certificate sorts the organizations.
func (a *Authority) Client(commonName string, organizations []string, mutate ...Mutate) (*Pair, error) {
	return a.issue(&x509.Certificate{Subject: pkix.Name{CommonName: commonName, Organization: organizations},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}, mutate)
}

// Server makes a serving certificate that is valid for a year. Each host is a DNS name or an IP address without a port,
// and becomes a subject alternative name; anything else is an error. Clients ignore commonName.
func (a *Authority) Server(commonName string, hosts []string, mutate ...Mutate) (*Pair, error) {
	template, err := serverTemplate(commonName, hosts)
	if err != nil {
		return nil, err
	}
	return a.issue(template, mutate)
}

// SelfSigned makes a serving certificate that is signed by its own key. The certificate that a kubelet makes for itself
// is different: it is signed by a CA that the kubelet makes too. See [KubeletSelfSigned].
func SelfSigned(commonName string, hosts []string, mutate ...Mutate) (*Pair, error) {
	template, err := serverTemplate(commonName, hosts)
	if err != nil {
		return nil, err
	}
	cert, key, err := mint(template, nil, mutate)
	if err != nil {
		return nil, fmt.Errorf("self-signed certificate %q: %w", commonName, err)
	}
	return newPair(cert, key, nil)
}

// KubeletSelfSigned makes the certificate that a kubelet without tlsCertFile makes for itself in --cert-dir. Its common
// name is host@TIME, and its only subject alternative name is host. It is signed by a CA named host-ca@TIME, which
// signs nothing else. The CA's certificate follows in CertPEM; its key is not kept. Because of that CA, openssl verify
// reports error 20 (unable to get local issuer certificate) and not 18 (self-signed certificate).
//
// The hosts in "more" become subject alternative names too. A kubelet's certificate has no such additional names; they
// are for tests that dial an IP address. A kubelet's own key is an RSA key of 2048 bits; pass [RSA] to get an RSA key
// too.
//
// Source: InitializeTLS in cmd/kubelet/app/server.go, and GenerateSelfSignedCertKey in client-go/util/cert.
func KubeletSelfSigned(host string, more []string, mutate ...Mutate) (*Pair, error) {
	now := time.Now().Unix()
	ca, err := NewAuthority(fmt.Sprintf("%s-ca@%d", host, now))
	if err != nil {
		return nil, err
	}
	p, err := ca.Server(fmt.Sprintf("%s@%d", host, now), append([]string{host}, more...), mutate...)
	if err != nil {
		return nil, err
	}
	return newPair(p.Leaf, p.key, []*x509.Certificate{ca.Cert})
}

func (a *Authority) issue(template *x509.Certificate, mutate []Mutate) (*Pair, error) {
	cert, key, err := mint(template, a, mutate)
	if err != nil {
		return nil, fmt.Errorf("certificate %q of CA %q: %w", template.Subject.CommonName, a.Cert.Subject.CommonName,
			err)
	}
	return newPair(cert, key, a.intermediates())
}

// CertPEM returns the CA's own certificate.
func (a *Authority) CertPEM() []byte { return certPEM(a.Cert) }

// Pool returns a new pool with the root of the CA, for verifiers that trust it. For an intermediate CA that was loaded
// from a file without the root, the pool has the topmost certificate in the file.
func (a *Authority) Pool() *x509.CertPool {
	chain := a.chain()
	pool := x509.NewCertPool()
	pool.AddCert(chain[len(chain)-1])
	return pool
}

// chain returns the CA's certificate, followed by the certificates of the CAs above it.
func (a *Authority) chain() []*x509.Certificate {
	return append([]*x509.Certificate{a.Cert}, a.above...)
}

// intermediates returns the certificates of the CA and of the CAs above it, without the root.
func (a *Authority) intermediates() []*x509.Certificate {
	chain := a.chain()
	if top := chain[len(chain)-1]; isRoot(top) {
		chain = chain[:len(chain)-1]
	}
	return chain
}

// isRoot reports whether a CA signed its own certificate. Comparing names is not enough: an intermediate CA may have
// the name of its root.
func isRoot(c *x509.Certificate) bool {
	return bytes.Equal(c.RawIssuer, c.RawSubject) &&
		(len(c.AuthorityKeyId) == 0 || bytes.Equal(c.AuthorityKeyId, c.SubjectKeyId))
}

// TLS returns the pair for a tls.Config, with its intermediate CAs.
func (p *Pair) TLS() tls.Certificate {
	return tls.Certificate{Certificate: p.chain, PrivateKey: p.key, Leaf: p.Leaf}
}

func newPair(cert *x509.Certificate, key crypto.Signer, intermediates []*x509.Certificate) (*Pair, error) {
	keyPEM, err := marshalKey(key)
	if err != nil {
		return nil, err
	}
	p := &Pair{KeyPEM: keyPEM, Leaf: cert, key: key}
	for _, c := range append([]*x509.Certificate{cert}, intermediates...) {
		p.chain = append(p.chain, c.Raw)
		p.CertPEM = append(p.CertPEM, certPEM(c)...)
	}
	return p, nil
}
