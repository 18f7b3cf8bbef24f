//go:build !before135

package main

import (
	"context"
	"net"

	oteltrace "go.opentelemetry.io/otel/trace"
	"k8s.io/apiserver/pkg/server/flagz"
	cliflag "k8s.io/component-base/cli/flag"
	"k8s.io/kubernetes/pkg/kubelet/server"
	"k8s.io/kubernetes/pkg/kubelet/server/stats"
)

type flagzReader = flagz.Reader

func newFlagz(sets cliflag.NamedFlagSets) flagzReader {
	return flagz.NamedFlagSetsReader{FlagSets: sets}
}

func newAnalyzer(ctx context.Context, h *host) stats.ResourceAnalyzer {
	return stats.NewResourceAnalyzer(ctx, h, 0, nil)
}

// serve serves the secure port. It does not return.
func serve(ctx context.Context, h *host, analyzer stats.ResourceAnalyzer, o *settings, config servingTLS,
	auth server.AuthInterface, tracers oteltrace.TracerProvider) {
	server.ListenAndServeKubeletServer(ctx, h, analyzer, checkers(), o.flagz, &o.config, config, auth, tracers)
}

// serveReadOnly serves the read-only port. It does not return.
func serveReadOnly(ctx context.Context, h *host, analyzer stats.ResourceAnalyzer, o *settings, address net.IP,
	tracers oteltrace.TracerProvider) {
	server.ListenAndServeKubeletReadOnlyServer(ctx, h, analyzer, checkers(), o.flagz, address, uint(o.config.ReadOnlyPort), tracers)
}
