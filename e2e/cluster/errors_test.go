package cluster

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"strconv"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"fauxlet/e2e/internal/controlplane"
	"fauxlet/e2e/internal/expect"
	"fauxlet/e2e/internal/guide"
	"fauxlet/e2e/internal/kubelet"
	"fauxlet/e2e/internal/programs"
	"fauxlet/e2e/internal/sample"
	"fauxlet/internal/symptoms"
)

// TestKubectlErrorsAreRecognized provokes each error of internal/symptoms that names this test as its proof. fauxlet
// explain must recognize the output of kubectl as that error and no other.
func TestKubectlErrorsAreRecognized(t *testing.T) {
	t.Parallel()
	const proof = "e2e/cluster TestKubectlErrorsAreRecognized"
	proved := map[string]bool{}
	ofProof := map[string]bool{}
	for _, symptom := range symptoms.Table() {
		ofProof[symptom.ID] = symptom.Proof == proof
	}
	// The function "fails" runs kubectl and returns its output. kubectl must fail, and package symptoms must recognize
	// its output as the error with the given ID.
	fails := func(t *testing.T, plane *controlplane.Plane, id string, args ...string) string {
		t.Helper()
		proved[id] = true
		if !ofProof[id] {
			t.Errorf("the catalog names another test as the proof of %s", id)
		}
		got := plane.Kubectl(t, args...)
		d := symptoms.Diagnose(got.Stdout + got.Stderr)
		if got.Status == 0 || len(d.Findings) != 1 || d.Findings[0].ID != id {
			var found []string
			for _, f := range d.Findings {
				found = append(found, fmt.Sprintf("%s: %q", f.ID, f.Found))
			}
			t.Errorf("kubectl %q: status %d\n%s%sis recognized as %q, want %s", args, got.Status, got.Stdout,
				got.Stderr,
				found, id)
		}
		return got.Stdout + got.Stderr
	}

	t.Run("kubectl to kube-apiserver", func(t *testing.T) {
		plane := controlplane.Shared(t, controlplane.WithClientCertificate)
		nowhere := fmt.Sprintf("--server=https://127.0.0.1:%d", programs.FreePort(t))
		fails(t, plane, "apiserver-refused", "logs", "nginx", nowhere)
		p, err := controlplane.Certificates()
		expect.NoError(t, err)
		unknownCA := p.Dir + "/kubectl-unknown-ca.crt"
		expect.NoError(t, os.WriteFile(unknownCA, p.UnknownCA.CertPEM(), 0o644))
		fails(t, plane, "apiserver-untrusted", "logs", "nginx", "--certificate-authority="+unknownCA)
		fails(t, plane, "kubectl-unauthorized", "logs", "nginx", "--kubeconfig=/dev/null", "--server="+plane.URL,
			"--certificate-authority="+p.CAFile, "--token=nonsense")
		fails(t, plane, "kubectl-forbidden", "logs", "nginx", "--as=outsider")
		fails(t, plane, "no-such-pod", "logs", "nginx")
		fails(t, plane, "no-metrics", "top", "nodes")
	})
	t.Run("address of the node", func(t *testing.T) {
		plane := controlplane.Shared(t, controlplane.WithClientCertificate)
		k := kubelet.Start(t, plane, kubelet.Options{})
		plane.Register(t, k.Node, k.Port, sample.Nginx())
		fails(t, plane, "address-not-allowed", "get", "--raw", "/api/v1/nodes/node-1/proxy/pods")

		nodes := plane.Client.CoreV1().Nodes()
		node, err := nodes.Get(context.Background(), k.Node, metav1.GetOptions{})
		expect.NoError(t, err)
		// On this machine, a TCP connection to the broadcast address of loopback fails, so the test contacts no other
		// machine.
		node.Status.Addresses[0].Address = "127.255.255.255"
		node, err = nodes.UpdateStatus(context.Background(), node, metav1.UpdateOptions{})
		expect.NoError(t, err)
		fails(t, plane, "no-route", "logs", "nginx")
		node.Status.Addresses = nil
		_, err = nodes.UpdateStatus(context.Background(), node, metav1.UpdateOptions{})
		expect.NoError(t, err)
		fails(t, plane, "no-preferred-addresses", "logs", "nginx")
	})
	t.Run("authentication", func(t *testing.T) {
		plane := controlplane.Shared(t, controlplane.NoKubeletFlags)
		t.Run("anonymous off", func(t *testing.T) {
			k := kubelet.Start(t, plane, kubelet.Options{})
			plane.Register(t, k.Node, k.Port, sample.Nginx())
			fails(t, plane, "unauthorized", "logs", "nginx")
			fails(t, plane, "upgrade-unauthorized", "exec", "nginx", "--", "id")
		})
		t.Run("anonymous on", func(t *testing.T) {
			k := kubelet.Start(t, plane,
				kubelet.Options{Settings: kubelet.Settings{"authentication.anonymous.enabled": true}})
			plane.Register(t, k.Node, k.Port, sample.Nginx())
			fails(t, plane, "forbidden-anonymous", "logs", "nginx")
			fails(t, plane, "forbidden-anonymous", "exec", "nginx", "--", "id")
		})
	})
	t.Run("authorization", func(t *testing.T) {
		plane := controlplane.Shared(t, controlplane.WithClientCertificate)
		k := kubelet.Start(t, plane, kubelet.Options{})
		plane.Register(t, k.Node, k.Port, sample.Nginx())
		fails(t, plane, "forbidden", "logs", "nginx")
		fails(t, plane, "forbidden", "exec", "nginx", "--", "id")

		// Look up the error with fauxlet explain --error, as docs/explain.md describes.
		asked := programs.Run(t, shell(t, plane, `fauxlet explain --error "$(kubectl logs nginx 2>&1)"`))
		if asked.Status != 0 || asked.Stderr != "" {
			t.Fatalf("fauxlet explain --error: %+v", asked)
		}
		expect.Contains(t, "fauxlet explain --error", asked.Stdout,
			"The kubelet authenticates its client as kubelet-client, but does not allow it to get nodes/proxy (403)")
		const remedy = "kubectl create clusterrolebinding kubelet-client --clusterrole=system:kubelet-api-admin " +
			"--user=kubelet-client"
		expect.Contains(t, "fauxlet explain --error", asked.Stdout, "\n  "+remedy+"\n")
		t.Cleanup(func() {
			plane.Kubectl(t, "delete", "clusterrolebinding", "kubelet-client")
			plane.AwaitAccess(t, controlplane.User("kubelet-client"), false)
		})
		if got := programs.Run(t, shell(t, plane, remedy)); got.Status != 0 {
			t.Fatalf("%s: %+v", remedy, got)
		}
		plane.AwaitAccess(t, controlplane.User("kubelet-client"), true)
		plane.LogsPrinted(t)
	})
	t.Run("pods and containers", func(t *testing.T) {
		plane := controlplane.Shared(t, controlplane.WithClientCertificate)
		plane.Bind(t, controlplane.KubeletAPIAdmin, controlplane.User("kubelet-client"))
		waiting := sample.Pod{Namespace: "default", Name: "waiting",
			Containers: []sample.Container{{Name: "nginx", Creating: true}}}
		gone := sample.Nginx()
		gone.Name = "gone"
		k := kubelet.Start(t, plane, kubelet.Options{Pods: []sample.Pod{sample.Nginx(), waiting}})
		plane.Register(t, k.Node, k.Port, sample.Nginx(), waiting, gone)
		fails(t, plane, "waiting-to-start", "logs", "waiting")
		fails(t, plane, "no-previous-container", "logs", "nginx", "--previous")
		fails(t, plane, "no-such-container", "logs", "nginx", "--container=other")
		fails(t, plane, "no-such-container", "exec", "waiting", "--", "id")
		fails(t, plane, "pod-does-not-exist", "logs", "gone")
		fails(t, plane, "pod-does-not-exist", "exec", "gone", "--", "id")
	})
	t.Run("debugging handlers off", func(t *testing.T) {
		plane := controlplane.Shared(t, controlplane.WithClientCertificate)
		plane.Bind(t, controlplane.KubeletAPIAdmin, controlplane.User("kubelet-client"))
		k := kubelet.Start(t, plane, kubelet.Options{Settings: kubelet.Settings{"enableDebuggingHandlers": false}})
		plane.Register(t, k.Node, k.Port, sample.Nginx())
		fails(t, plane, "handlers-off", "logs", "nginx")
	})
	t.Run("another program on the port", func(t *testing.T) {
		plane := controlplane.Shared(t, controlplane.WithClientCertificate)
		other := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "another program", http.StatusTeapot)
		}))
		t.Cleanup(other.Close)
		at, err := url.Parse(other.URL)
		expect.NoError(t, err)
		port, err := strconv.Atoi(at.Port())
		expect.NoError(t, err)
		plane.Register(t, "node-1", port, sample.Nginx())
		said := fails(t, plane, "unknown-upgrade", "exec", "nginx", "--", "id")
		expect.Contains(t, "kubectl exec", said, "another program")
	})

	for _, symptom := range symptoms.Table() {
		if ofProof[symptom.ID] && !proved[symptom.ID] {
			t.Errorf("%s: no subtest provokes it", symptom.ID)
		}
	}
}

// shell returns a shell command that has kubectl and fauxlet on its PATH and the administrator's kubeconfig of the
// control plane.
func shell(t testing.TB, plane *controlplane.Plane, line string) *exec.Cmd {
	t.Helper()
	g := guide.New(t, "explain.md", t.TempDir(), "kubectl", "fauxlet")
	cmd := exec.Command("sh", "-c", line)
	cmd.Env = append(g.Env, "KUBECONFIG="+plane.Kubeconfig)
	return cmd
}
