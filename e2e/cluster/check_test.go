package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/kube-openapi/pkg/validation/spec"
	"k8s.io/kube-openapi/pkg/validation/strfmt"
	"k8s.io/kube-openapi/pkg/validation/validate"

	"fauxlet/conformance"
	"fauxlet/e2e/internal/controlplane"
	"fauxlet/e2e/internal/expect"
	"fauxlet/e2e/internal/programs"
)

// checkable has the kube-apiserver flags with which every conformance check passes.
var checkable = append([]string{"--kubelet-preferred-address-types=InternalIP,ExternalIP,Hostname"},
	controlplane.VerifyingServingCertificates...)

// checked is the output and the report of one fauxlet check.
type checked struct {
	programs.Result
	report conformance.Report
}

// checkCommand returns the command that runs fauxlet check against a kube-apiserver and prints JSON.
func checkCommand(t testing.TB, c *controlplane.Plane, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(programs.Path(t, "fauxlet"),
		append([]string{"check", "--kubeconfig", c.Kubeconfig, "--output", "json", "--timeout", "10m"}, args...)...)
	cmd.Env = []string{"HOME=" + programs.Scratch}
	return cmd
}

// runCheck runs a check and validates its report against the published schema.
func runCheck(t testing.TB, c *controlplane.Plane, args ...string) checked {
	t.Helper()
	return reported(t, programs.Run(t, checkCommand(t, c, args...)))
}

func reported(t testing.TB, got programs.Result) checked {
	t.Helper()
	var document any
	if err := json.Unmarshal([]byte(got.Stdout), &document); err != nil {
		t.Fatalf("fauxlet check: %v: %+v", err, got)
	}
	var schema spec.Schema
	expect.NoError(t, json.Unmarshal([]byte(expect.File(t, "../../conformance/report.schema.json")), &schema))
	if err := validate.NewSchemaValidator(&schema, nil, "", strfmt.Default).Validate(document).AsError(); err != nil {
		t.Errorf("%v\n%s", err, got.Stdout)
	}
	result := checked{Result: got}
	expect.NoError(t, json.Unmarshal([]byte(got.Stdout), &result.report))
	return result
}

// servingCAFlags returns flags for the command "fauxlet check". With these flags, the check signs its serving
// certificates with the CA of the given PKI.
func servingCAFlags(p *controlplane.PKI) []string {
	return []string{"--serving-ca-file", p.CAFile, "--serving-ca-key-file", p.CAKeyFile}
}

// passed reports whether a conformance check passed. Two checks do not apply here: one cannot run on a loopback
// address, the other is about a feature that kube-apiserver does not have. Other checks do not apply to an older
// kube-apiserver.
func passed(r conformance.Result) bool {
	return r.Verdict == conformance.Pass || r.NotApplicable && (strings.Contains(r.Reason, "address not allowed") ||
		strings.Contains(r.Reason, "impersonation by address is possible") ||
		strings.Contains(r.Reason, "a feature that kube-apiserver has since ") &&
			programs.APIServer() != "kube-apiserver")
}

// The method "passes" verifies that every conformance check has passed, and that the command "fauxlet check" has
// removed all objects that it created.
func (c checked) passes(t testing.TB) {
	t.Helper()
	if c.Status != 0 || len(c.report.NotRemoved) > 0 {
		t.Errorf("exit status %d, not removed %q: %s", c.Status, c.report.NotRemoved, c.Stderr)
	}
	for _, r := range c.report.Results {
		if !passed(r) {
			t.Errorf("%s %s: %s\n  %s", r.Verdict, r.ID, r.Reason, strings.Join(r.Evidence, "\n  "))
		}
	}
}

// TestCheckPasses checks a kube-apiserver without mistakes.
func TestCheckPasses(t *testing.T) {
	t.Parallel()
	plane := controlplane.Shared(t, checkable)
	plane.Bind(t, controlplane.KubeletAPIAdmin, controlplane.User("kubelet-client"))
	got := runCheck(t, plane, append(servingCAFlags(plane.PKI), "--client-ca", plane.PKI.CAFile)...)
	got.passes(t)
	version := "v"
	if minor, older := strings.CutPrefix(programs.APIServer(), "kube-apiserver-"); older {
		version = "v" + minor + "."
	}
	if !strings.HasPrefix(got.report.TargetVersion, version) || got.report.Target != plane.URL {
		t.Errorf("checked %s %q, want %s and a version %s…", got.report.Target, got.report.TargetVersion, plane.URL,
			version)
	}
	for _, part := range []string{"PRIVATE KEY", "Bearer "} {
		if strings.Contains(got.Stdout+got.Stderr, part) {
			t.Errorf("the output contains %q", part)
		}
	}
}

// TestCheckGuide runs the commands of docs/check.md. Then it runs a check as a user with only the rights listed on
// that page.
func TestCheckGuide(t *testing.T) {
	t.Parallel()
	programs.Slow(t)
	plane := controlplane.Shared(t, checkable)
	plane.Bind(t, controlplane.KubeletAPIAdmin, controlplane.User("kubelet-client"))
	page, dir := expect.File(t, "../../docs/check.md"), t.TempDir()
	for name, file := range map[string]string{
		"admin.conf": plane.Kubeconfig, "ca.crt": plane.PKI.CAFile, "ca.key": plane.PKI.CAKeyFile,
		"fauxlet": programs.Path(t, "fauxlet"),
	} {
		expect.NoError(t, os.Symlink(file, filepath.Join(dir, name)))
	}
	blocks := 0
	for _, block := range strings.Split(page, "```sh\n")[1:] {
		blocks++
		block, _, _ = strings.Cut(block, "```")
		cmd := exec.Command("bash", "-eu", "-c", block)
		cmd.Dir, cmd.Env = dir, []string{"PATH=" + dir + ":" + os.Getenv("PATH"), "HOME=" + programs.Scratch}
		want := 0
		if !strings.Contains(block, "--serving-ca-file") && !strings.Contains(block, "--only approver") {
			want = 2 // the first command has no CA, so it cannot find out everything
		}
		if got := programs.Run(t, cmd); got.Status != want {
			t.Errorf("exit status %d, want %d: %s\n%+v", got.Status, want, block, got)
		}
	}
	if blocks < 3 || !strings.Contains(expect.File(t, filepath.Join(dir, "check.xml")), "<testsuites ") {
		t.Errorf("%d blocks were run, want at least 3; or check.xml has no results", blocks)
	}

	checker := *plane
	checker.Kubeconfig = filepath.Join(dir, "checker.conf")
	expect.NoError(t, plane.WriteKubeconfig(checker.Kubeconfig, "checker"))
	got := programs.Run(t, checkCommand(t, &checker))
	if got.Status != 2 || !strings.Contains(got.Stderr,
		"lacks permissions; use an administrator's, or allow it to create/delete/list namespaces, update "+
			"namespaces/finalize, ") {
		t.Errorf("a check by a user without rights: %+v", got)
	}
	_, role, _ := strings.Cut(page, "```yaml\n")
	role, _, _ = strings.Cut(role, "```")
	file := filepath.Join(dir, "role.yaml")
	expect.NoError(t, os.WriteFile(file, []byte(role), 0o644))
	if got := plane.Kubectl(t, "apply", "-f", file); got.Status != 0 {
		t.Fatalf("the role of docs/check.md: %+v", got)
	}
	t.Cleanup(func() { plane.Kubectl(t, "delete", "-f", file) })
	binding, err := plane.Client.RbacV1().ClusterRoleBindings().Create(context.Background(), &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "fauxlet-check"}, Subjects: []rbacv1.Subject{controlplane.User("checker")},
		RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "fauxlet-check"},
	}, metav1.CreateOptions{})
	expect.NoError(t, err)
	t.Cleanup(func() {
		expect.NoError(t, plane.Client.RbacV1().ClusterRoleBindings().Delete(context.Background(), binding.Name,
			metav1.DeleteOptions{}))
	})
	var last programs.Result
	expect.Eventually(t, time.Minute, "the check passes with the role", func() string {
		last = programs.Run(t, checkCommand(t, &checker,
			append(servingCAFlags(plane.PKI), "--client-ca", plane.PKI.CAFile)...))
		if last.Status == 2 && strings.Contains(last.Stderr, "lacks permissions") {
			return last.Stderr
		}
		return ""
	})
	reported(t, last).passes(t)
	approver := runCheck(t, &checker, "--only", "approver", "--approver-wait", "1s")
	if want := judged(conformance.Warn, "none"); approver.Status != 0 ||
		!maps.Equal(approverResults(approver.report), want) {
		t.Errorf("--only approver with the role: %+v, want the verdicts %v", approver, want)
	}
}

// TestCheckWithIssuedCertificate checks a cluster with controllers. The serving certificate comes from the cluster's
// signer, and pods need a service account. The check deletes its namespace, and the controllers then delete the
// objects that are left in the namespace.
func TestCheckWithIssuedCertificate(t *testing.T) {
	t.Parallel()
	programs.Slow(t)
	plane := controlplane.NewStopped(t, checkable)
	plane.Args = slices.DeleteFunc(plane.Args, func(arg string) bool {
		return strings.HasPrefix(arg, "--disable-admission-plugins=")
	})
	expect.NoError(t, plane.Start())
	plane.StartControllerManager(t, controlplane.CertificateControllers+
		",namespace-controller,serviceaccount-controller,node-lifecycle-controller,taint-eviction-controller"+
		",pod-garbage-collector-controller", time.Hour)
	plane.Bind(t, controlplane.KubeletAPIAdmin, controlplane.User("kubelet-client"))
	expect.Eventually(t, time.Minute, "each namespace has its service account", func() string {
		accounts, err := plane.Client.CoreV1().ServiceAccounts("").List(context.Background(), metav1.ListOptions{})
		expect.NoError(t, err)
		if n := len(accounts.Items); n < 4 {
			return fmt.Sprintf("%d accounts", n)
		}
		return ""
	})
	before := objects(t, plane)
	got := runCheck(t, plane, "--approve-serving-certificate", "--client-ca", plane.PKI.CAFile)
	got.passes(t)
	leaves(t, plane, before)
}
