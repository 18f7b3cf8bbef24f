// Package apirequests counts the requests of a node to the apiserver, for the kubelet's metrics rest_client_*.
//
// A kubelet counts the requests of its process. Here a process may run many nodes that share a connection, so each node
// has [Counts] of its own. Requests that serve all nodes, such as the watch of pods, count for no node.
package apirequests

import (
	"context"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/util/net"

	"fauxlet/internal/metric"
)

// Counts has the counters of the requests of one node. The zero value is ready to use. It is safe for concurrent use.
type Counts struct {
	mu      sync.Mutex
	results map[result]uint64
	timings map[target]*timing
}

// target is a method and the host and port of an apiserver.
type target struct{ method, host string }

// result is the result of requests: a status code or "<error>".
type result struct {
	target
	code string
}

// timing has the durations and sizes of the requests to a target.
type timing struct{ duration, requestSize, responseSize metric.Histogram }

// These are the buckets of client-go's histograms. (k8s.io/component-base/metrics/prometheus/restclient)
var (
	durationBounds = []float64{0.005, 0.025, 0.1, 0.25, 0.5, 1, 2, 4, 8, 15, 30, 60}
	sizeBounds     = []float64{64, 256, 512, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216}
)

// countsKey is the key of the Counts in a context. countedKey marks the context of a request that is already counted.
type (
	countsKey  struct{}
	countedKey struct{}
)

// Context returns a context for requests of this node on a connection that [Share] counts.
func (c *Counts) Context(ctx context.Context) context.Context {
	return context.WithValue(ctx, countsKey{}, c)
}

// Wrap counts all requests of a transport. A request that passes two counting transports counts once, in the first.
func (c *Counts) Wrap(base http.RoundTripper) http.RoundTripper {
	return &transport{base, func(*http.Request) *Counts { return c }}
}

// Share counts the requests of a transport that several nodes share. A request belongs to the node of its context (see
// [Counts.Context]) or of its path. The function find returns the Counts of a node, or nil if there is no such node.
func Share(base http.RoundTripper, find func(node string) *Counts) http.RoundTripper {
	return &transport{base, func(r *http.Request) *Counts {
		if c, found := r.Context().Value(countsKey{}).(*Counts); found {
			return c
		}
		// The library that reports the status of a Node does not pass a context on.
		if _, rest, found := strings.Cut(r.URL.Path, "/api/v1/nodes/"); found {
			name, _, _ := strings.Cut(rest, "/")
			return find(name)
		}
		return nil
	}}
}

type transport struct {
	base http.RoundTripper
	of   func(*http.Request) *Counts // returns nil for a request that is not counted
}

// WrappedRoundTripper lets client-go close the connections of the wrapped transport.
func (t *transport) WrappedRoundTripper() http.RoundTripper { return t.base }

var _ net.RoundTripperWrapper = &transport{}

// RoundTrip sends a request and counts it.
func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	c := t.of(r)
	if c == nil || r.Context().Value(countedKey{}) != nil {
		return t.base.RoundTrip(r)
	}
	began, to := time.Now(), target{r.Method, r.URL.Host}
	response, err := t.base.RoundTrip(r.WithContext(context.WithValue(r.Context(), countedKey{}, true)))
	code := "<error>"
	if err == nil {
		code = strconv.Itoa(response.StatusCode)
	}
	c.count(to, code, r)
	switch {
	case isWatch(r): // client-go does not measure watches
	case err != nil:
		c.finished(to, time.Since(began), -1)
	default:
		response.Body = &body{ReadCloser: response.Body, finished: func(size int64) {
			c.finished(to, time.Since(began), size)
		}}
	}
	return response, err
}

func isWatch(r *http.Request) bool {
	watch := r.URL.Query().Get("watch")
	return watch == "true" || watch == "1"
}

// body counts the bytes of a response. It calls finished once, when it is closed.
type body struct {
	io.ReadCloser
	size     int64
	once     sync.Once
	finished func(size int64)
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.size += int64(n)
	return n, err
}

func (b *body) Close() error {
	b.once.Do(func() { b.finished(b.size) })
	return b.ReadCloser.Close()
}

// count counts the result of a request.
func (c *Counts) count(to target, code string, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.results == nil {
		c.results, c.timings = map[result]uint64{}, map[target]*timing{}
	}
	c.results[result{to, code}]++
	if !isWatch(r) && r.ContentLength >= 0 && (r.Body == nil || r.ContentLength > 0) {
		c.timing(to).requestSize.Observe(sizeBounds, float64(r.ContentLength), 1)
	}
}

// finished counts the duration of a request and the size of its response. Without a response the size is negative.
func (c *Counts) finished(to target, took time.Duration, size int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.timing(to)
	t.duration.Observe(durationBounds, took.Seconds(), 1)
	if size >= 0 {
		t.responseSize.Observe(sizeBounds, float64(size), 1)
	}
}

// timing returns the histograms of a target. The caller holds c.mu.
func (c *Counts) timing(to target) *timing {
	t := c.timings[to]
	if t == nil {
		t = &timing{}
		c.timings[to] = t
	}
	return t
}

// Write writes the metrics. It does nothing if c is nil.
func (c *Counts) Write(sink metric.Sink) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for key, count := range c.results {
		sink.Counter("rest_client_requests_total", "[ALPHA] Number of HTTP requests, partitioned by status code, "+
			"method, and host.", float64(count), "code", key.code, "host", key.host, "method", key.method)
	}
	for key, t := range c.timings {
		labels := []string{"host", key.host, "verb", key.method}
		if t.duration.Count() > 0 {
			sink.Histogram("rest_client_request_duration_seconds", "[ALPHA] Request latency in seconds. Broken down "+
				"by verb, and host.", t.duration.Export(durationBounds), labels...)
		}
		if t.requestSize.Count() > 0 {
			sink.Histogram("rest_client_request_size_bytes", "[ALPHA] Request size in bytes. Broken down by verb "+
				"and host.", t.requestSize.Export(sizeBounds), labels...)
		}
		if t.responseSize.Count() > 0 {
			sink.Histogram("rest_client_response_size_bytes", "[ALPHA] Response size in bytes. Broken down by verb "+
				"and host.", t.responseSize.Export(sizeBounds), labels...)
		}
	}
}
