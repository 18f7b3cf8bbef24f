package cluster

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
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
	"fauxlet/e2e/internal/sample"
	"fauxlet/internal/symptoms"
	"fauxlet/testcerts"
)

// TestKonnectivity runs kube-apiserver with konnectivity: it reaches nodes only through the konnectivity server and an
// agent. Without an agent, kubectl prints the error on the page docs/konnectivity.md, and fauxlet names its cause. With
// an agent, kubectl logs and exec work, and fauxlet check states that the agent's pod opened the connection.
func TestKonnectivity(t *testing.T) {
	t.Parallel()
	programs.Slow(t)
	page := guide.New(t, "konnectivity.md", t.TempDir())
	// The path of a Unix socket can have about 100 bytes.
	dir, err := os.MkdirTemp("", "konnectivity-")
	expect.NoError(t, err)
	t.Cleanup(func() { expect.NoError(t, os.RemoveAll(dir)) })
	socket, egress := filepath.Join(dir, "server.sock"), filepath.Join(dir, "egress.yaml")
	const pageSocket = "/etc/kubernetes/konnectivity-server/konnectivity-server.socket"
	config := page.Block(t, "How kube-apiserver uses it", "yaml")
	expect.Contains(t, "docs/konnectivity.md", config, pageSocket)
	expect.NoError(t, os.WriteFile(egress, []byte(strings.Replace(config, pageSocket, socket, 1)), 0o644))

	plane := controlplane.NewStopped(t, append([]string{"--egress-selector-config-file=" + egress},
		controlplane.WithClientCertificate...))
	agentPort := startKonnectivityServer(t, plane.PKI, socket)
	expect.NoError(t, plane.Start())
	plane.Bind(t, controlplane.KubeletAPIAdmin, controlplane.User("kubelet-client"))
	k := kubelet.Start(t, plane, kubelet.Options{})
	plane.Register(t, k.Node, k.Port, sample.Nginx())

	failed := plane.Kubectl(t, "logs", "nginx")
	printed := failed.Stdout + failed.Stderr
	for line := range strings.Lines(page.Block(t, "Without an agent", "")) {
		if prefix, suffix, found := strings.Cut(strings.TrimSpace(line), "192.0.2.7:10250"); found {
			expect.Contains(t, "kubectl logs", printed, prefix)
			_, suffix, _ = strings.Cut(suffix, ": ")
			expect.Contains(t, "kubectl logs", printed, suffix)
		}
	}
	d := symptoms.Diagnose(printed)
	if failed.Status == 0 || len(d.Findings) != 1 || d.Findings[0].ID != "no-agent" {
		t.Fatalf("kubectl logs without an agent: %+v is recognized as %+v, want no-agent", failed, d.Findings)
	}

	startKonnectivityAgent(t, plane.PKI, agentPort)
	expect.Eventually(t, time.Minute, "kubectl logs works through the agent", func() string {
		if got := plane.Kubectl(t, "logs", "nginx", "--tail=1"); got.Status != 0 {
			return got.Stderr
		}
		return ""
	})
	plane.LogsPrinted(t)
	plane.KubectlPrints(t, []string{"through the tunnel"}, "exec", "nginx", "--", "echo", "through the tunnel")

	createAgentPod(t, plane)
	got := programs.Run(t, checkCommand(t, plane, "--only", "reach.dialled"))
	if got.Status != 0 {
		t.Fatalf("fauxlet check: %+v", got)
	}
	const source = "the connection came from the address of the pod kube-system/konnectivity-agent-x7k2p"
	expect.Contains(t, "fauxlet check", got.Stdout, source)
	expect.Contains(t, "docs/konnectivity.md",
		expect.File(t, filepath.Join(programs.Repository(), "docs", "konnectivity.md")), source)
}

// startKonnectivityServer starts a konnectivity server, which kube-apiserver reaches at a Unix socket. It returns the
// port for agents.
func startKonnectivityServer(t *testing.T, p *controlplane.PKI, socket string) int {
	cert, key, err := p.Pair("konnectivity-server", func() (*testcerts.Pair, error) {
		return p.CA.Server("konnectivity-server", []string{"127.0.0.1"})
	})
	expect.NoError(t, err)
	agentPort, health := programs.FreePort(t), programs.FreePort(t)
	startKonnectivity(t, "konnectivity-server", health,
		"--uds-name="+socket, "--server-port=0", "--mode=grpc",
		"--cluster-cert="+cert, "--cluster-key="+key, "--cluster-ca-cert="+p.CAFile,
		"--agent-bind-address=127.0.0.1", fmt.Sprintf("--agent-port=%d", agentPort),
		"--health-bind-address=127.0.0.1", fmt.Sprintf("--health-port=%d", health),
		fmt.Sprintf("--admin-port=%d", programs.FreePort(t)), "-v=2")
	return agentPort
}

// startKonnectivityAgent starts a konnectivity agent, which connects to the server at the given port.
func startKonnectivityAgent(t *testing.T, p *controlplane.PKI, port int) {
	cert, key, err := p.Pair("konnectivity-agent", p.ClientPair("konnectivity-agent"))
	expect.NoError(t, err)
	health := programs.FreePort(t)
	startKonnectivity(t, "konnectivity-agent", health,
		"--proxy-server-host=127.0.0.1", fmt.Sprintf("--proxy-server-port=%d", port),
		"--ca-cert="+p.CAFile, "--agent-cert="+cert, "--agent-key="+key,
		fmt.Sprintf("--health-server-port=%d", health),
		fmt.Sprintf("--admin-server-port=%d", programs.FreePort(t)), "-v=2")
}

func startKonnectivity(t *testing.T, name string, health int, args ...string) {
	t.Helper()
	p, err := programs.Start(name, programs.Path(t, name), args...)
	expect.NoError(t, err)
	t.Cleanup(func() {
		p.LogOnFailure(t, 0)
		// At SIGTERM an agent ends only when its connections have ended.
		_ = p.Cmd.Process.Kill()
		<-p.Ended
	})
	expect.Eventually(t, time.Minute, name+" is healthy", func() string {
		select {
		case <-p.Ended:
			t.Fatalf("%s has ended: %v\n%s", name, p.Err, p.Out.String())
		default:
		}
		got := programs.Run(t, exec.Command("curl", "-sf", fmt.Sprintf("http://127.0.0.1:%d/healthz", health)))
		if got.Status != 0 {
			return fmt.Sprintf("curl: status %d", got.Status)
		}
		return ""
	})
}

// createAgentPod creates the Pod object of the agent, which in this test is a process of this machine. The address of
// the pod is the one from which the agent connects.
func createAgentPod(t *testing.T, plane *controlplane.Plane) {
	t.Helper()
	ctx := context.Background()
	pods := plane.Client.CoreV1().Pods("kube-system")
	pod, err := pods.Create(ctx, &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "konnectivity-agent-x7k2p"},
		Spec: v1.PodSpec{
			NodeName:   "worker-1",
			Containers: []v1.Container{{Name: "agent", Image: "konnectivity-agent"}},
		},
	}, metav1.CreateOptions{})
	expect.NoError(t, err)
	pod.Status.PodIP, pod.Status.PodIPs = "127.0.0.1", []v1.PodIP{{IP: "127.0.0.1"}}
	_, err = pods.UpdateStatus(ctx, pod, metav1.UpdateOptions{})
	expect.NoError(t, err)
}
