package reviewapi

import (
	"bytes"
	"context"
	"io"
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

// start starts a server that serves until the test ends, and returns the server with its address.
func start(t testing.TB, options Options) (*Server, string) {
	t.Helper()
	if options.Tokens == "" {
		options.Tokens = filepath.Join(t.TempDir(), "tokens.csv")
		write(t, options.Tokens, tokensFile)
	}
	if options.RBAC == nil {
		options.RBAC = []string{"testdata/rbac.yaml"}
	}
	server, err := New(options)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server.readInterval = 5 * time.Millisecond
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

// client returns a clientset whose connections are closed when the test ends.
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

// send sends one HTTP request to the server. Unlike a clientset, it can send invalid requests.
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

// loadPolicy returns the policy in manifest files and folders.
func loadPolicy(paths ...string) (*Policy, error) {
	files, err := readManifests(paths)
	if err != nil {
		return nil, err
	}
	return parsePolicy(files)
}

// eventually waits until a condition is true, and fails the test after a deadline.
func eventually(t testing.TB, what string, happened func() bool) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !happened() {
		select {
		case <-deadline:
			t.Errorf("not within 20 s: %s", what)
			return
		case <-tick.C:
		}
	}
}
