package server_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"
	"k8s.io/klog/v2"

	"fauxlet/authchain"
	"fauxlet/internal/decisions"
	"fauxlet/internal/logging"
)

const benchConnections = 16

// BenchmarkTrace measures the cost of recording Decisions. It compares a Server whose Decisions are kept, as in fauxlet
// serve, with a Server whose Decisions are dropped. The two Servers take turns. The clients use mutual TLS and keep
// their connections. The result is the ratio of their request rates.
func BenchmarkTrace(b *testing.B) {
	// With many short rounds, other load on the machine affects both Servers equally.
	const path, rounds, round = "/containerLogs/default/nginx/nginx?tailLines=10", 81, 200 * time.Millisecond
	recorder := decisions.NewRecorder(decisions.DefaultSize)
	if _, err := logging.New(io.Discard, "json", 0); err != nil { // discards the log of the Kubernetes libraries
		b.Fatal(err)
	}
	b.Cleanup(klog.ClearLogger)
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
			_, without = drive(b, offClient, off, round)
			_, with = drive(b, onClient, on, round)
		} else {
			_, with = drive(b, onClient, on, round)
			_, without = drive(b, offClient, off, round)
		}
		ratios = append(ratios, with/without)
	}
	slices.Sort(ratios)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(ratios[rounds/2], "ratio")
	fmt.Fprintf(os.Stderr, "%-20s ratio %.3f (half of %d rounds from %.3f to %.3f; wanted: 0.97)\n",
		"trace on and off", ratios[rounds/2], rounds, ratios[rounds/4], ratios[rounds*3/4])
}

// drive sends requests over all connections for the duration "while". It returns the number of responses, and the
// number of responses per second.
func drive(b *testing.B, client *http.Client, url string, while time.Duration) (responses, rate float64) {
	ctx, cancel := context.WithTimeout(context.Background(), while)
	defer cancel()
	var done atomic.Int64
	var workers sync.WaitGroup
	start := time.Now()
	for range benchConnections {
		workers.Go(func() {
			buffer := make([]byte, 64<<10)
			for ctx.Err() == nil {
				response, err := client.Get(url)
				if err != nil {
					b.Error(err)
					return
				}
				_, err = io.CopyBuffer(struct{ io.Writer }{io.Discard}, response.Body, buffer)
				response.Body.Close()
				if err != nil || response.StatusCode != http.StatusOK {
					b.Error(strconv.Itoa(response.StatusCode), err)
					return
				}
				done.Add(1)
			}
		})
	}
	workers.Wait()
	responses = float64(done.Load())
	return responses, responses / time.Since(start).Seconds()
}
