package node

import (
	"context"
	"fmt"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"fauxlet/e2e/internal/controlplane"
	"fauxlet/e2e/internal/kubelet"
	"fauxlet/e2e/internal/programs"
)

// podReadyIs returns a function for AwaitPod. With this function, AwaitPod waits until the pod's condition Ready has
// the given status.
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

// TestNodeWithControllers runs a node with kube-scheduler and the node controllers. The controllers remove the taint
// of the new Node, and the scheduler binds pods to it. While the node cannot reach kube-apiserver, the controllers
// mark the Node as failed. Afterwards the node recovers with the same pods.
func TestNodeWithControllers(t *testing.T) {
	t.Parallel()
	programs.Slow(t)
	plane := controlplane.New(t, controlplane.ForNodes)
	plane.StartControllerManager(t, "node-lifecycle-controller,taint-eviction-controller", time.Hour,
		"--node-monitor-period=1s", "--node-monitor-grace-period=10s")
	plane.StartController(t, "kube-scheduler")
	way, kubeconfig := newConnection(t, plane, "node-1")
	s := kubelet.ServingCertificate(t)
	s["nodeStatusUpdateFrequency"], s["nodeLeaseDurationSeconds"] = "2s", 8
	n := join(t, plane, joinOptions{kubeconfig: kubeconfig, settings: s})
	noTaint := func(node *v1.Node) string {
		if len(node.Spec.Taints) > 0 {
			return fmt.Sprint(node.Spec.Taints)
		}
		return ""
	}
	plane.AwaitNode(t, n.name, "has no taint", noTaint)

	plane.KubectlPrints(t, nil, "run", "stays", "--image=nginx")
	before := plane.AwaitPod(t, "stays", "is bound, and Ready", podReadyIs(v1.ConditionTrue))
	t.Cleanup(func() { plane.RemovePod(t, before) })
	if before.Spec.NodeName != n.name {
		t.Errorf("the pod is bound to node %q", before.Spec.NodeName)
	}
	plane.CreatePod(t, controlplane.BoundTo(n.name, "goes"))
	plane.AwaitPod(t, "goes", "runs", controlplane.PhaseIs(v1.PodRunning))

	way.set(true, false)
	way.cut()
	plane.AwaitNode(t, n.name, "is marked as failed", controlplane.ReadyIs(v1.ConditionUnknown))
	plane.AwaitPod(t, "stays", "is not Ready", podReadyIs(v1.ConditionFalse))
	plane.KubectlPrints(t, nil, "delete", "pod", "goes", "--wait=false")
	plane.CreatePod(t, controlplane.BoundTo(n.name, "new"))
	if pod, err := plane.Client.CoreV1().Pods("default").Get(context.Background(), "goes",
		metav1.GetOptions{}); err != nil || pod.DeletionTimestamp == nil {
		t.Errorf("a pod on a node that cannot be reached: %v, %v", pod, err)
	}

	way.set(false, false)
	plane.AwaitNode(t, n.name, "is Ready again", controlplane.ReadyIs(v1.ConditionTrue))
	plane.AwaitNode(t, n.name, "has no taint again", noTaint)
	plane.AwaitNoPod(t, "goes")
	plane.AwaitPod(t, "new", "runs", controlplane.PhaseIs(v1.PodRunning))
	plane.AwaitPod(t, "stays", "is Ready again", podReadyIs(v1.ConditionTrue))
	plane.RunsStill(t, before)
	if all := plane.PodsOf(t, n.name); len(all) != 2 || all["stays"] != before.UID || all["new"] == types.UID("") {
		t.Errorf("pods: %v, want stays and new", all)
	}
}
