package server

import (
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	v1 "k8s.io/api/core/v1"
	"k8s.io/component-base/metrics/legacyregistry"
	"k8s.io/utils/ptr"

	"fauxlet/internal/podstats"
)

// getProbeMetrics serves the number of runs of each probe of the running containers, counted since this process
// started. Probes always succeed. (kubelet: pkg/kubelet/prober/prober_manager.go)
func (h *statsHandlers) getProbeMetrics(w http.ResponseWriter, r *http.Request) error {
	m, now, metrics := h.measure(r), time.Now(), exposition{}
	for i := range m.Cgroups {
		c := &m.Cgroups[i]
		if c.Kind != podstats.KindContainer {
			continue
		}
		began := legacyregistry.GetProcessStart()
		if c.Created.After(began) {
			began = c.Created
		}
		for _, container := range c.Pod.Spec.Containers {
			if container.Name == c.Name {
				metrics.addProbe(c, "Liveness", container.LivenessProbe, now.Sub(began))
				metrics.addProbe(c, "Readiness", container.ReadinessProbe, now.Sub(began))
				metrics.addProbe(c, "Startup", container.StartupProbe, now.Sub(began))
			}
		}
	}
	return metrics.write(w, r, h.metrics.process)
}

// addProbe adds the metrics of one probe. The parameter "running" is the time for which the probes of the container
// have been running: since the start of the container or, if that is later, of this process.
func (e exposition) addProbe(c *podstats.Cgroup, kind string, probe *v1.Probe, running time.Duration) {
	if probe == nil {
		return
	}
	running -= time.Duration(probe.InitialDelaySeconds) * time.Second
	if running < 0 {
		return
	}
	period := 10 * time.Second // the API's default
	if probe.PeriodSeconds > 0 {
		period = time.Duration(probe.PeriodSeconds) * time.Second
	}
	count := uint64(running/period) + 1
	if kind == "Startup" { // a startup probe stops when it has succeeded
		count = uint64(max(probe.SuccessThreshold, 1))
	}
	labels := e.with("container", c.Name, "namespace", c.Pod.Namespace, "pod", c.Pod.Name, "probe_type", kind)
	labels.and("pod_uid", string(c.Pod.UID), "result", "successful").counter("prober_probe_total",
		"[BETA] Cumulative number of a liveness, readiness or startup probe for a container by result.", float64(count))

	const took = 0.0017 // seconds; it is in the first bucket of the histogram
	histogram := &dto.Histogram{SampleCount: &count, SampleSum: ptr.To(float64(count) * took)}
	for _, bound := range prometheus.DefBuckets {
		histogram.Bucket = append(histogram.Bucket, &dto.Bucket{UpperBound: &bound, CumulativeCount: &count})
	}
	labels.add("prober_probe_duration_seconds", "[ALPHA] Duration in seconds for a probe response.",
		dto.MetricType_HISTOGRAM, &dto.Metric{Histogram: histogram})
}
