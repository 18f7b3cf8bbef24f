package kubelettest

import (
	"crypto/tls"
	"net/http"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/transport"
)

// NoCredential is the user of a client that sends no credential.
const NoCredential = ""

// Client returns an HTTP client that trusts the kubelet's serving certificate and sends a user's credential, or none
// for [NoCredential]. The caller may change it. [Kubelet.Close] closes its idle connections.
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
	// Like a kube-apiserver, send the certificate regardless of the CAs in the kubelet's certificate request.
	trusting.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		return &certificate, nil
	}
	return &http.Client{Transport: direct}
}

// RESTConfig returns the configuration for a client of client-go, such as remotecommand or portforward, with a user's
// credential, or none for [NoCredential].
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

// closeIdle closes the idle connections of all clients.
func (u *users) closeIdle() {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, t := range u.transports {
		t.CloseIdleConnections()
	}
}
