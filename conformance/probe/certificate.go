package probe

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"fmt"
	"regexp"
	"time"
)

// Certificate is the serving certificate.
type Certificate struct {
	// Kind is where it seems to come from.
	Kind      CertificateKind `json:"kind"`
	Subject   string          `json:"subject"`
	Issuer    string          `json:"issuer"`
	Names     []string        `json:"names"` // the subject alternative names
	NotBefore time.Time       `json:"notBefore"`
	NotAfter  time.Time       `json:"notAfter"`
	Key       string          `json:"key"`
	Signature string          `json:"signature"`
	// ForHost says whether it is for the host that was dialled, or for --server-name.
	ForHost bool `json:"forHost"`
	// Verified is yes, no, or unknown where there was no CA to verify it by; Error says why not.
	Verified string `json:"verified"`
	Error    string `json:"error,omitempty"`

	weak string
}

// CertificateKind is where a serving certificate seems to come from.
type CertificateKind string

const (
	// KubeletSelfSigned is what a kubelet makes for itself in --cert-dir: NAME@TIME, of a CA NAME-ca@TIME whose key it threw
	// away.
	KubeletSelfSigned CertificateKind = "kubelet self-signed"
	// SelfSigned is signed by its own key.
	SelfSigned CertificateKind = "self-signed"
	// OfNode is for system:node:NAME of system:nodes, as the signer kubernetes.io/kubelet-serving issues it.
	OfNode CertificateKind = "issued for a node"
	// OtherKind is any other.
	OtherKind CertificateKind = "other"
)

var (
	ownSubject = regexp.MustCompile(`^(.+)@\d+$`)
	ownIssuer  = regexp.MustCompile(`^(.+)-ca@\d+$`)
	nodeName   = regexp.MustCompile(`^system:node:(.+)$`)
)

// look tells about the certificate of a handshake. roots may be nil.
func look(chain []*x509.Certificate, host string, roots *x509.CertPool, now time.Time) *Certificate {
	leaf := chain[0]
	c := &Certificate{
		Kind: kindOf(leaf), Subject: leaf.Subject.String(), Issuer: leaf.Issuer.String(), Names: append([]string{}, leaf.DNSNames...),
		NotBefore: leaf.NotBefore.UTC(), NotAfter: leaf.NotAfter.UTC(), Signature: leaf.SignatureAlgorithm.String(),
		ForHost: leaf.VerifyHostname(host) == nil, Verified: unknown,
	}
	for _, ip := range leaf.IPAddresses {
		c.Names = append(c.Names, ip.String())
	}
	switch key := leaf.PublicKey.(type) {
	case *rsa.PublicKey:
		c.Key = fmt.Sprintf("RSA, %d bits", key.N.BitLen())
		if key.N.BitLen() < 2048 {
			c.weak = "its key is " + c.Key
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
		c.weak = "it is signed with " + c.Signature
	}
	if roots == nil {
		return c
	}
	intermediates := x509.NewCertPool()
	for _, above := range chain[1:] {
		intermediates.AddCert(above)
	}
	c.Verified = "yes"
	if _, err := leaf.Verify(x509.VerifyOptions{DNSName: host, Roots: roots, Intermediates: intermediates, CurrentTime: now}); err != nil {
		c.Verified, c.Error = "no", err.Error()
	}
	return c
}

func kindOf(leaf *x509.Certificate) CertificateKind {
	subject := ownSubject.FindStringSubmatch(leaf.Subject.CommonName)
	issuer := ownIssuer.FindStringSubmatch(leaf.Issuer.CommonName)
	switch {
	case subject != nil && issuer != nil && subject[1] == issuer[1]:
		return KubeletSelfSigned
	case leaf.CheckSignature(leaf.SignatureAlgorithm, leaf.RawTBSCertificate, leaf.Signature) == nil:
		return SelfSigned
	case nodeName.MatchString(leaf.Subject.CommonName):
		return OfNode
	}
	return OtherKind
}

// nodeOf is the name of the node that the certificate is for, if its subject says so.
func nodeOf(leaf *x509.Certificate) string {
	for _, pattern := range []*regexp.Regexp{nodeName, ownSubject} {
		if m := pattern.FindStringSubmatch(leaf.Subject.CommonName); m != nil {
			return m[1]
		}
	}
	return ""
}
