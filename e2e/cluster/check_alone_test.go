package cluster

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"fauxlet/conformance"
	"fauxlet/e2e/internal/controlplane"
	"fauxlet/e2e/internal/expect"
	"fauxlet/e2e/internal/programs"
	"fauxlet/testcerts"
)

// TestCheckWithKubeconfigAlone makes four mistakes on a kube-apiserver. "fauxlet check" without any flag, with the
// kubeconfig that kubectl would use, must find each of them and nothing else. Then the test applies the remedy, and
// no check fails or warns.
func TestCheckWithKubeconfigAlone(t *testing.T) {
	t.Parallel()
	programs.Slow(t)
	plane := controlplane.NewStopped(t, checkable)
	p, dir := plane.PKI, t.TempDir()
	certFile, keyFile := filepath.Join(dir, "client.crt"), filepath.Join(dir, "client.key")
	good, err := p.CA.Client("kubelet-client", nil)
	expect.NoError(t, err)
	expect.NoError(t, good.Write(certFile, keyFile))
	sound := changed(p, plane.Args, nil, []string{clientCertificateFlag + "=" + certFile,
		"--kubelet-client-key=" + keyFile, servingCAFlag + "=ca.crt",
		addressTypesFlag + "=InternalIP,ExternalIP,Hostname"})
	plane.Args = sound
	expect.NoError(t, plane.Start())
	plane.Bind(t, controlplane.KubeletAPIAdmin, controlplane.User("kubelet-client"))
	home := filepath.Join(dir, "home")
	expect.NoError(t, os.MkdirAll(filepath.Join(home, ".kube"), 0o700))
	expect.NoError(t, os.Symlink(plane.Kubeconfig, filepath.Join(home, ".kube", "config")))
	before := objects(t, plane)

	run := func(args ...string) programs.Result {
		cmd := exec.Command(programs.Path(t, "fauxlet"), append([]string{"check"}, args...)...)
		cmd.Env = []string{"HOME=" + home}
		return programs.Run(t, cmd)
	}
	check := func(args ...string) checked { return reported(t, run(append(args, "--output", "json")...)) }
	restart := func(t *testing.T, args []string) {
		t.Helper()
		if !slices.Equal(args, plane.Args) {
			expect.NoError(t, plane.APIServer.Stop())
			plane.Args = args
			expect.NoError(t, plane.Start())
		}
	}
	for _, m := range []struct {
		what    string
		mint    func() (*testcerts.Pair, error) // a client certificate, if the mistake is in it
		without []string                        // flags of kube-apiserver to remove
		id      string
		verdict conformance.Verdict
		status  int
		remedy  []string // the flags in the remedy
		open    int      // the number of reasons for which something could not be found out
	}{
		{what: "wrong client CA", mint: func() (*testcerts.Pair, error) {
			return p.UnknownCA.Client("kubelet-client", nil)
		},
			id: "client.trusted", verdict: conformance.Fail, status: 1, open: 1,
			remedy: []string{clientCertificateFlag + "=kubelet-client.crt", "--kubelet-client-key=kubelet-client.key"}},
		{what: "expired client certificate", mint: func() (*testcerts.Pair, error) {
			return p.CA.Client("kubelet-client", nil, testcerts.Expired)
		},
			id: "client.valid", verdict: conformance.Fail, status: 1, open: 1,
			remedy: []string{clientCertificateFlag + "=kubelet-client.crt", "--kubelet-client-key=kubelet-client.key"}},
		{what: "no --kubelet-certificate-authority", without: []string{servingCAFlag}, id: "serving.verified",
			verdict: conformance.Warn, status: 0, open: 0, remedy: []string{servingCAFlag + "=ca.crt"}},
		{what: "host names come first", without: []string{addressTypesFlag}, id: "reach.usual",
			verdict: conformance.Warn, status: 2, open: 1,
			remedy: []string{addressTypesFlag + "=InternalIP,ExternalIP,Hostname"}},
	} {
		t.Run(m.what, func(t *testing.T) {
			restart(t, changed(p, sound, m.without, nil))
			if m.mint != nil {
				pair, err := m.mint()
				expect.NoError(t, err)
				expect.NoError(t, pair.Write(certFile, keyFile))
			}
			var found conformance.Result
			// kube-apiserver begins to use a changed certificate about a second after the file changes.
			expect.Eventually(t, time.Minute, "the mistake is found", func() string {
				got := check()
				bad, reasons := findings(got.report)
				if len(bad) != 1 || bad[0].ID != m.id || bad[0].Verdict != m.verdict || got.Status != m.status ||
					len(reasons) != m.open {
					return fmt.Sprintf("exit status %d, %+v, %d reasons %q\n%s", got.Status, bad, len(reasons), reasons,
						got.Stderr)
				}
				found = bad[0]
				return ""
			})
			if m.id == "client.trusted" {
				readable(t, run().Stdout)
			}
			forFlags, _, _ := strings.Cut(found.Remedy, "#")
			flags := remedyFlags.FindAllString(forFlags, -1)
			if !slices.Equal(flags, m.remedy) {
				t.Errorf("the remedy is %q, want %q", found.Remedy, m.remedy)
			}
			if m.mint != nil {
				expect.NoError(t, good.Write(certFile, keyFile))
			} else {
				restart(t, changed(p, plane.Args, nil, flags))
			}
			expect.Eventually(t, time.Minute, "the remedy helps", func() string {
				if bad, _ := findings(check().report); len(bad) > 0 {
					return fmt.Sprintf("%+v", bad)
				}
				return ""
			})
		})
	}

	t.Run("what is left open", func(t *testing.T) {
		got := check()
		_, reasons := findings(got.report)
		if got.Status != 2 || len(reasons) != 1 ||
			!strings.HasPrefix(reasons[0], "kube-apiserver verifies serving certificates, and no CA was given") {
			t.Errorf("exit status %d, want 2, and the open reasons are %q", got.Status, reasons)
		}
		expect.Contains(t, "the output", got.Stderr, `from context "e2e" of `+filepath.Join(home, ".kube", "config"))
		expect.Contains(t, "the output", got.Stderr,
			"assumed to have the CAs in ConfigMap kube-system/extension-apiserver-authentication")
		// The reason names a flag with which the cluster itself issues the certificate.
		plane.StartControllerManager(t, controlplane.CertificateControllers, time.Hour)
		check("--approve-serving-certificate").passes(t)
	})
	leaves(t, plane, before)
}

// readable verifies the report for people about a client certificate of a wrong CA: it ends with the failure, and fits
// a terminal of 80 columns.
func readable(t *testing.T, report string) {
	t.Helper()
	const (
		skipped = " skipped: kube-apiserver verifies serving certificates, and no CA was given\n"
		failed  = "\n\nkube-apiserver's client certificate is signed by the nodes' client CA: FAIL\n" +
			"  check:   client.trusted\n"
	)
	if at := strings.Index(report, skipped); at < 0 || strings.Index(report, failed) < at ||
		strings.Count(report, "FAIL") != 1 {
		t.Errorf("the report must have %q and then %q:\n%s", skipped, failed, report)
	}
	for line := range strings.Lines(report) {
		if utf8.RuneCountInString(line) > len("\n")+80 && len(strings.Fields(line)) > 1 {
			t.Errorf("the line is wider than 80 columns: %s", line)
		}
	}
}

// findings returns the failures and warnings of a report, and the reasons for which it leaves a question open.
func findings(r conformance.Report) (bad []conformance.Result, reasons []string) {
	open := map[string]bool{}
	for _, result := range r.Results {
		switch result.Verdict {
		case conformance.Fail, conformance.Warn:
			bad = append(bad, result)
		case conformance.Skipped:
			if !result.NotApplicable && result.Needs == "" {
				open[result.Reason] = true
			}
		}
	}
	return bad, slices.Sorted(maps.Keys(open))
}
