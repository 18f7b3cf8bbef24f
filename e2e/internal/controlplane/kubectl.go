package controlplane

import (
	"context"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"fauxlet/e2e/internal/expect"
	"fauxlet/e2e/internal/programs"
	"fauxlet/e2e/internal/sample"
)

// Kubectl runs kubectl as the administrator.
func (c *Plane) Kubectl(t testing.TB, args ...string) programs.Result {
	t.Helper()
	return programs.Run(t, c.KubectlCommand(t, context.Background(), args...))
}

// KubectlCommand returns a kubectl command with the kubeconfig of the administrator. The caller starts it.
func (c *Plane) KubectlCommand(t testing.TB, ctx context.Context, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(ctx, programs.Path(t, "kubectl"),
		append([]string{"--kubeconfig", c.Kubeconfig}, args...)...)
	cmd.Env = []string{"HOME=" + programs.Scratch, "KUBECACHEDIR=" + filepath.Join(filepath.Dir(c.Kubeconfig), "cache")}
	return cmd
}

// LogsFail runs kubectl logs for the pod of sample.Nginx. kubectl must fail and print exactly the given error.
func (c *Plane) LogsFail(t testing.TB, words string) {
	t.Helper()
	if got := c.Kubectl(t, "logs", "nginx"); got.Status != 1 || got.Stdout != "" || got.Stderr != words+"\n" {
		t.Fatalf("kubectl logs nginx: status %d, stdout %q, stderr\n  %q, want\n  %q", got.Status, got.Stdout,
			got.Stderr,
			words+"\n")
	}
}

// LogsPrinted runs kubectl logs for the pod of sample.Nginx. kubectl must print the pod's log.
func (c *Plane) LogsPrinted(t testing.TB) {
	t.Helper()
	if got := c.Kubectl(t, "logs", "nginx"); got != (programs.Result{Stdout: sample.NginxLog}) {
		t.Fatalf("kubectl logs nginx: %+v, want the log", got)
	}
}

// KubectlPrints runs kubectl and returns its output. kubectl must succeed, and the output must contain each of the
// given texts.
func (c *Plane) KubectlPrints(t testing.TB, parts []string, args ...string) string {
	t.Helper()
	got := c.Kubectl(t, args...)
	if got.Status != 0 {
		t.Fatalf("kubectl %s: status %d, %s", strings.Join(args, " "), got.Status, got.Stderr)
	}
	for _, part := range parts {
		expect.Contains(t, "kubectl "+strings.Join(args, " "), got.Stdout, part)
	}
	return got.Stdout
}

// Apply creates the objects of a manifest, and deletes them when the test ends.
func (c *Plane) Apply(t testing.TB, manifest string) {
	t.Helper()
	apply := func(verb string, more ...string) {
		cmd := c.KubectlCommand(t, context.Background(), append([]string{verb, "-f", "-"}, more...)...)
		cmd.Stdin = strings.NewReader(manifest)
		if said := programs.Run(t, cmd); said.Status != 0 {
			t.Fatalf("kubectl %s failed: %s", verb, said.Stderr)
		}
	}
	apply("apply")
	t.Cleanup(func() { apply("delete", "--wait=false") })
}
