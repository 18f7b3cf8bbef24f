package reviewapi

import (
	"fmt"
	"net"
	"os"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// WriteKubeconfig writes a kubeconfig for the server at address, a host and port, with the bearer token of a
// caller. The file contains a token, and only its owner can read it. An existing file is replaced
// atomically.
func (s *Server) WriteKubeconfig(path, address string) error {
	const name = "fauxlet-reviews"
	config := clientcmdapi.NewConfig()
	config.Clusters[name] = &clientcmdapi.Cluster{Server: serverURL(address),
		CertificateAuthorityData: s.options.CA.CertPEM()}
	config.AuthInfos[callerName] = &clientcmdapi.AuthInfo{Token: s.options.CallerToken}
	config.Contexts[name] = &clientcmdapi.Context{Cluster: name, AuthInfo: callerName}
	config.CurrentContext = name
	data, err := clientcmd.Write(*config)
	if err != nil {
		return fmt.Errorf("kubeconfig: %w", err)
	}
	temporary := path + ".tmp"
	defer os.Remove(temporary) // has no effect after the rename
	_ = os.Remove(temporary)   // of an interrupted run
	if err = os.WriteFile(temporary, data, 0o600); err == nil {
		err = os.Rename(temporary, path)
	}
	if err != nil {
		return fmt.Errorf("kubeconfig %s: %w", path, err)
	}
	return nil
}

// RESTConfig returns the configuration of a client in this process, for the server at address, a host and
// port, with the bearer token of a caller and without a rate limit.
func (s *Server) RESTConfig(address string) *rest.Config {
	return &rest.Config{
		Host:            serverURL(address),
		BearerToken:     s.options.CallerToken,
		QPS:             -1,
		TLSClientConfig: rest.TLSClientConfig{CAData: s.options.CA.CertPEM()},
	}
}

// serverURL returns the URL of a server. For one that listens on all addresses it is 127.0.0.1.
func serverURL(address string) string {
	if host, port, err := net.SplitHostPort(address); err == nil && (host == "" || net.ParseIP(host).IsUnspecified()) {
		address = net.JoinHostPort("127.0.0.1", port)
	}
	return "https://" + address
}
