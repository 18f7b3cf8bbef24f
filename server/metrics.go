package server

import (
	"cmp"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	compbasemetrics "k8s.io/component-base/metrics"
	"k8s.io/component-base/metrics/legacyregistry"

	"fauxlet/authchain"
)

// metrics are the metrics of one Server: the kubelet's metrics under the kubelet's names
// (pkg/kubelet/server/metrics), and fauxlet's own metrics, whose names begin with fauxlet_.
type metrics struct {
	registry *prometheus.Registry
	// process contains the start time of the process. Package k8s.io/component-base/metrics shares this metric between
	// all registries. So if one registry is reset (DELETE /metrics/slis), the metric disappears from the others too, as
	// in a kubelet.
	process prometheus.Gatherer

	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
	inflight *prometheus.GaugeVec

	webSockets *prometheus.CounterVec
	decisions  *prometheus.CounterVec
	handshakes prometheus.Counter

	// The field "all" contains every collector of the Server, including those in Options.Collectors.
	all []prometheus.Collector
	// The field "elsewhere" registers collectors in Options.Metrics and adds the label "node" to their metrics. If
	// Options.Metrics is nil, it does nothing.
	elsewhere prometheus.Registerer
	// registered are the collectors that the Server has registered in Options.Metrics.
	registered []prometheus.Collector
}

// register adds the metrics to Options.Metrics; the Server's own registry already has them. It returns an error if the
// metrics of a node of the same name are already in Options.Metrics.
func (m *metrics) register() error {
	for _, c := range m.all {
		if err := m.elsewhere.Register(c); err != nil {
			return err
		}
		m.registered = append(m.registered, c)
	}
	return nil
}

// unregister removes only the metrics that register has added, so the metrics of another node of the same name stay.
func (m *metrics) unregister() {
	for _, c := range m.registered {
		m.elsewhere.Unregister(c)
	}
}

func newMetrics(options Options) *metrics {
	labels := []string{"method", "path", "server_type", "long_running"}
	process := compbasemetrics.NewKubeRegistry()
	_ = compbasemetrics.RegisterProcessStartTime(process.Register) // fails if the metric is already registered
	counters := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	gauges := func(name, help string, labels ...string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, labels)
	}
	provider := gauges("kubelet_metrics_provider", "[ALPHA] Metrics provider used by kubelet to collect container "+
		"stats. Values can be 'cadvisor' and 'cri'", "provider")
	if options.Config.Enabled("PodAndContainerStatsFromCRI") {
		provider.WithLabelValues("cri").Set(1)
	} else {
		provider.WithLabelValues("cadvisor").Set(1)
	}
	handshakes := counters("fauxlet_tls_handshake_failures_total", "TLS handshakes that failed.")
	m := &metrics{
		registry: prometheus.NewRegistry(), process: process, handshakes: handshakes.WithLabelValues(),
		elsewhere: prometheus.WrapRegistererWith(prometheus.Labels{"node": options.Config.NodeName}, options.Metrics),
		requests: counters("kubelet_http_requests_total",
			"[ALPHA] Number of the http requests received since the server started", labels...),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "kubelet_http_requests_duration_seconds", Buckets: prometheus.DefBuckets,
			Help: "[ALPHA] Duration in seconds to serve http requests",
		}, labels),
		inflight: gauges("kubelet_http_inflight_requests", "[ALPHA] Number of the inflight http requests", labels...),
		webSockets: counters("kubelet_websocket_streaming_requests_total", "[ALPHA] Total number of WebSocket "+
			"streaming requests (exec/attach/portforward) received by the kubelet.", "subresource"),
		decisions: counters("fauxlet_decisions_total", "Requests on which the chain decided, by authentication step "+
			"(none: not authenticated), outcome (allowed, refused, error), and whether all results of reviews came "+
			"from a cache.", "authenticated_by", "outcome", "cached"),
	}
	m.all = append([]prometheus.Collector{m.requests, m.duration, m.inflight, m.webSockets, provider, m.decisions,
		handshakes}, options.Collectors...)
	m.registry.MustRegister(m.all...)
	return m
}

// getMetrics serves the Server's metrics, the metrics of the node, and the metrics of the k8s.io libraries, which are
// global in the process.
func (h *statsHandlers) getMetrics(w http.ResponseWriter, r *http.Request) error {
	gatherers := prometheus.Gatherers{legacyregistry.DefaultGatherer, h.metrics.registry, h.nodeMetrics()}
	compbasemetrics.HandlerFor(gatherers, compbasemetrics.HandlerOpts{}).ServeHTTP(w, r)
	return nil
}

// countDecision counts a request that the chain has authenticated or refused.
func (m *metrics) countDecision(d *authchain.Decision) {
	if len(d.Authentication) == 0 {
		return
	}
	by := cmp.Or(string(d.By()), "none")
	m.decisions.WithLabelValues(by, d.Outcome(), strconv.FormatBool(d.Cached())).Inc()
}

// knownMethods are the values of the `method` label. Any other method is "other".
var knownMethods = []string{"OPTIONS", "GET", "HEAD", "POST", "PUT", "DELETE", "TRACE", "CONNECT"}

// series has the metrics of all requests with one method and one path.
type series struct {
	requests prometheus.Counter
	inflight prometheus.Gauge
	duration prometheus.Observer
}

type seriesKey struct{ method, path string }

// seriesOf returns the metrics for a request. (kubelet: getMetricBucket, getURLRootPath, getMetricMethodBucket)
func (p *port) seriesOf(request *http.Request) *series {
	method := request.Method
	if !slices.Contains(knownMethods, method) {
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
	loaded, _ := p.series.LoadOrStore(key, &series{m.requests.WithLabelValues(labels...),
		m.inflight.WithLabelValues(labels...), m.duration.WithLabelValues(labels...)})
	return loaded.(*series)
}
