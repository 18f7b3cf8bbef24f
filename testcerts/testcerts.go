// Package testcerts mints certificates: authorities, serving and client certificates, in memory or into files, good ones
// and each of the broken kinds by which a connection between a kube-apiserver and a kubelet fails.
//
// Nothing here is for production: keys are made for tests and demonstrations, and an authority signs whatever it is
// told to.
//
// Keys are ECDSA on P-256, or RSA of 2048 bits with [RSA]. There is no kind with an RSA key of 1024 bits: since Go 1.24
// crypto/rsa neither makes nor uses one, unless GODEBUG=rsa1024min=0 is set for the whole process. The kinds that are
// weak have a signature with SHA-1 instead, which the library still makes and no longer accepts.
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

// life is how long a certificate is good for where nothing else is said; backdate lets clocks differ.
const (
	life     = 365 * 24 * time.Hour
	backdate = time.Hour
)

// Mutate changes a certificate's template before it is signed. What it leaves alone is completed: the serial number, a
// random one, and the key identifiers.
type Mutate = func(*x509.Certificate)

// Authority is a CA that signs certificates. It is safe for concurrent use.
type Authority struct {
	Cert *x509.Certificate
	Key  crypto.Signer
	// above are the certificates from the one that signed Cert up to the root; none for a root.
	above []*x509.Certificate
}

// Pair is a certificate with its key.
type Pair struct {
	// CertPEM holds the certificate, then the intermediate authorities that lead to the root.
	CertPEM, KeyPEM []byte
	Leaf            *x509.Certificate
	key             crypto.Signer
	chain           [][]byte
}

// NewAuthority makes a root CA, good for ten years.
func NewAuthority(commonName string, mutate ...Mutate) (*Authority, error) {
	cert, key, err := mint(authorityTemplate(commonName), nil, mutate)
	if err != nil {
		return nil, fmt.Errorf("CA %q: %w", commonName, err)
	}
	return &Authority{Cert: cert, Key: key}, nil
}

// Intermediate makes a CA that a signs. Pairs of it carry its certificate after their own.
func (a *Authority) Intermediate(commonName string, mutate ...Mutate) (*Authority, error) {
	cert, key, err := mint(authorityTemplate(commonName), a, mutate)
	if err != nil {
		return nil, fmt.Errorf("intermediate CA %q: %w", commonName, err)
	}
	return &Authority{Cert: cert, Key: key, above: a.chain()}, nil
}

// Client makes a client certificate, good for a year. A kubelet takes commonName as the user and organizations as the
// groups. The certificate has them as a set: their order is not kept.
func (a *Authority) Client(commonName string, organizations []string, mutate ...Mutate) (*Pair, error) {
	return a.issue(&x509.Certificate{
		Subject:     pkix.Name{CommonName: commonName, Organization: organizations},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, mutate)
}

// Server makes a serving certificate for hosts, good for a year. Hosts are DNS names and IP addresses, without port; any
// other is an error. A name in commonName alone is not one that clients look at.
func (a *Authority) Server(commonName string, hosts []string, mutate ...Mutate) (*Pair, error) {
	template, err := serverTemplate(commonName, hosts)
	if err != nil {
		return nil, err
	}
	return a.issue(template, mutate)
}

// SelfSigned makes a serving certificate that is signed by its own key. It is not the one that a kubelet makes for itself;
// that is [KubeletSelfSigned].
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

// KubeletSelfSigned makes what a kubelet without a serving certificate makes for itself in --cert-dir: the common name is
// host@TIME, the only subject alternative name is host, and it is signed by a CA host-ca@TIME that is made for it alone.
// That CA's certificate follows in CertPEM; its key is thrown away. So it is not self-signed in the strict sense, and
// openssl verify reports error 20, not 18.
//
// More hosts are for tests that dial an address; a kubelet adds none. The kubelet's keys are RSA of 2048 bits; see [RSA].
// (kubelet: cmd/kubelet/app/server.go, InitializeTLS; client-go: util/cert, GenerateSelfSignedCertKey.)
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
		return nil, fmt.Errorf("certificate %q of CA %q: %w", template.Subject.CommonName, a.Cert.Subject.CommonName, err)
	}
	return newPair(cert, key, a.intermediates())
}

// CertPEM is the authority's own certificate.
func (a *Authority) CertPEM() []byte { return certPEM(a.Cert) }

// Pool has what verifiers trust: the root of the authority. For an intermediate that was loaded from a file without its
// root it has the topmost certificate of that file.
func (a *Authority) Pool() *x509.CertPool {
	chain := a.chain()
	pool := x509.NewCertPool()
	pool.AddCert(chain[len(chain)-1])
	return pool
}

// chain is the authority's certificate and those above it.
func (a *Authority) chain() []*x509.Certificate {
	return append([]*x509.Certificate{a.Cert}, a.above...)
}

// intermediates are the certificates of the chain that a verifier who trusts the root does not have.
func (a *Authority) intermediates() []*x509.Certificate {
	chain := a.chain()
	if top := chain[len(chain)-1]; isRoot(top) {
		chain = chain[:len(chain)-1]
	}
	return chain
}

// isRoot says whether a CA signed its own certificate. The name alone does not tell: an intermediate may have its root's.
func isRoot(c *x509.Certificate) bool {
	return bytes.Equal(c.RawIssuer, c.RawSubject) && (len(c.AuthorityKeyId) == 0 || bytes.Equal(c.AuthorityKeyId, c.SubjectKeyId))
}

// TLS is the pair as crypto/tls presents it, its chain included.
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
