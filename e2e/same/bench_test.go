package same

import (
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"fauxlet/e2e/internal/controlplane"
	"fauxlet/e2e/internal/expect"
	"fauxlet/e2e/internal/kubelet"
	"fauxlet/e2e/internal/programs"
	"fauxlet/e2e/internal/reviews"
	"fauxlet/e2e/internal/sample"
)

const (
	benchConnections = 16
	benchRounds      = 11
	benchRound       = time.Second
)

// BenchmarkBesideKubelet compares the CPU time and the speed of fauxlet and of the kubelet's own server. Both processes
// have the same configuration and log file, warm caches, and the same server for TokenReviews and SubjectAccessReviews.
// They take turns, and clients use mutual TLS on persistent connections. The benchmark also reports fauxlet's memory
// after the first round and after the last round, because fauxlet stores the most recent Decisions.
func BenchmarkBesideKubelet(b *testing.B) {
	p, err := controlplane.Certificates()
	expect.NoError(b, err)
	pair, err := p.CA.Client("kubelet-client", nil)
	expect.NoError(b, err)
	certificate := pair.TLS()
	transport := &http.Transport{MaxIdleConnsPerHost: benchConnections, TLSClientConfig: &tls.Config{
		RootCAs:              p.CA.Pool(),
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &certificate, nil },
	}}
	defer transport.CloseIdleConnections()

	var log []sample.Line
	for i := range 20_000 {
		log = append(log, sample.Line{At: time.Date(2026, 1, 2, 3, 4, 5, 0,
			time.UTC).Add(time.Duration(i) * time.Second),
			Text: fmt.Sprintf(`%d 10.244.1.41 "GET /items/%d HTTP/1.1" 200 13936`, i, i%491)})
	}
	long := sample.Pod{Namespace: "default", Name: "nginx", Containers: []sample.Container{{Name: "nginx", Log: log}}}
	reviews := reviews.Start(b)
	shared := kubelet.ServingCertificate(b)
	shared["authorization.webhook.cacheAuthorizedTTL"] = "5m"
	start := func(kind string) *benchServer {
		k := kubelet.Start(b, nil, kubelet.Options{Kind: kind, Kubeconfig: reviews.Kubeconfig, Settings: shared,
			Pods: []sample.Pod{long}})
		return &benchServer{process: k.Process, client: &http.Client{Transport: transport},
			url: "https://" + k.Secure + "/containerLogs/default/nginx/nginx"}
	}
	reference, fauxlet := start("reference"), start("fauxlet")

	for _, load := range []struct{ name, query string }{{"request-of-10-lines", "?tailLines=10"},
		{"log-of-20000-lines", ""}} {
		b.Run(load.name, func(b *testing.B) {
			reference.measure(b, load.query) // both servers warm up
			fauxlet.measure(b, load.query)
			var cpu, wall, ourCPU, theirCPU, ourRate, theirRate, memory []float64
			for range benchRounds {
				theirs, ours := reference.measure(b, load.query), fauxlet.measure(b, load.query)
				cpu, wall = append(cpu, theirs.cpu/ours.cpu), append(wall, ours.rate/theirs.rate)
				ourCPU, theirCPU = append(ourCPU, ours.cpu), append(theirCPU, theirs.cpu)
				ourRate, theirRate = append(ourRate, ours.rate), append(theirRate, theirs.rate)
				memory = append(memory, float64(programs.UsageOf(b, fauxlet.process).Resident)/1e6)
			}
			for _, values := range [][]float64{cpu, wall, ourCPU, theirCPU, ourRate, theirRate} {
				slices.Sort(values)
			}
			const middle, last = benchRounds / 2, benchRounds - 1
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(cpu[middle], "cpu-ratio")
			b.ReportMetric(wall[middle], "wall-ratio")
			fmt.Fprintf(os.Stderr, "%-19s kubelet/fauxlet: CPU %.1f (%.1f to %.1f), wall %.1f (%.1f to %.1f); "+
				"CPU per request: fauxlet %.0f µs, kubelet %.0f µs; requests/s: fauxlet %.0f, kubelet %.0f; "+
				"resident after the first round %.1f MB, after the last %.1f MB\n",
				load.name, cpu[middle], cpu[0], cpu[last], wall[middle], wall[0], wall[last],
				ourCPU[middle]*1e6, theirCPU[middle]*1e6, ourRate[middle], theirRate[middle], memory[0], memory[last])
		})
	}
}

// benchServer is a server process to measure.
type benchServer struct {
	process *programs.Process
	client  *http.Client
	url     string // URL of the log
}

// measured is the result of one round.
type measured struct {
	cpu  float64 // the server's CPU time for one request, in seconds
	rate float64 // responses per second
}

func (s *benchServer) measure(b *testing.B, query string) measured {
	before := programs.UsageOf(b, s.process).CPU
	responses, rate := drive(b, s.client, s.url+query)
	return measured{cpu: (programs.UsageOf(b, s.process).CPU - before) / responses, rate: rate}
}

// drive sends requests over all connections for one round. It returns the number of responses, and the number of
// responses per second.
func drive(b *testing.B, client *http.Client, url string) (responses, rate float64) {
	b.Helper()
	var done atomic.Int64
	var workers sync.WaitGroup
	start := time.Now()
	for range benchConnections {
		workers.Go(func() {
			for time.Since(start) < benchRound {
				response, err := client.Get(url)
				if err != nil {
					b.Error(err)
					return
				}
				_, err = io.Copy(io.Discard, response.Body)
				response.Body.Close()
				if err != nil || response.StatusCode != http.StatusOK {
					b.Error(response.StatusCode, err)
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
