package explain

import (
	"crypto/x509"
	"strings"
	"time"

	"fauxlet/authchain"
)

// Serving is a kubelet's serving certificate together with what a client needs to verify it.
type Serving struct {
	// Served are the certificates that the kubelet sends, its own first.
	Served []*x509.Certificate
	// Roots are the CAs that the client trusts, such as --kubelet-certificate-authority of kube-apiserver.
	Roots []*x509.Certificate
	// Host is the DNS name or the IP address that the client connects to. Empty: the client does not verify it.
	Host string
}

// Explain explains the failed TLS handshake. It returns nil if the client accepts the certificate.
func (s *Serving) Explain(now time.Time) *Explanation {
	if len(s.Served) == 0 {
		const noCertificate = "there is no serving certificate yet (no serving certificate available for the kubelet)"
		explanation := Decision(authchain.FailedHandshake("", noCertificate), Facts{})
		return &explanation
	}
	problems := ServingCertificateProblems(s.Served, s.Roots, s.Host, now)
	if len(problems) == 0 {
		return nil
	}
	const notAccepted = "the client does not accept the serving certificate (remote error: tls: bad certificate)"
	explanation := Decision(authchain.FailedHandshake("", notAccepted), Facts{})
	tls := explanation.Stage(StageTLS)
	s.AddFacts(tls)
	for _, problem := range problems {
		tls.fact("problem", problem.Message)
	}
	explanation.Remedies = servingRemedies(problems)
	return &explanation
}

// AddFacts adds the facts of the serving certificate to a stage.
func (s *Serving) AddFacts(stage *Stage) {
	leaf := s.Served[0]
	stage.fact("serving certificate", leaf.Subject.String())
	stage.fact("issuer", leaf.Issuer.String())
	stage.fact("subject alternative names", strings.Join(hostsOf(leaf), ", "))
	stage.fact("valid", dates(leaf.NotBefore, leaf.NotAfter))
	stage.fact("usage", usages(leaf))
}
