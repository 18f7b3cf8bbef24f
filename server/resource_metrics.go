package server

import (
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	compbasemetrics "k8s.io/component-base/metrics"

	"fauxlet/internal/podstats"
)

// gathering is a collector for one scrape. It sends metrics that were measured earlier.
type gathering struct {
	descriptions []*prometheus.Desc
	send         func(chan<- prometheus.Metric)
}

func (g gathering) Describe(descriptions chan<- *prometheus.Desc) {
	for _, description := range g.descriptions {
		descriptions <- description
	}
}

func (g gathering) Collect(metrics chan<- prometheus.Metric) { g.send(metrics) }

// writeMetrics answers a scrape from a separate registry, as a kubelet does for these endpoints. If some metrics
// fail, it still sends the others.
func writeMetrics(w http.ResponseWriter, r *http.Request, from gathering, beside ...prometheus.Gatherer) error {
	registry := prometheus.NewRegistry()
	if err := registry.Register(from); err != nil {
		return err
	}
	gatherers := append(prometheus.Gatherers{registry}, beside...)
	options := compbasemetrics.HandlerOpts{ErrorHandling: compbasemetrics.ContinueOnError}
	compbasemetrics.HandlerFor(gatherers, options).ServeHTTP(w, r)
	return nil
}

// constant returns a metric with a fixed value.
func constant(description *prometheus.Desc, kind prometheus.ValueType, value float64,
	labels ...string) prometheus.Metric {
	metric, err := prometheus.NewConstMetric(description, kind, value, labels...)
	if err != nil {
		return prometheus.NewInvalidMetric(description, err)
	}
	return metric
}

// resourceMetrics are the metrics of /metrics/resource.
// (kubelet: pkg/kubelet/metrics/collectors/resource_metrics.go; its scrape_error is hidden since 1.29)
var resourceMetrics = struct {
	nodeCPU, nodeMemory, nodeSwap                                                    *prometheus.Desc
	containerCPU, containerMemory, containerSwap, containerSwapLimit, containerStart *prometheus.Desc
	podCPU, podMemory, podSwap                                                       *prometheus.Desc
	scrapeError                                                                      *prometheus.Desc
}{
	nodeCPU: resourceMetric("node_cpu_usage_seconds_total",
		"[STABLE] Cumulative cpu time consumed by the node in core-seconds"),
	nodeMemory: resourceMetric("node_memory_working_set_bytes", "[STABLE] Current working set of the node in bytes"),
	nodeSwap: resourceMetric("node_swap_usage_bytes",
		"[ALPHA] Current swap usage of the node in bytes. Reported only on non-windows systems"),
	containerCPU: resourceMetric("container_cpu_usage_seconds_total",
		"[STABLE] Cumulative cpu time consumed by the container in core-seconds", "container", "pod", "namespace"),
	containerMemory: resourceMetric("container_memory_working_set_bytes",
		"[STABLE] Current working set of the container in bytes", "container", "pod", "namespace"),
	containerSwap: resourceMetric("container_swap_usage_bytes",
		"[ALPHA] Current amount of the container swap usage in bytes. Reported only on non-windows systems",
		"container", "pod", "namespace"),
	containerSwapLimit: resourceMetric("container_swap_limit_bytes",
		"[ALPHA] Current amount of the container swap limit in bytes. Reported only on non-windows systems",
		"container", "pod", "namespace"),
	containerStart: resourceMetric("container_start_time_seconds",
		"[STABLE] Start time of the container since unix epoch in seconds", "container", "pod", "namespace"),
	podCPU: resourceMetric("pod_cpu_usage_seconds_total",
		"[STABLE] Cumulative cpu time consumed by the pod in core-seconds", "pod", "namespace"),
	podMemory: resourceMetric("pod_memory_working_set_bytes",
		"[STABLE] Current working set of the pod in bytes", "pod", "namespace"),
	podSwap: resourceMetric("pod_swap_usage_bytes",
		"[ALPHA] Current amount of the pod swap usage in bytes. Reported only on non-windows systems", "pod",
		"namespace"),
	scrapeError: resourceMetric("resource_scrape_error",
		"[STABLE] 1 if there was an error while getting container metrics, 0 otherwise"),
}

func resourceMetric(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(name, help, labels, nil)
}

// getResourceMetrics serves CPU and memory of the node, its pods and containers, for metrics-server.
func (h *statsHandlers) getResourceMetrics(w http.ResponseWriter, r *http.Request) error {
	m := h.measure(r)
	is := &resourceMetrics
	return writeMetrics(w, r, gathering{
		descriptions: []*prometheus.Desc{
			is.nodeCPU, is.nodeMemory, is.nodeSwap, is.containerCPU, is.containerMemory, is.containerSwap,
			is.containerSwapLimit, is.containerStart,
			is.podCPU, is.podMemory, is.podSwap, is.scrapeError,
		},
		send: func(to chan<- prometheus.Metric) {
			for i := range m.Cgroups {
				sendResources(&m.Cgroups[i], m.Time, to)
			}
			to <- constant(is.scrapeError, prometheus.GaugeValue, 0)
		},
	})
}

func sendResources(c *podstats.Cgroup, at time.Time, to chan<- prometheus.Metric) {
	is := &resourceMetrics
	send := func(cpu, memory, swap *prometheus.Desc, labels ...string) {
		to <- prometheus.NewMetricWithTimestamp(at,
			constant(cpu, prometheus.CounterValue, seconds(c.CPU.Total), labels...))
		to <- prometheus.NewMetricWithTimestamp(at,
			constant(memory, prometheus.GaugeValue, float64(c.Memory.WorkingSet), labels...))
		to <- prometheus.NewMetricWithTimestamp(at, constant(swap, prometheus.GaugeValue, 0, labels...))
	}
	switch c.Kind {
	case podstats.KindNode:
		send(is.nodeCPU, is.nodeMemory, is.nodeSwap)
	case podstats.KindPod:
		send(is.podCPU, is.podMemory, is.podSwap, c.Pod.Name, c.Pod.Namespace)
	case podstats.KindContainer:
		labels := []string{c.Name, c.Pod.Name, c.Pod.Namespace}
		send(is.containerCPU, is.containerMemory, is.containerSwap, labels...)
		to <- prometheus.NewMetricWithTimestamp(at,
			constant(is.containerSwapLimit, prometheus.GaugeValue, float64(c.SwapLimit), labels...))
		to <- constant(is.containerStart, prometheus.GaugeValue, seconds(uint64(c.Created.UnixNano())), labels...)
	}
}

// seconds converts nanoseconds to seconds, the unit of metrics.
func seconds(nanoseconds uint64) float64 { return float64(nanoseconds) / float64(time.Second) }
