package kubelet

import (
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"testing"

	"fauxlet/e2e/internal/expect"
	"fauxlet/testcerts"
)

// Credential is what a client authenticates with: a certificate, a token, both, or nothing.
type Credential struct {
	Pair  *testcerts.Pair
	Token string
}

// Response is an HTTP response whose body has been read.
type Response struct {
	Status int
	Header http.Header
	Body   string
}

// Get sends a GET to a kubelet's secure port on a new connection.
func (k *Kubelet) Get(t testing.TB, path string, as Credential) Response {
	t.Helper()
	config := &tls.Config{InsecureSkipVerify: true} // these tests do not check the serving certificate
	if as.Pair != nil {
		pair := as.Pair.TLS()
		// Present the certificate even if the kubelet does not list its CA as acceptable.
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
	}
	transport := &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}
	request, err := http.NewRequest(http.MethodGet, "https://"+k.Secure+path, nil)
	expect.NoError(t, err)
	if as.Token != "" {
		request.Header.Set("Authorization", "Bearer "+as.Token)
	}
	return Send(t, transport, request)
}

func Send(t testing.TB, transport http.RoundTripper, request *http.Request) Response {
	t.Helper()
	response, err := transport.RoundTrip(request)
	expect.NoError(t, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	expect.NoError(t, err)
	return Response{response.StatusCode, response.Header, string(body)}
}

// Expect sends a GET and fails the test unless the response has the given status and body. An empty body matches any
// body.
func (k *Kubelet) Expect(t testing.TB, path string, as Credential, status int, body string) {
	t.Helper()
	if got := k.Get(t, path, as); got.Status != status || body != "" && got.Body != body {
		t.Errorf("GET %s: %d %q, want %d %q", path, got.Status, got.Body, status, body)
	}
}

// Forbidden returns the body of the 403 response for a user. The body ends with a line feed, which kubectl prints
// too.
func Forbidden(user string) string {
	return fmt.Sprintf("Forbidden (user=%s, verb=get, resource=nodes, subresource(s)=[proxy])\n", user)
}
