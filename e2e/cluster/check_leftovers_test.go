package cluster

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	certificatesv1 "k8s.io/api/certificates/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	v1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/tools/clientcmd"

	"fauxlet/conformance"
	"fauxlet/e2e/internal/controlplane"
	"fauxlet/e2e/internal/expect"
	"fauxlet/e2e/internal/programs"
)

// objects returns the UIDs of all objects that a check could leave behind. Each key of the map is the kind, the
// namespace and the name of an object. The Leases in kube-system are missing, because kube-apiserver creates them.
func objects(t testing.TB, c *controlplane.Plane) map[string]string {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", c.Kubeconfig)
	expect.NoError(t, err)
	client, err := metadata.NewForConfig(config)
	expect.NoError(t, err)
	all := map[string]string{}
	for _, resource := range []schema.GroupVersionResource{
		v1.SchemeGroupVersion.WithResource("nodes"),
		v1.SchemeGroupVersion.WithResource("namespaces"),
		v1.SchemeGroupVersion.WithResource("pods"),
		v1.SchemeGroupVersion.WithResource("serviceaccounts"),
		coordinationv1.SchemeGroupVersion.WithResource("leases"),
		certificatesv1.SchemeGroupVersion.WithResource("certificatesigningrequests"),
		rbacv1.SchemeGroupVersion.WithResource("clusterroles"),
		rbacv1.SchemeGroupVersion.WithResource("clusterrolebindings"),
	} {
		list, err := client.Resource(resource).List(context.Background(), metav1.ListOptions{})
		expect.NoError(t, err)
		for _, o := range list.Items {
			if resource.Resource == "leases" && o.Namespace == "kube-system" {
				continue // kube-apiserver's own lease
			}
			kind := strings.TrimSuffix(resource.Resource, "s")
			all[fmt.Sprintf("%s %s/%s", kind, o.Namespace, o.Name)] = string(o.UID)
		}
	}
	return all
}

// leaves verifies that a check has left nothing behind. The parameter "before" is the result of the function "objects"
// before the check. The cluster must have the same objects now.
func leaves(t testing.TB, c *controlplane.Plane, before map[string]string) {
	t.Helper()
	if diff := cmp.Diff(before, objects(t, c)); diff != "" {
		t.Errorf("the cluster has other objects than before (-before +after):\n%s", diff)
	}
}

// background is a process of the command "fauxlet check" that runs in the background.
type background struct {
	*exec.Cmd
	stdout, stderr programs.Buffer
}

// midway starts a check, and returns when the check has created its first Node. The arguments must contain
// servingCAFlags. With these flags, the check runs long enough to be interrupted, because some of its parts wait for
// seconds.
func midway(t testing.TB, c *controlplane.Plane, args ...string) *background {
	t.Helper()
	before := objects(t, c)
	b := &background{Cmd: checkCommand(t, c, args...)}
	b.Stdout, b.Stderr = &b.stdout, &b.stderr
	expect.NoError(t, b.Start())
	t.Cleanup(func() { _ = b.Process.Kill() })
	expect.Eventually(t, time.Minute, "the check creates a Node", func() string {
		for name := range objects(t, c) {
			if _, there := before[name]; !there && strings.HasPrefix(name, "node ") {
				return ""
			}
		}
		return "none yet; output: " + b.stderr.String()
	})
	return b
}

func (b *background) end(t testing.TB) programs.Result {
	t.Helper()
	if err := b.Wait(); err != nil && !b.ProcessState.Exited() {
		t.Logf("fauxlet check: %v", err)
	}
	return programs.Result{Stdout: b.stdout.String(), Stderr: b.stderr.String(), Status: b.ProcessState.ExitCode()}
}

// TestCheckLeavesNothing interrupts checks in several ways, and checks that the cluster then has the same objects as
// before. A killed check leaves objects behind; the next check removes them when they are more than a minute old.
func TestCheckLeavesNothing(t *testing.T) {
	t.Parallel()
	programs.Slow(t)
	plane := controlplane.New(t, checkable)
	plane.Bind(t, controlplane.KubeletAPIAdmin, controlplane.User("kubelet-client"))
	// A check removes leftovers by their label and name. This Node has the label, but not the name.
	foreign := foreign(t, plane)
	before := objects(t, plane)

	// Run two checks at the same time.
	var both sync.WaitGroup
	results := make([]programs.Result, 2)
	for i := range results {
		cmd := checkCommand(t, plane, servingCAFlags(plane.PKI)...)
		both.Go(func() { results[i] = programs.Run(t, cmd) })
	}
	both.Wait()
	for _, one := range results {
		if one.Status != 0 {
			t.Errorf("one of two checks at the same time: %+v", one)
		}
	}
	leaves(t, plane, before)

	for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		b := midway(t, plane, servingCAFlags(plane.PKI)...)
		expect.NoError(t, b.Process.Signal(signal))
		got := reported(t, b.end(t))
		if got.Status != 2 || !strings.Contains(got.Stderr, "signal received") ||
			got.report.Count(conformance.Fail) > 0 {
			t.Errorf("%v: %+v, want status 2 and no failed check", signal, got)
		}
		leaves(t, plane, before)
	}
	// The check has servingCAFlags, so all parts of it run. Some of them wait for seconds, so no machine finishes them
	// in two seconds.
	got := runCheck(t, plane, append(servingCAFlags(plane.PKI), "--timeout", "2s")...)
	if got.Status != 2 || !strings.Contains(got.Stderr, "--timeout: the run did not finish within 2s") ||
		got.report.Count(conformance.Fail) > 0 {
		t.Errorf("--timeout 2s: %+v, want status 2 and no failed check", got)
	}
	leaves(t, plane, before)

	// Run a check whose connection to kube-apiserver breaks once.
	link := startLink(t, plane)
	b := midway(t, link.plane)
	link.cut()
	got = reported(t, b.end(t))
	if got.report.Count(conformance.Fail) > 0 || len(got.report.NotRemoved) > 0 {
		t.Errorf("a connection that breaks once: %+v, want no failed check and nothing left", got)
	}
	leaves(t, plane, before)

	// Break the connection of one check permanently, and kill another check. Both leave objects behind.
	b = midway(t, link.plane, servingCAFlags(plane.PKI)...)
	link.close()
	got = reported(t, b.end(t))
	if got.Status != 2 || len(got.report.NotRemoved) == 0 || got.report.Count(conformance.Fail) > 0 {
		t.Errorf("a connection that is lost: %+v, want status 2 and a list of what is left", got)
	}
	lost := objects(t, plane)
	b = midway(t, plane, servingCAFlags(plane.PKI)...)
	expect.NoError(t, b.Process.Kill())
	b.end(t)
	killed := objects(t, plane)
	maps.DeleteFunc(killed, func(name, _ string) bool { _, old := lost[name]; return old })

	// A new check cannot know whether the check that created some objects was killed or still runs. Therefore the new
	// check removes only objects that are more than a minute old.
	runCheck(t, plane, "--only", "reach.dialled")
	after := objects(t, plane)
	for _, name := range slices.Sorted(maps.Keys(killed)) {
		if after[name] != killed[name] {
			t.Errorf("another check removed %s moments after the check that created it was killed", name)
		}
	}
	expect.Eventually(t, 3*time.Minute, "the next check removes the leftover objects", func() string {
		got := runCheck(t, plane, "--only", "reach.dialled")
		if got.Status != 0 {
			t.Errorf("the next check: %+v", got)
		}
		return cmp.Diff(before, objects(t, plane))
	})
	if got := objects(t, plane)["node /"+foreign]; got != before["node /"+foreign] || got == "" {
		t.Error("the check removed a Node that has the label of a check but another name")
	}
}

// foreign creates a Node that has the label of a check, but a name that no check uses.
func foreign(t testing.TB, c *controlplane.Plane) string {
	t.Helper()
	node := &v1.Node{ObjectMeta: metav1.ObjectMeta{Name: "foreign",
		Labels: map[string]string{"fauxlet.check/run": "long-ago"}}}
	_, err := c.Client.CoreV1().Nodes().Create(context.Background(), node, metav1.CreateOptions{})
	expect.NoError(t, err)
	return node.Name
}

// link forwards connections to kube-apiserver until it is cut.
type link struct {
	plane    *controlplane.Plane // clients with this kubeconfig connect through the link
	listener net.Listener

	mu    sync.Mutex
	conns []net.Conn
}

func startLink(t testing.TB, plane *controlplane.Plane) *link {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	expect.NoError(t, err)
	far := *plane
	far.Kubeconfig = filepath.Join(t.TempDir(), "kubeconfig")
	config, err := clientcmd.LoadFromFile(plane.Kubeconfig)
	expect.NoError(t, err)
	for _, cluster := range config.Clusters {
		cluster.Server = "https://" + listener.Addr().String()
	}
	expect.NoError(t, clientcmd.WriteToFile(*config, far.Kubeconfig))
	l := &link{plane: &far, listener: listener}
	t.Cleanup(l.close)
	go l.serve(strings.TrimPrefix(plane.URL, "https://"))
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

// cut closes all open connections.
func (l *link) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, conn := range l.conns {
		conn.Close()
	}
	l.conns = nil
}

// close closes all open connections and refuses new ones.
func (l *link) close() {
	l.listener.Close()
	l.cut()
}
