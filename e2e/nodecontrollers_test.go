package e2e

import (
	"context"
	"fmt"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// podReadyIs wants the pod's condition Ready to have this status.
func podReadyIs(status v1.ConditionStatus) func(*v1.Pod) string {
	return func(pod *v1.Pod) string {
		for _, c := range pod.Status.Conditions {
			if c.Type == v1.PodReady && c.Status == status {
				return ""
			}
		}
		return fmt.Sprintf("its conditions are %v", pod.Status.Conditions)
	}
}

// TestNodeAmongControllers: a node is what the scheduler and the controllers of nodes take it for. They take the taint of a
// new Node away, bind pods to it, and take it for dead when the apiserver has been out of its reach for longer than they
// wait; it comes back by itself, with the pods that it had.
func TestNodeAmongControllers(t *testing.T) {
	t.Parallel() // it waits most of the time
	plane := newControlPlane(t, joining)
	t.Cleanup(func() { must(t, plane.apiserver.stop()) })
	plane.startControllerManager(t, "node-lifecycle-controller,taint-eviction-controller", time.Hour, "--node-monitor-period=1s", "--node-monitor-grace-period=10s")
	plane.startController(t, "kube-scheduler")
	way, kubeconfig := newRoad(t, plane, "node-1")
	s := servingCertificate(t)
	s["nodeStatusUpdateFrequency"], s["nodeLeaseDurationSeconds"] = "2s", 8
	n := plane.join(t, joinOptions{kubeconfig: kubeconfig, settings: s})
	noTaint := func(node *v1.Node) string {
		if len(node.Spec.Taints) > 0 {
			return fmt.Sprint(node.Spec.Taints)
		}
		return ""
	}
	plane.awaitNode(t, n.name, "has no taint", noTaint)

	plane.prints(t, nil, "run", "stays", "--image=nginx")
	before := plane.awaitPod(t, "stays", "is bound, and Ready", podReadyIs(v1.ConditionTrue))
	t.Cleanup(func() { plane.remove(t, before) })
	if before.Spec.NodeName != n.name {
		t.Errorf("it is bound to %q", before.Spec.NodeName)
	}
	plane.create(t, boundTo(n.name, "goes"))
	plane.awaitPod(t, "goes", "runs", phaseIs(v1.PodRunning))

	way.set(true, false)
	way.cut()
	plane.awaitNode(t, n.name, "is taken for dead", readyIs(v1.ConditionUnknown))
	plane.awaitPod(t, "stays", "is not Ready", podReadyIs(v1.ConditionFalse))
	plane.prints(t, nil, "delete", "pod", "goes", "--wait=false")
	plane.create(t, boundTo(n.name, "new"))
	if pod, err := plane.client.CoreV1().Pods("default").Get(context.Background(), "goes", metav1.GetOptions{}); err != nil || pod.DeletionTimestamp == nil {
		t.Errorf("a pod that nobody can stop: %v, %v", pod, err)
	}

	way.set(false, false)
	plane.awaitNode(t, n.name, "is Ready again", readyIs(v1.ConditionTrue))
	plane.awaitNode(t, n.name, "has no taint again", noTaint)
	plane.awaitNoPod(t, "goes")
	plane.awaitPod(t, "new", "runs", phaseIs(v1.PodRunning))
	plane.awaitPod(t, "stays", "is Ready again", podReadyIs(v1.ConditionTrue))
	plane.runsStill(t, before)
	if all := plane.podsOf(t, n.name); len(all) != 2 || all["stays"] != before.UID || all["new"] == types.UID("") {
		t.Errorf("pods: %v, want stays and new", all)
	}
}
