package probe

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"fmt"
	"net/netip"
	"regexp"
	"time"
)

// Certificate describes the serving certificate.
type Certificate struct {
	Kind      CertificateKind `json:"kind"`
	Subject   string          `json:"subject"`
	Issuer    string          `json:"issuer"`
	Names     []string        `json:"names"` // subject alternative names
	NotBefore time.Time       `json:"notBefore"`
	NotAfter  time.Time       `json:"notAfter"`
	Key       string          `json:"key"`
	Signature string          `json:"signature"`
	// Node is the node in the subject, system:node:NAME. It is empty if the subject is not a node's.
	Node string `json:"node,omitempty"`
	// ForHost is true if the certificate is valid for the target's host, or for Options.ServerName if that is set.
	ForHost bool `json:"forHost"`
	// Verified is "yes", "no" (Error has the reason), or "unknown" if no CA was given. If the host is the only reason,
	// ForHost is false, and the given CA has signed the certificate.
	Verified string `json:"verified"`
	Error    string `json:"error,omitempty"`

	otherHost bool   // the given CA verifies the certificate, but not for the host
	loopback  bool   // the host is a loopback address or localhost
	weakness  string // describes a weak key or signature; may be empty
}

// CertificateKind is the apparent origin of a serving certificate.
type CertificateKind string

const (
	// KubeletSelfSigned is a certificate that a kubelet generates in its certificate directory. Its subject is
	// NAME@TIME, and its issuer is a CA with the subject NAME-ca@TIME. No client can verify the certificate, because
	// the kubelet creates a new CA for it, and then discards the CA's key.
	KubeletSelfSigned CertificateKind = "kubelet self-signed"
	// SelfSigned is a certificate that is signed by its own key.
	SelfSigned CertificateKind = "self-signed"
	// IssuedForNode is a certificate with the subject system:node:NAME. The cluster's signer requires this subject.
	IssuedForNode CertificateKind = "issued for a node"
	// OtherKind is any other certificate.
	OtherKind CertificateKind = "other"
)

var (
	kubeletSubject = regexp.MustCompile(`^(.+)@\d+$`)
	kubeletIssuer  = regexp.MustCompile(`^(.+)-ca@\d+$`)
	nodeName       = regexp.MustCompile(`^system:node:(.+)$`)
)

// describeCertificate describes the first certificate of a chain, and verifies it if roots is not nil.
func describeCertificate(chain []*x509.Certificate, host string, roots *x509.CertPool, now time.Time) *Certificate {
	leaf := chain[0]
	c := &Certificate{Kind: kindOf(leaf), Subject: leaf.Subject.String(), Issuer: leaf.Issuer.String(),
		Names: append([]string{}, leaf.DNSNames...), NotBefore: leaf.NotBefore.UTC(), NotAfter: leaf.NotAfter.UTC(),
		Signature: leaf.SignatureAlgorithm.String(), ForHost: leaf.VerifyHostname(host) == nil, Verified: unknown,
		loopback: isLoopback(host)}
	if match := nodeName.FindStringSubmatch(leaf.Subject.CommonName); match != nil {
		c.Node = match[1]
	}
	for _, ip := range leaf.IPAddresses {
		c.Names = append(c.Names, ip.String())
	}
	switch key := leaf.PublicKey.(type) {
	case *rsa.PublicKey:
		c.Key = fmt.Sprintf("RSA, %d bits", key.N.BitLen())
		if key.N.BitLen() < 2048 {
			c.weakness = "its key is " + c.Key
		}
	case *ecdsa.PublicKey:
		c.Key = "ECDSA, " + key.Curve.Params().Name
	case ed25519.PublicKey:
		c.Key = "Ed25519"
	default:
		c.Key = leaf.PublicKeyAlgorithm.String()
	}
	switch leaf.SignatureAlgorithm {
	case x509.MD2WithRSA, x509.MD5WithRSA, x509.SHA1WithRSA, x509.DSAWithSHA1, x509.ECDSAWithSHA1:
		c.weakness = "it is signed with " + c.Signature
	}
	if roots == nil {
		return c
	}
	intermediates := x509.NewCertPool()
	for _, above := range chain[1:] {
		intermediates.AddCert(above)
	}
	c.Verified = "yes"
	options := x509.VerifyOptions{Roots: roots, Intermediates: intermediates, CurrentTime: now}
	_, err := leaf.Verify(options)
	// Verify the host separately. If the options have a host, Verify returns the error about the host, also for a
	// certificate of an unknown CA.
	if err == nil {
		err = leaf.VerifyHostname(host)
		c.otherHost = err != nil
	}
	if err != nil {
		c.Verified, c.Error = "no", err.Error()
	}
	return c
}

// isLoopback reports whether a host is this machine's own. A kubelet's serving certificate is not for such a host.
func isLoopback(host string) bool {
	address, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && address.IsLoopback()
}

// nodeText describes for which node the certificate passes a verification of the node's name (KEP-4872).
func (c *Certificate) nodeText() string {
	if c.Node == "" {
		return "none: a kube-apiserver that verifies the node's name would refuse the certificate (KEP-4872; up to " +
			"v1.37, none does)"
	}
	return c.Node + ": a kube-apiserver that verifies the node's name accepts the certificate for this node only " +
		"(KEP-4872; up to v1.37, none does)"
}

func kindOf(leaf *x509.Certificate) CertificateKind {
	subject := kubeletSubject.FindStringSubmatch(leaf.Subject.CommonName)
	issuer := kubeletIssuer.FindStringSubmatch(leaf.Issuer.CommonName)
	switch {
	case subject != nil && issuer != nil && subject[1] == issuer[1]:
		return KubeletSelfSigned
	case leaf.CheckSignature(leaf.SignatureAlgorithm, leaf.RawTBSCertificate, leaf.Signature) == nil:
		return SelfSigned
	case nodeName.MatchString(leaf.Subject.CommonName):
		return IssuedForNode
	}
	return OtherKind
}

// nodeOf returns the node name in the certificate's subject, or "".
func nodeOf(leaf *x509.Certificate) string {
	for _, pattern := range []*regexp.Regexp{nodeName, kubeletSubject} {
		if m := pattern.FindStringSubmatch(leaf.Subject.CommonName); m != nil {
			return m[1]
		}
	}
	return ""
}
