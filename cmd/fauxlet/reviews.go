package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"fauxlet/internal/reviewapi"
)

func newReviews() *cobra.Command {
	var r reviewsCommand
	c := &cobra.Command{Use: "reviews", Args: noArgsBut("rbac"), RunE: func(c *cobra.Command, _ []string) error {
		return r.run(c.Context(), c.ErrOrStderr())
	}}
	flags := c.Flags()
	flags.StringVar(&r.address, "address", "127.0.0.1:0", "host and port to listen on; port 0 takes a free one")
	flags.StringSliceVar(&r.rbac, "rbac", nil, "file or folder of RBAC manifests; objects of other kinds in it are "+
		"skipped; may be repeated. Without one, everything is denied")
	flags.StringVar(&r.tokens, "tokens", "", "token file. Without one, no token is valid")
	flags.StringVar(&r.kubeconfig, "write-kubeconfig", "reviews.kubeconfig", "kubeconfig to write, with a credential "+
		"for the review API; only its owner can read it")
	flags.StringVar(&r.node, "node-name", "", "node for which the kubeconfig also gets a client certificate. A "+
		"kubelet with rotateCertificates: true needs it, because it presents no token")
	r.log.addTo(c)
	return c
}

type reviewsCommand struct {
	address, tokens, kubeconfig, node string
	rbac                              []string
	log                               logFlags
}

func (r *reviewsCommand) run(ctx context.Context, stderr io.Writer) error {
	logger, err := r.log.newLogger(stderr, 0)
	if err != nil {
		return err
	}
	host, _, err := net.SplitHostPort(r.address)
	if err != nil {
		return fmt.Errorf("--address: %q: %w; must be HOST:PORT", r.address, err)
	}
	reviews, err := reviewapi.New(reviewapi.Options{RBAC: r.rbac, Tokens: r.tokens, Logger: logger,
		CallerNode: r.node, Hosts: []string{host, "localhost", "127.0.0.1", "::1"}})
	if err != nil {
		return err
	}
	signal.Ignore(syscall.SIGHUP) // kill -HUP $(pidof fauxlet) is meant for fauxlet serve
	listener, err := net.Listen("tcp", r.address)
	if err != nil {
		return fmt.Errorf("--address: %q: %w; choose another port, or 0 for a free one", r.address, err)
	}
	if err := reviews.WriteKubeconfig(r.kubeconfig, listener.Addr().String()); err != nil {
		listener.Close()
		return fmt.Errorf("--write-kubeconfig: %w", err)
	}
	logger.Info("serving reviews", zap.String("address", listener.Addr().String()),
		zap.String("kubeconfig", r.kubeconfig), zap.String("from", reviews.Summary()))
	return reviews.Serve(ctx, listener)
}
