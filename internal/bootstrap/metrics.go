package bootstrap

import (
	"crypto/tls"
	"math"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics returns the kubelet's metrics about its client certificate. Without rotation there are none. The caller must
// not register them more than once.
func (c *Connection) Metrics() []prometheus.Collector { return c.metrics }

// Metrics returns the kubelet's metrics about its serving certificate. The caller must not register them more than
// once.
func (s *Serving) Metrics() []prometheus.Collector { return s.metrics }

func newFailures(name string) prometheus.Counter {
	return prometheus.NewCounter(prometheus.CounterOpts{Name: name,
		Help: "[ALPHA] Counter of certificate renewal errors."})
}

func newRotationAge() prometheus.Histogram {
	const hour, day = 3600, 24 * 3600
	return prometheus.NewHistogram(prometheus.HistogramOpts{
		Name:    "kubelet_certificate_manager_server_rotation_seconds",
		Help:    "[ALPHA] Histogram of the number of seconds the previous certificate lived before being rotated.",
		Buckets: []float64{60, hour, 4 * hour, day, 7 * day, 30 * day, 90 * day, 180 * day, 360 * day, 1440 * day},
	})
}

// newTTL returns the kubelet's gauge of the remaining lifetime of a certificate, in whole seconds. Without a valid
// certificate the value is +Inf. The arguments "kind", "ttl" and "whose" are parts of the metric's name and help text.
func newTTL(kind, ttl, whose string, current func() *tls.Certificate) prometheus.GaugeFunc {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "kubelet_certificate_manager_" + kind + "_ttl_seconds",
		Help: "[ALPHA] Gauge of the " + ttl + " (time-to-live) of the Kubelet's " + whose + " certificate. The value " +
			"is in seconds until certificate expiry (negative if already expired). If " + whose + " certificate is " +
			"invalid or unused, the value will be +INF.",
	}, func() float64 {
		if certificate := current(); certificate != nil {
			return math.Trunc(time.Until(certificate.Leaf.NotAfter).Seconds())
		}
		return math.Inf(1)
	})
}
