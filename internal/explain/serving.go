package explain

import (
	"crypto/x509"
	"slices"
	"time"

	"fauxlet/authchain"
	"fauxlet/internal/tlserror"
)

// Serving is a kubelet's serving certificate, with the CAs and the host name that a client uses to verify it.
type Serving struct {
	// Served are the certificates that the kubelet sends. The kubelet's own certificate comes first, then the
	// intermediate CAs.
	Served []*x509.Certificate
	// Roots are the CAs that the client trusts, such as the CAs in kube-apiserver's --kubelet-certificate-authority.
	Roots []*x509.Certificate
	// Host is the DNS name or the IP address that the client connects to. If Host is empty, the client does not verify
	// the name in the certificate.
	Host string
}

// Explain explains why the client refuses the certificate in the TLS handshake. It returns nil if the client accepts
// the certificate.
func (s *Serving) Explain(now time.Time) *Explanation {
	if len(s.Served) == 0 {
		explanation := failedHandshake("no serving certificate available for the kubelet")
		return &explanation
	}
	problems := servingCertificateProblems(s.Served, s.Roots, s.Host, now)
	refusing := slices.DeleteFunc(slices.Clone(problems), func(p problem) bool { return p.Harmless })
	if len(refusing) == 0 {
		return nil
	}
	explanation := failedHandshake("remote error: tls: bad certificate")
	explanation.Reason += "; the cause: " + refusing[0].Message
	s.AddFacts(explanation.Stage(StageTLS), now)
	explanation.Remedies = append(problemRemedies(table().Serving, refusing),
		table().Other["serving certificate refused"]...)
	return &explanation
}

// failedHandshake explains a TLS handshake that failed. The argument "text" is the error text of crypto/tls.
func failedHandshake(text string) Explanation {
	return Decision(authchain.FailedHandshake("", tlserror.Explain(text)), Facts{})
}

// AddFacts adds facts about the serving certificate to a stage, such as its subject, its dates and its problems.
func (s *Serving) AddFacts(stage *Stage, now time.Time) {
	leaf := s.Served[0]
	stage.fact("serving certificate", leaf.Subject.String())
	stage.fact("issuer", leaf.Issuer.String())
	stage.fact("subject alternative names", hostsOf(leaf))
	stage.fact("valid", dates(leaf.NotBefore, leaf.NotAfter))
	stage.fact("usage", usages(leaf))
	stage.problems(servingCertificateProblems(s.Served, s.Roots, s.Host, now))
}
