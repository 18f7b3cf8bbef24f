package testcerts

import (
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"

	"fauxlet/internal/pemfile"
)

// LoadPair reads a certificate and its key from PEM files. It fails if the key does not belong to the certificate.
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
		err = fmt.Errorf("%s and %s: %w; put both files of one pair there, or remove both", certFile, keyFile, err)
		return nil, pemfile.ExplainPair(err, pemfile.FileWith(certFile, certificates), pemfile.FileWith(keyFile,
			keyData))
	}
	return pair, nil
}

// ParsePair parses a certificate, optionally followed by its intermediate CAs, and its key, both in PEM. It fails if
// the key does not belong to the certificate.
func ParsePair(certificates, keyData []byte) (*Pair, error) {
	loaded, err := tls.X509KeyPair(certificates, keyData)
	if err != nil {
		return nil, err
	}
	key, ok := loaded.PrivateKey.(crypto.Signer)
	if !ok {
		return nil, errors.New("the key cannot sign; use an ECDSA or RSA key")
	}
	return &Pair{CertPEM: certificates, KeyPEM: keyData, Leaf: loaded.Leaf, key: key, chain: loaded.Certificate}, nil
}

// LoadAuthority reads a CA from PEM files, such as those that [Authority.Write] writes. For an intermediate CA, the
// certificate file must contain the certificate of the intermediate CA first, then the certificate of its issuer, and
// so on. The root may be missing.
func LoadAuthority(certFile, keyFile string) (*Authority, error) {
	pair, err := LoadPair(certFile, keyFile)
	if err != nil {
		return nil, err
	}
	a := &Authority{Cert: pair.Leaf, Key: pair.key}
	if !a.Cert.IsCA {
		return nil, fmt.Errorf("%s: %q is not a CA certificate; give the certificate and key of a CA",
			certFile, a.Cert.Subject)
	}
	below := a.Cert
	for _, der := range pair.chain[1:] {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", certFile, err)
		}
		if err := below.CheckSignatureFrom(cert); err != nil {
			return nil, fmt.Errorf("%s: %q is not signed by %q: %w; put the CA first, then its issuer, and so on",
				certFile, below.Subject, cert.Subject, err)
		}
		a.above = append(a.above, cert)
		below = cert
	}
	return a, nil
}
