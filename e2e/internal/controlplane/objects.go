package controlplane

import (
	"context"
	"fmt"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"fauxlet/e2e/internal/expect"
	"fauxlet/e2e/internal/sample"
)

// Register creates a Node with the address 127.0.0.1 and its pods, and deletes them when the test ends.
func (c *Plane) Register(t testing.TB, node string, port int, pods ...sample.Pod) {
	t.Helper()
	c.RegisterAt(t, node, "127.0.0.1", port, pods...)
}

// RegisterAt is like Register, but the Node has the given address instead of 127.0.0.1.
func (c *Plane) RegisterAt(t testing.TB, node, address string, port int, pods ...sample.Pod) {
	t.Helper()
	ctx := context.Background()
	object, err := c.Client.CoreV1().Nodes().Create(ctx, &v1.Node{ObjectMeta: metav1.ObjectMeta{Name: node}},
		metav1.CreateOptions{})
	expect.NoError(t, err)
	t.Cleanup(func() { expect.NoError(t, c.Client.CoreV1().Nodes().Delete(ctx, node, metav1.DeleteOptions{})) })
	object.Status.Addresses = []v1.NodeAddress{{Type: v1.NodeInternalIP, Address: address}}
	object.Status.DaemonEndpoints.KubeletEndpoint.Port = int32(port)
	_, err = c.Client.CoreV1().Nodes().UpdateStatus(ctx, object, metav1.UpdateOptions{})
	expect.NoError(t, err)

	for _, p := range pods {
		if _, err := c.Client.CoreV1().Namespaces().Get(ctx, p.Namespace, metav1.GetOptions{}); err != nil {
			_, err := c.Client.CoreV1().Namespaces().Create(ctx,
				&v1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: p.Namespace}}, metav1.CreateOptions{})
			expect.NoError(t, err)
		}
		wanted := p.Object()
		created := wanted.DeepCopy()
		created.UID, created.CreationTimestamp, created.Spec.NodeName = "", metav1.Time{}, node
		created, err := c.Client.CoreV1().Pods(p.Namespace).Create(ctx, created, metav1.CreateOptions{})
		expect.NoError(t, err)
		now := int64(0)
		t.Cleanup(func() {
			expect.NoError(t, c.Client.CoreV1().Pods(p.Namespace).Delete(ctx, p.Name,
				metav1.DeleteOptions{GracePeriodSeconds: &now}))
		})
		created.Status = wanted.Status
		_, err = c.Client.CoreV1().Pods(p.Namespace).UpdateStatus(ctx, created, metav1.UpdateOptions{})
		expect.NoError(t, err)
	}
}

// AwaitNode gets the Node with the given name and calls the function "problem" with it, again and again, until the
// function returns the empty string. Then AwaitNode returns the Node. It ends the test after a minute.
func (c *Plane) AwaitNode(t testing.TB, name, what string, problem func(*v1.Node) string) *v1.Node {
	t.Helper()
	var node *v1.Node
	expect.Eventually(t, time.Minute, "node "+name+" "+what, func() string {
		var err error
		if node, err = c.Client.CoreV1().Nodes().Get(context.Background(), name, metav1.GetOptions{}); err != nil {
			return err.Error()
		}
		return problem(node)
	})
	return node
}

// DeleteNode deletes a Node, if it exists, and its Lease. In a full cluster, the garbage collector deletes the Lease of
// a deleted Node.
func (c *Plane) DeleteNode(t testing.TB, name string) {
	t.Helper()
	ctx := context.Background()
	for _, err := range []error{
		c.Client.CoreV1().Nodes().Delete(ctx, name, metav1.DeleteOptions{}),
		c.Client.CoordinationV1().Leases("kube-node-lease").Delete(ctx, name, metav1.DeleteOptions{}),
	} {
		if err != nil && !apierrors.IsNotFound(err) {
			t.Error(err)
		}
	}
}

// ReadyIs returns a function for AwaitNode. With this function, AwaitNode waits until the Node's condition Ready has
// the given status.
func ReadyIs(status v1.ConditionStatus) func(*v1.Node) string {
	return func(node *v1.Node) string {
		for _, c := range node.Status.Conditions {
			if c.Type == v1.NodeReady && c.Status == status {
				return ""
			}
		}
		return fmt.Sprintf("its conditions are %v", node.Status.Conditions)
	}
}

// BoundTo returns a pod in the namespace default that is bound to a node and runs nginx.
func BoundTo(node, name string, with ...func(*v1.Pod)) *v1.Pod {
	pod := &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name},
		Spec:       v1.PodSpec{NodeName: node, Containers: []v1.Container{{Name: "nginx", Image: "nginx"}}},
	}
	for _, change := range with {
		change(pod)
	}
	return pod
}

// CreatePod creates a pod, and removes it when the test ends.
func (c *Plane) CreatePod(t testing.TB, pod *v1.Pod) *v1.Pod {
	t.Helper()
	created, err := c.Client.CoreV1().Pods(pod.Namespace).Create(context.Background(), pod, metav1.CreateOptions{})
	expect.NoError(t, err)
	t.Cleanup(func() { c.RemovePod(t, pod) })
	return created
}

// RemovePod deletes a pod, if it still exists, without waiting for its node.
func (c *Plane) RemovePod(t testing.TB, pod *v1.Pod) {
	now := int64(0)
	err := c.Client.CoreV1().Pods(pod.Namespace).Delete(context.Background(), pod.Name,
		metav1.DeleteOptions{GracePeriodSeconds: &now})
	if err != nil && !apierrors.IsNotFound(err) {
		t.Error(err)
	}
}

// AwaitPod gets the pod with the given name in the namespace default and calls the function "problem" with it, again
// and again, until the function returns the empty string. Then AwaitPod returns the pod. It ends the test after a
// minute.
func (c *Plane) AwaitPod(t testing.TB, name, what string, problem func(*v1.Pod) string) *v1.Pod {
	t.Helper()
	var pod *v1.Pod
	expect.Eventually(t, time.Minute, "pod "+name+" "+what, func() string {
		var err error
		if pod, err = c.Client.CoreV1().Pods("default").Get(context.Background(), name,
			metav1.GetOptions{}); err != nil {
			return err.Error()
		}
		return problem(pod)
	})
	return pod
}

// PhaseIs returns a function for AwaitPod. With this function, AwaitPod waits until the pod has the given phase.
func PhaseIs(phase v1.PodPhase) func(*v1.Pod) string {
	return func(pod *v1.Pod) string {
		if pod.Status.Phase != phase {
			return fmt.Sprintf("its phase is %q: %+v", pod.Status.Phase, pod.Status)
		}
		return ""
	}
}

// AwaitNoPod waits until the pod does not exist.
func (c *Plane) AwaitNoPod(t testing.TB, name string) {
	t.Helper()
	expect.Eventually(t, time.Minute, "pod "+name+" is gone", func() string {
		pod, err := c.Client.CoreV1().Pods("default").Get(context.Background(), name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return ""
		}
		return fmt.Sprint(pod, err)
	})
}

// PodsOf returns the UIDs of a node's pods. The keys are the names of the pods.
func (c *Plane) PodsOf(t testing.TB, node string) map[string]types.UID {
	t.Helper()
	list, err := c.Client.CoreV1().Pods("").List(context.Background(),
		metav1.ListOptions{FieldSelector: "spec.nodeName=" + node})
	expect.NoError(t, err)
	all := map[string]types.UID{}
	for _, pod := range list.Items {
		all[pod.Name] = pod.UID
	}
	return all
}

// RunsStill compares a pod with the given earlier version of it. The pod must have the same UID and run the same
// container, without a restart.
func (c *Plane) RunsStill(t testing.TB, before *v1.Pod) {
	t.Helper()
	after := c.AwaitPod(t, before.Name, "still runs", PhaseIs(v1.PodRunning))
	was, is := before.Status.ContainerStatuses[0], after.Status.ContainerStatuses[0]
	if after.UID != before.UID || is.ContainerID != was.ContainerID || is.RestartCount != was.RestartCount {
		t.Errorf("pod %s was replaced or restarted: status %+v, before %+v", before.Name, after.Status, before.Status)
	}
}
