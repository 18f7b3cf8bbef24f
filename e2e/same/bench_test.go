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
	benchRounds      = 5
	benchRound       = 2 * time.Second
)

// BenchmarkBesideKubelet compares the speed of fauxlet and of the kubelet's own server. Both processes have the same
// configuration and log file, warm caches, and the same server for TokenReviews and SubjectAccessReviews. They take
// turns, and clients use mutual TLS on persistent connections. The benchmark also reports fauxlet's memory after the
// first round and after the last round, because fauxlet stores the most recent Decisions.
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
	urls := map[string]string{}
	var standIn *kubelet.Kubelet
	for _, kind := range []string{"reference", "fauxlet"} {
		k := kubelet.Start(b, nil, kubelet.Options{Kind: kind, Kubeconfig: reviews.Kubeconfig, Settings: shared,
			Pods: []sample.Pod{long}})
		if kind == "fauxlet" {
			standIn = k
		}
		urls[kind] = "https://" + k.Secure + "/containerLogs/default/nginx/nginx"
	}

	for _, load := range []struct{ name, query string }{{"request-of-10-lines", "?tailLines=10"},
		{"log-of-20000-lines", ""}} {
		b.Run(load.name, func(b *testing.B) {
			var ratios, ours, theirs, memory []float64
			for range benchRounds {
				their := drive(b, transport, urls["reference"]+load.query)
				our := drive(b, transport, urls["fauxlet"]+load.query)
				ratios, ours, theirs = append(ratios, our/their), append(ours, our), append(theirs, their)
				memory = append(memory, float64(programs.UsageOf(b, standIn.Process).Resident)/1e6)
			}
			for _, values := range [][]float64{ratios, ours, theirs} {
				slices.Sort(values)
			}
			middle := benchRounds / 2
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(ours[middle], "req/s")
			b.ReportMetric(theirs[middle], "kubelet-req/s")
			b.ReportMetric(ratios[middle], "ratio")
			fmt.Fprintf(os.Stderr,
				"%-20s %9.0f req/s   the kubelet's server %9.0f req/s   ratio %.1f (lowest %.1f, highest %.1f of "+
					"%d rounds); resident after the first %.1f MB, after the last %.1f MB\n",
				load.name, ours[middle], theirs[middle], ratios[middle], ratios[0], ratios[benchRounds-1], benchRounds,
				memory[0],
				memory[benchRounds-1])
		})
	}
}

// drive sends requests over all connections for one round and returns the answers per second.
func drive(b *testing.B, transport *http.Transport, url string) float64 {
	b.Helper()
	client := &http.Client{Transport: transport}
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
	return float64(done.Load()) / time.Since(start).Seconds()
}
