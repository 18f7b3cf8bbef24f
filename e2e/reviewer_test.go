package e2e

import (
	"context"
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"testing"

	"fauxlet/internal/reviewapi"
	"fauxlet/internal/vectors"
)

// reviewer is a review API that a kubelet asks, with the tokens and the policy of the vectors.
type reviewer struct {
	server     *reviewapi.Server
	kubeconfig string
	last       uint64
}

func startReviews(t testing.TB) *reviewer {
	t.Helper()
	dir := t.TempDir()
	tokens, rbac := filepath.Join(dir, "tokens.csv"), filepath.Join(dir, "rbac.yaml")
	must(t, os.WriteFile(tokens, vectors.Tokens, 0o600))
	must(t, os.WriteFile(rbac, vectors.RBAC, 0o644))
	server, err := reviewapi.New(reviewapi.Options{Tokens: tokens, RBAC: []string{rbac}, Records: 64})
	must(t, err)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- server.Serve(ctx, listener) }()
	t.Cleanup(func() { stop(); must(t, <-ended) })
	r := &reviewer{server: server, kubeconfig: filepath.Join(dir, "kubeconfig")}
	must(t, server.WriteKubeconfig(r.kubeconfig, listener.Addr().String()))
	return r
}

// take gives the reviews since it was last asked.
func (r *reviewer) take() []reviewapi.Record {
	var taken []reviewapi.Record
	for _, record := range r.server.Reviews() {
		if record.Number > r.last {
			r.last = record.Number
			taken = append(taken, record)
		}
	}
	return taken
}

// inWords tells what was asked, and with which code it was answered.
func inWords(records []reviewapi.Record) []string {
	var words []string
	for _, record := range records {
		asked, err := json.Marshal(struct {
			Token, Audiences, Access any
			Code                     int
		}{record.Token, record.Audiences, record.Access, record.Code})
		if err != nil {
			asked = []byte(err.Error())
		}
		words = append(words, record.Kind+" "+string(asked))
	}
	return words
}
