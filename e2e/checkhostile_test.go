package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"fauxlet/conformance"
)

// hostile are the checks of streams, of kubelets that misbehave, and of what stays open.
var hostile = []string{"--only", "streams", "--only", "hostile", "--only", "after"}

// TestCheckStreamsAndHostile runs them on a real apiserver, which passes them all, and is none the worse for it. On an
// address that is not loopback, in a network of its own, nodes/proxy is checked too; for that it runs itself once more, as
// root.
func TestCheckStreamsAndHostile(t *testing.T) {
	const inside = "FAUXLET_E2E_CHECK_NETWORK"
	args := hostile
	if os.Getenv(inside) == "" {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
		defer cancel()
		cmd := exec.CommandContext(ctx, "unshare", "--net", "sh", "-c",
			`ip link set lo up && ip address add `+nodeAddress+`/32 dev lo && ip route add default dev lo && exec "$0" "$@"`,
			os.Args[0], "-test.run=^TestCheckStreamsAndHostile$", "-test.v")
		cmd.Env = append(os.Environ(), inside+"=1")
		cmd.WaitDelay = 10 * time.Second
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), "--- PASS: TestCheckStreamsAndHostile") {
			t.Errorf("in a network of its own (as root, with unshare and ip): %v\n%s", err, out)
		}
	} else {
		args = append([]string{"--node-ip", nodeAddress}, hostile...)
	}

	plane := withFlags(t, checkable)
	plane.bind(t, kubeletAPIAdmin, userNamed("kubelet-client"))
	began := time.Now()
	got := plane.check(t, append(plane.pki.servingCA(t), args...)...)
	peak := plane.apiserver.peak(t)
	t.Logf("%d checks in %v; the apiserver took up to %d MiB", len(got.report.Results), time.Since(began).Round(time.Millisecond), peak>>10)
	if peak > 1<<20 {
		t.Errorf("the apiserver took %d MiB: that is no check any more", peak>>10)
	}
	got.passes(t)
	for _, r := range got.report.Results {
		if r.Verdict == conformance.Skip && os.Getenv(inside) != "" {
			t.Errorf("%s was skipped: %s", r.ID, r.Why)
		}
		t.Logf("%s %s, %v\n  %s", r.Verdict, r.ID, time.Duration(r.Duration).Round(time.Millisecond), strings.Join(r.Evidence, "\n  "))
	}
	if strings.TrimSpace(got.stderr) != "" {
		t.Logf("on standard error: %s", got.stderr)
	}
}

// peak is the most memory that a process has had, in kB.
func (p *process) peak(t *testing.T) (kB int) {
	t.Helper()
	_, after, _ := strings.Cut(content(t, fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid)), "VmHWM:")
	_, err := fmt.Sscan(after, &kB)
	must(t, err)
	return kB
}
