package cluster

import (
	"encoding/xml"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"fauxlet/e2e/internal/controlplane"
	"fauxlet/e2e/internal/expect"
	"fauxlet/e2e/internal/programs"
)

// TestActionScript runs the script of action.yaml against a kube-apiserver without mistakes, and then with a client
// CA that did not sign the client certificate of this kube-apiserver.
func TestActionScript(t *testing.T) {
	t.Parallel()
	plane := controlplane.Shared(t, checkable)
	dir := t.TempDir()
	report, output := filepath.Join(dir, "reports", "check.xml"), filepath.Join(dir, "output")
	run := func(args string) (programs.Result, string) {
		t.Helper()
		expect.NoError(t, os.WriteFile(output, nil, 0o644))
		cmd := exec.Command("bash", "../../.github/action/check.sh")
		cmd.Env = []string{"PATH=/usr/bin:/bin", "HOME=" + programs.Scratch, "GITHUB_OUTPUT=" + output,
			"FAUXLET_PROGRAM=" + programs.Path(t, "fauxlet"), "FAUXLET_KUBECONFIG=" + plane.Kubeconfig,
			"FAUXLET_REPORT=" + report, "FAUXLET_ARGS=" + args}
		got := programs.Run(t, cmd)
		return got, expect.File(t, output)
	}
	failures := func() int {
		t.Helper()
		var suites struct {
			Tests    int `xml:"tests,attr"`
			Failures int `xml:"failures,attr"`
		}
		expect.NoError(t, xml.Unmarshal([]byte(expect.File(t, report)), &suites))
		if suites.Tests == 0 {
			t.Errorf("the report has no tests: %s", expect.File(t, report))
		}
		return suites.Failures
	}
	const only = "--only=reach.dialled,client\n"
	ca := "--client-ca=" + plane.PKI.CAFile + "\n"
	got, outputs := run(only + ca)
	if want := "exit-code=0\nreport=" + report + "\n"; got.Status != 0 || outputs != want || failures() != 0 {
		t.Errorf("%+v: outputs %q, want %q; %s", got, outputs, want, expect.File(t, report))
	}
	// A CA that did not sign kube-apiserver's client certificate is a mistake that the check finds.
	other := filepath.Join(dir, "other")
	expect.NoError(t, exec.Command(programs.Path(t, "fauxlet"), "certs", "ca", "--dir", other).Run())
	got, outputs = run(only + "--client-ca=" + filepath.Join(other, "ca.crt"))
	if want := "exit-code=1\nreport=" + report + "\n"; got.Status != 1 || outputs != want || failures() == 0 {
		t.Errorf("%+v: outputs %q, want %q; %s", got, outputs, want, expect.File(t, report))
	}
}
