package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/kube-openapi/pkg/validation/spec"
	"k8s.io/kube-openapi/pkg/validation/strfmt"
	"k8s.io/kube-openapi/pkg/validation/validate"

	"fauxlet/conformance"
)

// checkable are the flags of a kube-apiserver with which nothing is amiss.
var checkable = append([]string{"--kubelet-preferred-address-types=InternalIP,ExternalIP,Hostname"}, verifying...)

// checked is what fauxlet check has said.
type checked struct {
	said
	report conformance.Report
}

// checkCommand is a fauxlet check of the apiserver.
func (c *controlPlane) checkCommand(t testing.TB, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(binary(t, "fauxlet"), append([]string{"check", "--kubeconfig", c.kubeconfig, "--output", "json"}, args...)...)
	cmd.Env = []string{"HOME=" + scratch}
	return cmd
}

// check runs it, and holds its report to the schema.
func (c *controlPlane) check(t testing.TB, args ...string) checked {
	t.Helper()
	return reported(t, run(t, c.checkCommand(t, args...)))
}

func reported(t testing.TB, got said) checked {
	t.Helper()
	var document any
	if err := json.Unmarshal([]byte(got.stdout), &document); err != nil {
		t.Fatalf("fauxlet check: %v: %+v", err, got)
	}
	var schema spec.Schema
	must(t, json.Unmarshal([]byte(content(t, "../conformance/report.schema.json")), &schema))
	if err := validate.NewSchemaValidator(&schema, nil, "", strfmt.Default).Validate(document).AsError(); err != nil {
		t.Errorf("%v\n%s", err, got.stdout)
	}
	result := checked{said: got}
	must(t, json.Unmarshal([]byte(got.stdout), &result.report))
	return result
}

// servingCA are the flags that give a check the CA of the kubelets' serving certificates.
func (p *pki) servingCA(t testing.TB) []string {
	t.Helper()
	key := filepath.Join(p.dir, "ca.key")
	p.mu.Lock()
	defer p.mu.Unlock()
	must(t, p.ca.Write(filepath.Join(p.dir, "signer.crt"), key))
	return []string{"--serving-ca-file", p.caFile, "--serving-ca-key-file", key}
}

// passes wants every check to pass, but for those that a loopback address rules out.
func (c checked) passes(t testing.TB) {
	t.Helper()
	if c.status != 0 || len(c.report.Left) > 0 {
		t.Errorf("exit status %d, left behind %q: %s", c.status, c.report.Left, c.stderr)
	}
	for _, r := range c.report.Results {
		if r.Verdict != conformance.Pass && !(r.Verdict == conformance.Skip && strings.Contains(r.Why, "address not allowed")) {
			t.Errorf("%s %s: %s\n  %s", r.Verdict, r.ID, r.Why, strings.Join(r.Evidence, "\n  "))
		}
	}
}

// TestCheckPasses checks an apiserver with which nothing is amiss.
func TestCheckPasses(t *testing.T) {
	plane := withFlags(t, checkable)
	plane.bind(t, kubeletAPIAdmin, userNamed("kubelet-client"))
	got := plane.check(t, append(plane.pki.servingCA(t), "--client-ca", plane.pki.caFile)...)
	got.passes(t)
	if got.report.TargetVersion == "" || got.report.Target != plane.url {
		t.Errorf("checked %s %q, want %s and its version", got.report.Target, got.report.TargetVersion, plane.url)
	}
	for _, part := range []string{"PRIVATE KEY", "Bearer "} {
		if strings.Contains(got.stdout+got.stderr, part) {
			t.Errorf("%q is in what was printed", part)
		}
	}
}

// TestCheckGuide runs the commands of docs/check.md, and a check with the rights that it lists and no others.
func TestCheckGuide(t *testing.T) {
	plane := withFlags(t, checkable)
	plane.bind(t, kubeletAPIAdmin, userNamed("kubelet-client"))
	plane.pki.servingCA(t)
	page, dir := content(t, "../docs/check.md"), t.TempDir()
	for name, file := range map[string]string{
		"admin.conf": plane.kubeconfig, "ca.crt": plane.pki.caFile, "ca.key": filepath.Join(plane.pki.dir, "ca.key"), "fauxlet": binary(t, "fauxlet"),
	} {
		must(t, os.Symlink(file, filepath.Join(dir, name)))
	}
	blocks := 0
	for _, block := range strings.Split(page, "```sh\n")[1:] {
		blocks++
		block, _, _ = strings.Cut(block, "```")
		cmd := exec.Command("bash", "-eu", "-c", block)
		cmd.Dir, cmd.Env = dir, []string{"PATH=" + dir + ":" + os.Getenv("PATH"), "HOME=" + scratch}
		if got := run(t, cmd); got.status != 0 {
			t.Errorf("%s\n%+v", block, got)
		}
	}
	if blocks < 3 || !strings.Contains(content(t, filepath.Join(dir, "check.xml")), "<testsuites ") {
		t.Errorf("%d blocks were run, and check.xml has no results", blocks)
	}

	checker := *plane
	checker.kubeconfig = filepath.Join(dir, "checker.conf")
	must(t, plane.writeKubeconfig(checker.kubeconfig, "checker"))
	got := run(t, checker.checkCommand(t))
	if got.status != 2 || !strings.Contains(got.stderr, "may not do all that a check does; take an admin's, or allow it to create/delete/list namespaces, update namespaces/finalize, ") {
		t.Errorf("a check without any right: %+v", got)
	}
	_, role, _ := strings.Cut(page, "```yaml\n")
	role, _, _ = strings.Cut(role, "```")
	file := filepath.Join(dir, "role.yaml")
	must(t, os.WriteFile(file, []byte(role), 0o644))
	if got := plane.kubectl(t, "apply", "-f", file); got.status != 0 {
		t.Fatalf("the role of docs/check.md: %+v", got)
	}
	t.Cleanup(func() { plane.kubectl(t, "delete", "-f", file) })
	binding, err := plane.client.RbacV1().ClusterRoleBindings().Create(context.Background(), &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "fauxlet-check"}, Subjects: []rbacv1.Subject{userNamed("checker")},
		RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "fauxlet-check"},
	}, metav1.CreateOptions{})
	must(t, err)
	t.Cleanup(func() {
		must(t, plane.client.RbacV1().ClusterRoleBindings().Delete(context.Background(), binding.Name, metav1.DeleteOptions{}))
	})
	var last said
	eventually(t, time.Minute, "the role is in force", func() string {
		last = run(t, checker.checkCommand(t, append(plane.pki.servingCA(t), "--client-ca", plane.pki.caFile)...))
		if last.status == 2 && strings.Contains(last.stderr, "may not do all") {
			return last.stderr
		}
		return ""
	})
	reported(t, last).passes(t)
}

// TestCheckIssued checks one of a cluster with controllers, by a serving certificate of the cluster's own signer, and with
// pods that must have a service account. The controllers collect what the check leaves to them.
func TestCheckIssued(t *testing.T) {
	t.Parallel() // a control plane of its own
	plane, err := makeControlPlane(t, checkable)
	must(t, err)
	plane.args = slices.DeleteFunc(plane.args, func(arg string) bool { return strings.HasPrefix(arg, "--disable-admission-plugins=") })
	must(t, plane.start())
	t.Cleanup(func() { must(t, plane.apiserver.stop()) })
	plane.startControllerManager(t, certificateControllers+
		",namespace-controller,serviceaccount-controller,node-lifecycle-controller,taint-eviction-controller,pod-garbage-collector-controller", time.Hour)
	plane.bind(t, kubeletAPIAdmin, userNamed("kubelet-client"))
	eventually(t, time.Minute, "each namespace has its service account", func() string {
		accounts, err := plane.client.CoreV1().ServiceAccounts("").List(context.Background(), metav1.ListOptions{})
		must(t, err)
		if n := len(accounts.Items); n < 4 {
			return fmt.Sprintf("%d accounts", n)
		}
		return ""
	})
	before := plane.objects(t)
	got := plane.check(t, "--approve-serving-certificate", "--client-ca", plane.pki.caFile)
	got.passes(t)
	plane.leaves(t, before)
}

// objects are those of the cluster that a check might leave behind, by kind and name, with their UIDs.
func (c *controlPlane) objects(t testing.TB) map[string]string {
	t.Helper()
	ctx, all := context.Background(), map[string]string{}
	core, every := c.client.CoreV1(), metav1.ListOptions{}
	add := func(kind string, o metav1.Object) {
		if kind == "lease" && o.GetNamespace() == "kube-system" {
			return // of the apiserver itself
		}
		all[fmt.Sprintf("%s %s/%s", kind, o.GetNamespace(), o.GetName())] = string(o.GetUID())
	}
	nodes, err := core.Nodes().List(ctx, every)
	must(t, err)
	namespaces, err := core.Namespaces().List(ctx, every)
	must(t, err)
	pods, err := core.Pods("").List(ctx, every)
	must(t, err)
	accounts, err := core.ServiceAccounts("").List(ctx, every)
	must(t, err)
	leases, err := c.client.CoordinationV1().Leases("").List(ctx, every)
	must(t, err)
	requests, err := c.client.CertificatesV1().CertificateSigningRequests().List(ctx, every)
	must(t, err)
	roles, err := c.client.RbacV1().ClusterRoles().List(ctx, every)
	must(t, err)
	bindings, err := c.client.RbacV1().ClusterRoleBindings().List(ctx, every)
	must(t, err)
	for i := range nodes.Items {
		add("node", &nodes.Items[i])
	}
	for i := range namespaces.Items {
		add("namespace", &namespaces.Items[i])
	}
	for i := range pods.Items {
		add("pod", &pods.Items[i])
	}
	for i := range accounts.Items {
		add("serviceaccount", &accounts.Items[i])
	}
	for i := range leases.Items {
		add("lease", &leases.Items[i])
	}
	for i := range requests.Items {
		add("certificatesigningrequest", &requests.Items[i])
	}
	for i := range roles.Items {
		add("clusterrole", &roles.Items[i])
	}
	for i := range bindings.Items {
		add("clusterrolebinding", &bindings.Items[i])
	}
	return all
}

// leaves wants the objects to be those of before.
func (c *controlPlane) leaves(t testing.TB, before map[string]string) {
	t.Helper()
	if diff := cmp.Diff(before, c.objects(t)); diff != "" {
		t.Errorf("the objects of the cluster are others than before (-before +after):\n%s", diff)
	}
}

// background is a fauxlet check that runs beside the test.
type background struct {
	*exec.Cmd
	stdout, stderr output
}

// midway starts a check, and waits until it has Nodes in the cluster that were not there before.
func (c *controlPlane) midway(t testing.TB, args ...string) *background {
	t.Helper()
	before := c.objects(t)
	b := &background{Cmd: c.checkCommand(t, args...)}
	b.Stdout, b.Stderr = &b.stdout, &b.stderr
	must(t, b.Start())
	t.Cleanup(func() { _ = b.Process.Kill() })
	eventually(t, time.Minute, "a check has Nodes", func() string {
		for name := range c.objects(t) {
			if _, there := before[name]; !there && strings.HasPrefix(name, "node ") {
				return ""
			}
		}
		return "it has none; it said: " + b.stderr.String()
	})
	return b
}

func (b *background) end(t testing.TB) said {
	t.Helper()
	if err := b.Wait(); err != nil && !b.ProcessState.Exited() {
		t.Logf("fauxlet check: %v", err)
	}
	return said{b.stdout.String(), b.stderr.String(), b.ProcessState.ExitCode()}
}

// TestCheckLeavesNothing stops checks in the middle, in all ways, and looks what is left.
func TestCheckLeavesNothing(t *testing.T) {
	t.Parallel() // a control plane of its own, and a minute to wait
	plane := newControlPlane(t, checkable)
	t.Cleanup(func() { must(t, plane.apiserver.stop()) })
	plane.bind(t, kubeletAPIAdmin, userNamed("kubelet-client"))
	// An object that is somebody's, and has our label.
	foreign := plane.foreign(t)
	before := plane.objects(t)

	// Two at once.
	var both sync.WaitGroup
	results := make([]said, 2)
	for i := range results {
		cmd := plane.checkCommand(t, plane.pki.servingCA(t)...)
		both.Go(func() { results[i] = run(t, cmd) })
	}
	both.Wait()
	for _, one := range results {
		if one.status != 0 {
			t.Errorf("one of two at once: %+v", one)
		}
	}
	plane.leaves(t, before)

	for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		b := plane.midway(t)
		must(t, b.Process.Signal(signal))
		got := reported(t, b.end(t))
		if got.status != 2 || !strings.Contains(got.stderr, "signal received") || got.report.Count(conformance.Fail) > 0 {
			t.Errorf("%v: %+v, want status 2, and nothing that failed", signal, got)
		}
		plane.leaves(t, before)
	}
	if got := plane.check(t, "--timeout", "300ms"); got.status != 2 || !strings.Contains(got.stderr, "--timeout: 300ms are over") || got.report.Count(conformance.Fail) > 0 {
		t.Errorf("without time: %+v, want status 2, and nothing that failed", got)
	}
	plane.leaves(t, before)

	// A connection that breaks once.
	link := startLink(t, plane)
	b := link.plane.midway(t)
	link.cut()
	got := reported(t, b.end(t))
	if got.report.Count(conformance.Fail) > 0 || len(got.report.Left) > 0 {
		t.Errorf("a connection that breaks: %+v, want nothing that failed, nothing left", got)
	}
	plane.leaves(t, before)

	// A check that is killed, and a check whose connection is lost for good.
	b = plane.midway(t)
	must(t, b.Process.Kill())
	b.end(t)
	killed := plane.objects(t)
	b = link.plane.midway(t)
	link.close()
	got = reported(t, b.end(t))
	if got.status != 2 || len(got.report.Left) == 0 || got.report.Count(conformance.Fail) > 0 {
		t.Errorf("a connection that is lost: %+v, want status 2, and what is left", got)
	}

	// They may be alive still: what they made is left alone, for a minute, and gone after the next check.
	plane.check(t, "--only", "reach.dialled")
	after := plane.objects(t)
	for _, name := range slices.Sorted(maps.Keys(killed)) {
		if after[name] != killed[name] {
			t.Errorf("%s was removed by another run, moments after its own was killed", name)
		}
	}
	eventually(t, 3*time.Minute, "the next check removes what is left", func() string {
		got := plane.check(t, "--only", "reach.dialled")
		if got.status != 0 {
			t.Errorf("the next check: %+v", got)
		}
		return cmp.Diff(before, plane.objects(t))
	})
	if got := plane.objects(t)["node /"+foreign]; got != before["node /"+foreign] || got == "" {
		t.Errorf("somebody's Node with our label is gone")
	}
}

// foreign makes a Node that has the label of a run and not its name.
func (c *controlPlane) foreign(t testing.TB) string {
	t.Helper()
	node := &v1.Node{ObjectMeta: metav1.ObjectMeta{Name: "foreign", Labels: map[string]string{"fauxlet.check/run": "long-ago"}}}
	_, err := c.client.CoreV1().Nodes().Create(context.Background(), node, metav1.CreateOptions{})
	must(t, err)
	return node.Name
}

// link is a way to an apiserver that can be cut.
type link struct {
	plane    *controlPlane // by this way
	listener net.Listener

	mu    sync.Mutex
	conns []net.Conn
}

func startLink(t testing.TB, plane *controlPlane) *link {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	far := *plane
	far.kubeconfig = filepath.Join(t.TempDir(), "kubeconfig")
	config, err := clientcmd.LoadFromFile(plane.kubeconfig)
	must(t, err)
	for _, cluster := range config.Clusters {
		cluster.Server = "https://" + listener.Addr().String()
	}
	must(t, clientcmd.WriteToFile(*config, far.kubeconfig))
	l := &link{plane: &far, listener: listener}
	t.Cleanup(l.close)
	go l.serve(strings.TrimPrefix(plane.url, "https://"))
	return l
}

func (l *link) serve(to string) {
	for {
		near, err := l.listener.Accept()
		if err != nil {
			return
		}
		away, err := net.Dial("tcp", to)
		if err != nil {
			near.Close()
			continue
		}
		l.mu.Lock()
		l.conns = append(l.conns, near, away)
		l.mu.Unlock()
		for _, half := range [][2]net.Conn{{near, away}, {away, near}} {
			go func() {
				_, _ = io.Copy(half[0], half[1])
				half[0].Close()
			}()
		}
	}
}

// cut breaks the connections that there are.
func (l *link) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, conn := range l.conns {
		conn.Close()
	}
	l.conns = nil
}

// close breaks them, and refuses others.
func (l *link) close() {
	l.listener.Close()
	l.cut()
}
