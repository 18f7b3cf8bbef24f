package cluster

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/remotecommand"

	"fauxlet/e2e/internal/controlplane"
	"fauxlet/e2e/internal/expect"
	"fauxlet/e2e/internal/guide"
	"fauxlet/e2e/internal/kubelet"
	"fauxlet/e2e/internal/programs"
)

// TestProbeThroughAPIServer probes nodes through nodes/proxy of a real kube-apiserver: a healthy node, and a node with
// dangerous settings. docs/probe.md has the output. A user without the permission gets the commands that grant it, and
// the probe works after them. Then the user can also run commands at the kubelet, as docs/probe.md warns. The kubelet's
// own server gets the same report as fauxlet.
func TestProbeThroughAPIServer(t *testing.T) {
	t.Parallel()
	programs.Slow(t)
	const openAddress, referenceAddress = "192.0.2.2", "192.0.2.3"
	if !inNetworkNamespace(t, nodeAddress, openAddress, referenceAddress) {
		return
	}
	plane := controlplane.Shared(t, controlplane.WithClientCertificate)
	plane.Bind(t, controlplane.KubeletAPIAdmin, controlplane.User("kubelet-client"))
	healthy := kubelet.Start(t, plane, kubelet.Options{Kind: "fauxlet", Settings: kubelet.Settings{
		"address": nodeAddress}})
	plane.RegisterAt(t, healthy.Node, nodeAddress, healthy.Port)
	open := kubelet.Start(t, plane, kubelet.Options{Kind: "fauxlet", Node: "node-2", Settings: kubelet.Settings{
		"address": openAddress, "authentication.anonymous.enabled": true, "authorization.mode": "AlwaysAllow",
		"readOnlyPort": 10255}})
	plane.RegisterAt(t, open.Node, openAddress, open.Port)
	probe := func(kubeconfig string, args ...string) programs.Result {
		return programs.Run(t, exec.Command(programs.Path(t, "fauxlet"), append([]string{"probe", "--kubeconfig",
			kubeconfig, "--through-apiserver"}, args...)...))
	}

	help := exec.Command(programs.Path(t, "fauxlet"), "probe", "--all-nodes", "--through-apiserver") // as in the help
	help.Env = []string{"KUBECONFIG=" + plane.Kubeconfig}
	got := programs.Run(t, help)
	page := guide.New(t, "probe.md", t.TempDir()).Block(t, "Probe through kube-apiserver", "text")
	printed := regexp.MustCompile(`in \d+\.\d s`).ReplaceAllString(got.Stdout, "in 1.0 s")
	printed = regexp.MustCompile(`kubelet v[^\n]*`).ReplaceAllString(printed, "kubelet v1.37.2")
	if diff := cmp.Diff(page, printed); got.Status != 1 || diff != "" {
		t.Errorf("exit status %d, %s\n%s\n(-docs/probe.md +printed)\n%s", got.Status, got.Stderr, printed, diff)
	}
	if got := probe(plane.Kubeconfig, "node-1"); got.Status != 0 || strings.Contains(got.Stdout, "Nothing dangerous") {
		t.Errorf("exit status %d, %s\n%s; want 0, and no claim about what was not probed", got.Status, got.Stderr,
			got.Stdout)
	}

	viewer := filepath.Join(t.TempDir(), "viewer.conf")
	expect.NoError(t, plane.WriteKubeconfig(viewer, "viewer"))
	plane.Apply(t, `
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: list-nodes}
rules: [{apiGroups: [""], resources: [nodes], verbs: [list]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: list-nodes}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: list-nodes}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: viewer}]
`)
	var commands [][]string
	expect.Eventually(t, time.Minute, "a user who may only list nodes gets a remedy", func() string {
		got := probe(viewer, "node-1")
		commands = regexp.MustCompile(`(?m)^  kubectl (.*)$`).FindAllStringSubmatch(got.Stdout, -1)
		if got.Status != 2 || !strings.Contains(got.Stdout, "This permission is dangerous") || len(commands) != 3 {
			return fmt.Sprintf("exit status %d, %s\n%s", got.Status, got.Stderr, got.Stdout)
		}
		return ""
	})
	for _, command := range commands[:2] {
		plane.KubectlPrints(t, nil, strings.Fields(command[1])...)
	}
	plane.AwaitAccess(t, controlplane.User("viewer"), true)
	got = probe(viewer, "node-1")
	if got.Status != 0 || strings.Contains(got.Stdout, "not probed: ") {
		t.Errorf("with the permission, the exit status is %d, %s\n%s", got.Status, got.Stderr, got.Stdout)
	}
	client, err := clientcmd.BuildConfigFromFlags("", viewer)
	expect.NoError(t, err)
	execute := func(base string) (string, error) {
		var output strings.Builder
		executor, err := remotecommand.NewWebSocketExecutor(client, http.MethodGet, base+
			"/exec/default/nginx/nginx?command=echo&command=hello&output=1")
		expect.NoError(t, err)
		err = executor.StreamWithContext(t.Context(), remotecommand.StreamOptions{Stdout: &output})
		return output.String(), err
	}
	if _, err := execute(client.Host + "/api/v1/nodes/node-1/proxy"); err == nil ||
		!strings.Contains(err.Error(), "you must specify at least 1 of stdin, stdout, stderr") {
		t.Errorf("exec through nodes/proxy returns %v, but docs/probe.md says that the query is lost", err)
	}
	client.TLSClientConfig.Insecure, client.TLSClientConfig.CAFile, client.TLSClientConfig.CAData = true, "", nil
	if output, err := execute("https://" + healthy.Secure); err != nil || output != "hello\n" {
		t.Errorf("exec at the kubelet returns %v and %q, but docs/probe.md says that it runs", err, output)
	}
	if got = probe(viewer, "node-2"); got.Status != 2 {
		t.Errorf("the commands for node-1 also allow node-2: exit status %d\n%s", got.Status, got.Stdout)
	}
	plane.KubectlPrints(t, nil, strings.Fields(commands[2][1])...)

	reference := kubelet.Start(t, plane, kubelet.Options{Kind: "reference", Node: "node-3", Settings: kubelet.Settings{
		"address": referenceAddress}})
	plane.RegisterAt(t, reference.Node, referenceAddress, reference.Port)
	got = probe(plane.Kubeconfig, "node-1", "node-3", "-o", "json")
	var report struct {
		Nodes []struct {
			Report struct{ Requests, ReadOnlyPort, Findings, NotProbed any }
		}
	}
	sameAddress := strings.ReplaceAll(got.Stdout, referenceAddress, nodeAddress)
	expect.NoError(t, json.Unmarshal([]byte(sameAddress), &report))
	if diff := cmp.Diff(report.Nodes[1].Report, report.Nodes[0].Report); got.Status != 0 || diff != "" {
		t.Errorf("exit status %d, %s (-the kubelet's own server +fauxlet)\n%s", got.Status, got.Stderr, diff)
	}
}
