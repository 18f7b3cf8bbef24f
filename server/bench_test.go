package server_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

const (
	benchConnections = 16
	benchRounds      = 5
	benchRound       = 2 * time.Second
	benchLines       = 20000
)

// BenchmarkBeside compares the speed of a Server with the speed of a bare net/http server that sends the same bytes.
// The clients request a container's log. They use mutual TLS and keep their connections open. The Server authenticates
// and authorizes each request, with cached SubjectAccessReviews, and logs each Decision. The two servers take turns,
// and the result is the ratio of their request rates. With two separate benchmarks instead, a change in the machine's
// load would distort the comparison.
func BenchmarkBeside(b *testing.B) {
	file, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		b.Fatal(err)
	}
	defer file.Close()
	logger := zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()), zapcore.Lock(file),
		zapcore.InfoLevel))
	f := newFixture(b, fixtureOptions{lines: benchLines, logger: logger})
	client := f.client(b, f.certificate(b, "kubelet-client"))
	client.Transport.(*http.Transport).MaxIdleConnsPerHost = benchConnections

	for _, load := range []struct {
		name, query string
		wanted      float64
	}{
		{"request-of-10-lines", "?tailLines=10", 0.6},
		{"log-of-20000-lines", "", 0.7},
	} {
		b.Run(load.name, func(b *testing.B) {
			path := "/containerLogs/default/nginx/nginx" + load.query
			body := fetch(b, client, f.url+path)
			bare := serveBare(b, f, body)
			if got := fetch(b, client, bare); len(got) != len(body) {
				b.Fatalf("the bare server sends %d bytes, the stand-in %d", len(got), len(body))
			}
			var ratios, rates, bareRates []float64
			for range benchRounds {
				bareRate, rate := drive(b, client, bare, benchRound), drive(b, client, f.url+path, benchRound)
				ratios, rates, bareRates = append(ratios, rate/bareRate), append(rates, rate), append(bareRates,
					bareRate)
			}
			slices.Sort(ratios)
			slices.Sort(rates)
			slices.Sort(bareRates)
			middle := benchRounds / 2
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(rates[middle], "req/s")
			b.ReportMetric(rates[middle]*float64(len(body))/1e6, "MB/s")
			b.ReportMetric(bareRates[middle], "bare-req/s")
			b.ReportMetric(ratios[middle], "ratio")
			fmt.Fprintf(os.Stderr,
				"%-20s %9.0f req/s %7.1f MB/s   bare %9.0f req/s   ratio %.2f (lowest %.2f, highest %.2f of %d "+
					"rounds; wanted: %.1f)\n",
				load.name, rates[middle], rates[middle]*float64(len(body))/1e6, bareRates[middle], ratios[middle],
				ratios[0], ratios[benchRounds-1], benchRounds, load.wanted)
		})
	}
}

// serveBare serves body from a TLS server with the fixture's serving certificate, and returns the server's URL.
func serveBare(b *testing.B, f *fixture, body []byte) string {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	server := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			// The bare server sends the headers of a kubelet's log response, so that both responses have exactly the
			// same bytes.
			w.Header().Set("Transfer-Encoding", "chunked")
			w.Header()["Content-Type"] = nil
			w.Write(body)
		}),
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{f.serving.TLS()},
			ClientAuth: tls.RequestClientCert},
		TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){},
	}
	go server.ServeTLS(listener, "", "")
	b.Cleanup(func() { server.Close() })
	return "https://" + listener.Addr().String()
}

func fetch(b *testing.B, client *http.Client, url string) []byte {
	response, err := client.Get(url)
	if err != nil {
		b.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		b.Fatalf("%d %v", response.StatusCode, err)
	}
	return body
}

// drive sends requests over all connections for the duration "while", and returns the number of responses per second.
func drive(b *testing.B, client *http.Client, url string, while time.Duration) float64 {
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
	return float64(done.Load()) / time.Since(start).Seconds()
}
