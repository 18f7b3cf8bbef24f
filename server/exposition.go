package server

import (
	"cmp"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	compbasemetrics "k8s.io/component-base/metrics"
)

// exposition holds the metrics of one scrape, by their names.
type exposition map[string]*dto.MetricFamily

// Gather implements prometheus.Gatherer.
func (e exposition) Gather() ([]*dto.MetricFamily, error) {
	return slices.Collect(maps.Values(e)), nil
}

// The method "write" responds with the metrics of e and of the gatherers in "beside". If one gatherer fails, the
// response still contains the metrics of the others.
func (e exposition) write(w http.ResponseWriter, r *http.Request, beside ...prometheus.Gatherer) error {
	gatherers := append(prometheus.Gatherers{e}, beside...) // prometheus.Gatherers sorts the metrics
	options := compbasemetrics.HandlerOpts{ErrorHandling: compbasemetrics.ContinueOnError}
	compbasemetrics.HandlerFor(gatherers, options).ServeHTTP(w, r)
	return nil
}

// Gauge, Counter and Histogram implement metric.Sink.
func (e exposition) Gauge(name, help string, value float64, labels ...string) {
	e.with(labels...).gauge(name, help, value)
}

// Counter adds a counter.
func (e exposition) Counter(name, help string, value float64, labels ...string) {
	e.with(labels...).counter(name, help, value)
}

// Histogram adds a histogram.
func (e exposition) Histogram(name, help string, value *dto.Histogram, labels ...string) {
	e.with(labels...).add(name, help, dto.MetricType_HISTOGRAM, &dto.Metric{Histogram: value})
}

// labelled adds metrics with the same labels to an exposition.
type labelled struct {
	exposition
	labels []*dto.LabelPair
	// at is the timestamp of the metrics in milliseconds since 1970. Nil means no timestamp.
	at *int64
}

// The method "with" returns a value that adds metrics to e. The metrics have no timestamp, and each has the given
// labels. The arguments are names and values of labels in turn.
func (e exposition) with(namesAndValues ...string) labelled {
	return labelled{exposition: e}.and(namesAndValues...)
}

// The method "and" returns a copy of l with additional labels: a name, its value, the next name, and so on.
func (l labelled) and(namesAndValues ...string) labelled {
	l.labels = slices.Clone(l.labels)
	for pair := range slices.Chunk(namesAndValues, 2) {
		l.labels = append(l.labels, &dto.LabelPair{Name: &pair[0], Value: &pair[1]})
	}
	slices.SortFunc(l.labels, func(a, b *dto.LabelPair) int { return cmp.Compare(a.GetName(), b.GetName()) })
	return l
}

// timed returns a copy of l that adds metrics with a timestamp.
func (l labelled) timed(at time.Time) labelled {
	l.at = new(at.UnixMilli())
	return l
}

func (l labelled) gauge(name, help string, value float64) {
	l.add(name, help, dto.MetricType_GAUGE, &dto.Metric{Gauge: &dto.Gauge{Value: &value}})
}

func (l labelled) counter(name, help string, value float64) {
	l.add(name, help, dto.MetricType_COUNTER, &dto.Metric{Counter: &dto.Counter{Value: &value}})
}

func (l labelled) add(name, help string, kind dto.MetricType, metric *dto.Metric) {
	metric.Label, metric.TimestampMs = l.labels, l.at
	family := l.exposition[name]
	if family == nil {
		family = &dto.MetricFamily{Name: &name, Help: &help, Type: &kind}
		l.exposition[name] = family
	}
	family.Metric = append(family.Metric, metric)
}

// The function "seconds" converts nanoseconds to seconds, the unit of time in metrics.
func seconds(nanoseconds uint64) float64 { return float64(nanoseconds) / float64(time.Second) }
