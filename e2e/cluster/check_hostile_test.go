package cluster

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"fauxlet/conformance"
	"fauxlet/e2e/internal/controlplane"
	"fauxlet/e2e/internal/expect"
	"fauxlet/e2e/internal/programs"
)

// hostileChecks selects the conformance checks about streams, misbehaving kubelets and connections that stay open.
var hostileChecks = []string{"--only", "streams", "--only", "hostile", "--only", "after"}

// TestCheckStreamsAndHostileKubelets runs hostileChecks on a real kube-apiserver. It must pass all of them and keep
// its memory below 1 GiB. The test also runs with an address that is not loopback.
func TestCheckStreamsAndHostileKubelets(t *testing.T) {
	t.Parallel()
	programs.Slow(t)
	args, inside := hostileChecks, inNetworkNamespace(t, nodeAddress)
	if inside {
		args = append([]string{"--node-ip", nodeAddress}, hostileChecks...)
	}

	plane := controlplane.Shared(t, checkable)
	plane.Bind(t, controlplane.KubeletAPIAdmin, controlplane.User("kubelet-client"))
	began := time.Now()
	got := runCheck(t, plane, append(servingCAFlags(plane.PKI), args...)...)
	peak := peak(t, plane.APIServer)
	t.Logf("%d checks in %v; peak memory of kube-apiserver: %d MiB", len(got.report.Results),
		time.Since(began).Round(time.Millisecond), peak>>10)
	if peak > 1<<20 {
		t.Errorf("peak memory of kube-apiserver is %d MiB, want at most 1 GiB", peak>>10)
	}
	got.passes(t)
	for _, r := range got.report.Results {
		if r.Verdict == conformance.Skipped && inside {
			t.Errorf("%s was skipped: %s", r.ID, r.Reason)
		}
		t.Logf("%s %s, %v\n  %s", r.Verdict, r.ID, time.Duration(r.Duration).Round(time.Millisecond),
			strings.Join(r.Evidence, "\n  "))
	}
	if strings.TrimSpace(got.Stderr) != "" {
		t.Logf("standard error: %s", got.Stderr)
	}
}

// peak returns the peak resident memory of a process since its start, in kB.
func peak(t *testing.T, p *programs.Process) (kB int) {
	t.Helper()
	_, after, _ := strings.Cut(expect.File(t, fmt.Sprintf("/proc/%d/status", p.Cmd.Process.Pid)), "VmHWM:")
	_, err := fmt.Sscan(after, &kB)
	expect.NoError(t, err)
	return kB
}
