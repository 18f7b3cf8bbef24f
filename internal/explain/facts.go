package explain

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"

	certutil "k8s.io/client-go/util/cert"
	"k8s.io/utils/ptr"

	"fauxlet/config"
	"fauxlet/internal/bootstrap"
	"fauxlet/internal/pemfile"
	"fauxlet/internal/reviewapi"
)

// Facts are details about the kubelet and the client that a Report does not contain. All fields are optional. The more
// fields are set, the more detail an Explanation has.
type Facts struct {
	// Config is the kubelet's configuration.
	Config *config.Config
	// ClientCAs are the certificates in authentication.x509.clientCAFile.
	ClientCAs []*x509.Certificate
	// unread describes the certificates in clientCAFile that Go skips. It is empty if there are none.
	unread string
	// Presented are the certificates that the client sent. The client's own certificate comes first.
	Presented []*x509.Certificate
	// Reviewer is the credential that the kubelet presents to the apiserver which answers its reviews. It is empty if
	// there is no kubeconfig, or if it cannot be read.
	Reviewer bootstrap.Credential
	// Policy has the RBAC manifests from which SubjectAccessReviews are answered. It is nil if an apiserver answers
	// them. The remedies do not create again what the Policy has.
	Policy *reviewapi.Policy
}

// FactsOf returns the facts that follow from a kubelet's configuration. If the client CA file cannot be read, ClientCAs
// is empty.
func FactsOf(c *config.Config) Facts {
	facts := Facts{Config: c}
	if file := c.Kubelet.Authentication.X509.ClientCAFile; file != "" {
		if data, err := os.ReadFile(file); err == nil {
			facts.ClientCAs, _ = certutil.ParseCertsPEM(data)
			facts.unread = pemfile.Unread(pemfile.FileWith(file, data))
		}
	}
	if c.Kubeconfig != "" {
		facts.Reviewer, _, _ = bootstrap.AtStart(bootstrap.Options{NodeName: c.NodeName, Kubeconfig: c.Kubeconfig,
			CertDir: c.CertDir, Rotate: c.Kubelet.RotateCertificates})
	}
	return facts
}

// ReadCertificates reads the certificates of a PEM file and ignores its private keys. A certificate that Go would skip
// silently is an error. The error states what is wrong with the file, and the command that mends it.
func ReadCertificates(file string) ([]*x509.Certificate, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	all, err := certutil.ParseCertsPEM(data)
	if err != nil {
		err = fmt.Errorf("%s: %w; the file must be PEM: the certificate, then its intermediate CAs", file, err)
		return nil, pemfile.ExplainCertificate(err, pemfile.FileWith(file, data))
	}
	if skipped := pemfile.Unread(pemfile.FileWith(file, data)); skipped != "" {
		return nil, errors.New(skipped)
	}
	return all, nil
}

// ReadClientCertificates reads the certificates of a client, its own certificate first. If the file contains the
// private key too, the key must belong to the first certificate.
func ReadClientCertificates(file string) ([]*x509.Certificate, error) {
	all, err := ReadCertificates(file)
	if err != nil {
		return nil, err
	}
	if mismatch := pemfile.Mismatch(pemfile.File(file), pemfile.File(file)); mismatch != "" {
		return nil, errors.New(mismatch)
	}
	return all, nil
}

// CheckPair returns an error if a certificate and a key cannot be used together, with the command that mends the files.
// A certificate file that does not exist is no error.
func CheckPair(certFile, keyFile string) error {
	if _, err := tls.LoadX509KeyPair(certFile, keyFile); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return pemfile.ExplainPair(fmt.Errorf("%s and %s: %w", certFile, keyFile, err), pemfile.File(certFile),
			pemfile.File(keyFile))
	}
	return nil
}

func (f Facts) noClientCA() bool {
	return f.Config != nil && f.Config.Kubelet.Authentication.X509.ClientCAFile == ""
}

func (f Facts) webhookOff() bool {
	return f.Config != nil && !ptr.Deref(f.Config.Kubelet.Authentication.Webhook.Enabled, false)
}
