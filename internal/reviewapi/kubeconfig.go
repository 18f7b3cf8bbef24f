package reviewapi

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// WriteKubeconfig writes a kubeconfig by which a client reaches the server at address (host:port, or a URL) as the
// generated caller. It holds that caller's token: the file is readable by its owner alone. A file that is there is
// replaced at once, so that a reader sees the old one or the new one, whole.
func (s *Server) WriteKubeconfig(path, address string) error {
	const name = "fauxlet-reviews"
	config := clientcmdapi.NewConfig()
	config.Clusters[name] = &clientcmdapi.Cluster{Server: serverURL(address), CertificateAuthorityData: s.ca}
	config.AuthInfos[s.options.CallerName] = &clientcmdapi.AuthInfo{Token: s.token}
	config.Contexts[name] = &clientcmdapi.Context{Cluster: name, AuthInfo: s.options.CallerName}
	config.CurrentContext = name
	data, err := clientcmd.Write(*config)
	if err != nil {
		return fmt.Errorf("kubeconfig: %w", err)
	}
	if err := writePrivate(path, data); err != nil {
		return fmt.Errorf("kubeconfig %s: %w", path, err)
	}
	return nil
}

// RESTConfig is the same for use inside this process: it reaches the server at address (host:port, or a URL) as the
// generated caller, as often as asked (QPS is not limited).
func (s *Server) RESTConfig(address string) *rest.Config {
	return &rest.Config{
		Host:            serverURL(address),
		BearerToken:     s.token,
		QPS:             -1,
		TLSClientConfig: rest.TLSClientConfig{CAData: s.ca},
	}
}

// serverURL is where a client goes; a server that listens on all addresses is reached by the loopback one.
func serverURL(address string) string {
	if strings.Contains(address, "://") {
		return address
	}
	if host, port, err := net.SplitHostPort(address); err == nil && (host == "" || net.ParseIP(host).IsUnspecified()) {
		address = net.JoinHostPort("127.0.0.1", port)
	}
	return "https://" + address
}

// writePrivate puts data in place of a file by a rename.
func writePrivate(path string, data []byte) (err error) {
	temp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*") // made with mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(temp.Name())
		}
	}()
	_, err = temp.Write(data)
	if err = errors.Join(err, temp.Close()); err != nil {
		return err
	}
	return os.Rename(temp.Name(), path)
}
