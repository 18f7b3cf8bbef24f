package node

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"fauxlet/e2e/internal/controlplane"
	"fauxlet/e2e/internal/expect"
	"fauxlet/e2e/internal/kubelet"
	"fauxlet/e2e/internal/programs"
)

// onlyMany1 allows kube-apiserver to access the kubelet API of the node many-1 and of no other node.
const onlyMany1 = `
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: only-many-1}
rules:
- {apiGroups: [""], resources: [nodes/proxy], resourceNames: [many-1], verbs: [get, create]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: only-many-1}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: only-many-1}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: kubelet-client}]
`

// TestManyNodes runs one process with the number of nodes in its scenario, and changes this number with a reload.
// Each node authorizes its requests separately, and has its own pods, port and metrics.
func TestManyNodes(t *testing.T) {
	t.Parallel()
	programs.Slow(t)
	plane := controlplane.Shared(t, controlplane.ForNodes)
	ctx := context.Background()
	plane.Apply(t, onlyMany1)
	expect.Eventually(t, time.Minute, "the role is granted", func() string {
		if got := plane.Kubectl(t, "auth", "can-i", "get", "nodes/many-1", "--subresource=proxy",
			"--as=kubelet-client"); got.Status != 0 {
			return got.Stdout + got.Stderr
		}
		return ""
	})

	metrics := fmt.Sprintf("127.0.0.1:%d", programs.FreePort(t))
	n := join(t, plane, joinOptions{name: "host", kubeconfig: plane.Kubeconfig, settings: kubelet.ServingCertificate(t),
		scenario: "nodes: 3\n", args: []string{
			"--nodes", "1", "--node-name-prefix", "many-", "--deregister-node", "--metrics-address", metrics}})
	ready := func() (names []string) {
		list, err := plane.Client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
		expect.NoError(t, err)
		for _, node := range list.Items {
			if strings.HasPrefix(node.Name, "many-") && controlplane.ReadyIs(v1.ConditionTrue)(&node) == "" {
				names = append(names, node.Name)
			}
		}
		return names
	}
	// The function below waits until the named nodes, and no others, are Ready in the cluster, listed in the ready
	// file, and present in the metrics.
	are := func(names ...string) {
		t.Helper()
		expect.Eventually(t, time.Minute, fmt.Sprintf("the nodes are %v", names), func() string {
			if got := ready(); !slices.Equal(got, names) {
				return fmt.Sprintf("Ready are %v", got)
			}
			expect.NoError(t, n.readOpen())
			if got := slices.Sorted(maps.Keys(n.open.Nodes)); !slices.Equal(got, names) {
				return fmt.Sprintf("the ready file has %v", got)
			}
			text := expect.Page(t, "http://"+metrics+"/metrics")
			for _, name := range []string{"many-0", "many-1", "many-2", "many-3", "many-4"} {
				if there := strings.Contains(text,
					fmt.Sprintf(`kubelet_http_requests_total{long_running="false",method="GET",node=%q,`,
						name)); there &&
					!slices.Contains(names, name) {
					return fmt.Sprintf("the metrics of %s are there: %v", name, there)
				}
			}
			return ""
		})
	}
	again := func(scenario string) {
		t.Helper()
		expect.NoError(t, os.WriteFile(n.args[slices.Index(n.args, "--scenario")+1],
			[]byte("apiVersion: fauxlet/v1alpha1\nkind: Scenario\n"+scenario), 0o644))
		expect.NoError(t, n.Cmd.Process.Signal(syscall.SIGHUP))
	}
	are("many-0", "many-1", "many-2")

	for _, name := range []string{"many-0", "many-1"} {
		plane.CreatePod(t, controlplane.BoundTo(name, "web-"+name))
		plane.AwaitPod(t, "web-"+name, "runs", controlplane.PhaseIs(v1.PodRunning))
	}
	plane.KubectlPrints(t, []string{"HTTP/1.1"}, "logs", "web-many-1", "--tail=1")
	got := plane.Kubectl(t, "logs", "web-many-0")
	expect.Contains(t, "logs from a node that kube-apiserver may not access", got.Stderr,
		`Forbidden (user=kubelet-client, verb=get, resource=nodes, subresource(s)=[proxy])`)
	text := expect.Page(t, "http://"+metrics+"/metrics")
	for _, want := range []string{
		`kubelet_http_requests_total{long_running="false",method="GET",node="many-1",path="containerLogs",` +
			`server_type="readwrite"} 1`,
		`kubelet_http_requests_total{long_running="false",method="GET",node="many-0",path="containerLogs",` +
			`server_type="readwrite"} 1`,
	} {
		expect.Contains(t, "metrics of all nodes", text, want)
	}
	for name, wanted := range map[string][]string{"many-0": {"web-many-0"}, "many-1": {"web-many-1"}, "many-2": nil} {
		if got := slices.Sorted(maps.Keys(plane.PodsOf(t, name))); !slices.Equal(got, wanted) {
			t.Errorf("pods of %s are %v, want %v", name, got, wanted)
		}
	}

	again("nodes: 5\n")
	are("many-0", "many-1", "many-2", "many-3", "many-4")
	before := len(n.Out.String())
	again("nodes: many\n")
	n.awaitLog(t, "the scenario was not applied completely", 1, before)
	are("many-0", "many-1", "many-2", "many-3", "many-4")
	gone := n.open.Nodes["many-4"]
	again("nodes: 2\n")
	are("many-0", "many-1")
	if _, err := http.Get("https://" + gone + "/healthz"); err == nil ||
		!strings.Contains(err.Error(), "connection refused") {
		t.Errorf("the port of a removed node: %v", err)
	}
	for _, name := range []string{"many-2", "many-3", "many-4"} {
		if _, err := plane.Client.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
			t.Errorf("Node %s still exists: %v", name, err)
		}
	}
	plane.KubectlPrints(t, []string{"HTTP/1.1"}, "logs", "web-many-1", "--tail=1")

	n.halt(t)
	if left := ready(); len(left) > 0 {
		t.Errorf("nodes still exist: %v", left)
	}
}
