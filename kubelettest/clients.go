package kubelettest

import (
	"crypto/tls"
	"net/http"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/transport"
)

// NoCredential is the user name to pass to [Kubelet.Client] and [Kubelet.RESTConfig] for a client that sends no
// credential.
const NoCredential = ""

// Client returns a new HTTP client that trusts the kubelet's serving certificate and sends the credential of a user.
// With [NoCredential], the client sends no credential. The client has the user's current token, and does not change
// when [Kubelet.RotateToken] replaces the token. The caller may change the client. If the user is unknown, Client fails
// the test.
//
// The caller closes the bodies of responses. [Kubelet.Close] closes the client's idle connections.
func (k *Kubelet) Client(user string) *http.Client {
	k.test.Helper()
	trusting := &tls.Config{RootCAs: k.CA.Pool()}
	direct := &http.Transport{TLSClientConfig: trusting, ForceAttemptHTTP2: true}
	k.users.mu.Lock()
	defer k.users.mu.Unlock()
	k.users.transports = append(k.users.transports, direct)
	if user == NoCredential {
		return &http.Client{Transport: direct}
	}
	c := k.credential(user)
	if c.Token {
		return &http.Client{Transport: transport.NewBearerAuthRoundTripper(c.token, direct)}
	}
	certificate := c.certificate.TLS()
	// Like a kube-apiserver, send the certificate even if its CA is not in the kubelet's certificate request.
	trusting.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		return &certificate, nil
	}
	return &http.Client{Transport: direct}
}

// RESTConfig returns a configuration for client-go, for example for its packages remotecommand and portforward. It
// contains the kubelet's URL and the credential of a user. With [NoCredential], it contains no credential.
// [Kubelet.Start] sets the URL, so call RESTConfig after Start. RESTConfig fails the test if the user is unknown. The
// caller may change the configuration. The caller closes the clients that it creates from the configuration.
func (k *Kubelet) RESTConfig(user string) *rest.Config {
	k.test.Helper()
	config := &rest.Config{Host: k.URL, TLSClientConfig: rest.TLSClientConfig{CAData: k.CA.CertPEM()}}
	if user == NoCredential {
		return config
	}
	k.users.mu.Lock()
	defer k.users.mu.Unlock()
	if c := k.credential(user); c.Token {
		config.BearerToken = c.token
	} else {
		config.CertData, config.KeyData = c.certificate.CertPEM, c.certificate.KeyPEM
	}
	return config
}

func (u *users) closeIdle() {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, t := range u.transports {
		t.CloseIdleConnections()
	}
}
