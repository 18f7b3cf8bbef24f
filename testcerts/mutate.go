package testcerts

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"strings"
	"time"
)

// ValidFor sets the validity period of a certificate.
func ValidFor(from, to time.Time) Mutate {
	return func(c *x509.Certificate) { c.NotBefore, c.NotAfter = from, to }
}

// Expired makes a certificate that expired an hour ago.
func Expired(c *x509.Certificate) {
	c.NotBefore, c.NotAfter = time.Now().Add(-48*time.Hour), time.Now().Add(-time.Hour)
}

// NotYetValid makes a certificate that becomes valid 24 hours after its creation, and expires 48 hours after its
// creation.
func NotYetValid(c *x509.Certificate) {
	c.NotBefore, c.NotAfter = time.Now().Add(24*time.Hour), time.Now().Add(48*time.Hour)
}

// ServerAuthOnly makes a certificate whose only extended key usage is server authentication.
func ServerAuthOnly(c *x509.Certificate) {
	c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
}

// ClientAuthOnly makes a certificate whose only extended key usage is client authentication.
func ClientAuthOnly(c *x509.Certificate) {
	c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
}

// NoUsage makes a certificate without any extended key usage.
func NoUsage(c *x509.Certificate) { c.ExtKeyUsage, c.UnknownExtKeyUsage = nil, nil }

// EmptyCN makes a certificate without a common name.
func EmptyCN(c *x509.Certificate) { c.Subject.CommonName = "" }

// ForNode gives a serving certificate the subject that Kubernetes requires in a kubelet's serving certificate: the
// common name system:node:NAME and the organization system:nodes. A client that verifies the name of the node in
// addition to its address needs this subject (KEP-4872). NAME is the name of the Node, with or without the prefix.
// (k8s.io/kubernetes: pkg/apis/certificates/helpers.go, ValidateKubeletServingCSR)
func ForNode(name string) Mutate {
	return func(c *x509.Certificate) {
		c.Subject = pkix.Name{CommonName: nodePrefix + strings.TrimPrefix(name, nodePrefix),
			Organization: []string{"system:nodes"}}
	}
}

const nodePrefix = "system:node:"

// NoSANs makes a certificate without subject alternative names.
func NoSANs(c *x509.Certificate) {
	c.DNSNames, c.IPAddresses, c.URIs, c.EmailAddresses = nil, nil, nil, nil
}

// RSA makes a certificate with an RSA key of 2048 bits instead of an ECDSA key on P-256.
func RSA(c *x509.Certificate) {
	c.PublicKeyAlgorithm = x509.RSA
	c.KeyUsage |= x509.KeyUsageKeyEncipherment // for RSA key exchange in TLS 1.2, like the kubelet's own certificate
}

// SHA1 makes a certificate that is signed with SHA-1, by an RSA or ECDSA issuer.
func SHA1(c *x509.Certificate) { c.SignatureAlgorithm = x509.SHA1WithRSA }
