package soak

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// figures are the resources of an idle server.
type figures struct {
	at       time.Duration // since the beginning of the run
	requests int64         // since the beginning of the run
	resident int64         // bytes

	heap        int64 // bytes of live objects
	goroutines  int64
	descriptors int64
}

// sampler reads the figures of a server: from its pprof endpoints, and from /proc.
type sampler struct {
	pid int
	get func(path string) ([]byte, error)
}

var (
	goroutinesLine = regexp.MustCompile(`^goroutine profile: total (\d+)`)
	heapLine       = regexp.MustCompile(`(?m)^# HeapAlloc = (\d+)$`)
	residentLine   = regexp.MustCompile(`(?m)^VmRSS:\s+(\d+) kB$`)
)

// sample measures the server. The first garbage collection empties the caches of sync.Pool and runs finalizers, so that
// the second leaves live objects only.
func (s *sampler) sample() (f figures, err error) {
	if f.goroutines, err = s.number("/debug/pprof/goroutine?debug=1", goroutinesLine); err != nil {
		return f, err
	}
	for range 2 {
		if f.heap, err = s.number("/debug/pprof/heap?gc=1&debug=1", heapLine); err != nil {
			return f, err
		}
	}
	descriptors, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", s.pid))
	if err != nil {
		return f, err
	}
	f.descriptors = int64(len(descriptors))
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.pid))
	if err != nil {
		return f, err
	}
	f.resident, err = numberIn(status, residentLine)
	f.resident <<= 10
	return f, err
}

func (s *sampler) number(path string, line *regexp.Regexp) (int64, error) {
	text, err := s.get(path)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", path, err)
	}
	n, err := numberIn(text, line)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", path, err)
	}
	return n, nil
}

func numberIn(text []byte, line *regexp.Regexp) (int64, error) {
	found := line.FindSubmatch(text)
	if found == nil {
		return 0, fmt.Errorf("%.200q does not match %s", text, line)
	}
	return strconv.ParseInt(string(found[1]), 10, 64)
}

// figure is a kind of figure that must not grow.
type figure struct {
	name  string
	value func(figures) int64
	// The figure may grow by this share and by at least this amount. The amount covers what differs between two idle
	// moments: connections that kube-apiserver keeps, and pods that are being deleted.
	share float64
	least int64
	unit  int64 // the tables show the value divided by this number
}

var bounded = []figure{
	{"live heap, kB", func(f figures) int64 { return f.heap }, 0.05, 1 << 20, 1 << 10},
	{"goroutines", func(f figures) int64 { return f.goroutines }, 0.05, 8, 1},
	{"descriptors", func(f figures) int64 { return f.descriptors }, 0.05, 8, 1},
}

// warmUp is the share of a run at its beginning that is not judged. Caches and the list of decisions fill in this time.
const warmUp = 0.25

// minJudged is the lowest number of samples after the warm-up with which a run is judged.
const minJudged = 6

// growth is the result for one figure: the medians of the first and last third of the samples after the warm-up.
type growth struct {
	figure
	first, last, allowed int64
}

func afterWarmUp(samples []figures) []figures { return samples[int(float64(len(samples))*warmUp):] }

// The function "judge" compares the last third of the samples after the warm-up with the first third. It returns nil if
// there are too few samples.
func judge(samples []figures) []growth {
	judged := afterWarmUp(samples)
	if len(judged) < minJudged {
		return nil
	}
	third := len(judged) / 3
	var all []growth
	for _, f := range bounded {
		g := growth{figure: f, first: median(judged[:third], f.value),
			last: median(judged[len(judged)-third:], f.value)}
		g.allowed = max(int64(float64(g.first)*f.share), f.least)
		all = append(all, g)
	}
	return all
}

// problem returns an error text if the figure has grown by more than is allowed.
func (g growth) problem() string {
	if grown := g.last - g.first; grown > g.allowed {
		return fmt.Sprintf("%s: grew by %d, from %d to %d (medians of the first and last third after the warm-up); at "+
			"most %d are allowed", g.name, grown/g.unit, g.first/g.unit, g.last/g.unit, g.allowed/g.unit)
	}
	return ""
}

func median(samples []figures, value func(figures) int64) int64 {
	var values []int64
	for _, s := range samples {
		values = append(values, value(s))
	}
	slices.Sort(values)
	return (values[(len(values)-1)/2] + values[len(values)/2]) / 2
}

// The function "table" returns the result as a table in Markdown.
func table(samples []figures, all []growth) string {
	var b strings.Builder
	last := samples[len(samples)-1]
	fmt.Fprintf(&b, "%v, %d requests, %d samples. The first quarter of the samples is the warm-up.\n",
		last.at.Round(time.Second), last.requests, len(samples))
	if all == nil {
		fmt.Fprintf(&b, "Too short to judge: %d samples follow the warm-up, and at least %d are necessary.\n",
			len(afterWarmUp(samples)), minJudged)
		return b.String()
	}
	b.WriteByte('\n')
	b.WriteString("| idle process | first third (median) | last third (median) | growth | allowed |\n")
	b.WriteString("|---|---|---|---|---|\n")
	for _, g := range all {
		fmt.Fprintf(&b, "| %s | %d | %d | %d | %d |\n", g.name, g.first/g.unit, g.last/g.unit, (g.last-g.first)/g.unit,
			g.allowed/g.unit)
	}
	return b.String()
}

// The function "curve" returns all samples as CSV.
func curve(samples []figures) []byte {
	var b bytes.Buffer
	b.WriteString("seconds,requests,resident_bytes,live_heap_bytes,goroutines,descriptors\n")
	for _, f := range samples {
		fmt.Fprintf(&b, "%.0f,%d,%d,%d,%d,%d\n", f.at.Seconds(), f.requests, f.resident, f.heap, f.goroutines,
			f.descriptors)
	}
	return b.Bytes()
}

// printHeader and printLine print the progress of a run.
func printHeader(w io.Writer) {
	fmt.Fprintf(w, "%8s %9s %8s %13s %11s %12s\n", "time", "requests", "RSS MB", "live heap kB", "goroutines",
		"descriptors")
}

func printLine(w io.Writer, f figures) {
	fmt.Fprintf(w, "%8v %9d %8.1f %13d %11d %12d\n", f.at.Round(time.Second), f.requests, float64(f.resident)/1e6,
		f.heap>>10, f.goroutines, f.descriptors)
}
