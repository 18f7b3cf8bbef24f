package reviewapi

import (
	"fmt"
	"net"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"fauxlet/internal/atomicfile"
)

// WriteKubeconfig writes a kubeconfig for the server at address (a host and port), and replaces an existing file
// atomically. The file contains Options.CallerToken, so only its owner can read it.
func (s *Server) WriteKubeconfig(path, address string) error {
	const name = "fauxlet-reviews"
	config := clientcmdapi.NewConfig()
	config.Clusters[name] = &clientcmdapi.Cluster{Server: serverURL(address),
		CertificateAuthorityData: s.options.CA.CertPEM()}
	config.AuthInfos[callerName] = &clientcmdapi.AuthInfo{Token: s.options.CallerToken}
	config.Contexts[name] = &clientcmdapi.Context{Cluster: name, AuthInfo: callerName}
	config.CurrentContext = name
	data, err := clientcmd.Write(*config)
	if err == nil {
		err = atomicfile.Write(path, data, 0o600)
	}
	if err != nil {
		return fmt.Errorf("kubeconfig: %w", err)
	}
	return nil
}

// RESTConfig returns a client configuration for the server at address (a host and port). The configuration contains
// Options.CallerToken and has no rate limit.
func (s *Server) RESTConfig(address string) *rest.Config {
	return &rest.Config{Host: serverURL(address), BearerToken: s.options.CallerToken, QPS: -1,
		TLSClientConfig: rest.TLSClientConfig{CAData: s.options.CA.CertPEM()}}
}

// serverURL returns the URL of the server at address. If the server listens on all addresses, the host in the URL is
// 127.0.0.1.
func serverURL(address string) string {
	if host, port, err := net.SplitHostPort(address); err == nil && (host == "" || net.ParseIP(host).IsUnspecified()) {
		address = net.JoinHostPort("127.0.0.1", port)
	}
	return "https://" + address
}
