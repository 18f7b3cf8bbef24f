package node

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2"

	"fauxlet/config"
	"fauxlet/internal/pods"
	"fauxlet/scenario"
)

func TestMain(m *testing.M) {
	klog.SetLogger(logr.Discard())
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("k8s.io/klog/v2.(*flushDaemon).run.func1"),
		// Ignore the goroutine of a watch that a test started.
		goleak.IgnoreTopFunction("k8s.io/apimachinery/pkg/watch.(*filteredWatch).loop"))
}

// fixture is a Fleet with its apiserver.
type fixture struct {
	*api
	t      *testing.T
	fleet  *Fleet
	stores map[string]*pods.Store
	stop   func()
	// containers are the Scenario's descriptions of containers, by pod name and container name.
	containers map[string]map[string]scenario.Container
	log        *observer.ObservedLogs // the log lines with level warning or higher
	// failed counts the calls of HeartbeatFailed.
	failed atomic.Int32
}

// newFixture makes a Fleet that does not run yet. The apiserver has the given objects from the start.
func newFixture(t *testing.T, there ...object) *fixture {
	t.Helper()
	w := &fixture{t: t, api: newAPI(t), stores: map[string]*pods.Store{},
		containers: map[string]map[string]scenario.Container{}}
	for _, o := range there {
		w.put(o)
	}
	w.again()
	return w
}

// The method "again" simulates a restart of the process: it replaces the Fleet by a new one.
func (w *fixture) again() {
	w.t.Helper()
	core, log := observer.New(zap.WarnLevel)
	w.log = log
	var err error
	if w.fleet, err = NewFleet(Options{
		Client: w.client, Logger: zap.New(core), HeartbeatFailed: func() { w.failed.Add(1) },
		Containers: func(pod *v1.Pod) map[string]scenario.Container { return w.containers[pod.Name] },
	}); err != nil {
		w.t.Fatal(err)
	}
}

// The method "run" runs the Fleet until the test ends.
func (w *fixture) run() *fixture {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- w.fleet.Run(ctx) }()
	w.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			w.t.Error(err)
		}
	})
	w.t.Cleanup(w.stop)
	return w
}

// specOf returns a node configured by kubelet flags.
func (w *fixture) specOf(name string, flags ...string) Spec {
	w.t.Helper()
	f := config.NewFlags()
	all := append([]string{"hostname-override", name, "node-ip", "192.0.2.7"}, flags...)
	for i := 0; i < len(all); i += 2 {
		if err := f.Set(all[i], all[i+1]); err != nil {
			w.t.Fatal(err)
		}
	}
	cfg, err := f.Load()
	if err != nil {
		w.t.Fatal(err)
	}
	store, err := pods.NewStore()
	if err != nil {
		w.t.Fatal(err)
	}
	w.stores[name] = store
	return Spec{Config: cfg, Pods: store, Port: 10250, Version: "test", KubeletVersion: "v1.37.2"}
}

func (w *fixture) add(spec Spec) {
	w.t.Helper()
	if err := w.fleet.Add(spec); err != nil {
		w.t.Fatal(err)
	}
}

// eventually waits until the function "problem" returns an empty string.
func (w *fixture) eventually(what string, problem func() string) {
	w.t.Helper()
	deadline := time.After(20 * time.Second)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		last := problem()
		if last == "" {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			w.t.Fatalf("did not happen: %s: %s\nrequests: %q", what, last, w.requests())
		}
	}
}

// awaitRequests waits until the apiserver has received a request at least the given number of times.
func (w *fixture) awaitRequests(request string, times int) {
	w.t.Helper()
	w.eventually(fmt.Sprintf("the apiserver gets %d times the request %s", times, request), func() string {
		if n := w.count(request); n < times {
			return fmt.Sprint(n)
		}
		return ""
	})
}

func (w *fixture) node(name string) (*v1.Node, error) {
	return w.client.CoreV1().Nodes().Get(context.Background(), name, metav1.GetOptions{})
}

// awaitReady waits until the Ready condition of a Node has the given status.
func (w *fixture) awaitReady(name string, status v1.ConditionStatus) *v1.Node {
	w.t.Helper()
	var node *v1.Node
	w.eventually(fmt.Sprintf("node %s has Ready %s", name, status), func() string {
		var err error
		if node, err = w.node(name); err != nil {
			return err.Error()
		}
		for _, c := range node.Status.Conditions {
			if c.Type == v1.NodeReady && c.Status == status {
				return ""
			}
		}
		return fmt.Sprint(node.Status.Conditions)
	})
	return node
}

func (w *fixture) awaitPhase(name string, phase v1.PodPhase) *v1.Pod {
	w.t.Helper()
	var pod *v1.Pod
	w.eventually(fmt.Sprintf("pod %s is %s", name, phase), func() string {
		var err error
		if pod, err = w.client.CoreV1().Pods("default").Get(context.Background(), name,
			metav1.GetOptions{}); err != nil {
			return err.Error()
		}
		if pod.Status.Phase != phase {
			return fmt.Sprint(pod.Status)
		}
		return ""
	})
	return pod
}

// The method "served" returns the names and UIDs of the pods that a node's API serves.
func (w *fixture) served(node string) map[string]types.UID {
	all := map[string]types.UID{}
	for _, pod := range w.stores[node].List() {
		all[pod.Name] = pod.UID
	}
	return all
}

func (w *fixture) awaitServed(node string, wanted map[string]types.UID) {
	w.t.Helper()
	w.eventually(fmt.Sprintf("node %s serves %v", node, wanted), func() string {
		if got := w.served(node); !maps.Equal(got, wanted) {
			return fmt.Sprint(got)
		}
		return ""
	})
}

func (w *fixture) create(pod *v1.Pod) {
	w.t.Helper()
	if _, err := w.client.CoreV1().Pods(pod.Namespace).Create(context.Background(), pod,
		metav1.CreateOptions{}); err != nil {
		w.t.Fatal(err)
	}
}

func (w *fixture) delete(name string, grace int64) {
	w.t.Helper()
	if err := w.client.CoreV1().Pods("default").Delete(context.Background(), name,
		metav1.DeleteOptions{GracePeriodSeconds: &grace}); err != nil {
		w.t.Fatal(err)
	}
}

func podOf(node, name string, uid types.UID) *v1.Pod {
	return &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name, UID: uid},
		Spec:       v1.PodSpec{NodeName: node, Containers: []v1.Container{{Name: "app", Image: "app"}}},
	}
}

// TestFleetPods checks that each node has exactly the pods that are bound to it.
func TestFleetPods(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newFixture(t, podOf("node-1", "before", "1")).run()
		w.add(w.specOf("node-1"))
		w.add(w.specOf("node-2"))
		w.create(podOf("node-1", "a", "2"))
		w.create(podOf("node-2", "b", "3"))
		w.create(podOf("node-3", "c", "4"))
		w.create(podOf("", "d", "5"))
		ips := map[string]bool{}
		for _, name := range []string{"before", "a", "b"} {
			pod := w.awaitPhase(name, v1.PodRunning)
			if pod.Status.HostIP != "192.0.2.7" || pod.Status.PodIP == "" || ips[pod.Status.PodIP] {
				t.Errorf("pod %s has IP %q on host %q; IPs of the pods before: %v", name, pod.Status.PodIP,
					pod.Status.HostIP, ips)
			}
			ips[pod.Status.PodIP] = true
		}
		w.awaitServed("node-1", map[string]types.UID{"before": "1", "a": "2"})
		w.awaitServed("node-2", map[string]types.UID{"b": "3"})
		// A pod that is deleted by force disappears from the node too. A new pod of the same name counts as a different
		// pod.
		w.delete("a", 0)
		w.awaitServed("node-1", map[string]types.UID{"before": "1"})
		w.create(podOf("node-1", "a", "6"))
		w.awaitPhase("a", v1.PodRunning)
		w.awaitServed("node-1", map[string]types.UID{"before": "1", "a": "6"})

		if err := w.fleet.Remove(context.Background(), "node-1"); err != nil {
			t.Fatal(err)
		}
		w.awaitServed("node-1", map[string]types.UID{})
		if _, err := w.node("node-1"); !apierrors.IsNotFound(err) {
			t.Errorf("the Node object of a removed node still exists: %v", err)
		}
		w.awaitServed("node-2", map[string]types.UID{"b": "3"})
		if err := w.fleet.Remove(context.Background(), "node-1"); err == nil {
			t.Error("no error for a node that is removed twice")
		}
		if err := w.fleet.Add(w.specOf("node-2")); err == nil {
			t.Error("no error for a node that is added twice")
		}
		w.stop()
		for _, name := range []string{"c", "d"} { // the nodes of these pods are not in the Fleet
			if asked := w.requests(); slices.Contains(asked, "patch pods/status "+name) ||
				slices.Contains(asked, "delete pods "+name) {
				t.Errorf("the Fleet changed pod %s; requests: %q", name, asked)
			}
		}
	})
}

// TestRejectedStatusIsRetried checks that a rejected status is sent again, and that other pods do not wait for it.
func TestRejectedStatusIsRetried(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newFixture(t)
		var refused atomic.Int32
		w.refuse = func(request string) error {
			if request == "patch pods/status a" && refused.Add(1) <= 3 {
				return errors.New("not now")
			}
			return nil
		}
		w.run().add(w.specOf("node-1"))
		w.create(podOf("node-1", "a", "1"))
		w.create(podOf("node-1", "b", "2"))
		w.awaitPhase("b", v1.PodRunning)
		w.awaitPhase("a", v1.PodRunning)
		if n := refused.Load(); n <= 3 {
			t.Errorf("the status was sent %d times", n)
		}
	})
}

// TestFleetLeaves checks that a node that stops becomes NotReady or, with Deregister, is deleted. If the apiserver
// forbids the deletion, the node becomes NotReady. The pods of the node are not changed.
func TestFleetLeaves(t *testing.T) {
	for _, test := range []struct {
		name       string
		deregister bool
		forbidden  bool
		gone       bool
	}{
		{name: "stays"},
		{name: "is deleted", deregister: true, gone: true},
		{name: "may not be deleted", deregister: true, forbidden: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				w := newFixture(t)
				if test.forbidden {
					w.refuse = func(request string) error {
						if request == "delete nodes node-1" {
							return apierrors.NewForbidden(v1.Resource("nodes"), "node-1", errors.New("may not"))
						}
						return nil
					}
				}
				spec := w.specOf("node-1")
				spec.Deregister = test.deregister
				w.run().add(spec)
				w.awaitReady("node-1", v1.ConditionTrue)
				w.create(podOf("node-1", "a", "1"))
				w.awaitPhase("a", v1.PodRunning)
				w.stop()
				node, err := w.node("node-1")
				if test.gone {
					if !apierrors.IsNotFound(err) {
						t.Errorf("the Node still exists: %v", err)
					}
				} else {
					for _, c := range node.Status.Conditions {
						if c.Type == v1.NodeReady &&
							(c.Status != v1.ConditionFalse || c.Message != "node is shutting down") {
							t.Errorf("the condition Ready is %+v, want False with message \"node is shutting down\"", c)
						}
					}
				}
				if pod := w.awaitPhase("a", v1.PodRunning); pod.DeletionTimestamp != nil {
					t.Error("the pod of a stopped node was deleted")
				}
			})
		})
	}
}

// TestFleetAdopts checks that an existing Node keeps what other programs have set.
func TestFleetAdopts(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newFixture(t, &v1.Node{
			ObjectMeta: metav1.ObjectMeta{Name: "node-1", UID: "7",
				Labels: map[string]string{"theirs": "kept", v1.LabelHostname: "old"}},
			Spec: v1.NodeSpec{Unschedulable: true,
				Taints: []v1.Taint{{Key: "theirs", Effect: v1.TaintEffectNoSchedule}}},
			Status: v1.NodeStatus{
				Capacity: v1.ResourceList{"example.com/theirs": *newQuantity(3), v1.ResourceCPU: *newQuantity(1)},
				Conditions: []v1.NodeCondition{{Type: "Theirs", Status: v1.ConditionTrue},
					{Type: v1.NodeReady, Status: v1.ConditionUnknown}},
			},
		}).run()
		w.add(w.specOf("node-1", "node-labels", "mine=new", "register-with-taints", "mine=new:NoSchedule"))
		node := w.awaitReady("node-1", v1.ConditionTrue)
		if node.UID != "7" || !node.Spec.Unschedulable || len(node.Spec.Taints) != 1 ||
			node.Spec.Taints[0].Key != "theirs" {
			t.Errorf("UID %v, spec %+v: the existing Node was replaced or got taints", node.UID, node.Spec)
		}
		if node.Labels["theirs"] != "kept" || node.Labels[v1.LabelHostname] != "node-1" {
			t.Errorf("wrong labels of the adopted Node: %v", node.Labels)
		}
		theirs := node.Status.Allocatable["example.com/theirs"]
		if node.Status.Capacity.Cpu().Value() != 8 || theirs.Value() != 3 {
			t.Errorf("wrong capacity %v or allocatable %v of the adopted Node", node.Status.Capacity,
				node.Status.Allocatable)
		}
		if !slices.ContainsFunc(node.Status.Conditions, func(c v1.NodeCondition) bool { return c.Type == "Theirs" }) {
			t.Errorf("wrong conditions of the adopted Node: %+v", node.Status.Conditions)
		}
	})
}

// TestFleetStaticPods checks that static pods are served independently of the apiserver, and that deleted mirror pods
// are created again.
func TestFleetStaticPods(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		inTheWay := podOf("node-1", "blocked-node-1", "1")
		w := newFixture(t, inTheWay).run()
		spec := w.specOf("node-1")
		spec.Static = []*v1.Pod{manifest("agent", "agent:1"), manifest("blocked", "agent:1")}
		w.add(spec)
		mirror := w.awaitPhase("agent-node-1", v1.PodRunning)
		if mirror.Annotations[annotationMirror] == "" || len(mirror.OwnerReferences) != 1 ||
			mirror.OwnerReferences[0].Kind != "Node" {
			t.Errorf("wrong metadata of the mirror pod: %+v", mirror.ObjectMeta)
		}
		names := func(wanted ...string) {
			t.Helper()
			w.eventually(fmt.Sprintf("the node serves the pods %v", wanted), func() string {
				if got := slices.Sorted(maps.Keys(w.served("node-1"))); !slices.Equal(got, wanted) {
					return fmt.Sprint(got)
				}
				return ""
			})
		}
		names("agent-node-1", "blocked-node-1")

		w.delete("agent-node-1", 30)
		w.eventually("the deleted mirror pod is replaced", func() string {
			pod, err := w.client.CoreV1().Pods("default").Get(context.Background(), "agent-node-1", metav1.GetOptions{})
			if err != nil || pod.UID == mirror.UID {
				return fmt.Sprint(pod.UID, err)
			}
			return ""
		})
		again := w.awaitPhase("agent-node-1", v1.PodRunning)
		if again.Annotations[annotationMirror] != mirror.Annotations[annotationMirror] {
			t.Error("the new mirror pod has a different hash annotation")
		}
		if err := w.fleet.SetStatic("node-1", []*v1.Pod{manifest("agent", "agent:2")}); err != nil {
			t.Fatal(err)
		}
		w.eventually("the mirror pod has the image of the changed static pod", func() string {
			pod, err := w.client.CoreV1().Pods("default").Get(context.Background(), "agent-node-1", metav1.GetOptions{})
			if err != nil || pod.Spec.Containers[0].Image != "agent:2" {
				return fmt.Sprint(pod, err)
			}
			return ""
		})
		if err := w.fleet.SetStatic("node-1", []*v1.Pod{manifest("agent", "a"), manifest("agent", "b")}); err == nil {
			t.Error("no error for two static pods with the same name")
		}
		if err := w.fleet.SetStatic("node-1", nil); err != nil {
			t.Fatal(err)
		}
		if n := w.count("delete pods blocked-node-1"); n > 0 {
			t.Errorf("the ordinary pod with the mirror pod's name was deleted %d times", n)
		}
		w.eventually("the mirror pod of the removed static pod is deleted", func() string {
			_, err := w.client.CoreV1().Pods("default").Get(context.Background(), "agent-node-1", metav1.GetOptions{})
			if !apierrors.IsNotFound(err) {
				return fmt.Sprint(err)
			}
			return ""
		})
	})
}

// TestFleetOnly checks that with a node's own credential the Fleet uses only that node and its pods.
func TestFleetOnly(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := &fixture{t: t, api: newAPI(t), stores: map[string]*pods.Store{}}
		var err error
		if w.fleet, err = NewFleet(Options{Client: w.client, Only: "node-1"}); err != nil {
			t.Fatal(err)
		}
		w.run().add(w.specOf("node-1"))
		w.create(podOf("node-1", "a", "1"))
		w.awaitPhase("a", v1.PodRunning)
		for _, asked := range w.requests() {
			verb, of, _ := strings.Cut(asked, " ")
			if verb != "list" && verb != "watch" {
				continue
			}
			if of != "pods spec.nodeName=node-1" && of != "nodes metadata.name=node-1" {
				t.Errorf("unexpected request: %q", asked)
			}
		}
	})
}

// TestInvalidSpecs checks the errors for nodes that cannot be added.
func TestInvalidSpecs(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newFixture(t).run()
		spec := w.specOf("node-1")
		spec.Static = []*v1.Pod{manifest("a", "a:1"), manifest("a", "a:2")}
		if err := w.fleet.Add(spec); err == nil || !strings.Contains(err.Error(), "default/a-node-1") {
			t.Errorf("two static pods with the same name: error %v", err)
		}
		spec = w.specOf("node-1")
		spec.Config.Kubelet.SystemReserved = map[string]string{"cpu": "much"}
		if err := w.fleet.Add(spec); err == nil || !strings.Contains(err.Error(), `systemReserved: cpu: "much"`) {
			t.Errorf("an invalid quantity in systemReserved: error %v", err)
		}
	})
}
