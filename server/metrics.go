package server

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	compbasemetrics "k8s.io/component-base/metrics"
	"k8s.io/component-base/metrics/legacyregistry"

	"fauxlet/authchain"
)

// metrics are those of one Server: a kubelet's own by their names (pkg/kubelet/server/metrics), and ours, which begin
// with fauxlet_.
type metrics struct {
	registry *prometheus.Registry
	// process has when the process started, which the library keeps once for all registries: a reset of one (DELETE
	// /metrics/slis) takes it from the others too, as in a kubelet.
	process prometheus.Gatherer

	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
	inflight *prometheus.GaugeVec

	webSockets *prometheus.CounterVec
	provider   *prometheus.GaugeVec

	decisions  *prometheus.CounterVec
	handshakes prometheus.Counter

	// given are those that others keep of the node.
	given []prometheus.Collector

	// elsewhere is where they are registered too, with the label node, while they are served; nil: nowhere.
	elsewhere prometheus.Registerer
}

// all are those that are kept for the Server.
func (m *metrics) all() []prometheus.Collector {
	return append([]prometheus.Collector{m.requests, m.duration, m.inflight, m.webSockets, m.provider, m.decisions, m.handshakes}, m.given...)
}

// register registers them elsewhere too. An error is one of a node whose name is there already.
func (m *metrics) register() error {
	if m.elsewhere == nil {
		return nil
	}
	for _, c := range m.all() {
		if err := m.elsewhere.Register(c); err != nil {
			return err
		}
	}
	return nil
}

// unregister takes them from where they are registered too.
func (m *metrics) unregister() {
	if m.elsewhere == nil {
		return
	}
	for _, c := range m.all() {
		m.elsewhere.Unregister(c)
	}
}

func newMetrics(given ...prometheus.Collector) *metrics {
	labels := []string{"method", "path", "server_type", "long_running"}
	process := compbasemetrics.NewKubeRegistry()
	_ = compbasemetrics.RegisterProcessStartTime(process.Register) // which fails where it is registered already
	m := &metrics{
		registry: prometheus.NewRegistry(),
		process:  process,
		given:    given,
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "kubelet_http_requests_total",
			Help: "[ALPHA] Number of the http requests received since the server started",
		}, labels),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "kubelet_http_requests_duration_seconds",
			Help:    "[ALPHA] Duration in seconds to serve http requests",
			Buckets: prometheus.DefBuckets,
		}, labels),
		inflight: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "kubelet_http_inflight_requests",
			Help: "[ALPHA] Number of the inflight http requests",
		}, labels),
		webSockets: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "kubelet_websocket_streaming_requests_total",
			Help: "[ALPHA] Total number of WebSocket streaming requests (exec/attach/portforward) received by the kubelet.",
		}, []string{"subresource"}),
		provider: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "kubelet_metrics_provider",
			Help: "[ALPHA] Metrics provider used by kubelet to collect container stats. Values can be 'cadvisor' and 'cri'",
		}, []string{"provider"}),
		decisions: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "fauxlet_decisions_total",
			Help: "Requests that the chain decided on, by the step that authenticated the client (none: nobody knows who it is), the outcome (allowed, refused, error), and whether it took remembered answers alone.",
		}, []string{"authenticated_by", "outcome", "cached"}),
		handshakes: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "fauxlet_tls_handshake_failures_total",
			Help: "TLS handshakes that failed, on either side's account.",
		}),
	}
	m.registry.MustRegister(m.all()...)
	return m
}

// getMetrics serves the Server's metrics and those that the k8s.io libraries keep for the process.
func (h *statsHandlers) getMetrics(w http.ResponseWriter, r *http.Request) error {
	gatherers := prometheus.Gatherers{legacyregistry.DefaultGatherer, h.metrics.registry}
	compbasemetrics.HandlerFor(gatherers, compbasemetrics.HandlerOpts{}).ServeHTTP(w, r)
	return nil
}

// countDecision counts a request that went through the chain.
func (m *metrics) countDecision(d *authchain.Decision) {
	if len(d.Authentication) == 0 {
		return
	}
	by := string(d.By())
	if by == "" {
		by = "none"
	}
	m.decisions.WithLabelValues(by, d.Outcome(), strconv.FormatBool(d.Cached())).Inc()
}

// knownMethods are those that the metrics tell apart.
var knownMethods = map[string]bool{
	"OPTIONS": true, "GET": true, "HEAD": true, "POST": true, "PUT": true, "DELETE": true, "TRACE": true, "CONNECT": true,
}

// series are the metrics of the requests of one method and path.
type series struct {
	requests prometheus.Counter
	inflight prometheus.Gauge
	duration prometheus.Observer
}

type seriesKey struct{ method, path string }

// seriesOf finds the metrics that a request counts in. (kubelet: getMetricBucket, getURLRootPath, getMetricMethodBucket)
func (p *port) seriesOf(request *http.Request) *series {
	method := request.Method
	if !knownMethods[method] {
		method = "other"
	}
	root, rest, more := strings.Cut(strings.TrimPrefix(request.URL.Path, "/"), "/")
	if root == "metrics" && more {
		next, _, _ := strings.Cut(rest, "/")
		root += "/" + next
	}
	longRunning, known := p.routes.buckets[root]
	if !known {
		root = "other"
	}
	key := seriesKey{method, root}
	if loaded, ok := p.series.Load(key); ok {
		return loaded.(*series)
	}
	m, serverType := p.server.metrics, "readwrite"
	if p.routes.readOnly {
		serverType = "readonly"
	}
	labels := []string{method, root, serverType, strconv.FormatBool(longRunning)}
	loaded, _ := p.series.LoadOrStore(key, &series{
		requests: m.requests.WithLabelValues(labels...),
		inflight: m.inflight.WithLabelValues(labels...),
		duration: m.duration.WithLabelValues(labels...),
	})
	return loaded.(*series)
}
