package e2e

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

	"fauxlet/internal/symptoms"
)

// TestErrorsOfKubectl has each error of internal/symptoms happen that names this test as its proof, for one of its causes, and
// wants what kubectl prints to be recognised as that, and as nothing else.
func TestErrorsOfKubectl(t *testing.T) {
	const proof = "e2e TestErrorsOfKubectl"
	proved := map[string]bool{}
	ofProof := map[string]bool{}
	for _, symptom := range symptoms.Table() {
		ofProof[symptom.ID] = symptom.Proof == proof
	}
	// expect runs kubectl, and gives what it prints.
	expect := func(t *testing.T, plane *controlPlane, id string, args ...string) string {
		t.Helper()
		proved[id] = true
		if !ofProof[id] {
			t.Errorf("%s names another proof", id)
		}
		got := plane.kubectl(t, args...)
		d := symptoms.Recognise(got.stdout + got.stderr)
		if got.status == 0 || len(d.Findings) != 1 || d.Findings[0].ID != id {
			var found []string
			for _, f := range d.Findings {
				found = append(found, fmt.Sprintf("%s: %q", f.ID, f.Found))
			}
			t.Errorf("kubectl %q: status %d\n%s%sis recognised as %q, want %s", args, got.status, got.stdout, got.stderr, found, id)
		}
		return got.stdout + got.stderr
	}

	t.Run("kubectl itself", func(t *testing.T) {
		plane := withFlags(t, certified)
		nowhere := fmt.Sprintf("--server=https://127.0.0.1:%d", freePort(t))
		expect(t, plane, "kubectl-cannot-connect", "logs", "nginx", nowhere)
		p, err := certificates()
		must(t, err)
		stranger := p.dir + "/stranger-ca.crt"
		must(t, os.WriteFile(stranger, p.strangerCA.CertPEM(), 0o644))
		expect(t, plane, "kubectl-cannot-connect", "logs", "nginx", "--certificate-authority="+stranger)
		expect(t, plane, "kubectl-unauthorized", "logs", "nginx", "--kubeconfig=/dev/null", "--server="+plane.url, "--certificate-authority="+p.caFile, "--token=nonsense")
		expect(t, plane, "kubectl-forbidden", "logs", "nginx", "--as=somebody")
		expect(t, plane, "no-such-pod", "logs", "nginx")
		expect(t, plane, "no-metrics", "top", "nodes")
	})
	t.Run("the way to the node", func(t *testing.T) {
		plane := withFlags(t, certified)
		k := startKubelet(t, plane, kubeletOptions{})
		plane.register(t, k.node, k.port, nginx())
		expect(t, plane, "address-not-allowed", "get", "--raw", "/api/v1/nodes/node-1/proxy/pods")

		nodes := plane.client.CoreV1().Nodes()
		node, err := nodes.Get(context.Background(), k.node, metav1.GetOptions{})
		must(t, err)
		// No machine is asked: to the broadcast address of loopback there is no way for TCP.
		node.Status.Addresses[0].Address = "127.255.255.255"
		node, err = nodes.UpdateStatus(context.Background(), node, metav1.UpdateOptions{})
		must(t, err)
		expect(t, plane, "no-route", "logs", "nginx")
		node.Status.Addresses = nil
		_, err = nodes.UpdateStatus(context.Background(), node, metav1.UpdateOptions{})
		must(t, err)
		expect(t, plane, "no-preferred-addresses", "logs", "nginx")
	})
	t.Run("who are you", func(t *testing.T) {
		plane := withFlags(t, bare)
		t.Run("anonymous off", func(t *testing.T) {
			k := startKubelet(t, plane, kubeletOptions{})
			plane.register(t, k.node, k.port, nginx())
			expect(t, plane, "unauthorized", "logs", "nginx")
			expect(t, plane, "upgrade-unauthorized", "exec", "nginx", "--", "id")
		})
		t.Run("anonymous on", func(t *testing.T) {
			k := startKubelet(t, plane, kubeletOptions{settings: settings{"authentication.anonymous.enabled": true}})
			plane.register(t, k.node, k.port, nginx())
			expect(t, plane, "forbidden-anonymous", "logs", "nginx")
			expect(t, plane, "forbidden-anonymous", "exec", "nginx", "--", "id")
		})
	})
	t.Run("may you", func(t *testing.T) {
		plane := withFlags(t, certified)
		k := startKubelet(t, plane, kubeletOptions{})
		plane.register(t, k.node, k.port, nginx())
		expect(t, plane, "forbidden", "logs", "nginx")
		expect(t, plane, "forbidden", "exec", "nginx", "--", "id")

		// Once as a reader of docs/explain.md does it.
		asked := run(t, shell(t, plane, `fauxlet explain --error "$(kubectl logs nginx 2>&1)"`))
		if asked.status != 0 || asked.stderr != "" {
			t.Fatalf("fauxlet explain --error: %+v", asked)
		}
		contains(t, "fauxlet explain --error", asked.stdout, "\nthe kubelet knows its client, kubelet-client, who may not get nodes/proxy (403)")
		const cure = "kubectl create clusterrolebinding kubelet-client --clusterrole=system:kubelet-api-admin --user=kubelet-client"
		contains(t, "fauxlet explain --error", asked.stdout, "\n  "+cure+"\n")
		t.Cleanup(func() {
			plane.kubectl(t, "delete", "clusterrolebinding", "kubelet-client")
			plane.awaitAccess(t, userNamed("kubelet-client"), false)
		})
		if got := run(t, shell(t, plane, cure)); got.status != 0 {
			t.Fatalf("%s: %+v", cure, got)
		}
		plane.awaitAccess(t, userNamed("kubelet-client"), true)
		plane.printsLogs(t)
	})
	t.Run("what there is", func(t *testing.T) {
		plane := withFlags(t, certified)
		plane.bind(t, kubeletAPIAdmin, userNamed("kubelet-client"))
		waiting := pod{"default", "waiting", []container{{name: "nginx", creating: true}}}
		gone := nginx()
		gone.name = "gone"
		k := startKubelet(t, plane, kubeletOptions{pods: []pod{nginx(), waiting}})
		plane.register(t, k.node, k.port, nginx(), waiting, gone)
		expect(t, plane, "waiting-to-start", "logs", "waiting")
		expect(t, plane, "no-previous-container", "logs", "nginx", "--previous")
		expect(t, plane, "no-such-container", "logs", "nginx", "--container=other")
		expect(t, plane, "no-such-container", "exec", "waiting", "--", "id")
		expect(t, plane, "pod-does-not-exist", "logs", "gone")
		expect(t, plane, "pod-does-not-exist", "exec", "gone", "--", "id")
	})
	t.Run("handlers off", func(t *testing.T) {
		plane := withFlags(t, certified)
		plane.bind(t, kubeletAPIAdmin, userNamed("kubelet-client"))
		k := startKubelet(t, plane, kubeletOptions{settings: settings{"enableDebuggingHandlers": false}})
		plane.register(t, k.node, k.port, nginx())
		expect(t, plane, "handlers-off", "logs", "nginx")
	})
	t.Run("no kubelet", func(t *testing.T) {
		plane := withFlags(t, certified)
		other := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "a program of another kind", http.StatusTeapot)
		}))
		t.Cleanup(other.Close)
		at, err := url.Parse(other.URL)
		must(t, err)
		port, err := strconv.Atoi(at.Port())
		must(t, err)
		plane.register(t, "node-1", port, nginx())
		said := expect(t, plane, "unknown-upgrade", "exec", "nginx", "--", "id")
		contains(t, "kubectl exec", said, "a program of another kind")
	})

	for _, symptom := range symptoms.Table() {
		if ofProof[symptom.ID] && !proved[symptom.ID] {
			t.Errorf("%s: nothing has it happen", symptom.ID)
		}
	}
}

// shell is a command line with kubectl and fauxlet on its path, for the plane's admin.
func shell(t testing.TB, plane *controlPlane, line string) *exec.Cmd {
	t.Helper()
	g := newGuide(t, "explain.md", t.TempDir(), "kubectl", "fauxlet")
	cmd := exec.Command("sh", "-c", line)
	cmd.Env = append(g.env, "KUBECONFIG="+plane.kubeconfig)
	return cmd
}
