package testcerts

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"net"
	"regexp"
	"time"
)

func authorityTemplate(commonName string) *x509.Certificate {
	now := time.Now()
	return &x509.Certificate{
		Subject: pkix.Name{CommonName: commonName}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: now.Add(-backdate), NotAfter: now.Add(10 * life),
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign | x509.KeyUsageDigitalSignature,
	}
}

func serverTemplate(commonName string, hosts []string) (*x509.Certificate, error) {
	template := &x509.Certificate{Subject: pkix.Name{CommonName: commonName},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	for _, host := range hosts {
		switch ip := net.ParseIP(host); {
		case ip != nil:
			template.IPAddresses = append(template.IPAddresses, ip)
		case len(host) <= 253 && dnsName.MatchString(host):
			template.DNSNames = append(template.DNSNames, host)
		default:
			return nil, fmt.Errorf("host %q: neither a DNS name nor an IP address; "+
				"remove any scheme, port and brackets", host)
		}
	}
	return template, nil
}

// dnsName matches the names that crypto/x509 can verify: labels may contain underscores, and the first label may be *.
var dnsName = regexp.MustCompile(`^(\*|` + dnsLabel + `)(\.` + dnsLabel + `)*$`)

const dnsLabel = `[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?`

// The function "mint" completes a template, calls the functions in "mutate", makes a key, and signs the certificate
// with the key of the parent. If the parent is nil, the certificate is self-signed.
func mint(template *x509.Certificate, parent *Authority, mutate []Mutate) (*x509.Certificate, crypto.Signer, error) {
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
	key, err := newKey(template.PublicKeyAlgorithm)
	if err != nil {
		return nil, nil, fmt.Errorf("private key: %w", err)
	}
	if template.SubjectKeyId == nil {
		der, err := x509.MarshalPKIXPublicKey(key.Public())
		if err != nil {
			return nil, nil, fmt.Errorf("public key: %w", err)
		}
		sum := sha256.Sum256(der)
		template.SubjectKeyId = sum[:20]
	}
	signer, issuer := key, template
	if parent != nil {
		signer, issuer = parent.Key, parent.Cert
		if template.AuthorityKeyId == nil {
			// crypto/x509 omits the authority key identifier if subject and issuer have the same name. Without the
			// identifier, openssl regards such a certificate as self-signed.
			template.AuthorityKeyId = issuer.SubjectKeyId
		}
	}
	if _, ok := signer.Public().(*ecdsa.PublicKey); ok && template.SignatureAlgorithm == x509.SHA1WithRSA {
		// The Mutate function SHA1 cannot choose between RSA and ECDSA, because it does not know the issuer's key.
		template.SignatureAlgorithm = x509.ECDSAWithSHA1
	}
	der, err := x509.CreateCertificate(rand.Reader, template, issuer, key.Public(), signer)
	if err != nil {
		return nil, nil, err
	}
	cert, err := x509.ParseCertificate(der)
	return cert, key, err
}

func newKey(algorithm x509.PublicKeyAlgorithm) (crypto.Signer, error) {
	switch algorithm {
	case x509.UnknownPublicKeyAlgorithm, x509.ECDSA:
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case x509.RSA:
		return rsa.GenerateKey(rand.Reader, 2048)
	}
	return nil, fmt.Errorf("public key algorithm %v: want ECDSA or RSA", algorithm)
}

func certPEM(c *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})
}

func marshalKey(key crypto.Signer) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("private key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}
