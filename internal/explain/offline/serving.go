package offline

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	certutil "k8s.io/client-go/util/cert"

	"fauxlet/internal/explain"
)

// Verification states how a client, such as kube-apiserver, verifies the serving certificate.
type Verification struct {
	// Roots are the CAs that the client trusts. Nil: the client does not verify the certificate.
	Roots []*x509.Certificate
	// Host is the DNS name or the IP address that the client connects to. Empty: the client does not verify the
	// name.
	Host string
}

// issued is the file in certDir that contains the certificate which the cluster issued for serverTLSBootstrap.
// (k8s.io/client-go: util/certificate)
const issued = "kubelet-server-current.pem"

// verify verifies the serving certificate as the client does. The Explanation is nil if the client accepts it.
func (k *Kubelet) verify(v Verification) (*explain.Serving, *explain.Explanation, error) {
	served, err := k.servingCertificates()
	if err != nil {
		return nil, nil, err
	}
	serving := &explain.Serving{Served: served, Roots: v.Roots, Host: v.Host}
	return serving, serving.Explain(time.Now()), nil
}

// servingCertificates returns the certificates that the kubelet would serve. With serverTLSBootstrap this is the
// certificate that the cluster issued, or nil if it has not issued any. Otherwise it is the certificate in the
// configured files, or else a self-signed certificate. If the kubelet has not stored a self-signed certificate, one
// is made in memory.
func (k *Kubelet) servingCertificates() ([]*x509.Certificate, error) {
	config := k.options.Config
	file, _, selfSigned := config.ServingFiles()
	if config.Kubelet.ServerTLSBootstrap && config.Enabled("RotateKubeletServerCertificate") {
		all, err := explain.ReadCertificates(filepath.Join(config.CertDir, issued))
		if errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
		return all, err
	}
	if selfSigned {
		if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
			made, _, err := certutil.GenerateSelfSignedCertKey(config.NodeName, nil, nil)
			if err != nil {
				return nil, err
			}
			return certutil.ParseCertsPEM(made)
		}
	}
	all, err := explain.ReadCertificates(file)
	if err != nil {
		return nil, fmt.Errorf("the serving certificate: %w", err)
	}
	return all, nil
}
