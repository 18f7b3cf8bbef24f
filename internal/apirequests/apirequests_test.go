package apirequests_test

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"

	"fauxlet/internal/apirequests"
)

// samples collects the values of counters and the counts and sums of histograms. It leaves out durations.
type samples map[string]float64

func (s samples) Gauge(string, string, float64, ...string) {}

func (s samples) Counter(name, _ string, value float64, labels ...string) {
	s[key(name, labels)] = value
}

func (s samples) Histogram(name, _ string, value *dto.Histogram, labels ...string) {
	s[key(name+"_count", labels)] = float64(value.GetSampleCount())
	if name != "rest_client_request_duration_seconds" {
		s[key(name+"_sum", labels)] = value.GetSampleSum()
	}
}

// key leaves out the host, which has a random port.
func key(name string, labels []string) string {
	for pair := range slices.Chunk(labels, 2) {
		if pair[0] != "host" {
			name += " " + pair[1]
		}
	}
	return name
}

func send(t *testing.T, ctx context.Context, through http.RoundTripper, method, url, body string) {
	t.Helper()
	var content io.Reader
	if body != "" {
		content = strings.NewReader(body)
	}
	request, err := http.NewRequestWithContext(ctx, method, url, content)
	if err != nil {
		t.Fatal(err)
	}
	response, err := through.RoundTrip(request)
	if err != nil {
		return
	}
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		t.Error(err)
	}
	for range 2 { // client-go may close a body twice
		if err := response.Body.Close(); err != nil {
			t.Error(err)
		}
	}
}

func expect(t *testing.T, what string, counts *apirequests.Counts, want samples) {
	t.Helper()
	got := samples{}
	counts.Write(got)
	if !maps.Equal(got, want) {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

// TestRequestsAreCounted sends requests with different results through a transport that counts, and through two such
// transports one inside the other.
func TestRequestsAreCounted(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/missing" {
			w.WriteHeader(http.StatusNotFound)
		}
		fmt.Fprint(w, "four")
	}))
	defer server.Close()
	var counts, inner apirequests.Counts
	through := counts.Wrap(inner.Wrap(http.DefaultTransport))
	send(t, t.Context(), through, "GET", server.URL+"/", "")
	send(t, t.Context(), through, "GET", server.URL+"/missing", "")
	send(t, t.Context(), through, "GET", server.URL+"/?watch=true", "")
	send(t, t.Context(), through, "POST", server.URL+"/", "seventeen letters")
	stopped, stop := context.WithCancel(t.Context())
	stop()
	send(t, stopped, through, "PUT", server.URL+"/", "x")
	expect(t, "requests", &counts, samples{
		"rest_client_requests_total 200 GET":             2,
		"rest_client_requests_total 404 GET":             1,
		"rest_client_requests_total 200 POST":            1,
		"rest_client_requests_total <error> PUT":         1,
		"rest_client_request_duration_seconds_count GET": 2,
		"rest_client_request_size_bytes_count GET":       2, "rest_client_request_size_bytes_sum GET": 0,
		"rest_client_response_size_bytes_count GET": 2, "rest_client_response_size_bytes_sum GET": 8,
		"rest_client_request_duration_seconds_count POST": 1,
		"rest_client_request_size_bytes_count POST":       1, "rest_client_request_size_bytes_sum POST": 17,
		"rest_client_response_size_bytes_count POST": 1, "rest_client_response_size_bytes_sum POST": 4,
		"rest_client_request_duration_seconds_count PUT": 1,
		"rest_client_request_size_bytes_count PUT":       1, "rest_client_request_size_bytes_sum PUT": 1,
	})
	expect(t, "the inner transport", &inner, samples{})
	expect(t, "no counts", nil, samples{})
}

// TestSharedRequestsBelongToNodes sends requests of two nodes, and of no node, over one transport.
func TestSharedRequestsBelongToNodes(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer server.Close()
	nodes := map[string]*apirequests.Counts{"node-1": {}, "node-2": {}}
	through := apirequests.Share(http.DefaultTransport, func(node string) *apirequests.Counts { return nodes[node] })
	for path, ctx := range map[string]context.Context{
		"/api/v1/pods?watch=true":               t.Context(),
		"/api/v1/nodes":                         t.Context(),
		"/api/v1/nodes/node-3/status":           t.Context(),
		"/api/v1/nodes/node-2/status":           t.Context(),
		"/api/v1/namespaces/a/pods/node-2":      nodes["node-1"].Context(t.Context()),
		"/apis/coordination.k8s.io/v1/x/node-2": nodes["node-1"].Context(t.Context()),
		"/base/api/v1/nodes/node-1":             t.Context(),
	} {
		send(t, ctx, through, "GET", server.URL+path, "")
	}
	for node, want := range map[string]float64{"node-1": 3, "node-2": 1} {
		got := samples{}
		nodes[node].Write(got)
		if got := got["rest_client_requests_total 200 GET"]; got != want {
			t.Errorf("%s: %v requests, want %v", node, got, want)
		}
	}
}
