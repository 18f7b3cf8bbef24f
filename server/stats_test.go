package server_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/component-base/metrics/testutil"
	statsapi "k8s.io/kubelet/pkg/apis/stats/v1alpha1"

	"fauxlet/internal/podstats"
	"fauxlet/scenario"
)

// measuredPods returns the given number of running pods, with requests, limits and probes, and one pending pod, which
// has no usage.
func measuredPods(count int) []scenario.Pod {
	var specs []scenario.Pod
	for i := range count {
		pod := &v1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: fmt.Sprint("web-", i)},
			Spec: v1.PodSpec{Containers: []v1.Container{
				{Name: "app", Image: "app:1", Resources: v1.ResourceRequirements{
					Requests: v1.ResourceList{v1.ResourceCPU: resource.MustParse("100m"),
						v1.ResourceMemory: resource.MustParse("64Mi")},
					Limits: v1.ResourceList{v1.ResourceCPU: resource.MustParse("500m"),
						v1.ResourceMemory: resource.MustParse("128Mi")},
				}, LivenessProbe: &v1.Probe{PeriodSeconds: 5}, StartupProbe: &v1.Probe{}},
				{Name: "sidecar", Image: "sidecar:1"},
			}},
		}
		specs = append(specs, scenario.Pod{Pod: pod})
	}
	return append(specs, scenario.Pod{Pod: &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "pending"},
		Spec:       v1.PodSpec{Containers: []v1.Container{{Name: "app"}}},
		Status:     v1.PodStatus{Phase: v1.PodPending},
	}})
}

// The type "measuring" is a Server with pods, together with a client that may do everything.
type measuring struct {
	*fixture
	client *http.Client
}

func newMeasuring(t testing.TB, yaml string, specs []scenario.Pod) measuring {
	t.Helper()
	f := newFixture(t, fixtureOptions{yaml: yaml, pods: specs})
	return measuring{f, f.withToken(t, "the-token-of-kubelet-client")}
}

// scraped returns the body of a response. The test fails unless the status is 200.
func (f measuring) scraped(t testing.TB, path string) (string, http.Header) {
	t.Helper()
	response, text := get(t, f.client, f.url+path)
	if response.StatusCode != http.StatusOK {
		t.Fatalf("GET %s: %s: %s", path, response.Status, text)
	}
	return text, response.Header
}

// post sends a form and returns the status and the body of the response.
func (f measuring) post(t testing.TB, path, form string) (status int, text string) {
	t.Helper()
	request, err := http.NewRequest(http.MethodPost, f.url+path, strings.NewReader(form))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	response, text := do(t, f.client, request)
	return response.StatusCode, text
}

func summaryOf(t testing.TB, text string) *statsapi.Summary {
	t.Helper()
	var summary statsapi.Summary
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&summary); err != nil {
		t.Fatal(err)
	}
	return &summary
}

// series parses metrics in text format into a map by name and labels. It omits the labels that only cAdvisor has.
func series(t testing.TB, text string) map[string]sample {
	t.Helper()
	parsed := testutil.NewMetrics()
	if err := testutil.ParseMetrics(text, &parsed); err != nil {
		t.Fatal(err)
	}
	all := map[string]sample{}
	for name, samples := range parsed {
		for _, one := range samples {
			var labels []string
			for label, value := range one.Metric {
				switch label {
				case "__name__", "id", "image", "name", "boot_id", "machine_id", "system_uuid":
				default:
					if value != "" {
						labels = append(labels, string(label)+"="+string(value))
					}
				}
			}
			slices.Sort(labels)
			all[name+"{"+strings.Join(labels, ",")+"}"] = sample{float64(one.Value), int64(one.Timestamp)}
		}
	}
	return all
}

type sample struct {
	value float64
	at    int64
}

// TestStatsAgree expects all endpoints to report the same values for each container, pod and node.
func TestStatsAgree(t *testing.T) {
	f := newMeasuring(t, "", measuredPods(5))
	var summary *statsapi.Summary
	var resources, cadvisor map[string]sample
	eventually(t, "three answers about one instant", func() bool {
		before := time.Now().Truncate(podstats.Interval)
		text, _ := f.scraped(t, "/stats/summary")
		summary = summaryOf(t, text)
		text, _ = f.scraped(t, "/metrics/resource")
		resources = series(t, text)
		text, _ = f.scraped(t, "/metrics/cadvisor")
		cadvisor = series(t, text)
		return time.Now().Truncate(podstats.Interval).Equal(before)
	})

	hasValue := func(from map[string]sample, series string, want uint64, scale float64) {
		t.Helper()
		got, there := from[series]
		if at := summary.Node.CPU.Time.UnixMilli(); !there || got.value != float64(want)/scale || got.at != at {
			t.Errorf("%s: %v, want %v at %d", series, got, float64(want)/scale, at)
		}
	}
	const cpu, memory = "cpu_usage_seconds_total", "memory_working_set_bytes"
	hasValue(resources, "node_"+cpu+"{}", *summary.Node.CPU.UsageCoreNanoSeconds, 1e9)
	hasValue(resources, "node_"+memory+"{}", *summary.Node.Memory.WorkingSetBytes, 1)
	if len(summary.Pods) != 5 {
		t.Errorf("the summary has %d pods, want the 5 running pods", len(summary.Pods))
	}
	for _, pod := range summary.Pods {
		of := ",namespace=default,pod=" + pod.PodRef.Name + "}"
		hasValue(resources, "pod_"+cpu+"{"+of[1:], *pod.CPU.UsageCoreNanoSeconds, 1e9)
		hasValue(resources, "pod_"+memory+"{"+of[1:], *pod.Memory.WorkingSetBytes, 1)
		for _, container := range pod.Containers {
			hasValue(resources, "container_"+cpu+"{container="+container.Name+of, *container.CPU.UsageCoreNanoSeconds,
				1e9)
			hasValue(resources, "container_"+memory+"{container="+container.Name+of, *container.Memory.WorkingSetBytes,
				1)
			hasValue(cadvisor, "container_"+cpu+"{container="+container.Name+",cpu=total"+of,
				*container.CPU.UsageCoreNanoSeconds, 1e9)
			hasValue(cadvisor, "container_"+memory+"{container="+container.Name+of, *container.Memory.WorkingSetBytes,
				1)
			hasValue(cadvisor, "container_memory_rss{container="+container.Name+of, *container.Memory.RSSBytes, 1)
		}
		if len(pod.Containers) != 2 {
			t.Errorf("pod %s: %d containers, want 2", pod.PodRef.Name, len(pod.Containers))
		}
	}
	node := summary.Node.Memory
	if got := cadvisor["machine_memory_bytes{}"].value; got != float64(*node.AvailableBytes+*node.WorkingSetBytes) {
		t.Errorf("the machine has %v bytes, the node %d free and %d in use", got, *node.AvailableBytes,
			*node.WorkingSetBytes)
	}
}

func TestStatsSummary(t *testing.T) {
	f := newMeasuring(t, "", measuredPods(1))
	whole, header := f.scraped(t, "/stats/summary")
	if got := header.Get("Content-Type"); got != "application/json" {
		t.Errorf("Content-Type %q", got)
	}
	if !strings.HasPrefix(whole, "{\n \"node\": {\n  \"nodeName\": \"node-1\",\n") || strings.HasSuffix(whole, "\n") {
		t.Errorf("a kubelet indents by one space, and ends without a line feed: %.60q", whole)
	}
	full := summaryOf(t, whole)
	pod := full.Pods[0]
	var used, inodes uint64
	for _, c := range pod.Containers {
		used, inodes = used+*c.Rootfs.UsedBytes+*c.Logs.UsedBytes, inodes+*c.Rootfs.InodesUsed+*c.Logs.InodesUsed
	}
	if *pod.EphemeralStorage.UsedBytes != used+4096 || *pod.EphemeralStorage.InodesUsed != inodes+1 {
		t.Errorf("ephemeral storage %d, %d inodes; its parts %d, %d, and /etc/hosts",
			*pod.EphemeralStorage.UsedBytes, *pod.EphemeralStorage.InodesUsed, used, inodes)
	}
	if pod.Network == nil || pod.Network.Name != "eth0" || *pod.ProcessStats.ProcessCount < 2 {
		t.Errorf("network %v, processes %v", pod.Network, pod.ProcessStats)
	}
	if limited := pod.Containers[0].Memory; *limited.AvailableBytes+*limited.WorkingSetBytes != 128<<20 {
		t.Errorf("available %d + working set %d, want the limit", *limited.AvailableBytes, *limited.WorkingSetBytes)
	}
	if pod.Containers[1].Memory.AvailableBytes != nil || pod.Memory.AvailableBytes != nil {
		t.Error("a container without a memory limit has availableBytes")
	}

	byQuery, _ := f.scraped(t, "/stats/summary?only_cpu_and_memory=true")
	_, byForm := f.post(t, "/stats/summary", "only_cpu_and_memory=true")
	for name, text := range map[string]string{"query": byQuery, "form": byForm} {
		brief := summaryOf(t, text)
		if brief.Node.Fs != nil || brief.Node.Network != nil || brief.Pods[0].EphemeralStorage != nil ||
			brief.Pods[0].Containers[0].Logs != nil || brief.Pods[0].Containers[0].IO != nil {
			t.Errorf("%s: more than CPU and memory: %s", name, text)
		}
		if brief.Node.CPU == nil || brief.Pods[0].Containers[0].Memory == nil ||
			brief.Pods[0].Containers[0].Swap == nil {
			t.Errorf("%s: less than CPU and memory: %s", name, text)
		}
	}
	for _, query := range []string{"only_cpu_and_memory=1", "only_cpu_and_memory=true&only_cpu_and_memory=true",
		"only_cpu_and_memory"} {
		if text, _ := f.scraped(t, "/stats/summary?"+query); summaryOf(t, text).Node.Fs == nil {
			t.Errorf("?%s: the summary does not have all statistics", query)
		}
	}
	response, text := get(t, f.client, f.url+"/stats/summary?a=%zz")
	if response.StatusCode != http.StatusInternalServerError ||
		text != `Internal Error: parse form failed: invalid URL escape "%zz"` {
		t.Errorf("an invalid query: %d %s", response.StatusCode, text)
	}
	if status, text := f.post(t, "/stats/summary", "%zz"); status != http.StatusInternalServerError ||
		!strings.HasPrefix(text, "Internal Error: parse form failed: ") {
		t.Errorf("an invalid form: %d %s", status, text)
	}
}

// TestStatsOfNoPods expects empty lists, not null, on a node without pods.
func TestStatsOfNoPods(t *testing.T) {
	f := newMeasuring(t, "", []scenario.Pod{})
	if text, _ := f.scraped(t, "/stats/summary"); !strings.Contains(text, "\n \"pods\": []\n") {
		t.Errorf("%s", text)
	}
	text, _ := f.scraped(t, "/metrics/resource")
	if all := series(t, text); all["node_cpu_usage_seconds_total{}"].value == 0 {
		t.Errorf("%s", text)
	}
}

func TestScrapedMetrics(t *testing.T) {
	f := newMeasuring(t, "cgroupDriver: systemd\n", measuredPods(1))
	for path, want := range map[string][]string{
		"/metrics/resource": {
			"# HELP container_cpu_usage_seconds_total [STABLE] Cumulative cpu time consumed by the container in " +
				"core-seconds\n# TYPE container_cpu_usage_seconds_total counter\n",
			"# HELP node_swap_usage_bytes [ALPHA] Current swap usage of the node in bytes. Reported only on " +
				"non-windows systems\n# TYPE node_swap_usage_bytes gauge\n",
			"\nresource_scrape_error 0\n",
		},
		"/metrics/cadvisor": {
			"# HELP container_cpu_usage_seconds_total Cumulative cpu time consumed in seconds.\n# TYPE " +
				"container_cpu_usage_seconds_total counter\n",
			`container_memory_usage_bytes{container="",id="/",image="",name="",namespace="",pod=""} `,
			`container_spec_cpu_quota{container="app",id="/kubepods.slice/kubepods-burstable.slice/` +
				`kubepods-burstable-pod`,
			`container_network_receive_bytes_total{container="",id="/kubepods.slice/`,
			"\ncontainer_scrape_error 0\n", "\nmachine_scrape_error 0\n", "\nmachine_nvm_capacity{",
		},
		"/metrics/probes": {
			"# HELP process_start_time_seconds [ALPHA] Start time of the process since unix epoch in seconds.\n# " +
				"TYPE process_start_time_seconds gauge\n",
			`prober_probe_total{container="app",namespace="default",pod="web-0",pod_uid="`,
			`probe_type="Startup",result="successful"} 1` + "\n",
			`prober_probe_duration_seconds_count{container="app",namespace="default",pod="web-0",` +
				`probe_type="Liveness"} `,
		},
	} {
		t.Run(strings.TrimPrefix(path, "/metrics/"), func(t *testing.T) {
			text, header := f.scraped(t, path)
			for _, part := range want {
				if !strings.Contains(text, part) {
					t.Errorf("%q is not in\n%s", part, text)
				}
			}
			if got := header.Get("Content-Type"); got != "text/plain; version=0.0.4; charset=utf-8; "+
				"escaping=underscores" {
				t.Errorf("Content-Type %q", got)
			}
			if header.Get("Process-Start-Time-Unix") == "" {
				t.Error("no Process-Start-Time-Unix")
			}
			series(t, text)
		})
	}
}

// TestCadvisorMetricsOfTheRuntime checks that /metrics/cadvisor has no metrics of cgroups with the feature gate
// PodAndContainerStatsFromCRI.
func TestCadvisorMetricsOfTheRuntime(t *testing.T) {
	f := newMeasuring(t, "featureGates: {PodAndContainerStatsFromCRI: true}\n", measuredPods(1))
	text, _ := f.scraped(t, "/metrics/cadvisor")
	if strings.Contains(text, "container_") || strings.Contains(text, "cadvisor_") ||
		!strings.Contains(text, "\nmachine_cpu_cores{") {
		t.Errorf("want metrics of the machine alone:\n%s", text)
	}
}

// BenchmarkScrape scrapes a node with the maximum number of pods that a kubelet allows, and a node with many more
// pods.
func BenchmarkScrape(b *testing.B) {
	for _, count := range []int{110, 1000} {
		f := prepare(b, fixtureOptions{})
		standin, err := f.newServer(b, fixtureOptions{pods: measuredPods(count)})
		if err != nil {
			b.Fatal(err)
		}
		for _, path := range []string{"/stats/summary", "/metrics/resource", "/metrics/cadvisor"} {
			b.Run(fmt.Sprintf("pods=%d%s", count, path), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					w := httptest.NewRecorder()
					standin.ReadOnlyHandler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
					if w.Code != http.StatusOK {
						b.Fatal(w.Code)
					}
					b.SetBytes(int64(w.Body.Len()))
				}
			})
		}
	}
}
