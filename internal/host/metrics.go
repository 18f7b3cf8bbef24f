package host

import (
	"context"
	"errors"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"k8s.io/component-base/metrics/legacyregistry"
)

// serveMetrics serves the metrics of the process and of all nodes until the host stops.
func (h *Host) serveMetrics() error {
	if h.metrics == nil {
		return nil
	}
	listener, err := net.Listen("tcp", h.options.MetricsAddress)
	if err != nil {
		return optionErrorf("MetricsAddress", "%w; give an address of this machine and a free port, as in "+
			"127.0.0.1:9250", err)
	}
	routes := http.NewServeMux()
	gatherers := prometheus.Gatherers{legacyregistry.DefaultGatherer, h.metrics}
	routes.Handle("GET /metrics", promhttp.HandlerFor(gatherers, promhttp.HandlerOpts{}))
	web := &http.Server{Handler: routes, ReadHeaderTimeout: time.Minute}
	h.group.Go(func() error {
		stop := context.AfterFunc(h.running, func() { web.Close() })
		defer stop()
		if err := web.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			return optionErrorf("MetricsAddress", "%w", err)
		}
		return nil
	})
	return nil
}
