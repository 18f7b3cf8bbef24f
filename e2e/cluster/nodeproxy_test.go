package cluster

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"fauxlet/e2e/internal/controlplane"
	"fauxlet/e2e/internal/kubelet"
	"fauxlet/e2e/internal/sample"
)

// nodeAddress is the address of the node in the network namespace. It is not loopback, because kube-apiserver
// refuses to proxy nodes/proxy to loopback.
const nodeAddress = "192.0.2.1"

// inNetworkNamespace reports whether the test runs in a network namespace of its own, where the loopback interface has
// the given addresses. If not, it runs the test once more as root in such a namespace. A test does this because
// kube-apiserver refuses to proxy nodes/proxy to loopback addresses.
func inNetworkNamespace(t *testing.T, addresses ...string) bool {
	t.Helper()
	const inside = "FAUXLET_E2E_NETWORK"
	if os.Getenv(inside) != "" {
		return true
	}
	script := "ip link set lo up"
	for _, address := range addresses {
		script += " && ip address add " + address + "/32 dev lo"
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "unshare", "--net", "sh", "-c",
		script+` && ip route add default dev lo && exec "$0" "$@"`, os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), inside+"=1")
	cmd.WaitDelay = 10 * time.Second
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Errorf("the test in its own network namespace (as root, with unshare and ip) failed: %v\n%s", err, out)
	}
	return false
}

// TestNodeProxy sends requests through nodes/{name}/proxy of a real kube-apiserver.
func TestNodeProxy(t *testing.T) {
	t.Parallel()
	if !inNetworkNamespace(t, nodeAddress) {
		return
	}
	plane := controlplane.Shared(t, controlplane.WithClientCertificate)
	plane.Bind(t, controlplane.KubeletAPIAdmin, controlplane.User("kubelet-client"))
	k := kubelet.Start(t, plane, kubelet.Options{Settings: kubelet.Settings{"address": nodeAddress}})
	plane.RegisterAt(t, k.Node, nodeAddress, k.Port, sample.Nginx())
	for _, test := range []struct{ path, begins string }{
		{"/pods", `{"kind":"PodList","apiVersion":"v1","metadata":{},"items":[{"metadata":{"name":"nginx"`},
		{"/runningpods/", `{"kind":"PodList"`},
		{"/healthz", "ok"},
		{"/configz", `{"kubeletconfig":{"kind":"KubeletConfiguration"`},
		{"/containerLogs/default/nginx/nginx", sample.NginxLog},
		{"/logs/", "<!doctype html>"},
		{"/logs/kubelet.log", "started\n"},
		{"/metrics", "# HELP "},
		{"/metrics/cadvisor", "# HELP cadvisor_version_info "},
		{"/metrics/resource", "# HELP container_cpu_usage_seconds_total "},
		{"/metrics/probes", "# HELP "},
		{"/stats/summary", "{\n \"node\": {\n  \"nodeName\": \"node-1\""},
		{"/debug/pprof/cmdline", "fauxlet"},
		{"/flagz", "\nkubelet flagz\n"},
	} {
		got := plane.Kubectl(t, "get", "--raw", "/api/v1/nodes/node-1/proxy"+test.path)
		if test.path == "/debug/pprof/cmdline" {
			got.Stdout = got.Stdout[strings.LastIndex(got.Stdout[:strings.Index(got.Stdout, "\x00")], "/")+1:]
			test.begins = kubelet.UnderTest()
		}
		if got.Status != 0 || !strings.HasPrefix(got.Stdout, test.begins) {
			t.Errorf("get --raw …/proxy%s: status %d, %.200q %s, want it to begin with %q", test.path, got.Status,
				got.Stdout,
				got.Stderr, test.begins)
		}
	}
	// The user kubelet-client has no right to nodes/statusz, the resource that authorizes /statusz.
	if got := plane.Kubectl(t, "get", "--raw", "/api/v1/nodes/node-1/proxy/statusz"); got.Status != 1 ||
		!strings.Contains(got.Stderr, "subresource(s)=[statusz]") {
		t.Errorf("statusz: %+v, want it forbidden", got)
	}
}
