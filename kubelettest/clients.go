package kubelettest

import (
	"crypto/tls"
	"net/http"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/transport"
)

// Nobody is the user of a client that has no credential.
const Nobody = ""

// Client is an HTTP client with a user's credential, or, for [Nobody], with none, which trusts the kubelet's serving
// certificate. It may be changed. Its idle connections are closed with the stand-in.
func (k *Kubelet) Client(user string) *http.Client {
	k.t.Helper()
	trusting := &tls.Config{RootCAs: k.CA.Pool()}
	direct := &http.Transport{TLSClientConfig: trusting, ForceAttemptHTTP2: true}
	k.users.mu.Lock()
	defer k.users.mu.Unlock()
	k.users.transports = append(k.users.transports, direct)
	if user == Nobody {
		return &http.Client{Transport: direct}
	}
	c := k.known(user)
	if c.Token {
		return &http.Client{Transport: transport.NewBearerAuthRoundTripper(c.token, direct)}
	}
	certificate := c.certificate.TLS()
	// Presented whatever CAs the kubelet names, as a kube-apiserver's is.
	trusting.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &certificate, nil }
	return &http.Client{Transport: direct}
}

// RESTConfig is the configuration of a client-go client with a user's credential, or, for [Nobody], with none: for
// remotecommand and portforward, and for anything else that is made of one.
func (k *Kubelet) RESTConfig(user string) *rest.Config {
	k.t.Helper()
	config := &rest.Config{Host: k.URL, TLSClientConfig: rest.TLSClientConfig{CAData: k.CA.CertPEM()}}
	if user == Nobody {
		return config
	}
	k.users.mu.Lock()
	defer k.users.mu.Unlock()
	if c := k.known(user); c.Token {
		config.BearerToken = c.token
	} else {
		config.CertData, config.KeyData = c.certificate.CertPEM, c.certificate.KeyPEM
	}
	return config
}

// closeIdle closes the idle connections of clients.
func (u *users) closeIdle() {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, t := range u.transports {
		t.CloseIdleConnections()
	}
}
