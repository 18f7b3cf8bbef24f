package explain

import (
	"crypto/x509"
	"fmt"
	"os"

	certutil "k8s.io/client-go/util/cert"

	"fauxlet/config"
)

// Facts are what is known of the kubelet beside the Decision. The zero value knows nothing, and a Road says less then.
type Facts struct {
	// Config is the kubelet's configuration. Nil: it is not known.
	Config *config.Config
	// ClientCAs are the certificates of authentication.x509.clientCAFile. Nil: they are not known.
	ClientCAs []*x509.Certificate
	// Presented are the certificates that the client sent, its own first. Nil: they are not known, or there are none.
	Presented []*x509.Certificate
}

// FactsOf reads the facts of a configuration. Where the client CA file cannot be read, it is not known.
func FactsOf(c *config.Config) Facts {
	facts := Facts{Config: c}
	if file := c.Kubelet.Authentication.X509.ClientCAFile; file != "" {
		facts.ClientCAs, _ = certutil.CertsFromFile(file)
	}
	return facts
}

// ReadCertificates reads the certificates of a PEM file. Its keys, if it has any, are passed over.
func ReadCertificates(file string) ([]*x509.Certificate, error) {
	if _, err := os.Stat(file); err != nil {
		return nil, err
	}
	all, err := certutil.CertsFromFile(file)
	if err != nil {
		return nil, fmt.Errorf("%s: %w; give a PEM file with the certificate, followed by those of the CAs between it and the root", file, err)
	}
	return all, nil
}

func (f Facts) noClientCA() bool {
	return f.Config != nil && f.Config.Kubelet.Authentication.X509.ClientCAFile == ""
}

func (f Facts) webhookOff() bool {
	return f.Config != nil && !isTrue(f.Config.Kubelet.Authentication.Webhook.Enabled)
}

func isTrue(b *bool) bool { return b != nil && *b }
