package bootstrap

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"go.uber.org/zap"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"k8s.io/client-go/transport"
	certutil "k8s.io/client-go/util/cert"

	"fauxlet/internal/atomicfile"
	"fauxlet/internal/echo"
	"fauxlet/internal/kubeconfig"
	"fauxlet/internal/pemfile"
)

// The function "load" reads the kubeconfig file that a flag names. Its clients do not log a credential that the
// apiserver repeats.
func load(flag, file string) (*rest.Config, error) {
	rules := &clientcmd.ClientConfigLoadingRules{ExplicitPath: file}
	var config *rest.Config
	content, err := rules.Load()
	if err == nil {
		config, err = clientcmd.NewNonInteractiveClientConfig(*content, content.CurrentContext,
			&clientcmd.ConfigOverrides{}, rules).ClientConfig()
	}
	if err != nil {
		return nil, pemfile.ExplainKubeconfig(fmt.Errorf("%s %q: invalid kubeconfig: %w", flag, file, err), file)
	}
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { return echo.Transport{RoundTripper: next} })
	return config, nil
}

// bootstrapConfig returns the configuration of the bootstrap kubeconfig. It returns nil if there is no bootstrap
// kubeconfig or no bootstrap is necessary.
func (o *Options) bootstrapConfig() (*rest.Config, error) {
	if o.BootstrapKubeconfig == "" {
		return nil, nil
	}
	why, err := unusable(o.Kubeconfig)
	if err != nil || why == nil {
		return nil, err
	}
	config, err := load("--bootstrap-kubeconfig", o.BootstrapKubeconfig)
	if err != nil {
		return nil, fmt.Errorf("%w (it is needed because --kubeconfig %q is not usable: %v)", err, o.Kubeconfig, why)
	}
	if err := mustBeWritable(o.CertDir); err != nil {
		return nil, err
	}
	o.Logger.Info("requesting a client certificate with the bootstrap kubeconfig", zap.String("node", o.NodeName),
		zap.String("reason", why.Error()))
	return config, nil
}

// unusable checks whether the kubeconfig contains a client certificate that has not expired. Other credentials do not
// count. If there is no such certificate, the result "why" is the reason, and the node must request one with the
// bootstrap kubeconfig. If the file cannot be checked, the result "err" is not nil, and the node cannot start. If both
// results are nil, the kubeconfig is usable. (kubelet: bootstrap.isClientConfigStillValid)
func unusable(file string) (why, err error) {
	if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
		return err, nil
	} else if err != nil {
		return nil, fmt.Errorf("--kubeconfig %q: %w", file, err)
	}
	config, why := load("--kubeconfig", file)
	if why != nil {
		return why, nil
	}
	connection, why := config.TransportConfig()
	if why != nil {
		return why, nil
	}
	// TLSConfigFor also reads the certificate file of the kubeconfig, if any, into connection.TLS.CertData.
	if _, why := transport.TLSConfigFor(connection); why != nil {
		return why, nil
	}
	certificates, why := certutil.ParseCertsPEM(connection.TLS.CertData)
	if why != nil {
		return fmt.Errorf("no client certificate: %w", why), nil
	}
	for _, certificate := range certificates {
		if time.Now().After(certificate.NotAfter) {
			return fmt.Errorf("the client certificate expired at %s", certificate.NotAfter.Format(time.RFC3339)), nil
		}
	}
	return nil, nil
}

// checkFiles checks the certificate and key files of a kubeconfig. A kubelet starts with a certificate and a key that
// do not belong together, but each of its requests fails.
func checkFiles(file string, config *rest.Config) error {
	if err := kubeconfig.CheckFiles(config); err != nil {
		return fmt.Errorf("--kubeconfig %q: client certificate or CA: %w", file, err)
	}
	return nil
}

// The function "write" writes a kubeconfig with the apiserver of the bootstrap kubeconfig and the certificate in
// pemFile. It has the same entries as a kubeconfig that a kubelet writes, so it has no proxy and no TLS server name.
// (kubelet: bootstrap.writeKubeconfigFromBootstrapping)
func write(file string, bootstrap *rest.Config, pemFile string) error {
	cluster := &clientcmdapi.Cluster{Server: bootstrap.Host, InsecureSkipTLSVerify: bootstrap.Insecure,
		CertificateAuthority: bootstrap.CAFile}
	if cluster.CertificateAuthority == "" {
		cluster.CertificateAuthorityData = bootstrap.CAData
	}
	config := clientcmdapi.NewConfig()
	config.Clusters["default-cluster"] = cluster
	config.AuthInfos["default-auth"] = &clientcmdapi.AuthInfo{ClientCertificate: pemFile, ClientKey: pemFile}
	config.Contexts["default-context"] = &clientcmdapi.Context{Cluster: "default-cluster", AuthInfo: "default-auth",
		Namespace: "default"}
	config.CurrentContext = "default-context"
	content, err := clientcmd.Write(*config)
	if err == nil {
		err = atomicfile.MkdirAll(filepath.Dir(file))
	}
	if err == nil {
		err = atomicfile.Write(file, content, 0o600)
	}
	if err != nil {
		return fmt.Errorf("--kubeconfig %q: %w; the file is written for the requested certificate: use a writable file",
			file, err)
	}
	return nil
}
