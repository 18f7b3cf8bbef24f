package reviewapi

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"path/filepath"
	"sync"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// start serves until the test ends, and returns the server with its address.
func start(t testing.TB, options Options) (*Server, string) {
	t.Helper()
	if options.Tokens == "" {
		options.Tokens = filepath.Join(t.TempDir(), "tokens.csv")
		write(t, options.Tokens, tokensFile)
	}
	if options.RBAC == nil {
		options.RBAC = []string{"testdata/rbac.yaml"}
	}
	if options.ErrorLog == nil {
		options.ErrorLog = log.New(io.Discard, "", 0)
	}
	server, err := New(options)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	var served sync.WaitGroup
	served.Go(func() {
		if err := server.Serve(ctx, listener); err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	t.Cleanup(func() { stop(); served.Wait() })
	return server, listener.Addr().String()
}

// client returns a client of client-go whose connections end with the test.
func client(t testing.TB, config *rest.Config) *kubernetes.Clientset {
	t.Helper()
	httpClient, err := rest.HTTPClientFor(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { utilnet.CloseIdleConnectionsFor(httpClient.Transport) })
	clients, err := kubernetes.NewForConfigAndClient(config, httpClient)
	if err != nil {
		t.Fatal(err)
	}
	return clients
}

func askToken(t testing.TB, c *kubernetes.Clientset, token string, audiences ...string) (*authenticationv1.TokenReview,
	error) {
	return c.AuthenticationV1().TokenReviews().Create(t.Context(),
		&authenticationv1.TokenReview{Spec: authenticationv1.TokenReviewSpec{Token: token, Audiences: audiences}},
		metav1.CreateOptions{})
}

func askAccess(t testing.TB, c *kubernetes.Clientset, q question) (*authorizationv1.SubjectAccessReview, error) {
	return c.AuthorizationV1().SubjectAccessReviews().Create(t.Context(),
		&authorizationv1.SubjectAccessReview{Spec: q.spec()}, metav1.CreateOptions{})
}

// mint returns a certificate that is valid for an hour. It is self-signed if parent is nil.
func mint(t testing.TB, parent *x509.Certificate, parentKey *ecdsa.PrivateKey,
	template *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	issued := *template
	issued.SerialNumber, issued.NotBefore, issued.NotAfter = big.NewInt(1), time.Now().Add(-time.Minute),
		time.Now().Add(time.Hour)
	if parent == nil {
		parent, parentKey = &issued, key
	}
	der, err := x509.CreateCertificate(rand.Reader, &issued, parent, key.Public(), parentKey)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return certificate, key
}

func withCertificate(t testing.TB, config *rest.Config, certificate *x509.Certificate, key *ecdsa.PrivateKey) {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	config.CertData, config.KeyData = certificatePEM(certificate.Raw),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

// send sends one request to the server without client-go.
func send(t testing.TB, server *Server, address, method, path, contentType, accept string, body []byte) (*http.Response,
	string) {
	t.Helper()
	httpClient, err := rest.HTTPClientFor(server.RESTConfig(address))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { utilnet.CloseIdleConnectionsFor(httpClient.Transport) })
	request, err := http.NewRequestWithContext(t.Context(), method, "https://"+address+path, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if contentType != "" {
		request.Header.Set("Content-Type", contentType)
	}
	request.Header.Set("Accept", accept)
	response, err := httpClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response, string(answer)
}
