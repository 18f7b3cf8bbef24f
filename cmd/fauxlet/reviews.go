package main

import (
	"context"
	"fmt"
	"io"
	"net"

	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"fauxlet/internal/reviewapi"
)

func newReviews() *cobra.Command {
	var r reviewing
	c := &cobra.Command{
		Use:   "reviews",
		Short: "Serve TokenReview and SubjectAccessReview from a token file and RBAC manifests",
		Long: text(`
			reviews is the part of a kube-apiserver that a kubelet asks: who is behind this token, and may this user do that?
			It answers from a token file (kube-apiserver's --token-auth-file format: token,user,uid,"group,group") and from
			RBAC manifests, over HTTPS, and writes a kubeconfig by which a kubelet, or anything that delegates its
			authentication and authorization, can ask it. Both are read again when they change.`),
		Example: example(`
			fauxlet reviews --rbac rbac.yaml --tokens tokens.csv --write-kubeconfig reviews.kubeconfig
			fauxlet serve --config kubelet.yaml --kubeconfig reviews.kubeconfig`),
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return r.run(c.Context(), c.ErrOrStderr())
		},
	}
	flags := c.Flags()
	flags.StringVar(&r.address, "address", "127.0.0.1:0", "host and port to listen on; port 0 takes a free one")
	flags.StringSliceVar(&r.rbac, "rbac", nil, "file or folder of RBAC manifests; may be repeated. Without any, nobody may do anything")
	flags.StringVar(&r.tokens, "tokens", "", "file of tokens. Without it, no token is known")
	flags.StringVar(&r.kubeconfig, "write-kubeconfig", "reviews.kubeconfig", "kubeconfig to write, with the credential that may ask; readable by its owner alone")
	r.log.addTo(c)
	return c
}

// reviewing is the command line of reviews.
type reviewing struct {
	address    string
	rbac       []string
	tokens     string
	kubeconfig string
	log        logFlags
}

func (r *reviewing) run(ctx context.Context, stderr io.Writer) error {
	logger, err := r.log.newLogger(stderr, 0)
	if err != nil {
		return err
	}
	host, _, err := net.SplitHostPort(r.address)
	if err != nil {
		return fmt.Errorf("--address %q: %w; it is HOST:PORT", r.address, err)
	}
	reviews, err := reviewapi.New(reviewapi.Options{
		RBAC:     r.rbac,
		Tokens:   r.tokens,
		Hosts:    []string{host, "localhost", "127.0.0.1", "::1"},
		OnReload: reviewapi.LogReloads(logger),
		ErrorLog: zap.NewStdLog(logger),
	})
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", r.address)
	if err != nil {
		return fmt.Errorf("--address %q: %w; take another", r.address, err)
	}
	if err := reviews.WriteKubeconfig(r.kubeconfig, listener.Addr().String()); err != nil {
		listener.Close()
		return fmt.Errorf("--write-kubeconfig: %w", err)
	}
	logger.Info("serving reviews", zap.String("address", listener.Addr().String()), zap.String("kubeconfig", r.kubeconfig), zap.String("from", reviews.Summary()))
	return reviews.Serve(ctx, listener)
}
