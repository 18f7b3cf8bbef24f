package node

import (
	"context"
	"fmt"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"fauxlet/e2e/internal/controlplane"
	"fauxlet/e2e/internal/expect"
	"fauxlet/e2e/internal/guide"
	"fauxlet/e2e/internal/kubelet"
	"fauxlet/e2e/internal/programs"
)

// The duration of a run, and the time in the names of self-signed certificates, differ from run to run.
var (
	duration = regexp.MustCompile(`in \d+\.\d s`)
	created  = regexp.MustCompile(`@\d{10}`)
)

// TestProbeNodes probes 20 nodes of one process, and one node with anonymous authentication. docs/probe.md has the
// output.
func TestProbeNodes(t *testing.T) {
	t.Parallel()
	programs.Slow(t)
	plane := controlplane.New(t, controlplane.ForNodes)
	join(t, plane, joinOptions{name: "host", kubeconfig: plane.Kubeconfig,
		args: []string{"--nodes", "20", "--node-name-prefix", "node-", "--deregister-node"}})
	join(t, plane, joinOptions{name: "test-1", settings: kubelet.Settings{"authentication.anonymous.enabled": true}})
	expect.Eventually(t, 2*time.Minute, "21 nodes have an address and a port", func() string {
		list, err := plane.Client.CoreV1().Nodes().List(context.Background(), metav1.ListOptions{})
		expect.NoError(t, err)
		ready := 0
		for _, node := range list.Items {
			if controlplane.ReadyIs(v1.ConditionTrue)(&node) == "" {
				ready++
			}
		}
		if ready != 21 {
			return fmt.Sprintf("%d nodes are Ready", ready)
		}
		return ""
	})
	probe := func(args ...string) programs.Result {
		return programs.Run(t, exec.Command(programs.Path(t, "fauxlet"), append([]string{"probe", "--kubeconfig",
			plane.Kubeconfig, "--read-only-port", "0", "--timeout", "1m"}, args...)...)) // the load must not matter
	}
	got := probe("--all-nodes")
	page := guide.New(t, "probe.md", t.TempDir()).Block(t, "Probe the nodes of a cluster", "text")
	printed := created.ReplaceAllString(duration.ReplaceAllString(got.Stdout, "in 5.0 s"), "@1795863489")
	if got.Status != 1 || printed != page {
		t.Errorf("exit status %d, %s\n%s\ndocs/probe.md has:\n%s", got.Status, got.Stderr, printed, page)
	}
	expect.Contains(t, "the progress", got.Stderr, "21 of 21 nodes are done")
	got = probe("node-3", "node-11", "-o", "junit")
	if got.Status != 1 || strings.Count(got.Stdout, "<testsuite ") != 2 {
		t.Errorf("exit status %d, %s\n%s, want two test suites", got.Status, got.Stderr, got.Stdout)
	}
}
