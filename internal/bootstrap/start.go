package bootstrap

import (
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"go.uber.org/zap"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/certificate"
)

// Credential is a credential that a node presents to the apiserver. See [AtStart].
type Credential string

const (
	// OfKubeconfig is the credential of the kubeconfig: a client certificate, a token, or both.
	OfKubeconfig Credential = "kubeconfig"
	// Stored is the client certificate that an earlier process has stored in CertDir. With Rotate it is used in place
	// of the credential of the kubeconfig, even if the kubeconfig is newer.
	Stored Credential = "stored certificate"
	// NoCredential means that requests are anonymous. With Rotate, a kubelet presents only a client certificate. If the
	// kubeconfig has none, its token or other credential only requests one.
	NoCredential Credential = "none"
)

// AtStart returns the credential that a node with the given options presents when it starts, and the configuration of a
// client that presents it. It requests no certificate, and ignores BootstrapKubeconfig. Its errors are errors of
// [Connect].
func AtStart(o Options) (Credential, *rest.Config, error) {
	config, err := load("--kubeconfig", o.Kubeconfig)
	if err != nil {
		return "", nil, err
	}
	found := OfKubeconfig
	if o.Rotate {
		var pair rest.TLSClientConfig
		if found, pair, err = o.certificateAtStart(config); err != nil {
			return "", nil, fmt.Errorf("--cert-dir %q: %w", o.CertDir, err)
		}
		wrap := config.WrapTransport
		config = rest.AnonymousClientConfig(config)
		config.WrapTransport = wrap
		config.CertFile, config.KeyFile, config.CertData, config.KeyData = pair.CertFile, pair.KeyFile, pair.CertData,
			pair.KeyData
	}
	if err := checkFiles(o.Kubeconfig, config); err != nil {
		return "", nil, err
	}
	if o.Configure != nil {
		o.Configure(config)
	}
	return found, config, nil
}

// certificateAtStart returns the client certificate with which a node with Rotate starts. It makes the same choice as
// the certificate library, but does not store the certificate of the kubeconfig.
// (k8s.io/client-go/util/certificate: getCurrentCertificateOrBootstrap)
func (o *Options) certificateAtStart(config *rest.Config) (found Credential, pair rest.TLSClientConfig, err error) {
	files, err := newStore(zap.NewNop(), o.NodeName, "client", o.CertDir, config.CertFile, config.KeyFile)
	if err != nil {
		return "", pair, err
	}
	stored, err := files.Current()
	if _, none := errors.AsType[*certificate.NoCertKeyError](err); err != nil && !none {
		return "", pair, err
	}
	if err == nil && time.Now().Before(stored.Leaf.NotAfter) {
		switch current := files.CurrentPath(); {
		case exists(current):
			pair.CertFile, pair.KeyFile = current, current
			if sameFile(current, config.CertFile) {
				return OfKubeconfig, pair, nil
			}
		case exists(config.CertFile):
			pair.CertFile, pair.KeyFile = config.CertFile, config.KeyFile
			return OfKubeconfig, pair, nil
		default:
			pair.CertFile = filepath.Join(o.CertDir, "kubelet-client.crt")
			pair.KeyFile = filepath.Join(o.CertDir, "kubelet-client.key")
		}
		return Stored, pair, nil
	}
	if len(config.CertData) == 0 || len(config.KeyData) == 0 {
		return NoCredential, pair, nil
	}
	given, err := tls.X509KeyPair(config.CertData, config.KeyData)
	if err != nil || time.Now().After(given.Leaf.NotAfter) {
		return NoCredential, pair, err
	}
	pair.CertData, pair.KeyData = config.CertData, config.KeyData
	return OfKubeconfig, pair, nil
}

func exists(file string) bool {
	_, err := os.Stat(file)
	return err == nil
}

func sameFile(a, b string) bool {
	infoA, errA := os.Stat(a)
	infoB, errB := os.Stat(b)
	return errA == nil && errB == nil && os.SameFile(infoA, infoB)
}
