package e2e

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// nodeAddress is where the node is in a network of its own: not on loopback, where nodes/proxy does not go.
const nodeAddress = "192.0.2.1"

// TestNodeProxy asks through nodes/{name}/proxy of a real apiserver. It runs itself once more in a network namespace, and
// so needs root.
func TestNodeProxy(t *testing.T) {
	const inside = "FAUXLET_E2E_NODE_NETWORK"
	if os.Getenv(inside) == "" {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
		defer cancel()
		cmd := exec.CommandContext(ctx, "unshare", "--net", "sh", "-c",
			`ip link set lo up && ip address add `+nodeAddress+`/32 dev lo && ip route add default dev lo && exec "$0" "$@"`,
			os.Args[0], "-test.run=^TestNodeProxy$", "-test.v")
		cmd.Env = append(os.Environ(), inside+"=1")
		cmd.WaitDelay = 10 * time.Second
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), "--- PASS: TestNodeProxy") {
			t.Errorf("in a network of its own (as root, with unshare and ip): %v\n%s", err, out)
		}
		return
	}

	plane := withFlags(t, certified)
	plane.bind(t, kubeletAPIAdmin, userNamed("kubelet-client"))
	k := startKubelet(t, plane, kubeletOptions{settings: settings{"address": nodeAddress}})
	plane.registerAt(t, k.node, nodeAddress, k.port, nginx())
	for _, test := range []struct{ path, begins string }{
		{"/pods", `{"kind":"PodList","apiVersion":"v1","metadata":{},"items":[{"metadata":{"name":"nginx"`},
		{"/runningpods/", `{"kind":"PodList"`},
		{"/healthz", "ok"},
		{"/configz", `{"kubeletconfig":{"kind":"KubeletConfiguration"`},
		{"/containerLogs/default/nginx/nginx", nginxLog},
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
		got := plane.kubectl(t, "get", "--raw", "/api/v1/nodes/node-1/proxy"+test.path)
		if test.path == "/debug/pprof/cmdline" {
			got.stdout = got.stdout[strings.LastIndex(got.stdout[:strings.Index(got.stdout, "\x00")], "/")+1:]
			test.begins = underTest()
		}
		if got.status != 0 || !strings.HasPrefix(got.stdout, test.begins) {
			t.Errorf("get --raw …/proxy%s: status %d, %.200q %s, want it to begin with %q", test.path, got.status, got.stdout, got.stderr, test.begins)
		}
	}
	// statusz has a role of its own, which kubelet-client has not.
	if got := plane.kubectl(t, "get", "--raw", "/api/v1/nodes/node-1/proxy/statusz"); got.status != 1 || !strings.Contains(got.stderr, "subresource(s)=[statusz]") {
		t.Errorf("statusz: %+v, want it forbidden", got)
	}
}
