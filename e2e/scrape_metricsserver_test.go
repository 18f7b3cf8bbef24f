package e2e

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"fauxlet/internal/pods"
	"fauxlet/testcerts"
)

// aggregation is what a metrics-server needs beside scraping: to ask the apiserver about those who ask it, and an
// APIService. ExternalName is the one kind of Service that leads an apiserver to loopback.
const aggregation = scraping + `---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: scraper:system:auth-delegator}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: system:auth-delegator}
subjects: [{kind: ServiceAccount, namespace: default, name: scraper}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: scraper-auth-reader, namespace: kube-system}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: extension-apiserver-authentication-reader}
subjects: [{kind: ServiceAccount, namespace: default, name: scraper}]
---
apiVersion: v1
kind: Service
metadata: {name: metrics-server, namespace: kube-system}
spec: {type: ExternalName, externalName: localhost}
---
apiVersion: apiregistration.k8s.io/v1
kind: APIService
metadata: {name: v1beta1.metrics.k8s.io}
spec:
  group: metrics.k8s.io
  version: v1beta1
  groupPriorityMinimum: 100
  versionPriority: 100
  service: {name: metrics-server, namespace: kube-system, port: PORT}
  caBundle: CA
`

// usage is what the metrics API tells of a node or a container.
type usage struct {
	Name      string
	Timestamp time.Time
	Window    metav1.Duration
	Usage     v1.ResourceList
	Metadata  struct{ Name string }
	// Containers are those of a pod.
	Containers []usage
}

// TestMetricsServer has a real metrics-server scrape with a service account's token, and kubectl top tell, through the
// apiserver, what the kubelet said.
func TestMetricsServer(t *testing.T) {
	port := freePort(t)
	plane := withAggregation(t, port)
	token, _ := plane.token(t, "scraper")
	listed := measuredPods()
	k := startKubelet(t, plane, kubeletOptions{settings: servingCertificate(t), pods: listed})
	plane.register(t, k.node, k.port, listed...)
	k.declareCapacity(t, plane, token)
	plane.serveMetrics(t, token, port)

	// The kubelet's own words, by the time of the measurement.
	seen := map[time.Time]map[string]told{}
	listen := func() { k.listen(t, token, seen) }
	var node usage
	running := map[string]usage{}
	read := func() string {
		listen()
		var list struct{ Items []usage }
		for path, into := range map[string]any{"nodes/" + k.node: &node, "pods": &list} {
			got := plane.kubectl(t, "get", "--raw", "/apis/metrics.k8s.io/v1beta1/"+path)
			if got.status != 0 {
				return got.stderr
			}
			must(t, json.Unmarshal([]byte(got.stdout), into))
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
		for name, got := range map[string]usage{"": node, "nginx/nginx": running["nginx/nginx"], "nginx/sidecar": running["nginx/sidecar"], "resolver/dns": running["resolver/dns"]} {
			now, before := seen[got.Timestamp.UTC()], seen[got.Timestamp.Add(-got.Window.Duration).UTC()]
			if now == nil || before == nil {
				return fmt.Sprintf("%q: nobody listened at %v and %v before", name, got.Timestamp, got.Window)
			}
			rate := (now[name].cpu - before[name].cpu) / uint64(got.Window.Seconds())
			cpu := got.Usage[v1.ResourceCPU]
			// The metrics-server counts in floating point.
			if nanocores := cpu.ScaledValue(resource.Nano); nanocores < int64(rate)-1 || nanocores > int64(rate)+1 {
				t.Errorf("%q uses %d nanocores, by the kubelet %d", name, nanocores, rate)
			}
			if memory := got.Usage[v1.ResourceMemory]; uint64(memory.Value()) != now[name].memory {
				t.Errorf("%q uses %d bytes, by the kubelet %d", name, memory.Value(), now[name].memory)
			}
		}
		return ""
	}
	eventually(t, 12*pods.Interval, "the metrics API tells of all that runs", read)

	// kubectl rounds as it prints; what it prints must be of the measurement that was read last.
	eventually(t, 3*pods.Interval, "kubectl top between two equal measurements", func() string {
		if problem := read(); problem != "" {
			return problem
		}
		at := node.Timestamp
		topNode, topPods := plane.kubectl(t, "top", "node", "--no-headers"), plane.kubectl(t, "top", "pod", "--all-namespaces", "--containers", "--no-headers")
		if problem := read(); problem != "" || !node.Timestamp.Equal(at) {
			return "measured again: " + problem
		}
		if topNode.status != 0 || topPods.status != 0 {
			t.Fatalf("kubectl top: %s %s", topNode.stderr, topPods.stderr)
		}
		t.Logf("kubectl top node\n%skubectl top pod\n%s", topNode.stdout, topPods.stdout)
		printed := strings.Fields(topNode.stdout)
		if len(printed) != 5 || printed[0] != k.node || printed[1] != node.cpu() || printed[3] != node.memory() || strings.Contains(topNode.stdout, "unknown") {
			t.Errorf("kubectl top node: %q, want %s and %s", printed, node.cpu(), node.memory())
		}
		for line := range strings.Lines(topPods.stdout) {
			printed := strings.Fields(line) // namespace, pod, container, CPU, memory
			c, there := running[printed[1]+"/"+printed[2]]
			if !there || printed[3] != c.cpu() || printed[4] != c.memory() {
				t.Errorf("kubectl top pod: %q, want %s and %s", printed, c.cpu(), c.memory())
			}
		}
		if strings.Count(topPods.stdout, "\n") != len(running) {
			t.Errorf("kubectl top pod: %q, want %d containers", topPods.stdout, len(running))
		}
		return ""
	})
}

// cpu and memory are as kubectl prints them.
func (u usage) cpu() string {
	cpu := u.Usage[v1.ResourceCPU]
	return fmt.Sprintf("%dm", cpu.MilliValue())
}

func (u usage) memory() string {
	memory := u.Usage[v1.ResourceMemory]
	return fmt.Sprintf("%dMi", memory.Value()>>20)
}

// told is CPU time and working set.
type told struct{ cpu, memory uint64 }

// listen remembers what /stats/summary tells, by pod/container; the node is "".
func (k *kubelet) listen(t testing.TB, token string, seen map[time.Time]map[string]told) {
	t.Helper()
	summary := k.summary(t, identity{token: token})
	all := map[string]told{"": {*summary.Node.CPU.UsageCoreNanoSeconds, *summary.Node.Memory.WorkingSetBytes}}
	for _, pod := range summary.Pods {
		for _, c := range pod.Containers {
			all[pod.PodRef.Name+"/"+c.Name] = told{*c.CPU.UsageCoreNanoSeconds, *c.Memory.WorkingSetBytes}
		}
	}
	seen[summary.Node.CPU.Time.UTC()] = all
}

// declareCapacity tells the apiserver what the kubelet says that the node has.
func (k *kubelet) declareCapacity(t testing.TB, plane *controlPlane, token string) {
	t.Helper()
	ctx, nodes := context.Background(), plane.client.CoreV1().Nodes()
	node, err := nodes.Get(ctx, k.node, metav1.GetOptions{})
	must(t, err)
	memory := k.summary(t, identity{token: token}).Node.Memory
	node.Status.Capacity = v1.ResourceList{
		v1.ResourceCPU:    resource.MustParse("4"),
		v1.ResourceMemory: *resource.NewQuantity(int64(*memory.AvailableBytes+*memory.WorkingSetBytes), resource.BinarySI),
	}
	node.Status.Allocatable = node.Status.Capacity
	_, err = nodes.UpdateStatus(ctx, node, metav1.UpdateOptions{})
	must(t, err)
}

// withAggregation is a control plane, nobody else's, whose apiserver hands metrics.k8s.io on to loopback.
func withAggregation(t testing.TB, port int, flags ...string) *controlPlane {
	t.Helper()
	plane, err := makeControlPlane(t, flags)
	must(t, err)
	proxyCert, proxyKey, err := plane.pki.pair("front-proxy", plane.pki.client("front-proxy"))
	must(t, err)
	plane.args = append(plane.args,
		"--proxy-client-cert-file="+proxyCert, "--proxy-client-key-file="+proxyKey,
		"--requestheader-client-ca-file="+plane.pki.caFile, "--requestheader-allowed-names=front-proxy",
		"--requestheader-username-headers=X-Remote-User", "--requestheader-group-headers=X-Remote-Group", "--requestheader-extra-headers-prefix=X-Remote-Extra-")
	must(t, plane.start())
	t.Cleanup(func() {
		plane.apiserver.tell(t, 0)
		if err := plane.apiserver.stop(); err != nil {
			t.Error(err)
		}
	})
	ca, err := os.ReadFile(plane.pki.caFile)
	must(t, err)
	plane.apply(t, strings.NewReplacer("PORT", fmt.Sprint(port), "CA\n", base64.StdEncoding.EncodeToString(ca)+"\n").Replace(aggregation))
	return plane
}

// serveMetrics starts a metrics-server that is the service account, and waits until the apiserver finds it.
func (c *controlPlane) serveMetrics(t testing.TB, token string, port int) {
	t.Helper()
	dir := t.TempDir()
	kubeconfig := filepath.Join(dir, "kubeconfig")
	config := clientcmdapi.NewConfig()
	config.Clusters["e2e"] = &clientcmdapi.Cluster{Server: c.url, CertificateAuthority: c.pki.caFile}
	config.AuthInfos["scraper"] = &clientcmdapi.AuthInfo{Token: token}
	config.Contexts["e2e"] = &clientcmdapi.Context{Cluster: "e2e", AuthInfo: "scraper"}
	config.CurrentContext = "e2e"
	must(t, clientcmd.WriteToFile(*config, kubeconfig))
	certFile, keyFile, err := c.pki.pair("metrics-server", func() (*testcerts.Pair, error) {
		return c.pki.ca.Server("metrics-server", []string{"metrics-server.kube-system.svc", "127.0.0.1"})
	})
	must(t, err)
	p, err := start("metrics-server", binary(t, "metrics-server"),
		"--kubeconfig="+kubeconfig, "--authentication-kubeconfig="+kubeconfig, "--authorization-kubeconfig="+kubeconfig,
		"--bind-address=127.0.0.1", fmt.Sprintf("--secure-port=%d", port), "--tls-cert-file="+certFile, "--tls-private-key-file="+keyFile,
		"--kubelet-certificate-authority="+c.pki.caFile, "--kubelet-use-node-status-port", "--kubelet-preferred-address-types=InternalIP",
		"--metric-resolution=10s", "--kubelet-request-timeout=5s")
	must(t, err)
	t.Cleanup(func() {
		if err := p.stop(); err != nil {
			t.Error(err)
		}
		p.tell(t, 0)
	})
	eventually(t, time.Minute, "the apiserver finds the metrics-server", func() string {
		got := c.kubectl(t, "get", "apiservice", "v1beta1.metrics.k8s.io", "-o", `jsonpath={.status.conditions[?(@.type=="Available")]}`)
		if got.status != 0 || !strings.Contains(got.stdout, `"status":"True"`) {
			return got.stdout + got.stderr
		}
		return ""
	})
}
