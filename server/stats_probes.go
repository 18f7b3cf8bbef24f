package server

import (
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	v1 "k8s.io/api/core/v1"
	"k8s.io/component-base/metrics/legacyregistry"

	"fauxlet/internal/podstats"
)

// The metrics of /metrics/probes. (kubelet: pkg/kubelet/prober/prober_manager.go)
var (
	probeTotal = prometheus.NewDesc("prober_probe_total",
		"[BETA] Cumulative number of a liveness, readiness or startup probe for a container by result.",
		[]string{"probe_type", "result", "container", "pod", "namespace", "pod_uid"}, nil)
	probeDuration = prometheus.NewDesc("prober_probe_duration_seconds",
		"[ALPHA] Duration in seconds for a probe response.", []string{"probe_type", "container", "pod",
			"namespace"}, nil)
)

// getProbeMetrics serves how often each probe of the running containers has run since this process started. Probes
// always succeed.
func (h *statsHandlers) getProbeMetrics(w http.ResponseWriter, r *http.Request) error {
	m, now := h.measure(r), time.Now()
	began := legacyregistry.GetProcessStart()
	return writeMetrics(w, r, gathering{
		descriptions: []*prometheus.Desc{probeTotal, probeDuration},
		send: func(to chan<- prometheus.Metric) {
			for i := range m.Cgroups {
				if c := &m.Cgroups[i]; c.Kind == podstats.KindContainer {
					sendProbes(c, now, began, to)
				}
			}
		},
	}, h.metrics.process)
}

func sendProbes(c *podstats.Cgroup, now, began time.Time, to chan<- prometheus.Metric) {
	if c.Created.After(began) {
		began = c.Created
	}
	for i := range c.Pod.Spec.Containers {
		container := &c.Pod.Spec.Containers[i]
		if container.Name != c.Name {
			continue
		}
		send := func(kind string, probe *v1.Probe, once bool) {
			if probe == nil {
				return
			}
			period := time.Duration(max(probe.PeriodSeconds, 0)) * time.Second
			if period == 0 {
				period = 10 * time.Second // the API's default
			}
			ran := now.Sub(began.Add(time.Duration(probe.InitialDelaySeconds) * time.Second))
			if ran < 0 {
				return
			}
			count := uint64(ran/period) + 1
			if once {
				count = uint64(max(probe.SuccessThreshold, 1))
			}
			to <- constant(probeTotal, prometheus.CounterValue, float64(count), kind, "successful", c.Name,
				c.Pod.Name, c.Pod.Namespace, string(c.Pod.UID))
			buckets := map[float64]uint64{}
			for _, bound := range prometheus.DefBuckets {
				buckets[bound] = count
			}
			const took = 0.0017
			histogram, err := prometheus.NewConstHistogram(probeDuration, count, float64(count)*took, buckets, kind,
				c.Name, c.Pod.Name, c.Pod.Namespace)
			if err != nil {
				histogram = prometheus.NewInvalidMetric(probeDuration, err)
			}
			to <- histogram
		}
		send("Liveness", container.LivenessProbe, false)
		send("Readiness", container.ReadinessProbe, false)
		send("Startup", container.StartupProbe, true)
	}
}
