package explain

import (
	"crypto/x509"
	"fmt"
	"os"

	certutil "k8s.io/client-go/util/cert"
	"k8s.io/utils/ptr"

	"fauxlet/config"
	"fauxlet/internal/bootstrap"
)

// Facts are details about the kubelet and the client that a Report does not contain. All fields are optional. The more
// fields are set, the more detail an Explanation has.
type Facts struct {
	// Config is the kubelet's configuration.
	Config *config.Config
	// ClientCAs are the certificates in authentication.x509.clientCAFile.
	ClientCAs []*x509.Certificate
	// Presented are the certificates that the client sent. The client's own certificate comes first.
	Presented []*x509.Certificate
	// Reviewer is the credential that the kubelet presents to the apiserver which answers its reviews. It is empty if
	// there is no kubeconfig, or if it cannot be read.
	Reviewer bootstrap.Credential
}

// FactsOf returns the facts that follow from a kubelet's configuration. If the client CA file cannot be read, ClientCAs
// is empty.
func FactsOf(c *config.Config) Facts {
	facts := Facts{Config: c}
	if file := c.Kubelet.Authentication.X509.ClientCAFile; file != "" {
		facts.ClientCAs, _ = certutil.CertsFromFile(file)
	}
	if c.Kubeconfig != "" {
		facts.Reviewer, _, _ = bootstrap.AtStart(bootstrap.Options{NodeName: c.NodeName, Kubeconfig: c.Kubeconfig,
			CertDir: c.CertDir, Rotate: c.Kubelet.RotateCertificates})
	}
	return facts
}

// ReadCertificates reads the certificates of a PEM file and ignores its private keys.
func ReadCertificates(file string) ([]*x509.Certificate, error) {
	if _, err := os.Stat(file); err != nil {
		return nil, err
	}
	all, err := certutil.CertsFromFile(file)
	if err != nil {
		return nil, fmt.Errorf("%s: %w; the file must be PEM: the certificate, then its intermediate CAs", file, err)
	}
	return all, nil
}

func (f Facts) noClientCA() bool {
	return f.Config != nil && f.Config.Kubelet.Authentication.X509.ClientCAFile == ""
}

func (f Facts) webhookOff() bool {
	return f.Config != nil && !ptr.Deref(f.Config.Kubelet.Authentication.Webhook.Enabled, false)
}
