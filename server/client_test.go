package server_test

import (
	"crypto/tls"
	"io"
	"net/http"
	"strings"
	"testing"

	"fauxlet/authchain"
	"fauxlet/internal/freeport"
)

// certificate creates a client certificate for a user, signed by the fixture's client CA.
func (f *fixture) certificate(t testing.TB, user string) *tls.Certificate {
	t.Helper()
	pair, err := f.ca.Client(user, nil)
	if err != nil {
		t.Fatal(err)
	}
	certificate := pair.TLS()
	return &certificate
}

// client returns a client that trusts the fixture's CA. The client presents the given certificate, or none if it is
// nil. It does not follow redirects.
func (f *fixture) client(t testing.TB, certificate *tls.Certificate) *http.Client {
	t.Helper()
	config := &tls.Config{RootCAs: f.ca.Pool()}
	if certificate != nil {
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate,
			error) {
			return certificate, nil
		}
	}
	transport := &http.Transport{TLSClientConfig: config}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// withToken returns a client without a certificate. It sends a bearer token, and uses HTTP/2 if the server offers
// it.
func (f *fixture) withToken(t testing.TB, token string) *http.Client {
	t.Helper()
	client := f.client(t, nil)
	transport := client.Transport.(*http.Transport)
	transport.ForceAttemptHTTP2 = true
	client.Transport = bearer{transport, token}
	return client
}

type bearer struct {
	*http.Transport
	token string
}

func (b bearer) RoundTrip(request *http.Request) (*http.Response, error) {
	request = request.Clone(request.Context())
	request.Header.Set("Authorization", "Bearer "+b.token)
	return b.Transport.RoundTrip(request)
}

// ask sends a request without a body. Each header has the form "Name: value". It returns the response and its complete
// body. The path is sent exactly as given.
func (f *fixture) ask(t testing.TB, client *http.Client, method, path string, headers ...string) (*http.Response,
	string) {
	t.Helper()
	request, err := http.NewRequest(method, f.url+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, header := range headers {
		name, value, _ := strings.Cut(header, ": ")
		request.Header.Add(name, value)
	}
	return do(t, client, request)
}

func do(t testing.TB, client *http.Client, request *http.Request) (*http.Response, string) {
	t.Helper()
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response, string(body)
}

// The method "seen" returns how many Decisions have been recorded. The method "decision" waits until n Decisions have
// been recorded, and returns the n-th.
func (f *fixture) seen() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.decisions)
}

func (f *fixture) decision(t testing.TB, number int) *authchain.Decision {
	t.Helper()
	eventually(t, "the Decision of the request", func() bool { return f.seen() >= number })
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.decisions[number-1]
}

// freePort returns a port that is not in use. (Port 0 turns the read-only port off.)
func freePort(t testing.TB) int {
	t.Helper()
	port, err := freeport.Next()
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// get sends a GET and returns the response and its complete body.
func get(t testing.TB, client *http.Client, url string) (*http.Response, string) {
	t.Helper()
	request, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	return do(t, client, request)
}
