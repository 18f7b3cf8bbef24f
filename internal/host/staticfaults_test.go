package host_test

import (
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"fauxlet/internal/host"
)

// TestFaultMatchesStaticPod expects a fault of a Scenario file to match the pods of that file in a cluster too. There
// they are static pods, and their names end in the name of the node.
func TestFaultMatchesStaticPod(t *testing.T) {
	path := filepath.Join(t.TempDir(), "scenario.yaml")
	if err := os.WriteFile(path, []byte(`
apiVersion: fauxlet/v1alpha1
kind: Scenario
pods:
- {metadata: {name: nginx}, spec: {containers: [{name: nginx}]}}
- {metadata: {name: other}, spec: {containers: [{name: nginx}]}}
faults:
- {kind: status, status: 503, pod: nginx}
`), 0o600); err != nil {
		t.Fatal(err)
	}
	a := startAPIServer(t)
	h := start(t, host.Options{Scenario: path, Config: loadConfig(t, map[string]string{"kubeconfig": a.kubeconfig(t)})})
	for name, want := range map[string]int{"nginx-node-1": http.StatusServiceUnavailable,
		"other-node-1": http.StatusOK} {
		status := http.StatusNotFound
		for status == http.StatusNotFound { // the static pod is not there yet
			status, _ = get(t, h.Addresses().Secure, "/containerLogs/default/"+name+"/nginx")
		}
		if status != want {
			t.Errorf("%s: status %d, want %d", name, status, want)
		}
	}
}
