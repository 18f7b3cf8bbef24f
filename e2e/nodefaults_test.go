package e2e

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// road is a way to the apiserver that can be cut: a listener that copies to it.
type road struct {
	net.Listener
	to string

	mu    sync.Mutex
	conns map[net.Conn]bool
	// closed: connections are cut as they come. silent: nothing passes, and nobody is told.
	closed, silent bool
}

// newRoad opens one to the control plane, and gives a kubeconfig of the node that takes it.
func newRoad(t testing.TB, plane *controlPlane, node string) (*road, string) {
	t.Helper()
	to, err := url.Parse(plane.url)
	must(t, err)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	r := &road{Listener: listener, to: to.Host, conns: map[net.Conn]bool{}}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { r.carry(conn) })
		}
	})
	t.Cleanup(func() {
		listener.Close()
		r.cut()
		serving.Wait()
	})
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	direct := plane.url
	plane.url = "https://" + listener.Addr().String()
	err = plane.writeKubeconfig(kubeconfig, "system:node:"+node, "system:nodes")
	plane.url = direct
	must(t, err)
	return r, kubeconfig
}

func (r *road) carry(conn net.Conn) {
	defer conn.Close()
	other, err := net.Dial("tcp", r.to)
	if err != nil {
		return
	}
	defer other.Close()
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		return
	}
	r.conns[conn], r.conns[other] = true, true
	r.mu.Unlock()
	var both sync.WaitGroup
	for _, pair := range [][2]net.Conn{{conn, other}, {other, conn}} {
		both.Go(func() {
			_, _ = io.Copy(&muted{r, pair[0]}, pair[1])
			conn.Close()
			other.Close()
		})
	}
	both.Wait()
	r.mu.Lock()
	delete(r.conns, conn)
	delete(r.conns, other)
	r.mu.Unlock()
}

// muted passes on what is written unless the road is silent.
type muted struct {
	road *road
	to   io.Writer
}

func (m *muted) Write(b []byte) (int, error) {
	m.road.mu.Lock()
	silent := m.road.silent
	m.road.mu.Unlock()
	if silent {
		return len(b), nil
	}
	return m.to.Write(b)
}

// cut closes all that is open.
func (r *road) cut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for conn := range r.conns {
		conn.Close()
	}
}

func (r *road) set(closed, silent bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed, r.silent = closed, silent
}

// works wants a pod that is made now to run, and to go, and the Lease to be renewed from now on.
func (n *joined) works(t testing.TB, name string) {
	t.Helper()
	plane, now := n.plane, time.Now()
	plane.create(t, boundTo(n.name, name))
	plane.awaitPod(t, name, "runs", phaseIs(v1.PodRunning))
	plane.prints(t, nil, "delete", "pod", name, "--wait=false")
	plane.awaitNoPod(t, name)
	eventually(t, time.Minute, "the Lease is renewed", func() string {
		lease, err := plane.client.CoordinationV1().Leases("kube-node-lease").Get(context.Background(), n.name, metav1.GetOptions{})
		if err != nil {
			return err.Error()
		}
		if !lease.Spec.RenewTime.After(now) {
			return fmt.Sprintf("it was renewed at %v, now is %v", lease.Spec.RenewTime, now)
		}
		return ""
	})
	plane.awaitNode(t, n.name, "is Ready", readyIs(v1.ConditionTrue))
}

// runsStill wants a pod to be the one that it was, in the same containers.
func (c *controlPlane) runsStill(t testing.TB, before *v1.Pod) {
	t.Helper()
	after := c.awaitPod(t, before.Name, "runs still", phaseIs(v1.PodRunning))
	was, is := before.Status.ContainerStatuses[0], after.Status.ContainerStatuses[0]
	if after.UID != before.UID || is.ContainerID != was.ContainerID || is.RestartCount != was.RestartCount {
		t.Errorf("%s is another pod now: %+v, was %+v", before.Name, after.Status, before.Status)
	}
}

// says waits until its log has the words, count times since from.
func (n *joined) says(t testing.TB, words string, count, from int) {
	t.Helper()
	eventually(t, 3*time.Minute, "fauxlet says "+words, func() string {
		if got := strings.Count(n.out.String()[from:], words); got < count {
			return fmt.Sprintf("%d times, want %d", got, count)
		}
		return ""
	})
}

// TestNodeOutlives: whatever happens between a node and its control plane, it recovers by itself, and its pods are the
// ones that they were.
func TestNodeOutlives(t *testing.T) {
	plane := newControlPlane(t, joining)
	t.Cleanup(func() {
		if err := plane.apiserver.stop(); err != nil {
			t.Error(err)
		}
	})
	way, kubeconfig := newRoad(t, plane, "node-1")
	s := servingCertificate(t)
	s["nodeStatusUpdateFrequency"], s["nodeLeaseDurationSeconds"] = "2s", 8
	n := plane.join(t, joinOptions{kubeconfig: kubeconfig, settings: s})
	plane.create(t, boundTo(n.name, "stays"))
	before := plane.awaitPod(t, "stays", "runs", phaseIs(v1.PodRunning))
	n.works(t, "first")
	const failing = "Failed to update lease"

	for _, fault := range []struct {
		name string
		do   func(t *testing.T)
	}{
		{"connections are cut", func(*testing.T) { way.cut() }},
		{"the apiserver cannot be reached", func(t *testing.T) {
			from := len(n.out.String())
			way.set(true, false)
			way.cut()
			n.says(t, failing, 3, from)
			plane.prints(t, nil, "run", "meanwhile", "--image=nginx", `--overrides={"spec":{"nodeName":"node-1"}}`)
			way.set(false, false)
			plane.awaitPod(t, "meanwhile", "runs", phaseIs(v1.PodRunning))
			plane.prints(t, nil, "delete", "pod", "meanwhile", "--wait=false")
		}},
		{"the road is silent", func(t *testing.T) {
			from := len(n.out.String())
			way.set(false, true)
			n.says(t, failing, 2, from)
			way.set(false, false)
		}},
		{"the apiserver is started again", func(t *testing.T) {
			from := len(n.out.String())
			must(t, plane.apiserver.stop())
			n.says(t, failing, 1, from)
			must(t, plane.start())
		}},
		{"etcd is started again", func(t *testing.T) {
			must(t, etcdProcess.stop())
			must(t, runEtcd(etcd))
			eventually(t, time.Minute, "the apiserver has its etcd again", func() string {
				_, err := plane.client.CoreV1().Nodes().Get(context.Background(), n.name, metav1.GetOptions{})
				if err != nil {
					return err.Error()
				}
				return ""
			})
		}},
		{"its Lease is deleted", func(t *testing.T) {
			must(t, plane.client.CoordinationV1().Leases("kube-node-lease").Delete(context.Background(), n.name, metav1.DeleteOptions{}))
		}},
		{"it is killed", func(t *testing.T) {
			n.kill(t)
			n.start(t)
		}},
	} {
		t.Run(fault.name, func(t *testing.T) {
			fault.do(t)
			n.works(t, "after")
			plane.runsStill(t, before)
			if all := plane.podsOf(t, n.name); len(all) != 1 {
				t.Errorf("pods: %v, want one", all)
			}
		})
	}
}

// TestNodeChurn: a thousand pods that come and go within a minute leave nothing behind, though the node is killed meanwhile.
func TestNodeChurn(t *testing.T) {
	plane := withFlags(t, joining)
	s := servingCertificate(t)
	s["kubeAPIQPS"], s["kubeAPIBurst"] = 500, 1000 // by the default of 50 a second it takes longer
	n := plane.join(t, joinOptions{settings: s})
	plane.awaitNode(t, n.name, "is Ready", readyIs(v1.ConditionTrue))
	ctx, pods := context.Background(), plane.client.CoreV1().Pods("default")
	var group errgroup.Group
	group.SetLimit(20)
	const count = 1000
	began := time.Now()
	for i := range count {
		if i == count/2 {
			n.kill(t)
			n.start(t)
		}
		group.Go(func() error {
			pod, err := pods.Create(ctx, boundTo(n.name, fmt.Sprintf("churn-%d", i)), metav1.CreateOptions{})
			if err != nil {
				return err
			}
			grace := int64(i % 3)
			if i%3 == 1 { // not even its first status was seen by anybody
				return pods.Delete(ctx, pod.Name, metav1.DeleteOptions{GracePeriodSeconds: &grace})
			}
			if problem := within(2*time.Minute, func() string {
				pod, err := pods.Get(ctx, pod.Name, metav1.GetOptions{})
				if err != nil {
					return err.Error()
				}
				return phaseIs(v1.PodRunning)(pod)
			}); problem != "" {
				return fmt.Errorf("%s: %s", pod.Name, problem)
			}
			return pods.Delete(ctx, pod.Name, metav1.DeleteOptions{GracePeriodSeconds: &grace})
		})
	}
	must(t, group.Wait())
	eventually(t, time.Minute, "all are gone", func() string {
		if left := plane.podsOf(t, n.name); len(left) > 0 {
			return fmt.Sprintf("%d are left, such as %v", len(left), left)
		}
		return ""
	})
	progress("%d pods have come and gone in %v", count, time.Since(began).Round(time.Second)) // a busy machine may take longer
	client := identity{}
	var err error
	client.pair, err = plane.pki.ca.Client("admin", []string{"system:masters"})
	must(t, err)
	k := &kubelet{secure: n.open.Secure}
	eventually(t, time.Minute, "the node has none", func() string {
		got := k.get(t, "/pods", client)
		if got.status != 200 || strings.Contains(got.body, "churn-") {
			return fmt.Sprintf("%d %.300s", got.status, got.body)
		}
		return ""
	})
	n.works(t, "afterwards")
}

// TestNodeIsDeleted: a Node that somebody deletes stays so, as a kubelet's does, and is there again after a restart. Its
// pods are whoever deletes them.
func TestNodeIsDeleted(t *testing.T) {
	plane := withFlags(t, joining)
	s := servingCertificate(t)
	s["nodeStatusUpdateFrequency"] = "1s"
	n := plane.join(t, joinOptions{settings: s})
	first := plane.awaitNode(t, n.name, "is Ready", readyIs(v1.ConditionTrue))
	must(t, plane.client.CoreV1().Nodes().Delete(context.Background(), n.name, metav1.DeleteOptions{}))
	n.says(t, "Error updating node status, will retry", 10, 0)
	if _, err := plane.client.CoreV1().Nodes().Get(context.Background(), n.name, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("it is there again: %v", err)
	}
	n.halt(t)
	n.start(t)
	if again := plane.awaitNode(t, n.name, "is Ready again", readyIs(v1.ConditionTrue)); again.UID == first.UID {
		t.Error("it is the same Node")
	}
}

// TestTop: kubectl top tells of nodes and pods that joined by themselves.
func TestTop(t *testing.T) {
	port := freePort(t)
	plane := withAggregation(t, port, joining...)
	token, _ := plane.token(t, "scraper")
	n := plane.join(t, joinOptions{settings: servingCertificate(t), args: []string{"--capacity=cpu=4,memory=16Gi"}})
	plane.awaitNode(t, n.name, "is Ready", readyIs(v1.ConditionTrue))
	plane.create(t, boundTo(n.name, "web"))
	plane.awaitPod(t, "web", "runs", phaseIs(v1.PodRunning))
	plane.serveMetrics(t, token, port)
	eventually(t, 2*time.Minute, "kubectl top", func() string {
		nodes, pods := plane.kubectl(t, "top", "nodes"), plane.kubectl(t, "top", "pods")
		if nodes.status != 0 || pods.status != 0 || !strings.Contains(nodes.stdout, "node-1") || !strings.Contains(pods.stdout, "web") {
			return fmt.Sprintln(nodes, pods)
		}
		t.Logf("\n%s\n%s", nodes.stdout, pods.stdout)
		return ""
	})
}
