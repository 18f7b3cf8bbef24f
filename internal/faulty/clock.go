package faulty

import (
	"crypto/x509"
	"fmt"
	"time"

	"fauxlet/authchain"
	"fauxlet/internal/faults"
)

// ClockSkew returns how far the node's clock is ahead of the true time. It is negative if the clock is behind.
func (n *Node) ClockSkew() time.Duration {
	if skewed := n.active(faults.ClockSkew); len(skewed) > 0 {
		return skewed[0].Skew.Duration
	}
	return 0
}

// ClientCA returns a CAProvider that verifies client certificates at the time of the node's clock. While the clock is
// skewed or a caches-flushed fault is active, the server verifies the client certificate again for each request.
func (n *Node) ClientCA(next authchain.CAProvider) authchain.CAProvider { return clientCA{next, n} }

type clientCA struct {
	authchain.CAProvider
	node *Node
}

func (c clientCA) VerifyOptions() (x509.VerifyOptions, bool) {
	options, ok := c.CAProvider.VerifyOptions()
	if skew := c.node.ClockSkew(); skew != 0 || len(c.node.active(faults.CachesFlushed)) > 0 {
		options.CurrentTime = time.Now().Add(skew)
	}
	return options, ok
}

// VerifyChain refuses a certificate chain that is not valid at the true time. The caller has already verified the chain
// at the time of the node's clock. A skewed clock therefore never makes an expired certificate acceptable.
func (c clientCA) VerifyChain(chain []*x509.Certificate) error {
	now := time.Now()
	for _, certificate := range chain {
		if now.Before(certificate.NotBefore) || now.After(certificate.NotAfter) {
			return fmt.Errorf("the client certificate is valid by the node's clock, which a fault has skewed, but "+
				"not by the true clock: certificate %q is valid from %s to %s, and it is %s",
				certificate.Subject.CommonName, certificate.NotBefore.UTC().Format(time.RFC3339),
				certificate.NotAfter.UTC().Format(time.RFC3339), now.UTC().Format(time.RFC3339))
		}
	}
	return nil
}
