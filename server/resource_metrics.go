package server

import (
	"net/http"

	"fauxlet/internal/podstats"
)

// getResourceMetrics serves the CPU and memory usage of the node, its pods and its containers, for metrics-server. It
// omits the kubelet's metric scrape_error, which is hidden since 1.29. (kubelet:
// pkg/kubelet/metrics/collectors/resource_metrics.go)
func (h *statsHandlers) getResourceMetrics(w http.ResponseWriter, r *http.Request) error {
	m, metrics := h.measure(r), exposition{}
	for i := range m.Cgroups {
		c := &m.Cgroups[i]
		add := func(kind, swapHelp string, labels ...string) labelled {
			all := metrics.with(labels...)
			timed := all.timed(m.Time)
			timed.counter(kind+"_cpu_usage_seconds_total",
				"[STABLE] Cumulative cpu time consumed by the "+kind+" in core-seconds", seconds(c.CPU.Total))
			timed.gauge(kind+"_memory_working_set_bytes",
				"[STABLE] Current working set of the "+kind+" in bytes", float64(c.Memory.WorkingSet))
			timed.gauge(kind+"_swap_usage_bytes",
				"[ALPHA] Current "+swapHelp+" in bytes. Reported only on non-windows systems", 0)
			return all
		}
		switch c.Kind {
		case podstats.KindNode:
			add("node", "swap usage of the node")
		case podstats.KindPod:
			add("pod", "amount of the pod swap usage", "namespace", c.Pod.Namespace, "pod", c.Pod.Name)
		case podstats.KindContainer:
			all := add("container", "amount of the container swap usage", "container", c.Name,
				"namespace", c.Pod.Namespace, "pod", c.Pod.Name)
			all.timed(m.Time).gauge("container_swap_limit_bytes",
				"[ALPHA] Current amount of the container swap limit in bytes. Reported only on non-windows systems",
				float64(c.SwapLimit))
			all.gauge("container_start_time_seconds",
				"[STABLE] Start time of the container since unix epoch in seconds",
				seconds(uint64(c.Created.UnixNano())))
		}
	}
	metrics.with().gauge("resource_scrape_error",
		"[STABLE] 1 if there was an error while getting container metrics, 0 otherwise", 0)
	return metrics.write(w, r)
}
