package offline

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	certutil "k8s.io/client-go/util/cert"

	"fauxlet/internal/explain"
)

// issued is the name of a file in the kubelet's --cert-dir. It contains the serving certificate that the cluster has
// issued to a kubelet with serverTLSBootstrap. (k8s.io/client-go: util/certificate)
const issued = "kubelet-server-current.pem"

// servingCertificates returns the certificates that the kubelet would serve. With serverTLSBootstrap, it returns the
// certificate that the cluster has issued, or nil if the cluster has not issued one. Otherwise it returns the
// certificate in tlsCertFile. If tlsCertFile is not set, it returns the kubelet's self-signed certificate. If the
// kubelet has not stored a self-signed certificate yet, it returns a new one.
func (k *Kubelet) servingCertificates() ([]*x509.Certificate, error) {
	config := k.options.Config
	file, keyFile, selfSigned := config.ServingFiles()
	bootstrap := config.Kubelet.ServerTLSBootstrap && config.Enabled("RotateKubeletServerCertificate")
	if bootstrap {
		file = filepath.Join(config.CertDir, issued)
	}
	if _, missing := os.Stat(keyFile); missing == nil && !bootstrap {
		// A kubelet does not start with such a pair. The key may be missing, because explain often runs elsewhere.
		if err := explain.CheckPair(file, keyFile); err != nil {
			return nil, fmt.Errorf("the serving certificate: %w", err)
		}
	}
	all, err := explain.ReadCertificates(file)
	missing := errors.Is(err, fs.ErrNotExist)
	switch {
	case missing && bootstrap:
		return nil, nil
	case missing && selfSigned:
		made, _, err := certutil.GenerateSelfSignedCertKey(config.NodeName, nil, nil)
		if err != nil {
			return nil, err
		}
		return certutil.ParseCertsPEM(made)
	case err != nil:
		return nil, fmt.Errorf("the serving certificate: %w", err)
	}
	return all, nil
}
