package soak

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/pprof"
	"os"
	"strings"
	"testing"
	"time"

	"fauxlet/e2e/internal/expect"
)

// TestLeaksAreFound measures a server that leaks something with each request. The result must name what it leaks, and
// nothing else. A server without a leak must pass.
func TestLeaksAreFound(t *testing.T) {
	for _, test := range []struct {
		leaks string // what the server leaks with each request; empty: nothing
		named string // the only figures that may be named
		leak  func(*testing.T)
	}{
		{"", "", func(*testing.T) {}},
		{"goroutines", "goroutines", func(t *testing.T) {
			go func() { <-t.Context().Done() }()
		}},
		{"descriptors", "descriptors", func(t *testing.T) {
			file, err := os.Open(os.DevNull)
			expect.NoError(t, err)
			t.Cleanup(func() { file.Close() })
		}},
		{"live heap", "live heap", func(t *testing.T) {
			kept := make([]byte, 64<<10)
			t.Cleanup(func() { kept[0]++ })
		}},
	} {
		t.Run("leak of "+test.leaks, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if strings.HasPrefix(r.URL.Path, "/debug/pprof/") {
					pprof.Index(w, r)
					return
				}
				test.leak(t)
			}))
			defer server.Close()
			s := sampler{os.Getpid(), func(path string) ([]byte, error) {
				response, err := http.Get(server.URL + path)
				if err != nil {
					return nil, err
				}
				defer response.Body.Close()
				return io.ReadAll(response.Body)
			}}
			var samples []figures
			for range 12 {
				for range 5 {
					_, err := s.get("/pods")
					expect.NoError(t, err)
				}
				sample, err := s.sample()
				expect.NoError(t, err)
				samples = append(samples, sample)
			}
			found := false
			for _, g := range judge(samples) {
				problem := g.problem()
				found = found || problem != ""
				if problem != "" && (test.named == "" || !strings.HasPrefix(problem, test.named)) {
					t.Errorf("the server leaks %q, but the result is: %s", test.leaks, problem)
				}
			}
			if !found && test.leaks != "" {
				t.Errorf("no growth was found in\n%s", curve(samples))
			}
		})
	}
}

// TestRareLeakIsFound leaks one goroutine in each cycle of a run of an hour. A constant number that varies must pass,
// and so must a run that is too short to judge.
func TestRareLeakIsFound(t *testing.T) {
	for _, test := range []struct {
		name       string
		cycles     int
		goroutines func(cycle int) int64
		grows      bool
	}{
		{"one in each cycle", 120, func(i int) int64 { return 100 + int64(i) }, true},
		{"constant, with noise", 120, func(i int) int64 { return 100 + int64(i*7%9) }, false},
		{"grows only while it warms up", 120, func(i int) int64 { return min(100+int64(i)*2, 160) }, false},
		{"too short", 6, func(i int) int64 { return 100 * int64(i) }, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			var samples []figures
			for i := range test.cycles {
				samples = append(samples, figures{at: time.Duration(i) * cycleTime, goroutines: test.goroutines(i)})
			}
			grows := false
			for _, g := range judge(samples) {
				grows = grows || g.problem() != ""
			}
			if grows != test.grows {
				t.Errorf("growth was found: %v, want %v", grows, test.grows)
			}
		})
	}
}
