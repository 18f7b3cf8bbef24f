package reviewapi

import (
	"crypto/x509"
	"fmt"
	"net"

	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"fauxlet/internal/atomicfile"
)

// WriteKubeconfig writes a kubeconfig for the server at address (a host and port), and replaces an existing file
// atomically. The file contains Options.CallerToken and, if Options.CallerNode is set, a client certificate with its
// key, so only its owner can read it.
func (s *Server) WriteKubeconfig(path, address string) error {
	const name = "fauxlet-reviews"
	config := clientcmdapi.NewConfig()
	config.Clusters[name] = &clientcmdapi.Cluster{Server: serverURL(address),
		CertificateAuthorityData: s.options.CA.CertPEM()}
	caller := &clientcmdapi.AuthInfo{Token: s.options.CallerToken}
	if s.options.CallerNode != "" {
		pair, err := s.options.CA.Client(nodeUser(s.options.CallerNode), []string{user.NodesGroup})
		if err != nil {
			return fmt.Errorf("client certificate: %w", err)
		}
		caller.ClientCertificateData, caller.ClientKeyData = pair.CertPEM, pair.KeyPEM
	}
	config.AuthInfos[callerName] = caller
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

func nodeUser(node string) string { return "system:node:" + node }

// callerOptions are the options with which the client certificates of callers are verified.
func (s *Server) callerOptions() x509.VerifyOptions {
	return x509.VerifyOptions{Roots: s.options.CA.Pool(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
}

// callerOf accepts the client certificate of Options.CallerNode. It accepts no other certificate of the CA, because
// Options.CA may also be the client CA of a kubelet.
func (s *Server) callerOf(chain []*x509.Certificate) (*authenticator.Response, bool, error) {
	name := chain[0].Subject.CommonName
	if s.options.CallerNode == "" || name != nodeUser(s.options.CallerNode) {
		return nil, false, nil
	}
	caller := &user.DefaultInfo{Name: name, Groups: chain[0].Subject.Organization}
	return &authenticator.Response{User: caller}, true, nil
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
