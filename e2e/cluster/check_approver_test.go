package cluster

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/kubernetes/pkg/apis/certificates"

	"fauxlet/conformance"
	"fauxlet/e2e/internal/controlplane"
	"fauxlet/e2e/internal/expect"
	"fauxlet/e2e/internal/guide"
	"fauxlet/e2e/internal/programs"
)

// csr is a CertificateSigningRequest and the request in it.
type csr struct {
	*certificatesv1.CertificateSigningRequest
	content *x509.CertificateRequest
	// addresses are the names and addresses in the status of the requesting node.
	addresses []string
}

// rule returns the reason for which an approver must deny a request, or nil.
type rule func(csr) error

// These are the rules of a correct approver. The rule "valid" is from Kubernetes' own signer.
func ofSigner(c csr) error {
	if c.Spec.SignerName != certificatesv1.KubeletServingSignerName {
		return fmt.Errorf("the signer is %s", c.Spec.SignerName)
	}
	return nil
}

func valid(c csr) error {
	usages := sets.NewString()
	for _, usage := range c.Spec.Usages {
		usages.Insert(string(usage))
	}
	return certificates.ValidateKubeletServingCSR(c.content, usages)
}

func ofItself(c csr) error {
	if c.Spec.Username != c.content.Subject.CommonName || !slices.Contains(c.Spec.Groups, "system:nodes") {
		return errors.New("the request was not made by the node in its common name")
	}
	return nil
}

func ownNames(c csr) error { return c.hasAll(c.content.DNSNames) }

func ownAddresses(c csr) error {
	var all []string
	for _, ip := range c.content.IPAddresses {
		all = append(all, ip.String())
	}
	return c.hasAll(all)
}

func (c csr) hasAll(all []string) error {
	for _, one := range all {
		if !slices.Contains(c.addresses, one) {
			return fmt.Errorf("%s is no address of the node", one)
		}
	}
	return nil
}

// startApprover starts a controller that approves a CertificateSigningRequest if no rule returns an error, and
// otherwise denies it. The returned function stops it.
func startApprover(t testing.TB, plane *controlplane.Plane, rules ...rule) (stop func()) {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", plane.Kubeconfig)
	expect.NoError(t, err)
	config.UserAgent = "csr-approver/v1" // kube-apiserver takes the name of the field manager from it
	client, err := kubernetes.NewForConfig(config)
	expect.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	events, err := client.CertificatesV1().CertificateSigningRequests().Watch(ctx, metav1.ListOptions{})
	expect.NoError(t, err)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for event := range events.ResultChan() {
			request, ok := event.Object.(*certificatesv1.CertificateSigningRequest)
			if event.Type != watch.Added || !ok {
				continue
			}
			if err := answer(ctx, client, request, rules); err != nil && ctx.Err() == nil {
				t.Errorf("the approver: %v", err)
			}
		}
	}()
	return func() {
		cancel()
		<-ended
	}
}

func answer(ctx context.Context, client kubernetes.Interface, request *certificatesv1.CertificateSigningRequest,
	rules []rule,
) error {
	content, err := certificates.ParseCSR(request.Spec.Request)
	if err != nil {
		return err
	}
	c := csr{CertificateSigningRequest: request, content: content}
	node, err := client.CoreV1().Nodes().Get(ctx, strings.TrimPrefix(content.Subject.CommonName, "system:node:"),
		metav1.GetOptions{})
	if err != nil {
		return err
	}
	for _, a := range node.Status.Addresses {
		c.addresses = append(c.addresses, a.Address)
	}
	condition := certificatesv1.CertificateSigningRequestCondition{Type: certificatesv1.CertificateApproved,
		Status: v1.ConditionTrue, Reason: "AutoApproved", Message: "the request follows the rules"}
	for _, rule := range rules {
		if err := rule(c); err != nil {
			condition.Type, condition.Reason, condition.Message = certificatesv1.CertificateDenied, "RuleViolated",
				err.Error()
			break
		}
	}
	request.Status.Conditions = append(request.Status.Conditions, condition)
	_, err = client.CertificatesV1().CertificateSigningRequests().UpdateApproval(ctx, request.Name, request,
		metav1.UpdateOptions{})
	return err
}

func denyAll(csr) error {
	return errors.New("the names of nodes must begin with worker-")
}

// approverResults returns the verdict of each check of a report. A check that does not apply has the verdict "none".
func approverResults(r conformance.Report) map[string]conformance.Verdict {
	all := map[string]conformance.Verdict{}
	for _, result := range r.Results {
		all[strings.TrimPrefix(result.ID, "approver.")] = result.Verdict
		if result.NotApplicable {
			all[strings.TrimPrefix(result.ID, "approver.")] = "none"
		}
	}
	return all
}

// badRequests are the requests of the check that must not be approved. The values are true for those that the signer
// in kube-controller-manager signs.
var badRequests = map[string]bool{
	"other-node": true, "foreign-address": true, "foreign-name": true, "apiserver-name": true, "requester": true,
	"email": false, "uri": false, "usages": false, "organization": false, "signer": false,
}

// judged returns the expected verdicts.
func judged(correct, bad conformance.Verdict) map[string]conformance.Verdict {
	all := map[string]conformance.Verdict{"correct": correct}
	for name := range badRequests {
		all[name] = bad
	}
	return all
}

// TestCheckApprovers runs fauxlet check --only approver in a cluster without an approver, with one that approves
// everything, with one that denies everything, with a correct one, and with one that lacks a rule. Each run must leave
// nothing behind.
func TestCheckApprovers(t *testing.T) {
	t.Parallel()
	programs.Slow(t)
	plane := controlplane.New(t, checkable) // without NodeRestriction, so that all requests are created
	before := objects(t, plane)
	// checks runs the checks and verifies the verdicts.
	checks := func(t *testing.T, status int, want map[string]conformance.Verdict, args ...string) checked {
		t.Helper()
		got := runCheck(t, plane, append([]string{"--only", "approver"}, args...)...)
		if is := approverResults(got.report); got.Status != status || !maps.Equal(is, want) {
			t.Errorf("exit status %d, want %d; the verdicts are %v, want %v\n%s\n%s", got.Status, status, is, want,
				got.Stderr, got.Stdout)
		}
		for _, secret := range []string{"PRIVATE KEY", "BEGIN CERTIFICATE"} {
			if strings.Contains(got.Stdout+got.Stderr, secret) {
				t.Errorf("the output contains %q", secret)
			}
		}
		leaves(t, plane, before)
		return got
	}
	result := func(c checked, name string) conformance.Result {
		t.Helper()
		i := slices.IndexFunc(c.report.Results, func(r conformance.Result) bool { return r.ID == "approver."+name })
		return c.report.Results[i]
	}

	t.Run("a rubber stamp without a signer", func(t *testing.T) {
		defer startApprover(t, plane)()
		got := checks(t, 1, judged(conformance.Fail, conformance.Fail), "--approver-wait", "5s")
		if correct := result(got, "correct"); correct.Flag != "--cluster-signing-cert-file" ||
			!strings.Contains(correct.Reason, "approved, but no certificate was issued") {
			t.Errorf("the correct request: %+v", correct)
		}
	})

	plane.StartControllerManager(t, controlplane.CertificateControllers, time.Hour)
	t.Run("kube-controller-manager alone", func(t *testing.T) {
		got := checks(t, 0, judged(conformance.Warn, "none"), "--approver-wait", "3s")
		expect.Contains(t, "the reason", result(got, "correct").Reason, "no approver answered within 3s")
		checks(t, 1, judged(conformance.Warn, "none"), "--approver-wait", "1s", "--strict")
	})

	t.Run("a rubber stamp", func(t *testing.T) {
		defer startApprover(t, plane)()
		got := checks(t, 1, judged(conformance.Pass, conformance.Fail), "--approver-wait", "1m")
		for name, issued := range badRequests {
			r := result(got, name)
			evidence := strings.Join(r.Evidence, "\n")
			expect.Contains(t, r.ID, evidence, fmt.Sprintf("certificate issued: %v", issued))
			expect.Contains(t, r.ID, evidence, `answered by the program "csr-approver"`)
			if !issued {
				expect.Contains(t, r.ID, evidence, "failed: SignerValidationFailure: ")
			}
		}
		junit := programs.Run(t, checkCommand(t, plane, "--only", "approver", "--output", "junit"))
		if junit.Status != 1 || strings.Count(junit.Stdout, "<failure ") != len(badRequests) {
			t.Errorf("the JUnit report: %+v, want %d failures", junit, len(badRequests))
		}
	})

	t.Run("an approver that denies everything", func(t *testing.T) {
		defer startApprover(t, plane, denyAll)()
		got := checks(t, 1, judged(conformance.Fail, conformance.Pass), "--approver-wait", "1m")
		expect.Contains(t, "the reason", result(got, "correct").Reason,
			"denied: RuleViolated: the names of nodes must begin with worker-")
	})

	t.Run("a correct approver", func(t *testing.T) {
		defer startApprover(t, plane, ofSigner, valid, ofItself, ownNames, ownAddresses)()
		got := checks(t, 0, judged(conformance.Pass, conformance.Pass), "--approver-wait", "1m")
		expect.Contains(t, "the evidence", strings.Join(result(got, "correct").Evidence, "\n"),
			"certificate issued: true")
	})

	t.Run("an approver that ignores IP addresses", func(t *testing.T) {
		defer startApprover(t, plane, ofSigner, valid, ofItself, ownNames)()
		want := judged(conformance.Pass, conformance.Pass)
		want["foreign-address"] = conformance.Fail
		checks(t, 1, want, "--approver-wait", "1m")
		cmd := exec.Command(programs.Path(t, "fauxlet"), "check", "--kubeconfig", plane.Kubeconfig,
			"--only", "approver")
		cmd.Env = []string{"HOME=" + programs.Scratch}
		printed := strings.ReplaceAll(programs.Run(t, cmd).Stdout, plane.URL, "https://127.0.0.1:46443")
		printed = regexp.MustCompile(`fauxlet-check-[a-z0-9]{8}`).ReplaceAllString(printed, "fauxlet-check-x5k2v8qd")
		printed = regexp.MustCompile(`in \d+(\.\d+)?s: `).ReplaceAllString(printed, "in 0.4s: ")
		page := guide.New(t, "check.md", t.TempDir()).Block(t, "Which certificate requests are approved", "text")
		if printed != page {
			t.Errorf("the report is\n%s\ndocs/check.md has\n%s", printed, page)
		}
	})

	t.Run("an interrupted check", func(t *testing.T) {
		cmd := checkCommand(t, plane, "--only", "approver", "--approver-wait", "1m")
		b := &background{Cmd: cmd}
		b.Stdout, b.Stderr = &b.stdout, &b.stderr
		expect.NoError(t, b.Start())
		t.Cleanup(func() { _ = b.Process.Kill() })
		expect.Eventually(t, time.Minute, "the check waits for answers", func() string {
			if !strings.Contains(b.stderr.String(), "waiting up to 1m0s for the answers to 11 ") {
				return "the output is " + b.stderr.String()
			}
			return ""
		})
		created := objects(t, plane)
		if n := len(created) - len(before); n < 13 {
			t.Errorf("%d objects were created, want 11 requests, 2 Nodes and more", n)
		}
		expect.NoError(t, b.Process.Signal(syscall.SIGINT))
		got := reported(t, b.end(t))
		if got.Status != 2 || !strings.Contains(got.Stderr, "signal received") ||
			got.report.Count(conformance.Fail) > 0 {
			t.Errorf("%+v, want status 2 and no failed check", got)
		}
		leaves(t, plane, before)
	})

	t.Run("a user who may not impersonate nodes", func(t *testing.T) {
		user := *plane
		user.Kubeconfig = filepath.Join(t.TempDir(), "checker.conf")
		expect.NoError(t, plane.WriteKubeconfig(user.Kubeconfig, "checker"))
		got := programs.Run(t, checkCommand(t, &user, "--only", "approver"))
		if got.Status != 2 || !regexp.MustCompile(`lacks permissions; .* allow it to .*, impersonate users `+
			`system:node:fauxlet-check-\w{8}-approver, impersonate groups system:nodes`).MatchString(got.Stderr) {
			t.Errorf("%+v, want status 2 and the missing permissions", got)
		}
		leaves(t, plane, before)
	})
}

// TestCheckApproversWithNodeRestriction checks that a request with the name of another node is not counted as approved
// if kube-apiserver refuses to create it.
func TestCheckApproversWithNodeRestriction(t *testing.T) {
	t.Parallel()
	programs.Slow(t)
	plane := controlplane.New(t, controlplane.ForNodes)
	defer startApprover(t, plane)()
	got := runCheck(t, plane, "--only", "approver.other-node,approver.requester", "--approver-wait", "5s")
	want := map[string]conformance.Verdict{"other-node": conformance.Pass, "requester": conformance.Fail}
	if is := approverResults(got.report); got.Status != 1 || !maps.Equal(is, want) {
		t.Errorf("exit status %d, the verdicts are %v, want %v", got.Status, is, want)
	}
	text, err := json.Marshal(got.report)
	expect.NoError(t, err)
	expect.Contains(t, "the evidence", string(text), "kube-apiserver refused to create it: ")
	expect.Contains(t, "the evidence", string(text), "can only create a node CSR with CN=system:node:")
}
