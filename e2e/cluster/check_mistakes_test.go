package cluster

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"fauxlet/conformance"
	"fauxlet/e2e/internal/controlplane"
	"fauxlet/e2e/internal/expect"
	"fauxlet/e2e/internal/programs"
	"fauxlet/testcerts"
)

// mistake is a mistake in the configuration of a kube-apiserver, and the only conformance check that fails or warns
// because of it.
type mistake struct {
	what    string // the description of the mistake in its row of docs/check.md
	verdict conformance.Verdict
	id      string
	flag    string

	kind string // kind of the client certificate, as in package testcerts
	// mint, if not nil, issues a client certificate of a kind that package testcerts does not have.
	mint    func(*testcerts.Authority) (*testcerts.Pair, error)
	without []string // flags to remove
	with    []string // flags to replace
	args    []string // additional arguments for the command "fauxlet check"
}

// These are the kube-apiserver flags that the mistakes change.
const (
	clientCertificateFlag = "--kubelet-client-certificate"
	servingCAFlag         = "--kubelet-certificate-authority"
	addressTypesFlag      = "--kubelet-preferred-address-types"
)

// mistakes returns the mistakes in the table of docs/check.md, one for each row. For a mistake in a certificate, the
// test changes a file, which kube-apiserver reads again without a restart. For a mistake in the flags, the test
// restarts kube-apiserver.
func mistakes() []mistake {
	fail, warn := conformance.Fail, conformance.Warn
	named := func(name string, organizations ...string) func(*testcerts.Authority) (*testcerts.Pair, error) {
		return func(ca *testcerts.Authority) (*testcerts.Pair, error) { return ca.Client(name, organizations) }
	}
	return []mistake{
		{what: "the client certificate has expired", verdict: fail, id: "client.valid", flag: clientCertificateFlag,
			kind: "client-expired"},
		{what: "the client certificate is not valid yet", verdict: fail, id: "client.valid",
			flag: clientCertificateFlag,
			kind: "client-not-yet-valid"},
		{what: "the client certificate expires in 24 days", verdict: warn, id: "client.valid",
			flag: clientCertificateFlag,
			mint: func(ca *testcerts.Authority) (*testcerts.Pair, error) {
				return ca.Client("kubelet-client", nil, testcerts.ValidFor(time.Now().Add(-time.Hour),
					time.Now().Add(24*24*time.Hour)))
			}},
		{what: "the client certificate is signed by a CA that the kubelets do not trust", verdict: fail,
			id: "client.trusted", flag: clientCertificateFlag, kind: "client-unknown-ca"},
		{what: "the client certificate's intermediate CA is not in the file", verdict: fail, id: "client.trusted",
			flag: clientCertificateFlag,
			kind: "client-chain-missing"},
		{what: "the client certificate is signed with SHA-1", verdict: fail, id: "client.trusted",
			flag: clientCertificateFlag,
			kind: "client-sha1"},
		{what: "the client certificate is only for server authentication", verdict: fail, id: "client.usage",
			flag: clientCertificateFlag,
			kind: "client-server-usage"},
		{what: "the client certificate has no common name", verdict: fail, id: "client.subject",
			flag: clientCertificateFlag,
			kind: "client-no-name"},
		{what: "the client certificate's common name is `system:anonymous`", verdict: fail, id: "client.subject",
			flag: clientCertificateFlag, mint: named("system:anonymous")},
		{what: "the client certificate's key is another key", verdict: fail, id: "client.presented",
			flag: clientCertificateFlag,
			mint: func(ca *testcerts.Authority) (*testcerts.Pair, error) {
				pair, err := ca.Client("kubelet-client", nil)
				other, otherErr := ca.Client("kubelet-client", nil)
				if err != nil || otherErr != nil {
					return nil, fmt.Errorf("%v, %v", err, otherErr)
				}
				pair.KeyPEM = other.KeyPEM
				return pair, nil
			}},
		{what: "the client certificate's organization is `system:masters`", verdict: warn, id: "rights.excess",
			flag: clientCertificateFlag, mint: named("kubelet-client", "system:masters")},
		{what: "the client certificate's user is bound to no role", verdict: fail, id: "rights.sufficient",
			flag: "ClusterRoleBinding to system:kubelet-api-admin", mint: named("unbound")},

		{what: "there is no client certificate", verdict: fail, id: "client.presented", flag: clientCertificateFlag,
			without: []string{clientCertificateFlag, "--kubelet-client-key"}},
		{what: "serving certificates are not verified", verdict: warn, id: "serving.verified", flag: servingCAFlag,
			without: []string{servingCAFlag}},
		{what: "serving certificates are verified with another CA", verdict: fail, id: "serving.accepted",
			flag: servingCAFlag,
			with: []string{servingCAFlag + "=unknown-ca.crt"}},
		{what: "the address types are the default: host names come first", verdict: warn, id: "reach.usual",
			flag: addressTypesFlag, without: []string{addressTypesFlag}},
		{what: "the only address type is Hostname", verdict: fail, id: "reach.usual", flag: addressTypesFlag,
			with: []string{addressTypesFlag + "=Hostname"}},
		{what: "external addresses come first", verdict: warn, id: "reach.order", flag: addressTypesFlag,
			with: []string{addressTypesFlag + "=ExternalIP,InternalIP,Hostname"}},
		{what: "the list of address types is empty", verdict: fail, id: "reach.dialled", flag: addressTypesFlag,
			with: []string{addressTypesFlag + "="}},
		{what: "no controller signs serving certificates", verdict: fail, id: "serving.accepted",
			flag: "--cluster-signing-cert-file", args: []string{"--approve-serving-certificate"}},
	}
}

// TestCheckFindsMistakes makes each mistake of docs/check.md on a healthy kube-apiserver. fauxlet check must find
// that mistake and no other. Then the test applies the remedy, and the check must pass. The mistakes are distributed
// over several kube-apiservers, because reading a changed certificate or restarting takes some time.
func TestCheckFindsMistakes(t *testing.T) {
	t.Parallel()
	programs.Slow(t)
	all := mistakes()
	var rows []string
	for _, m := range all {
		rows = append(rows, fmt.Sprintf("| %s | %s `%s` | `%s` |", m.what, m.verdict, m.id, m.flag))
	}
	_, table, found := strings.Cut(expect.File(t, "../../docs/check.md"),
		"| mistake | result | what to change |\n|---|---|---|\n")
	table, _, _ = strings.Cut(table, "\n\n")
	if diff := cmp.Diff(strings.Join(rows, "\n"), table); !found || diff != "" {
		t.Errorf("the table of docs/check.md (-want +is):\n%s", diff)
	}

	const apiservers = 4
	for i := range apiservers {
		var some []mistake
		for j := i; j < len(all); j += apiservers {
			some = append(some, all[j])
		}
		t.Run(fmt.Sprintf("kube-apiserver %d", i+1), func(t *testing.T) {
			t.Parallel()
			findMistakes(t, some)
		})
	}
}

// findMistakes makes the given mistakes one after another on a kube-apiserver that no other test uses.
func findMistakes(t *testing.T, mistakes []mistake) {
	plane := controlplane.NewStopped(t, checkable)
	p, dir := plane.PKI, t.TempDir()
	certFile, keyFile := filepath.Join(dir, "client.crt"), filepath.Join(dir, "client.key")
	good, err := p.CA.Client("kubelet-client", nil)
	expect.NoError(t, err)
	expect.NoError(t, good.Write(certFile, keyFile))
	flags := []string{clientCertificateFlag + "=" + certFile, "--kubelet-client-key=" + keyFile,
		servingCAFlag + "=ca.crt", addressTypesFlag + "=InternalIP,ExternalIP,Hostname"}
	sound := changed(p, plane.Args, nil, flags)
	plane.Args = sound
	expect.NoError(t, plane.Start())
	plane.Bind(t, controlplane.KubeletAPIAdmin, controlplane.User("kubelet-client"))
	before := objects(t, plane)

	known := append(servingCAFlags(p), "--client-ca", p.CAFile)
	check := func(more []string) checked {
		args := append([]string{"--only", "reach,client,rights,serving,tls"}, known...)
		// The parameter "more" has flags for a check whose serving certificate comes from the cluster's signer.
		if more != nil {
			args = append([]string{"--only", "serving", "--client-ca", p.CAFile}, more...)
		}
		return runCheck(t, plane, args...)
	}
	for _, m := range mistakes {
		t.Run(strings.ReplaceAll(m.what, "`", ""), func(t *testing.T) {
			restart := func(args []string) {
				t.Helper()
				if !slices.Equal(args, plane.Args) {
					expect.NoError(t, plane.APIServer.Stop())
					plane.Args = args
					expect.NoError(t, plane.Start())
				}
			}
			restart(changed(p, sound, m.without, m.with))
			if m.kind != "" {
				kind, err := testcerts.KindNamed(m.kind)
				expect.NoError(t, err)
				m.mint = func(ca *testcerts.Authority) (*testcerts.Pair, error) {
					return kind.Mint(ca, testcerts.Request{CommonName: "kubelet-client"})
				}
			}
			if m.mint != nil {
				pair, err := m.mint(p.CA)
				expect.NoError(t, err)
				expect.NoError(t, pair.Write(certFile, keyFile))
			}
			// kube-apiserver begins to use a changed certificate about a second after the file changes.
			var found conformance.Result
			expect.Eventually(t, time.Minute, "the mistake is found", func() string {
				got, amiss := check(m.args), []conformance.Result(nil)
				for _, r := range got.report.Results {
					if r.Verdict != conformance.Pass && r.Verdict != conformance.Skipped {
						amiss = append(amiss, r)
					}
				}
				status := map[conformance.Verdict]int{conformance.Fail: 1, conformance.Warn: 0}[m.verdict]
				if len(amiss) != 1 || amiss[0].ID != m.id || amiss[0].Verdict != m.verdict || amiss[0].Flag != m.flag ||
					got.Status != status {
					return fmt.Sprintf("exit status %d, %+v\n%s", got.Status, amiss, got.Stderr)
				}
				found = amiss[0]
				return ""
			})

			// Apply the remedy.
			forFlags, _, _ := strings.Cut(found.Remedy, "#")
			switch command, flags := found.Remedy, remedyFlags.FindAllString(forFlags, -1); {
			case strings.HasPrefix(command, "kubectl create "):
				cmd := exec.Command("bash", "-euc", strings.Replace(command, "kubectl",
					programs.Path(t, "kubectl")+" --kubeconfig "+plane.Kubeconfig, 1))
				cmd.Env = []string{"HOME=" + programs.Scratch, "PATH=" + os.Getenv("PATH")}
				if got := programs.Run(t, cmd); got.Status != 0 {
					t.Fatalf("%s: %+v", command, got)
				}
				t.Cleanup(func() {
					expect.NoError(t, good.Write(certFile, keyFile))
					if got := plane.Kubectl(t, "delete", "clusterrolebinding", "kubelet-client"); got.Status != 0 {
						t.Errorf("%+v", got)
					}
				})
			case m.args != nil:
				if !slices.Equal(flags, []string{"--cluster-signing-cert-file=ca.crt",
					"--cluster-signing-key-file=ca.key"}) {
					t.Errorf("the test cannot apply the remedy %q", command)
				}
				plane.StartControllerManager(t, controlplane.CertificateControllers, time.Hour)
			case m.mint != nil && len(flags) == 0:
				if !strings.Contains(command, "system:kubelet-api-admin") {
					t.Errorf("the test cannot apply the remedy %q", command)
				}
				expect.NoError(t, good.Write(certFile, keyFile))
			case m.mint != nil:
				if !slices.Equal(flags, []string{clientCertificateFlag + "=kubelet-client.crt",
					"--kubelet-client-key=kubelet-client.key"}) {
					t.Errorf("the test cannot apply the remedy %q", command)
				}
				expect.NoError(t, good.Write(certFile, keyFile))
			default:
				names := make([]string, len(flags))
				for i, flag := range flags {
					names[i], _, _ = strings.Cut(flag, "=")
				}
				restart(changed(p, plane.Args, names, flags))
			}
			expect.Eventually(t, time.Minute, "the remedy helps", func() string {
				got := check(m.args)
				for _, r := range got.report.Results {
					if !passed(r) {
						return fmt.Sprintf("%s %s: %s", r.Verdict, r.ID, r.Reason)
					}
				}
				if got.Status != 0 || len(got.report.Results) == 0 {
					return fmt.Sprintf("%+v", got.Result)
				}
				return ""
			})
		})
	}
	leaves(t, plane, before)
}

var remedyFlags = regexp.MustCompile(`--[a-z-]+=[^ ]+`)

// changed returns a copy of the given kube-apiserver arguments with two changes: it lacks the flags named in the list
// "without", and has the flags in the list "with". An added flag replaces a flag of the same name. If the value of an
// added flag is a relative path, the path is a file of the PKI.
func changed(p *controlplane.PKI, args, without, with []string) []string {
	args = slices.Clone(args)
	remove := func(name string) {
		args = slices.DeleteFunc(args, func(arg string) bool { return arg == name || strings.HasPrefix(arg, name+"=") })
	}
	for _, name := range without {
		remove(name)
	}
	for _, flag := range with {
		name, value, _ := strings.Cut(flag, "=")
		if remove(name); filepath.Ext(value) != "" && !filepath.IsAbs(value) {
			value = filepath.Join(p.Dir, value)
		}
		args = append(args, name+"="+value)
	}
	return args
}
