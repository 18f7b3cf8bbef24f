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

// Client is who asks, as far as the TLS handshake goes: a kube-apiserver, for one.
type Client struct {
	// Trusts are the CAs that it verifies the serving certificate with. Nil: it verifies nothing.
	Trusts []*x509.Certificate
	// Dials is the DNS name or the address by which it reaches the kubelet; empty: it is not compared.
	Dials string
}

// issued is the certificate that the cluster has issued under serverTLSBootstrap, in the certificate folder.
// (k8s.io/client-go: util/certificate)
const issued = "kubelet-server-current.pem"

// shake has the client judge the serving certificate. The Road is nil where it accepts it.
func (k *Kubelet) shake(client Client) (*explain.Serving, *explain.Road, error) {
	served, err := k.served()
	if err != nil {
		return nil, nil, err
	}
	serving := &explain.Serving{Served: served, Roots: client.Trusts, Host: client.Dials}
	return serving, serving.Judge(time.Now()), nil
}

// served reads the serving certificate: that which was issued, none if none was, or that of the configured files, or the
// self-signed one, which is made in memory where the kubelet has not made it yet.
func (k *Kubelet) served() ([]*x509.Certificate, error) {
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
