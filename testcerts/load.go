package testcerts

import (
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
)

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
	pair, err := ParsePair(certificates, keyData)
	if err != nil {
		return nil, fmt.Errorf("%s and %s: %w; put both files of one pair there, or remove both", certFile, keyFile, err)
	}
	return pair, nil
}

// ParsePair is the pair of PEM blocks. A certificate without its key, or with another's, is an error.
func ParsePair(certificates, keyData []byte) (*Pair, error) {
	loaded, err := tls.X509KeyPair(certificates, keyData)
	if err != nil {
		return nil, err
	}
	key, ok := loaded.PrivateKey.(crypto.Signer)
	if !ok {
		return nil, errors.New("a key that cannot sign; use an ECDSA or RSA key")
	}
	return &Pair{CertPEM: certificates, KeyPEM: keyData, Leaf: loaded.Leaf, key: key, chain: loaded.Certificate}, nil
}

// LoadAuthority reads a CA from a pair of PEM files, which [Authority.Write] may have written. For an intermediate CA the
// certificates that lead to the root follow its own, the root last or not at all; each must have signed the one before it.
func LoadAuthority(certFile, keyFile string) (*Authority, error) {
	pair, err := LoadPair(certFile, keyFile)
	if err != nil {
		return nil, err
	}
	a := &Authority{Cert: pair.Leaf, Key: pair.key}
	if !a.Cert.IsCA {
		return nil, fmt.Errorf("%s: %q is no CA, and nobody would trust what it signs; give a CA's certificate and key",
			certFile, a.Cert.Subject)
	}
	below := a.Cert
	for _, der := range pair.chain[1:] {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", certFile, err)
		}
		if err := below.CheckSignatureFrom(cert); err != nil {
			return nil, fmt.Errorf("%s: %q does not follow from %q: %w; give the CA first, then those above it",
				certFile, below.Subject, cert.Subject, err)
		}
		a.above = append(a.above, cert)
		below = cert
	}
	return a, nil
}
