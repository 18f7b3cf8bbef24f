package server_test

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/spf13/pflag"
	"go.uber.org/zap"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	authenticationv1 "k8s.io/client-go/kubernetes/typed/authentication/v1"
	authorizationv1 "k8s.io/client-go/kubernetes/typed/authorization/v1"

	"fauxlet/authchain"
	"fauxlet/authchain/review"
	"fauxlet/config"
	"fauxlet/pods"
	"fauxlet/server"
	"fauxlet/testcerts"
)

// rbac lets kubelet-client do everything with a node, and nobody else anything.
const rbac = `
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: all}
rules: [{apiGroups: [""], resources: ["*"], verbs: ["*"]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: all}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: all}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: kubelet-client}]
`

const tokens = "the-token-of-prometheus,system:serviceaccount:monitoring:prometheus,7,system:serviceaccounts\n"

// fixture is a stand-in that serves on loopback, with the review API that it asks.
type fixture struct {
	dir      string
	ca       *testcerts.Authority
	serving  *testcerts.Pair
	url      string // of the secure port
	readOnly string // URL of the read-only port
	address  string

	// stop tells the stand-in to stop, and waits until it has.
	stop func() error

	mu        sync.Mutex
	decisions []*authchain.Decision
}

type fixtureOptions struct {
	// yaml are lines of the KubeletConfiguration beyond those that every fixture has.
	yaml string
	// flags are added to the command line.
	flags []string
	// lines is how long the log of default/nginx is; 0: 100.
	lines  int64
	logger *zap.Logger
	// before is called with the fixture's folder, which holds pki/, before the configuration is loaded.
	before func(*fixture)
}

// newFixture starts a stand-in with webhook authentication and authorization; it is stopped when the test ends.
func newFixture(t testing.TB, options fixtureOptions) *fixture {
	t.Helper()
	f := &fixture{dir: t.TempDir()}
	var err error
	if f.ca, err = testcerts.NewAuthority("cluster-ca"); err != nil {
		t.Fatal(err)
	}
	if f.serving, err = f.ca.Server("node-1", []string{"127.0.0.1", "localhost"}); err != nil {
		t.Fatal(err)
	}
	f.write(t, "ca.crt", string(f.ca.CertPEM()))
	if err := f.serving.Write(f.path("kubelet.crt"), f.path("kubelet.key")); err != nil {
		t.Fatal(err)
	}
	f.write(t, "rbac.yaml", rbac)
	f.write(t, "tokens.csv", tokens)
	f.write(t, "kubelet.yaml", strings.TrimSpace(`
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: 127.0.0.1
authentication: {x509: {clientCAFile: ca.crt}, webhook: {cacheTTL: 0s}}
`)+"\n"+options.yaml)
	if options.before != nil {
		options.before(f)
	}

	reviews, err := review.New(review.Options{RBAC: []string{f.path("rbac.yaml")}, Tokens: f.path("tokens.csv")})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	listener := listen(t)
	reviewing := make(chan error, 1)
	go func() { reviewing <- reviews.Serve(ctx, listener) }()

	cfg := f.load(t, append([]string{"--port=0", "--hostname-override=node-1", "--cert-dir=" + f.dir}, options.flags...))
	rest := reviews.RESTConfig(listener.Addr().String())
	tokenReviews, err := authenticationv1.NewForConfig(rest)
	if err != nil {
		t.Fatal(err)
	}
	accessReviews, err := authorizationv1.NewForConfig(rest)
	if err != nil {
		t.Fatal(err)
	}
	standin, err := server.New(server.Options{
		Config: cfg, TokenReviews: tokenReviews, AccessReviews: accessReviews,
		Pods: newPods(t, options.lines), Logger: options.logger, Observe: f.observe,
	})
	if err != nil {
		t.Fatal(err)
	}
	listeners, err := standin.Listen()
	if err != nil {
		t.Fatal(err)
	}
	f.address = listeners.Secure.Addr().String()
	f.url = "https://" + f.address
	if listeners.ReadOnly != nil {
		f.readOnly = "http://" + listeners.ReadOnly.Addr().String()
	}
	serving := make(chan error, 1)
	serveContext, stopServing := context.WithCancel(context.Background())
	go func() { serving <- standin.Serve(serveContext, listeners) }()
	f.stop = sync.OnceValue(func() error {
		stopServing()
		err := <-serving
		cancel()
		<-reviewing
		return err
	})
	t.Cleanup(func() {
		if err := f.stop(); err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return f
}

func listen(t testing.TB) net.Listener {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return listener
}

func newPods(t testing.TB, lines int64) *pods.Store {
	t.Helper()
	if lines == 0 {
		lines = 100
	}
	store, err := pods.NewStore(pods.Spec{
		Pod: &v1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "nginx"},
			Spec:       v1.PodSpec{Containers: []v1.Container{{Name: "nginx", Image: "nginx"}}},
		},
		Logs: map[string]pods.Log{"nginx": {Lines: lines}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return store
}

func (f *fixture) path(name string) string { return filepath.Join(f.dir, name) }

func (f *fixture) write(t testing.TB, name, content string) {
	t.Helper()
	if err := os.WriteFile(f.path(name), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// load reads kubelet.yaml with flags, as `fauxlet serve` does.
func (f *fixture) load(t testing.TB, args []string) *config.Config {
	t.Helper()
	kubelet := config.NewFlags()
	flags := pflag.NewFlagSet("kubelet", pflag.ContinueOnError)
	kubelet.AddTo(flags)
	if err := flags.Parse(append([]string{"--config=" + f.path("kubelet.yaml")}, args...)); err != nil {
		t.Fatal(err)
	}
	cfg, err := kubelet.Load()
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

func (f *fixture) observe(d *authchain.Decision) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.decisions = append(f.decisions, d)
}

// find waits until a Decision was made for which is true.
func (f *fixture) find(t testing.TB, what string, is func(*authchain.Decision) bool) *authchain.Decision {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); {
		f.mu.Lock()
		for _, d := range f.decisions {
			if is(d) {
				f.mu.Unlock()
				return d
			}
		}
		f.mu.Unlock()
		<-time.After(5 * time.Millisecond)
	}
	t.Fatalf("no Decision came: %s", what)
	return nil
}

// certificate mints a client certificate of the CA that the stand-in trusts.
func (f *fixture) certificate(t testing.TB, user string) *tls.Certificate {
	t.Helper()
	pair, err := f.ca.Client(user, nil)
	if err != nil {
		t.Fatal(err)
	}
	certificate := pair.TLS()
	return &certificate
}

// client trusts the fixture's CA, and presents certificate, if it is not nil, to whoever asks. It follows no redirects.
func (f *fixture) client(t testing.TB, certificate *tls.Certificate) *http.Client {
	t.Helper()
	config := &tls.Config{RootCAs: f.ca.Pool()}
	if certificate != nil {
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return certificate, nil }
	}
	transport := &http.Transport{TLSClientConfig: config}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// get sends a GET and returns the response with its body read.
func get(t testing.TB, client *http.Client, url string) (*http.Response, string) {
	t.Helper()
	response, err := client.Get(url)
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
