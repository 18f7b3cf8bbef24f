package metric_test

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"google.golang.org/protobuf/proto"

	"fauxlet/internal/metric"
)

// TestHistogramIsLikePrometheus compares a Histogram with a histogram of package prometheus that has had the same
// observations, at the bounds, between them, and outside of them.
func TestHistogramIsLikePrometheus(t *testing.T) {
	bounds := []float64{0.5, 1, 2.5}
	var ours metric.Histogram
	theirs := prometheus.NewHistogram(prometheus.HistogramOpts{Name: "x", Buckets: bounds})
	compare := func() {
		t.Helper()
		var want dto.Metric
		if err := theirs.Write(&want); err != nil {
			t.Fatal(err)
		}
		want.Histogram.CreatedTimestamp = nil
		if got := ours.Export(bounds); !proto.Equal(got, want.Histogram) {
			t.Errorf("got %v, want %v", got, want.Histogram)
		}
	}
	compare()
	for _, value := range []float64{0.25, 1, 0, 0.5, 0.75, 2.5, 2.75, 1024, 0.25} {
		ours.Observe(bounds, value, 2)
		theirs.Observe(value)
		theirs.Observe(value)
		compare()
	}
	ours.Observe(bounds, 1, 0)
	compare()
	if got := ours.Count(); got != 18 {
		t.Errorf("%d observations, want 18", got)
	}
}
