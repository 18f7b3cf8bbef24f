package server_test

import (
	"fmt"
	"net/http"
	"os"
	"slices"
	"testing"
	"time"

	"go.uber.org/zap"

	"fauxlet/authchain"
	"fauxlet/internal/decisions"
)

// BenchmarkTrace measures the cost of recording Decisions. It compares a Server whose Decisions are kept, as in fauxlet
// serve, with a Server whose Decisions are dropped. The two Servers take turns. The clients use mutual TLS and keep
// their connections. The result is the ratio of their request rates.
func BenchmarkTrace(b *testing.B) {
	// With many short rounds, other load on the machine affects both Servers equally.
	const path, rounds, round = "/containerLogs/default/nginx/nginx?tailLines=10", 81, 200 * time.Millisecond
	recorder := decisions.NewRecorder(decisions.DefaultSize)
	start := func(observe func(*authchain.Decision)) (string, *http.Client) {
		f := newFixture(b, fixtureOptions{logger: zap.NewNop(), observe: observe})
		client := f.client(b, f.certificate(b, "kubelet-client"))
		client.Transport.(*http.Transport).MaxIdleConnsPerHost = benchConnections
		return f.url + path, client
	}
	off, offClient := start(func(*authchain.Decision) {})
	on, onClient := start(recorder.For("node-1"))
	drive(b, offClient, off, round) // both Servers warm up
	drive(b, onClient, on, round)

	var ratios []float64
	for i := range rounds {
		// The two Servers take turns at running first, because the garbage of the Server that runs first is collected
		// while the other Server runs.
		var without, with float64
		if i%2 == 0 {
			without, with = drive(b, offClient, off, round), drive(b, onClient, on, round)
		} else {
			with, without = drive(b, onClient, on, round), drive(b, offClient, off, round)
		}
		ratios = append(ratios, with/without)
	}
	slices.Sort(ratios)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(ratios[rounds/2], "ratio")
	fmt.Fprintf(os.Stderr, "%-20s ratio %.3f (half of %d rounds from %.3f to %.3f; wanted: 0.97)\n",
		"trace on and off", ratios[rounds/2], rounds, ratios[rounds/4], ratios[rounds*3/4])
}
