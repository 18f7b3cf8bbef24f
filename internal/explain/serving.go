package explain

import (
	"crypto/x509"
	"strings"
	"time"

	"fauxlet/authchain"
)

// Serving are the certificates that a kubelet serves with, its own first, as a client sees them that trusts some CAs and
// reaches the kubelet as a host.
type Serving struct {
	Served []*x509.Certificate
	// Roots are the CAs that the client trusts: --kubelet-certificate-authority of kube-apiserver.
	Roots []*x509.Certificate
	// Host is the DNS name or the address that it dials; empty: it is not compared.
	Host string
}

// Judge is what the client makes of it: nil where it accepts it, or else the Road of the handshake that fails.
func (s *Serving) Judge(now time.Time) *Road {
	if len(s.Served) == 0 {
		road := Of(authchain.FailedHandshake("", "there is no serving certificate yet (no serving certificate available for the kubelet)"), Facts{})
		return &road
	}
	faults := ServingFaults(s.Served, s.Roots, s.Host, now)
	if len(faults) == 0 {
		return nil
	}
	road := Of(authchain.FailedHandshake("", "the client does not accept the serving certificate (remote error: tls: bad certificate)"), Facts{})
	tls := road.Stop(StopTLS)
	s.Tell(tls)
	for _, fault := range faults {
		tls.fact("wrong", fault.Says)
	}
	road.Cures = ServingCures(faults)
	return &road
}

// Tell adds the facts of the certificate to a stop.
func (s *Serving) Tell(stop *Stop) {
	leaf := s.Served[0]
	stop.fact("serving certificate", leaf.Subject.String())
	stop.fact("issuer", leaf.Issuer.String())
	stop.fact("for", strings.Join(hostsOf(leaf), ", "))
	stop.fact("valid", dates(leaf.NotBefore, leaf.NotAfter))
	stop.fact("usage", usages(leaf))
}
