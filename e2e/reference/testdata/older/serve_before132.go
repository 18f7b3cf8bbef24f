//go:build before132 && !before131

package main

import (
	"context"
	"net"

	oteltrace "go.opentelemetry.io/otel/trace"
	cliflag "k8s.io/component-base/cli/flag"
	"k8s.io/kubernetes/pkg/kubelet/server"
	"k8s.io/kubernetes/pkg/kubelet/server/stats"
)

type flagzReader struct{}

func newFlagz(cliflag.NamedFlagSets) flagzReader { return flagzReader{} }

func newAnalyzer(_ context.Context, h *host) stats.ResourceAnalyzer {
	return stats.NewResourceAnalyzer(h, 0, nil)
}

// serve serves the secure port. It does not return.
func serve(_ context.Context, h *host, analyzer stats.ResourceAnalyzer, o *settings, config servingTLS,
	auth server.AuthInterface, tracers oteltrace.TracerProvider) {
	server.ListenAndServeKubeletServer(h, analyzer, &o.config, config, auth, tracers)
}

// serveReadOnly serves the read-only port. It does not return.
func serveReadOnly(_ context.Context, h *host, analyzer stats.ResourceAnalyzer, o *settings, address net.IP,
	tracers oteltrace.TracerProvider) {
	server.ListenAndServeKubeletReadOnlyServer(h, analyzer, address, uint(o.config.ReadOnlyPort), tracers)
}
