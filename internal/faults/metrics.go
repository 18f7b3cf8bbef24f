package faults

import "github.com/prometheus/client_golang/prometheus"

var (
	activeDesc = prometheus.NewDesc("fauxlet_fault_active",
		"1 for each active fault. Its failures are deliberate.", []string{"fault", "kind"}, nil)
	appliedDesc = prometheus.NewDesc("fauxlet_fault_applied_total",
		"How many times an active fault has been applied, on all nodes of the process.", []string{"fault", "kind"}, nil)
)

// Collector returns the metrics of the active faults whose scope includes the given node. If the argument "node" is
// empty, it returns the metrics of all active faults.
func (s *Set) Collector(node string) prometheus.Collector { return &collector{s, node} }

type collector struct {
	set  *Set
	node string
}

func (c *collector) Describe(descs chan<- *prometheus.Desc) {
	descs <- activeDesc
	descs <- appliedDesc
}

func (c *collector) Collect(metrics chan<- prometheus.Metric) {
	for _, a := range c.set.List() {
		if c.node != "" && !matches(a.Node, c.node) {
			continue
		}
		metrics <- prometheus.MustNewConstMetric(activeDesc, prometheus.GaugeValue, 1, a.Name, a.Kind)
		metrics <- prometheus.MustNewConstMetric(appliedDesc, prometheus.CounterValue, float64(a.Applied()), a.Name,
			a.Kind)
	}
}
