package server_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"fauxlet/internal/podstats"
	"fauxlet/testcerts"
)

// TestClockSkew checks that client certificates must be valid by both the true clock and the node's clock, and that
// the Date header and the times of logs and measurements follow the node's clock.
func TestClockSkew(t *testing.T) {
	f := newFixture(t, fixtureOptions{})
	now := time.Now()
	statusOf := func(from, to time.Duration) int {
		pair, err := f.ca.Client("kubelet-client", nil, testcerts.ValidFor(now.Add(from), now.Add(to)))
		if err != nil {
			t.Fatal(err)
		}
		certificate := pair.TLS()
		response, _ := get(t, f.client(t, &certificate), f.url+log10)
		return response.StatusCode
	}
	good := f.kubeletClient(t)
	const hour = time.Hour
	for _, test := range []struct {
		skew     string
		ahead    time.Duration
		from, to time.Duration
		status   int
		why      string
	}{
		{"", 0, -hour, hour, 200, "allowed"},
		{"90m", 90 * time.Minute, -hour, hour, 401, "certificate expired at "},
		{"-50m", -50 * time.Minute, -40 * time.Minute, hour, 401, "certificate is not valid before "},
		{"-50m", -50 * time.Minute, -55 * time.Minute, hour, 200, "allowed"},
		{"90m", 90 * time.Minute, -hour, 2 * hour, 200, "allowed"},
		// A certificate that is valid by the node's skewed clock, but not by the true clock, does not grant access.
		{"90m", 90 * time.Minute, hour, 2 * hour, 401,
			"is valid by the node's clock, which a fault has skewed, but not by the true clock"},
		{"-50m", -50 * time.Minute, -55 * time.Minute, -40 * time.Minute, 401, "is valid by the node's clock"},
	} {
		f.faults.Clear()
		if test.skew != "" {
			f.fault(t, `{"kind": "clock-skew", "skew": "`+test.skew+`"}`)
		}
		seen := f.seen()
		if got := statusOf(test.from, test.to); got != test.status {
			t.Errorf("skew %q, certificate from %v to %v: %d, want %d", test.skew, test.from, test.to, got,
				test.status)
		}
		d := f.decision(t, seen+1)
		if !strings.Contains(d.Why(), test.why) || (len(d.AffectedBy) > 0) != (test.skew != "") ||
			(d.User != nil) != (test.status == 200) {
			t.Errorf("skew %q, certificate from %v to %v: %s; faults %q", test.skew, test.from, test.to, d.Why(),
				d.AffectedBy)
		}
		if test.status != 200 {
			continue
		}

		near := func(what string, got time.Time, interval time.Duration) {
			t.Helper()
			if off := got.Sub(time.Now().Add(test.ahead)); off > time.Minute || off < -interval-time.Minute {
				t.Errorf("skew %q: %s is %v from now", test.skew, what, time.Until(got))
			}
		}
		response, text := get(t, good, f.url+"/containerLogs/default/nginx/nginx?timestamps=1&tailLines=1")
		stamp, _, _ := strings.Cut(text, " ")
		written, err := time.Parse(time.RFC3339Nano, stamp)
		if err != nil {
			t.Fatal(err)
		}
		near("the time of a log", written, 2*time.Second)
		date, err := http.ParseTime(response.Header.Get("Date"))
		if err != nil {
			t.Fatal(err)
		}
		near("Date", date, time.Second)
		_, text = get(t, good, f.url+"/stats/summary")
		near("the time of a measurement", summaryOf(t, text).Node.CPU.Time.Time, 10*time.Second)
		since := written.Add(-time.Millisecond).UTC().Format(time.RFC3339Nano)
		if _, text := get(t, good, f.url+"/containerLogs/default/nginx/nginx?sinceTime="+since); strings.Count(text,
			"\n") != 1 {
			t.Errorf("skew %q: sinceTime gives %d lines", test.skew, strings.Count(text, "\n"))
		}
	}
}

// TestMemoryHeavy checks all endpoints that report memory. A container to which the fault memory-heavy applies uses the
// amount that the fault gives or, if the container's limit is less, its limit. The usage of other containers does not
// change.
func TestMemoryHeavy(t *testing.T) {
	f := newMeasuring(t, "", measuredPods(2))
	const (
		inResource = `container_memory_working_set_bytes{container=%s,namespace=default,pod=%s}`
		mebibyte   = 1 << 20
	)
	used := func(path string) map[string]float64 {
		all := map[string]float64{}
		text, _ := f.scraped(t, path)
		if path == "/stats/summary" {
			for _, pod := range summaryOf(t, text).Pods {
				for _, c := range pod.Containers {
					all[pod.PodRef.Name+" "+c.Name] = float64(*c.Memory.WorkingSetBytes)
				}
			}
			return all
		}
		samples := series(t, text)
		for _, pod := range []string{"web-0", "web-1"} {
			for _, container := range []string{"app", "sidecar"} {
				all[pod+" "+container] = samples[fmt.Sprintf(inResource, container, pod)].value
			}
		}
		return all
	}
	fault := f.fault(t, `{"kind": "memory-heavy", "memory": "3Gi", "pod": "*-0"}`)
	f.fault(t, `{"kind": "memory-heavy", "memory": "5Gi", "pod": "web-*", "namespace": "shop"}`)
	for i, path := range []string{"/stats/summary", "/metrics/resource", "/metrics/cadvisor"} {
		got := used(path)
		for name, between := range map[string][2]float64{
			"web-0 app": {120 * mebibyte, 128 * mebibyte}, "web-0 sidecar": {2800 * mebibyte, 3300 * mebibyte},
			"web-1 app": {1, 80 * mebibyte}, "web-1 sidecar": {1, 200 * mebibyte},
		} {
			if value := got[name]; value < between[0] || value > between[1] {
				t.Errorf("%s: %s uses %v MiB, want %v to %v", path, name, value/mebibyte, between[0]/mebibyte,
					between[1]/mebibyte)
			}
		}
		if d := f.decision(t, i+1); !affectedBy(fault.Name)(d) || fault.Applied() != int64(i+1) {
			t.Errorf("%s: affected by %q; the fault was applied %d times", path, d.AffectedBy, fault.Applied())
		}
	}
	f.faults.Clear()
	if got := used("/stats/summary")["web-0 sidecar"]; got > 200*mebibyte {
		t.Errorf("afterwards: %v", got)
	}
}

func TestNoMemoryIsAvailableWhenContainersUseMoreThanTheNodeHas(t *testing.T) {
	f := newFixture(t, fixtureOptions{machine: podstats.NewMachine("node-1", 4, 1<<30, time.Now().Add(-100*time.Hour))})
	f.fault(t, `{"kind": "memory-heavy", "memory": "8Gi"}`)
	_, text := get(t, f.kubeletClient(t), f.url+"/stats/summary")
	if available := *summaryOf(t, text).Node.Memory.AvailableBytes; available != 0 {
		t.Errorf("the node has %d bytes available, want 0", available)
	}
}
