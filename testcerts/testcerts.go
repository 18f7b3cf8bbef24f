// Package testcerts mints certificates: authorities, serving and client certificates, in memory or into files, good ones
// and each of the broken kinds by which a connection between a kube-apiserver and a kubelet fails.
//
// Nothing here is for production: keys are made for tests and demonstrations, and an authority signs whatever it is
// told to.
package testcerts

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"slices"
	"time"
)

// life is how long a certificate is good for where nothing else is said; backdate lets clocks differ.
const (
	life     = 365 * 24 * time.Hour
	backdate = time.Hour
)

// Mutate changes a certificate's template before it is signed.
type Mutate = func(*x509.Certificate)

// Authority is a CA that signs certificates. It is safe for concurrent use.
type Authority struct {
	Cert *x509.Certificate
	Key  crypto.Signer
	// intermediates are what a client needs beside the root, from this authority upwards; nil for a root.
	intermediates []*x509.Certificate
	root          *x509.Certificate
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
	template, key, err := newTemplate(authorityTemplate(commonName), mutate)
	if err != nil {
		return nil, err
	}
	cert, err := sign(template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("CA %q: %w", commonName, err)
	}
	return &Authority{Cert: cert, Key: key, root: cert}, nil
}

// Intermediate makes a CA that a signs. Pairs of it carry its certificate after their own.
func (a *Authority) Intermediate(commonName string, mutate ...Mutate) (*Authority, error) {
	template, key, err := newTemplate(authorityTemplate(commonName), mutate)
	if err != nil {
		return nil, err
	}
	cert, err := sign(template, a.Cert, key.Public(), a.Key)
	if err != nil {
		return nil, fmt.Errorf("intermediate CA %q: %w", commonName, err)
	}
	return &Authority{
		Cert: cert, Key: key, root: a.root,
		intermediates: append([]*x509.Certificate{cert}, a.intermediates...),
	}, nil
}

// Client makes a client certificate. A kubelet takes commonName as the user and organizations as the groups.
func (a *Authority) Client(commonName string, organizations []string, mutate ...Mutate) (*Pair, error) {
	return a.issue(&x509.Certificate{
		Subject:     pkix.Name{CommonName: commonName, Organization: organizations},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, mutate)
}

// Server makes a serving certificate for hosts, which are DNS names and IP addresses. A name in commonName alone is not
// one that clients look at.
func (a *Authority) Server(commonName string, hosts []string, mutate ...Mutate) (*Pair, error) {
	return a.issue(serverTemplate(commonName, hosts), mutate)
}

// SelfSigned makes a serving certificate that is signed by its own key.
func SelfSigned(commonName string, hosts []string, mutate ...Mutate) (*Pair, error) {
	template, key, err := newTemplate(serverTemplate(commonName, hosts), mutate)
	if err != nil {
		return nil, err
	}
	cert, err := sign(template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("self-signed %q: %w", commonName, err)
	}
	return newPair(cert, key, nil)
}

func (a *Authority) issue(leaf *x509.Certificate, mutate []Mutate) (*Pair, error) {
	template, key, err := newTemplate(leaf, mutate)
	if err != nil {
		return nil, err
	}
	cert, err := sign(template, a.Cert, key.Public(), a.Key)
	if err != nil {
		return nil, fmt.Errorf("certificate %q of CA %q: %w", leaf.Subject.CommonName, a.Cert.Subject.CommonName, err)
	}
	return newPair(cert, key, a.intermediates)
}

// CertPEM is the authority's certificate.
func (a *Authority) CertPEM() []byte { return certPEM(a.Cert.Raw) }

// Pool has the root of the authority.
func (a *Authority) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.root)
	return pool
}

// TLS is the pair as crypto/tls presents it, its chain included.
func (p *Pair) TLS() tls.Certificate {
	return tls.Certificate{Certificate: p.chain, PrivateKey: p.key, Leaf: p.Leaf}
}

func authorityTemplate(commonName string) *x509.Certificate {
	now := time.Now()
	return &x509.Certificate{
		Subject:               pkix.Name{CommonName: commonName},
		NotBefore:             now.Add(-backdate),
		NotAfter:              now.Add(10 * life),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign | x509.KeyUsageDigitalSignature,
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
}

func serverTemplate(commonName string, hosts []string) *x509.Certificate {
	template := &x509.Certificate{
		Subject:     pkix.Name{CommonName: commonName},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, host := range hosts {
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	return template
}

// newTemplate completes a template, lets mutate change it, and makes its key.
func newTemplate(template *x509.Certificate, mutate []Mutate) (*x509.Certificate, crypto.Signer, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, nil, fmt.Errorf("serial number: %w", err)
	}
	template.SerialNumber = serial.Add(serial, big.NewInt(1))
	if template.NotAfter.IsZero() {
		now := time.Now()
		template.NotBefore, template.NotAfter = now.Add(-backdate), now.Add(life)
	}
	if template.KeyUsage == 0 {
		template.KeyUsage = x509.KeyUsageDigitalSignature
	}
	for _, m := range mutate {
		m(template)
	}
	var key crypto.Signer
	if template.PublicKeyAlgorithm == x509.RSA {
		key, err = rsa.GenerateKey(rand.Reader, 2048)
	} else {
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("private key: %w", err)
	}
	if template.IsCA {
		der, err := x509.MarshalPKIXPublicKey(key.Public())
		if err != nil {
			return nil, nil, fmt.Errorf("public key: %w", err)
		}
		sum := sha256.Sum256(der)
		template.SubjectKeyId = sum[:20]
	}
	return template, key, nil
}

func sign(template, parent *x509.Certificate, public crypto.PublicKey, key crypto.Signer) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, key)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

func newPair(cert *x509.Certificate, key crypto.Signer, intermediates []*x509.Certificate) (*Pair, error) {
	keyPEM, err := marshalKey(key)
	if err != nil {
		return nil, err
	}
	p := &Pair{KeyPEM: keyPEM, Leaf: cert, key: key}
	for _, c := range slices.Concat([]*x509.Certificate{cert}, intermediates) {
		p.chain = append(p.chain, c.Raw)
		p.CertPEM = append(p.CertPEM, certPEM(c.Raw)...)
	}
	return p, nil
}

func certPEM(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func marshalKey(key crypto.Signer) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("private key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// LoadPair reads a pair of PEM files. A certificate without its key, or with another's, is an error.
func LoadPair(certFile, keyFile string) (*Pair, error) {
	certificates, err := os.ReadFile(certFile)
	if err != nil {
		return nil, err
	}
	keyData, err := os.ReadFile(keyFile)
	if err != nil {
		return nil, err
	}
	loaded, err := tls.X509KeyPair(certificates, keyData)
	if err != nil {
		return nil, fmt.Errorf("%s and %s: %w", certFile, keyFile, err)
	}
	key, ok := loaded.PrivateKey.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("%s: a key that cannot sign", keyFile)
	}
	return &Pair{CertPEM: certificates, KeyPEM: keyData, Leaf: loaded.Leaf, key: key, chain: loaded.Certificate}, nil
}

// LoadAuthority reads a root CA from a pair of PEM files, which [Authority.Write] may have written.
func LoadAuthority(certFile, keyFile string) (*Authority, error) {
	pair, err := LoadPair(certFile, keyFile)
	if err != nil {
		return nil, err
	}
	if !pair.Leaf.IsCA {
		return nil, fmt.Errorf("%s: %w", certFile, errNoCA)
	}
	return &Authority{Cert: pair.Leaf, Key: pair.key, root: pair.Leaf}, nil
}

var errNoCA = errors.New("this certificate is not a CA's, and what it signs is trusted by nobody")
