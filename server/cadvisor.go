package server

import (
	"cmp"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"fauxlet/internal/podstats"
)

// getCadvisorMetrics serves the metrics of cAdvisor about the machine and its cgroups. cAdvisor is a part of the
// kubelet. With PodAndContainerStatsFromCRI the kubelet gets the metrics of cgroups from the container runtime; the
// runtime of this package has no such metrics. (kubelet: InstallAuthNotRequiredHandlers,
// containerPrometheusLabelsFunc)
func (h *statsHandlers) getCadvisorMetrics(w http.ResponseWriter, r *http.Request) error {
	scrape := &cadvisorScrape{Measurement: h.measure(r), now: h.now(), cgroups: h.cgroups}
	descriptions := []*prometheus.Desc{cadvisorVersion, cadvisorError, cadvisorSeen, machineError}
	for i := range cadvisorMetrics {
		descriptions = append(descriptions, cadvisorMetrics[i].description)
	}
	for i := range machineMetrics {
		descriptions = append(descriptions, machineMetrics[i].description)
	}
	return writeMetrics(w, r, gathering{descriptions: descriptions, send: scrape.send})
}

// cadvisorMetric is a metric of cgroups.
type cadvisorMetric struct {
	name, help string
	kind       prometheus.ValueType
	labels     []string // in addition to cgroupLabels
	// untimed is true if the metric has no timestamp.
	untimed bool
	// pressure is true if the metric needs a kernel with PSI.
	pressure bool
	// value returns the metric's value, and whether the cgroup has such a value. A metric with labels has the field
	// values instead. It is a function that calls its argument once for each value.
	value  func(c *podstats.Cgroup) (float64, bool)
	values func(c *podstats.Cgroup, give func(value float64, labels ...string))

	description *prometheus.Desc
}

// described sets the descriptions of metrics.
func described(metrics []cadvisorMetric) []cadvisorMetric {
	for i := range metrics {
		metrics[i].description = prometheus.NewDesc(metrics[i].name, metrics[i].help,
			slices.Concat(cgroupLabels, metrics[i].labels), nil)
	}
	return metrics
}

// cgroupLabels are the labels of all metrics of cgroups.
var cgroupLabels = []string{"container", "id", "image", "name", "namespace", "pod"}

var (
	cadvisorVersion = prometheus.NewDesc("cadvisor_version_info",
		"A metric with a constant '1' value labeled by kernel version, OS version, docker version, cadvisor "+
			"version & cadvisor revision.",
		[]string{"kernelVersion", "osVersion", "dockerVersion", "cadvisorVersion", "cadvisorRevision"}, nil)
	cadvisorError = prometheus.NewDesc("container_scrape_error",
		"1 if there was an error while getting container metrics, 0 otherwise", nil, nil)
	cadvisorSeen = prometheus.NewDesc("container_last_seen", "Last time a container was seen by the exporter",
		cgroupLabels, nil)
	machineError = prometheus.NewDesc("machine_scrape_error",
		"1 if there was an error while getting machine metrics, 0 otherwise.", nil, nil)
)

type cadvisorScrape struct {
	*podstats.Measurement
	now     time.Time
	cgroups bool
}

func (s *cadvisorScrape) send(to chan<- prometheus.Metric) {
	s.sendMachine(to)
	if !s.cgroups {
		return
	}
	to <- constant(cadvisorVersion, prometheus.GaugeValue, 1, s.Machine.Kernel, s.Machine.OS, "", "", "")
	to <- constant(cadvisorError, prometheus.GaugeValue, 0)
	// The metrics are sorted in the order of the output, so that the registry has little to sort.
	ordered := make([]*podstats.Cgroup, len(s.Cgroups))
	for i := range s.Cgroups {
		ordered[i] = &s.Cgroups[i]
	}
	slices.SortFunc(ordered, func(a, b *podstats.Cgroup) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.Path, b.Path))
	})
	for _, c := range ordered {
		s.sendCgroup(c, to)
	}
}

func (s *cadvisorScrape) sendCgroup(c *podstats.Cgroup, to chan<- prometheus.Metric) {
	labels := make([]string, len(cgroupLabels), len(cgroupLabels)+4)
	labels[0], labels[1], labels[2], labels[3] = c.Name, c.Path, c.Image, c.ID
	if c.Pod != nil {
		labels[4], labels[5] = c.Pod.Namespace, c.Pod.Name
	}
	to <- prometheus.NewMetricWithTimestamp(s.now,
		constant(cadvisorSeen, prometheus.GaugeValue, float64(s.now.Unix()), labels...))
	for i := range cadvisorMetrics {
		metric := &cadvisorMetrics[i]
		if metric.pressure && !s.Machine.Pressure {
			continue
		}
		give := func(value float64, more ...string) {
			one := constant(metric.description, metric.kind, value, append(labels, more...)...)
			if !metric.untimed {
				one = prometheus.NewMetricWithTimestamp(s.Time, one)
			}
			to <- one
		}
		if metric.values != nil {
			metric.values(c, give)
		} else if value, has := metric.value(c); has {
			give(value)
		}
	}
}

// machineMetric is a metric of the machine. If its field value is nil, the metric is always 0.
type machineMetric struct {
	description *prometheus.Desc
	value       func(*podstats.Machine) int
	modes       []string // values of a further label
}

func machineInfo(name, help string, value func(*podstats.Machine) int) machineMetric {
	return machineMetric{description: prometheus.NewDesc(name, help, machineLabels, nil), value: value}
}

var machineLabels = []string{"machine_id", "system_uuid", "boot_id"}

// machineMetrics are the metrics of the machine. (cAdvisor: metrics/prometheus_machine.go)
var machineMetrics = []machineMetric{
	machineInfo("machine_cpu_physical_cores", "Number of physical CPU cores.",
		func(m *podstats.Machine) int { return (m.Cores + 1) / 2 }),
	machineInfo("machine_cpu_cores", "Number of logical CPU cores.", func(m *podstats.Machine) int { return m.Cores }),
	machineInfo("machine_cpu_sockets", "Number of CPU sockets.", func(*podstats.Machine) int { return 1 }),
	machineInfo("machine_cpu_books", "Number of CPU books.", nil),
	machineInfo("machine_cpu_drawers", "Number of CPU drawers.", nil),
	machineInfo("machine_memory_bytes", "Amount of memory installed on the machine.",
		func(m *podstats.Machine) int { return int(m.Memory) }),
	machineInfo("machine_swap_bytes", "Amount of swap memory available on the machine.", nil),
	{description: prometheus.NewDesc("machine_nvm_capacity",
		"NVM capacity value labeled by NVM mode (memory mode or app direct mode).", slices.Concat(machineLabels,
			[]string{"mode"}), nil), modes: []string{"memory_mode", "app_direct_mode"}},
	machineInfo("machine_nvm_avg_power_budget_watts", "NVM power budget.", nil),
}

func (s *cadvisorScrape) sendMachine(to chan<- prometheus.Metric) {
	for i := range machineMetrics {
		metric := &machineMetrics[i]
		value := 0.0
		if metric.value != nil {
			value = float64(metric.value(&s.Machine))
		}
		labels := []string{s.Machine.ID, s.Machine.SystemUUID, s.Machine.BootID}
		if metric.modes == nil {
			to <- constant(metric.description, prometheus.GaugeValue, value, labels...)
		}
		for _, mode := range metric.modes {
			to <- constant(metric.description, prometheus.GaugeValue, value, append(labels, mode)...)
		}
	}
	to <- constant(machineError, prometheus.GaugeValue, 0)
}
