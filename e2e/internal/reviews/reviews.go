// Package reviews runs a server for TokenReviews and SubjectAccessReviews, for tests that compare kubelets without a
// control plane.
package reviews

import (
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"os"
	"path/filepath"
	"testing"

	"fauxlet/e2e/internal/expect"
	"fauxlet/internal/faults"
	"fauxlet/internal/faulty"
	"fauxlet/internal/reviewapi"
	"fauxlet/internal/vectors"
	"fauxlet/testcerts"
)

// Server answers the TokenReviews and SubjectAccessReviews of a kubelet, with the tokens and the policy of
// internal/vectors.
type Server struct {
	Kubeconfig string
	// Faults has the active faults. This server applies them to its responses, so that they affect a kubelet even if
	// it runs in another process.
	Faults *faults.Set
	api    *reviewapi.Server
	last   uint64
}

func Start(t testing.TB) *Server {
	t.Helper()
	dir := t.TempDir()
	tokens, rbac := filepath.Join(dir, "tokens.csv"), filepath.Join(dir, "rbac.yaml")
	expect.NoError(t, os.WriteFile(tokens, vectors.Tokens, 0o600))
	expect.NoError(t, os.WriteFile(rbac, vectors.RBAC, 0o644))
	ca, err := testcerts.NewAuthority("reviews-ca")
	expect.NoError(t, err)
	serving, err := ca.Server("reviews", []string{"127.0.0.1"})
	expect.NoError(t, err)
	api, err := reviewapi.New(reviewapi.Options{Tokens: tokens, RBAC: []string{rbac}, Records: 64, CA: ca})
	expect.NoError(t, err)
	r := &Server{Kubeconfig: filepath.Join(dir, "kubeconfig"), Faults: faults.NewSet(), api: api}
	proxy := &httputil.ReverseProxy{
		Rewrite:   func(*httputil.ProxyRequest) {},
		Transport: faulty.NewNode("node-1", r.Faults, nil).RoundTripper(inMemory{api.Handler()}),
	}
	server := httptest.NewUnstartedServer(proxy)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{serving.TLS()}}
	server.EnableHTTP2 = true
	server.StartTLS()
	t.Cleanup(server.Close)
	expect.NoError(t, api.WriteKubeconfig(r.Kubeconfig, server.Listener.Addr().String()))
	return r
}

// inMemory is an http.RoundTripper that calls an http.Handler directly.
type inMemory struct{ http.Handler }

func (m inMemory) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	m.ServeHTTP(w, r)
	return w.Result(), nil
}

// Take returns the reviews that the server has received since the last call of Take.
func (r *Server) Take() []reviewapi.Record {
	var taken []reviewapi.Record
	for _, record := range r.api.Reviews() {
		if record.Number > r.last {
			r.last = record.Number
			taken = append(taken, record)
		}
	}
	return taken
}
