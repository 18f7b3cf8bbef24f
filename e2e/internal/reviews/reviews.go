// Package reviews runs a server for TokenReviews and SubjectAccessReviews, for tests that compare kubelets without a
// control plane.
package reviews

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"testing"

	"fauxlet/e2e/internal/expect"
	"fauxlet/internal/reviewapi"
	"fauxlet/internal/vectors"
)

// Server answers the TokenReviews and SubjectAccessReviews of a kubelet, with the tokens and the policy of
// internal/vectors.
type Server struct {
	API        *reviewapi.Server
	Kubeconfig string
	last       uint64
}

func Start(t testing.TB) *Server {
	t.Helper()
	dir := t.TempDir()
	tokens, rbac := filepath.Join(dir, "tokens.csv"), filepath.Join(dir, "rbac.yaml")
	expect.NoError(t, os.WriteFile(tokens, vectors.Tokens, 0o600))
	expect.NoError(t, os.WriteFile(rbac, vectors.RBAC, 0o644))
	server, err := reviewapi.New(reviewapi.Options{Tokens: tokens, RBAC: []string{rbac}, Records: 64})
	expect.NoError(t, err)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	expect.NoError(t, err)
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- server.Serve(ctx, listener) }()
	t.Cleanup(func() { stop(); expect.NoError(t, <-ended) })
	r := &Server{API: server, Kubeconfig: filepath.Join(dir, "kubeconfig")}
	expect.NoError(t, server.WriteKubeconfig(r.Kubeconfig, listener.Addr().String()))
	return r
}

// Take returns the reviews that the server has received since the last call of Take.
func (r *Server) Take() []reviewapi.Record {
	var taken []reviewapi.Record
	for _, record := range r.API.Reviews() {
		if record.Number > r.last {
			r.last = record.Number
			taken = append(taken, record)
		}
	}
	return taken
}
