package node

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"

	"fauxlet/e2e/internal/controlplane"
	"fauxlet/e2e/internal/expect"
	"fauxlet/e2e/internal/programs"
)

// jump sets the clock of a node ahead of the real time by the given duration.
func (b *bootstrapped) jump(t testing.TB, ahead time.Duration) {
	t.Helper()
	file := filepath.Join(b.dir, "clock")
	expect.NoError(t, os.WriteFile(file, []byte(fmt.Sprint(int(ahead.Seconds()))), 0o644))
	expect.NoError(t, b.Cmd.Process.Signal(syscall.SIGUSR1))
	expect.Eventually(t, time.Minute, "the clock jumps", func() string {
		if _, err := os.Stat(file); !errors.Is(err, fs.ErrNotExist) {
			return fmt.Sprint("not yet: ", err)
		}
		return ""
	})
}

// TestNodeReplacesCertificatesAfterClockJump moves the clock of a node past the expiry of its certificates. The node
// stops serving with the expired certificates, and requests new ones as the user of its bootstrap kubeconfig. The
// pods of the node still run after the clock is set back.
func TestNodeReplacesCertificatesAfterClockJump(t *testing.T) {
	t.Parallel()
	programs.Slow(t)
	plane := controlplane.Shared(t, bootstrapping)
	signer := plane.StartControllerManager(t, controlplane.CertificateControllers, 20*time.Minute)
	plane.BindGroup(t, "system:node-bootstrapper", "system:bootstrappers")
	plane.BindGroup(t, "system:certificates.k8s.io:certificatesigningrequests:nodeclient", "system:bootstrappers:auto")
	plane.Bind(t, controlplane.KubeletAPIAdmin, controlplane.User("kubelet-client"))
	scenario := filepath.Join(t.TempDir(), "scenario.yaml")
	expect.NoError(t,
		os.WriteFile(scenario,
			[]byte("apiVersion: fauxlet/v1alpha1\nkind: Scenario\ncontainers:\n- {pod: ends, exits: {after: 15s}}\n"),
			0o644))
	const node = "jumping"
	b := startBootstrapNodeOf(t, plane, programs.JumpingClock, node, "auto", true, "--scenario", scenario)
	client := b.current(t, "client", "")
	plane.AwaitNode(t, node, "is Ready", controlplane.ReadyIs(v1.ConditionTrue))
	approve(t, plane, plane.PendingRequest(t, node, controlplane.ServingSigner).Name)
	server := b.current(t, "server", "")
	plane.CreatePod(t, controlplane.BoundTo(node, "stays"))
	stays := plane.AwaitPod(t, "stays", "runs", controlplane.PhaseIs(v1.PodRunning))
	logs := func() string {
		if got := plane.Kubectl(t, "logs", "stays", "--tail=1"); got.Status != 0 {
			return got.Stderr
		}
		return ""
	}
	expect.Eventually(t, time.Minute, "kubectl logs", logs)

	// Restart the signer: the certificates that it now issues are valid long enough for the node's clock, which is
	// ahead.
	expect.NoError(t, signer.Stop())
	plane.StartControllerManager(t, controlplane.CertificateControllers, 2*time.Hour)
	b.jump(t, time.Hour)
	at := fmt.Sprintf("127.0.0.1:%d", plane.AwaitNode(t, node, "exists",
		func(*v1.Node) string { return "" }).Status.DaemonEndpoints.KubeletEndpoint.Port)
	if _, err := tls.Dial("tcp", at, &tls.Config{InsecureSkipVerify: true}); err == nil ||
		!strings.Contains(err.Error(), "tls: internal error") {
		t.Errorf("handshake after the serving certificate has expired: %v", err)
	}
	b.awaitLog(t, "the clock has jumped")
	b.current(t, "client", client)
	all := plane.CertificateRequests(t, node, controlplane.ClientSigner)
	if len(all) != 2 || !strings.HasPrefix(all[1].Spec.Username, "system:bootstrap:") {
		t.Errorf("%d certificate requests; user of the last one: %s", len(all), all[len(all)-1].Spec.Username)
	}
	approve(t, plane, plane.PendingRequest(t, node, controlplane.ServingSigner).Name)
	b.current(t, "server", server)
	expect.Eventually(t, time.Minute, "kubectl logs", logs)
	n := &joined{Process: b.Process, name: node, plane: plane}
	n.works(t, "ahead")

	plane.CreatePod(t, controlplane.BoundTo(node, "ends",
		func(pod *v1.Pod) { pod.Spec.RestartPolicy = v1.RestartPolicyNever }))
	plane.AwaitPod(t, "ends", "runs", controlplane.PhaseIs(v1.PodRunning))
	b.jump(t, 0)
	plane.AwaitPod(t, "ends", "ends", controlplane.PhaseIs(v1.PodSucceeded))
	n.works(t, "afterwards")
	expect.Eventually(t, time.Minute, "kubectl logs", logs)
	plane.RunsStill(t, stays)
}
