package tools

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/authentication/serviceaccount"

	"fauxlet/e2e/internal/controlplane"
	"fauxlet/e2e/internal/expect"
	"fauxlet/e2e/internal/kubelet"
	"fauxlet/e2e/internal/programs"
	"fauxlet/internal/podstats"
)

// usage is the resource usage of a node or a container in the metrics API.
type usage struct {
	Name      string
	Timestamp time.Time
	Window    metav1.Duration
	Usage     v1.ResourceList
	Metadata  struct{ Name string }
	// Containers are the containers of a pod.
	Containers []usage
}

// TestMetricsServer lets a real metrics-server scrape fauxlet with a service account's token. The command "kubectl
// top", which reads the numbers of metrics-server through kube-apiserver, must print the numbers that the kubelet
// reported. metrics-server must send the requests that docs/least-privilege.md names.
func TestMetricsServer(t *testing.T) {
	t.Parallel()
	programs.Slow(t)
	port := programs.FreePort(t)
	plane := controlplane.NewWithMetricsAPI(t, port)
	token, scraper := plane.Token(t, "scraper")
	own, observer := plane.Token(t, "observer") // for the requests of the test
	plane.Bind(t, controlplane.KubeletAPIAdmin, observer)
	listed := measuredPods()
	k := kubelet.Start(t, plane, kubelet.Options{Settings: kubelet.ServingCertificate(t), Pods: listed,
		Args: withAdmin()})
	plane.Register(t, k.Node, k.Port, listed...)
	declareCapacity(t, k, plane, own)
	plane.StartMetricsServer(t, token, port)

	// The map "seen" has the numbers that the kubelet reported. Each key is the time at which the kubelet measured the
	// numbers.
	seen := map[time.Time]map[string]reported{}
	listen := func() { recordSummary(t, k, own, seen) }
	var node usage
	running := map[string]usage{}
	read := func() string {
		listen()
		var list struct{ Items []usage }
		for path, into := range map[string]any{"nodes/" + k.Node: &node, "pods": &list} {
			got := plane.Kubectl(t, "get", "--raw", "/apis/metrics.k8s.io/v1beta1/"+path)
			if got.Status != 0 {
				return got.Stderr
			}
			expect.NoError(t, json.Unmarshal([]byte(got.Stdout), into))
		}
		clear(running)
		for _, pod := range list.Items {
			for _, c := range pod.Containers {
				c.Timestamp, c.Window = pod.Timestamp, pod.Window
				running[pod.Metadata.Name+"/"+c.Name] = c
			}
		}
		if len(running) != 3 || node.Timestamp.IsZero() {
			return fmt.Sprintf("the metrics API knows of %d containers", len(running))
		}
		for name, got := range map[string]usage{"": node, "nginx/nginx": running["nginx/nginx"],
			"nginx/sidecar": running["nginx/sidecar"], "resolver/dns": running["resolver/dns"]} {
			now, before := seen[got.Timestamp.UTC()], seen[got.Timestamp.Add(-got.Window.Duration).UTC()]
			if now == nil || before == nil {
				return fmt.Sprintf("%q: not recorded at %v and %v before", name, got.Timestamp, got.Window)
			}
			rate := (now[name].cpu - before[name].cpu) / uint64(got.Window.Seconds())
			cpu := got.Usage[v1.ResourceCPU]
			// Allow rounding errors, because metrics-server computes with floating-point numbers.
			if nanocores := cpu.ScaledValue(resource.Nano); nanocores < int64(rate)-1 || nanocores > int64(rate)+1 {
				t.Errorf("%q uses %d nanocores, want the kubelet's %d", name, nanocores, rate)
			}
			if memory := got.Usage[v1.ResourceMemory]; uint64(memory.Value()) != now[name].memory {
				t.Errorf("%q uses %d bytes, want the kubelet's %d", name, memory.Value(), now[name].memory)
			}
		}
		return ""
	}
	expect.Eventually(t, 12*podstats.Interval, "the metrics API lists everything that runs", read)

	assertRecordedRequests(t, k, serviceaccount.MakeUsername(scraper.Namespace, scraper.Name), "metrics-server")

	// kubectl top prints rounded numbers. The numbers of the node and of its pods must come from the same measurement.
	expect.Eventually(t, 3*podstats.Interval, "kubectl top prints one measurement", func() string {
		if problem := read(); problem != "" {
			return problem
		}
		at := node.Timestamp
		topNode, topPods := plane.Kubectl(t, "top", "node", "--no-headers"),
			plane.Kubectl(t, "top", "pod", "--all-namespaces", "--containers", "--no-headers")
		if problem := read(); problem != "" || !node.Timestamp.Equal(at) {
			return "measured again: " + problem
		}
		if topNode.Status != 0 || topPods.Status != 0 {
			t.Fatalf("kubectl top: %s %s", topNode.Stderr, topPods.Stderr)
		}
		t.Logf("kubectl top node\n%skubectl top pod\n%s", topNode.Stdout, topPods.Stdout)
		printed := strings.Fields(topNode.Stdout)
		if len(printed) != 5 || printed[0] != k.Node || printed[1] != node.cpu() || printed[3] != node.memory() ||
			strings.Contains(topNode.Stdout, "unknown") {
			t.Errorf("kubectl top node: %q, want %s and %s", printed, node.cpu(), node.memory())
		}
		for line := range strings.Lines(topPods.Stdout) {
			printed := strings.Fields(line) // fields: namespace, pod, container, CPU, memory
			c, there := running[printed[1]+"/"+printed[2]]
			if !there || printed[3] != c.cpu() || printed[4] != c.memory() {
				t.Errorf("kubectl top pod: %q, want %s and %s", printed, c.cpu(), c.memory())
			}
		}
		if strings.Count(topPods.Stdout, "\n") != len(running) {
			t.Errorf("kubectl top pod: %q, want %d containers", topPods.Stdout, len(running))
		}
		return ""
	})
}

// cpu and memory return a number in the format that kubectl top prints.
func (u usage) cpu() string {
	cpu := u.Usage[v1.ResourceCPU]
	return fmt.Sprintf("%dm", cpu.MilliValue())
}

func (u usage) memory() string {
	memory := u.Usage[v1.ResourceMemory]
	return fmt.Sprintf("%dMi", memory.Value()>>20)
}

// The type "reported" has the CPU time and the working set that the kubelet reports for a container or for the node.
type reported struct{ cpu, memory uint64 }

// recordSummary adds the numbers in /stats/summary to the map "seen", under the time of their measurement. The key of a
// container's numbers is POD/CONTAINER, and the key of the node's numbers is "".
func recordSummary(t testing.TB, k *kubelet.Kubelet, token string, seen map[time.Time]map[string]reported) {
	t.Helper()
	summary := summaryOf(t, k, kubelet.Credential{Token: token})
	all := map[string]reported{"": {*summary.Node.CPU.UsageCoreNanoSeconds, *summary.Node.Memory.WorkingSetBytes}}
	for _, pod := range summary.Pods {
		for _, c := range pod.Containers {
			all[pod.PodRef.Name+"/"+c.Name] = reported{*c.CPU.UsageCoreNanoSeconds, *c.Memory.WorkingSetBytes}
		}
	}
	seen[summary.Node.CPU.Time.UTC()] = all
}

// declareCapacity sets the capacity in the Node's status to the capacity that the kubelet reports.
func declareCapacity(t testing.TB, k *kubelet.Kubelet, plane *controlplane.Plane, token string) {
	t.Helper()
	ctx, nodes := context.Background(), plane.Client.CoreV1().Nodes()
	node, err := nodes.Get(ctx, k.Node, metav1.GetOptions{})
	expect.NoError(t, err)
	memory := summaryOf(t, k, kubelet.Credential{Token: token}).Node.Memory
	node.Status.Capacity = v1.ResourceList{
		v1.ResourceCPU: resource.MustParse("4"),
		v1.ResourceMemory: *resource.NewQuantity(int64(*memory.AvailableBytes+*memory.WorkingSetBytes),
			resource.BinarySI),
	}
	node.Status.Allocatable = node.Status.Capacity
	_, err = nodes.UpdateStatus(ctx, node, metav1.UpdateOptions{})
	expect.NoError(t, err)
}
