// Package metric has metrics that cost a node nearly nothing until they are scraped: a [Histogram] without labels and
// without a registry, and the [Sink] that receives the metrics of one scrape. A process may run thousands of nodes, and
// the vectors of a Prometheus registry take kilobytes for each metric of each node.
package metric

import (
	"slices"

	dto "github.com/prometheus/client_model/go"
	"k8s.io/utils/ptr"
)

// Sink receives the metrics of one scrape. The labels are names and values in turn. Each call with the same name has
// the same help text.
type Sink interface {
	Gauge(name, help string, value float64, labels ...string)
	Counter(name, help string, value float64, labels ...string)
	Histogram(name, help string, value *dto.Histogram, labels ...string)
}

// Histogram counts observations. The zero value has none, and takes no memory for its buckets. It is not safe for
// concurrent use.
type Histogram struct {
	// buckets has the number of observations in each bucket up to the last one that has any. The observations that are
	// above all bounds have a bucket of their own, after the others.
	buckets []uint64
	sum     float64
}

// Observe counts n observations of the same value. All calls for one Histogram must have the same bounds, which are the
// upper bounds of the buckets in ascending order.
func (h *Histogram) Observe(bounds []float64, value float64, n uint64) {
	if n == 0 {
		return
	}
	at, _ := slices.BinarySearch(bounds, value)
	for len(h.buckets) <= at {
		h.buckets = append(slices.Clip(h.buckets), 0)
	}
	h.buckets[at] += n
	h.sum += value * float64(n)
}

// Count returns the number of observations.
func (h *Histogram) Count() uint64 {
	count := uint64(0)
	for _, n := range h.buckets {
		count += n
	}
	return count
}

// Export returns the metric. The caller may keep it.
func (h *Histogram) Export(bounds []float64) *dto.Histogram {
	exported := &dto.Histogram{SampleCount: ptr.To(h.Count()), SampleSum: ptr.To(h.sum)}
	count := uint64(0)
	for i := range bounds {
		if i < len(h.buckets) {
			count += h.buckets[i]
		}
		exported.Bucket = append(exported.Bucket, &dto.Bucket{UpperBound: &bounds[i], CumulativeCount: ptr.To(count)})
	}
	return exported
}
