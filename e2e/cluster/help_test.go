package cluster

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"fauxlet/e2e/internal/controlplane"
	"fauxlet/e2e/internal/expect"
	"fauxlet/e2e/internal/guide"
	"fauxlet/e2e/internal/programs"
)

// TestHelpExamples runs the examples of the help texts that need a cluster. The script examples.txtar of cmd/fauxlet
// runs the others. The test changes only ports, addresses, folders and the number of nodes in the examples.
func TestHelpExamples(t *testing.T) {
	t.Parallel()
	programs.Slow(t)
	plane := controlplane.New(t, checkable)
	plane.StartControllerManager(t, controlplane.CertificateControllers, time.Hour)
	plane.Bind(t, controlplane.KubeletAPIAdmin, controlplane.User("kubelet-client"))
	dir := t.TempDir()
	for name, file := range map[string]string{
		"admin.conf": plane.Kubeconfig, "kubelet.conf": plane.Kubeconfig, "ca.crt": plane.PKI.CAFile,
	} {
		expect.NoError(t, os.Symlink(file, filepath.Join(dir, name)))
	}
	for name, text := range map[string]string{
		"kubelet.yaml": "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n",
		"pods.yaml":    "apiVersion: fauxlet/v1alpha1\nkind: Scenario\n",
	} {
		expect.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644))
	}
	expect.NoError(t, os.Symlink("pods.yaml", filepath.Join(dir, "scenario.yaml")))
	here := strings.NewReplacer("192.0.2.7", "127.0.0.1", "/etc/kubernetes/pki/ca.crt", "ca.crt",
		"/etc/kubernetes/kubelet.conf", "kubelet.conf", "/var/lib/kubelet/config.yaml", "kubelet.yaml",
		"/tmp/pki", filepath.Join(dir, "pki"), "--nodes 1000", "--nodes 3")
	g := guide.New(t, "join.md", dir, "fauxlet")

	served, checks := 0, 0
	for _, command := range []string{"", "serve", "check"} {
		help := programs.Run(t, exec.Command(programs.Path(t, "fauxlet"), command, "--help"))
		examples, _, _ := strings.Cut(help.Stdout, "\nUsage:\n")
		for _, example := range regexp.MustCompile(`(?m)^  fauxlet .*$`).FindAllString(examples, -1) {
			example = here.Replace(strings.TrimSpace(example))
			switch {
			case strings.HasPrefix(example, "fauxlet check "):
				checks++
				g.Runs(t, example+" || [ $? = 2 ]") // 2: without a CA, not everything can be found out
			case strings.Contains(example, " --kubeconfig "):
				served++
				p := g.Start(t, "exec "+example+" --address 127.0.0.1 --port 0 --read-only-port 0 --healthz-port 0 "+
					"--cert-dir "+filepath.Join(dir, "pki")+" --admin-address=\n")
				expect.Eventually(t, time.Minute, example, func() string {
					nodes, err := plane.Client.CoreV1().Nodes().List(context.Background(), metav1.ListOptions{})
					expect.NoError(t, err)
					for i := range nodes.Items {
						if controlplane.ReadyIs(v1.ConditionTrue)(&nodes.Items[i]) == "" {
							return ""
						}
					}
					return "no node is ready"
				})
				out := p.Out.String() // without the errors of the requests that the end of the process cancels
				expect.NoError(t, p.Stop())
				if strings.Contains(out, `"level":"warn"`) ||
					strings.Contains(out, `"level":"error"`) {
					t.Errorf("%s:\n%s", example, out)
				}
			}
		}
	}
	if served != 5 || checks != 6 {
		t.Errorf("%d examples of serve and %d of check were run, want 5 and 6", served, checks)
	}
}
