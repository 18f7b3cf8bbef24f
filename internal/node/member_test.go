package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// restless returns a node that reports its status and renews its Lease several times per second.
func (w *fixture) restless(name string, flags ...string) Spec {
	w.t.Helper()
	spec := w.specOf(name, flags...)
	spec.Config.Kubelet.NodeStatusUpdateFrequency.Duration = 50 * time.Millisecond
	spec.Config.Kubelet.NodeLeaseDurationSeconds = 1
	return spec
}

// awaitLease waits until a node's Lease has a renewTime later than the given time.
func (w *fixture) awaitLease(name string, after time.Time) *coordinationv1.Lease {
	w.t.Helper()
	var lease *coordinationv1.Lease
	w.eventually("the Lease of "+name+" is renewed", func() string {
		var err error
		lease, err = w.client.CoordinationV1().Leases(v1.NamespaceNodeLease).Get(context.Background(), name,
			metav1.GetOptions{})
		if err != nil {
			return err.Error()
		}
		if !lease.Spec.RenewTime.After(after) {
			return fmt.Sprintf("at %s, and not after %s", lease.Spec.RenewTime, after)
		}
		return ""
	})
	return lease
}

func (w *fixture) deleteLease(name string) {
	w.t.Helper()
	if err := w.client.CoordinationV1().Leases(v1.NamespaceNodeLease).Delete(context.Background(), name,
		metav1.DeleteOptions{}); err != nil {
		w.t.Fatal(err)
	}
}

// deleteNode deletes a Node and waits until the Fleet has noticed the deletion.
func (w *fixture) deleteNode(name string) {
	w.t.Helper()
	if err := w.client.CoreV1().Nodes().Delete(context.Background(), name, metav1.DeleteOptions{}); err != nil {
		w.t.Fatal(err)
	}
	w.eventually("the Fleet notices the deleted Node", func() string {
		if _, err := w.fleet.member(name).uid(); err == nil {
			return "the Fleet still has its UID"
		}
		return ""
	})
}

// TestLease checks that the Lease is renewed, belongs to the Node, and is created again after it was deleted.
func TestLease(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newFixture(t).run()
		w.add(w.restless("node-1"))
		node := w.awaitReady("node-1", v1.ConditionTrue)
		lease := w.awaitLease("node-1", time.Time{})
		if s := lease.Spec; *s.HolderIdentity != "node-1" || *s.LeaseDurationSeconds != 1 {
			t.Errorf("wrong spec of the Lease: %+v", s)
		}
		if o := lease.OwnerReferences; len(o) != 1 || o[0].Kind != "Node" || o[0].Name != "node-1" ||
			o[0].UID != node.UID {
			t.Errorf("owners %+v, want node-1 with %s", o, node.UID)
		}
		renewed := w.awaitLease("node-1", lease.Spec.RenewTime.Time)
		if n := w.count("patch nodes/status node-1"); n > 0 {
			t.Errorf("an unchanged status was sent %d times", n)
		}
		w.deleteLease("node-1")
		if again := w.awaitLease("node-1", renewed.Spec.RenewTime.Time); again.UID == lease.UID {
			t.Error("the Lease has its old UID after the deletion")
		}
	})
}

// TestNodeIsDeleted checks that after the deletion of a Node the Fleet does not create the Node, its Lease and its
// mirror pods again, and that the connections stay open. If another program creates the Node again, the Fleet uses
// it again.
func TestNodeIsDeleted(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newFixture(t).run()
		spec := w.restless("node-1")
		spec.Static = []*v1.Pod{manifest("agent", "agent:1")}
		w.add(spec)
		w.awaitReady("node-1", v1.ConditionTrue)
		w.awaitLease("node-1", time.Time{})
		w.awaitPhase("agent-node-1", v1.PodRunning)
		w.deleteNode("node-1")
		failed := w.failed.Load()
		// In a real cluster the garbage collector deletes the Lease and the mirror pod.
		w.deleteLease("node-1")
		w.delete("agent-node-1", 0)
		w.awaitRequests("get leases node-1", w.count("get leases node-1")+2) // the node has tried to renew the Lease
		for _, request := range []string{"create nodes node-1", "create leases node-1", "create pods agent-node-1"} {
			if n := w.count(request); n != 1 {
				t.Errorf("%s: requested %d times, want once", request, n)
			}
		}
		if again := w.failed.Load(); again != failed {
			t.Errorf("HeartbeatFailed was called %d times although only the Node was deleted", again-failed)
		}
		if _, err := w.node("node-1"); !apierrors.IsNotFound(err) {
			t.Errorf("the deleted Node exists again: %v", err)
		}
		if _, there := w.served("node-1")["agent-node-1"]; !there {
			t.Error("the static pod is not served")
		}

		if _, err := w.client.CoreV1().Nodes().Create(context.Background(),
			&v1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node-1"}}, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		node := w.awaitReady("node-1", v1.ConditionTrue)
		if lease := w.awaitLease("node-1", time.Time{}); lease.OwnerReferences[0].UID != node.UID {
			t.Errorf("owners %+v, want node-1 with %s", lease.OwnerReferences, node.UID)
		}
		w.awaitPhase("agent-node-1", v1.PodRunning)
	})
}

// TestStatusIsReported checks that a node sends its status again when the last report is old, and when another program
// has changed the Node in the apiserver. If the apiserver refuses a report, the node sends it again.
func TestStatusIsReported(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newFixture(t)
		var refused atomic.Bool
		w.refuse = func(request string) error {
			if request == "patch nodes/status node-1" && refused.Load() {
				return errors.New("not now")
			}
			return nil
		}
		often := w.restless("often")
		often.Config.Kubelet.NodeStatusReportFrequency.Duration = 50 * time.Millisecond
		w.run().add(often)
		w.add(w.restless("node-1"))
		w.awaitRequests("patch nodes/status often", 3) // the node reports an unchanged status
		node := w.awaitReady("node-1", v1.ConditionTrue)
		refused.Store(true)
		node.Labels[v1.LabelOSStable] = "plan9"
		node.Status.Conditions = slices.DeleteFunc(node.Status.Conditions,
			func(c v1.NodeCondition) bool { return c.Type == v1.NodeReady })
		w.put(node)
		w.eventually("HeartbeatFailed is called", func() string {
			if w.failed.Load() == 0 {
				return "it was not called"
			}
			return ""
		})
		refused.Store(false)
		if node := w.awaitReady("node-1", v1.ConditionTrue); node.Labels[v1.LabelOSStable] == "plan9" {
			t.Errorf("the labels were not corrected: %v", node.Labels)
		}
	})
}

// TestNodeMayNotBeCreated checks a credential that may not create its Node. The node uses an existing Node, or waits
// until the Node exists.
func TestNodeMayNotBeCreated(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newFixture(t)
		w.refuse = func(request string) error {
			if request == "create nodes node-1" {
				return apierrors.NewForbidden(v1.Resource("nodes"), "node-1", errors.New("may not"))
			}
			return nil
		}
		w.run().add(w.specOf("node-1"))
		w.awaitRequests("get nodes node-1", 1)
		w.put(&v1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node-1", UID: "theirs"}})
		w.awaitReady("node-1", v1.ConditionTrue)
	})
}

// TestRegistrationErrorsHaveRemedies checks that the remedy for an error of the apiserver is logged once, although the
// node retries.
func TestRegistrationErrorsHaveRemedies(t *testing.T) {
	for name, test := range map[string]struct {
		fail   func(*fixture)
		remedy string
	}{
		"unreachable": {func(w *fixture) { w.Server.Close() }, "start the apiserver"},
		"forbidden": {func(w *fixture) {
			w.refuse = func(string) error {
				return apierrors.NewForbidden(schema.GroupResource{Resource: "nodes"}, "a", errors.New("no"))
			}
		}, "use the node's own credential"},
		"unauthorized": {func(w *fixture) {
			w.refuse = func(string) error { return apierrors.NewUnauthorized("no") }
		}, "replace the credential"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newFixture(t)
			test.fail(w)
			w.run().add(w.specOf("a"))
			const failed = "Unable to register node with API server"
			w.eventually("three attempts", func() string {
				if n := w.log.FilterMessage(failed).Len(); n < 3 {
					return fmt.Sprintf("%d attempts", n)
				}
				return ""
			})
			w.stop()
			with := w.log.FilterMessage(failed).FilterFieldKey("remedy").All()
			if len(with) != 1 || !strings.HasPrefix(with[0].ContextMap()["remedy"].(string), test.remedy) {
				t.Errorf("log lines with a remedy: %v; want one with %q", with, test.remedy)
			}
		})
	}
}
