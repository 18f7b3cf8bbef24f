package node

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"fauxlet/e2e/internal/controlplane"
	"fauxlet/e2e/internal/expect"
	"fauxlet/e2e/internal/kubelet"
	"fauxlet/e2e/internal/programs"
)

// The method "works" checks that a node still works: a new pod starts and can be deleted, and the node renews its
// Lease.
func (n *joined) works(t testing.TB, name string) {
	t.Helper()
	plane, now := n.plane, time.Now()
	plane.CreatePod(t, controlplane.BoundTo(n.name, name))
	plane.AwaitPod(t, name, "runs", controlplane.PhaseIs(v1.PodRunning))
	plane.KubectlPrints(t, nil, "delete", "pod", name, "--wait=false")
	plane.AwaitNoPod(t, name)
	expect.Eventually(t, time.Minute, "the Lease is renewed", func() string {
		lease, err := plane.Client.CoordinationV1().Leases("kube-node-lease").Get(context.Background(), n.name,
			metav1.GetOptions{})
		if err != nil {
			return err.Error()
		}
		if !lease.Spec.RenewTime.After(now) {
			return fmt.Sprintf("it was renewed at %v, now is %v", lease.Spec.RenewTime, now)
		}
		return ""
	})
	plane.AwaitNode(t, n.name, "is Ready", controlplane.ReadyIs(v1.ConditionTrue))
}

// awaitLog waits until the log contains the given words at least the given number of times. It ignores everything
// before the given byte offset.
func (n *joined) awaitLog(t testing.TB, words string, count, from int) {
	t.Helper()
	expect.Eventually(t, 3*time.Minute, "fauxlet logs "+words, func() string {
		if got := strings.Count(n.Out.String()[from:], words); got < count {
			return fmt.Sprintf("%d times, want %d", got, count)
		}
		return ""
	})
}

// TestNodeRecoversFromOutages breaks the connection between a node and its control plane in several ways. The node
// must recover each time and still run the same pods.
func TestNodeRecoversFromOutages(t *testing.T) {
	t.Parallel()
	programs.Slow(t)
	plane := controlplane.NewWithEtcd(t, controlplane.ForNodes)
	way, kubeconfig := newConnection(t, plane, "node-1")
	s := kubelet.ServingCertificate(t)
	s["nodeStatusUpdateFrequency"], s["nodeLeaseDurationSeconds"] = "2s", 8
	n := join(t, plane, joinOptions{kubeconfig: kubeconfig, settings: s})
	plane.CreatePod(t, controlplane.BoundTo(n.name, "stays"))
	before := plane.AwaitPod(t, "stays", "runs", controlplane.PhaseIs(v1.PodRunning))
	n.works(t, "first")
	const failing = "Failed to update lease"

	for _, fault := range []struct {
		name string
		do   func(t *testing.T)
	}{
		{"connections are cut", func(*testing.T) { way.cut() }},
		{"the apiserver cannot be reached", func(t *testing.T) {
			from := len(n.Out.String())
			way.set(true, false)
			way.cut()
			n.awaitLog(t, failing, 3, from)
			plane.KubectlPrints(t, nil, "run", "meanwhile", "--image=nginx",
				`--overrides={"spec":{"nodeName":"node-1"}}`)
			way.set(false, false)
			plane.AwaitPod(t, "meanwhile", "runs", controlplane.PhaseIs(v1.PodRunning))
			plane.KubectlPrints(t, nil, "delete", "pod", "meanwhile", "--wait=false")
		}},
		{"the connection is silent", func(t *testing.T) {
			from := len(n.Out.String())
			way.set(false, true)
			n.awaitLog(t, failing, 2, from)
			way.set(false, false)
		}},
		{"the apiserver is started again", func(t *testing.T) {
			from := len(n.Out.String())
			expect.NoError(t, plane.APIServer.Stop())
			n.awaitLog(t, failing, 1, from)
			expect.NoError(t, plane.Start())
		}},
		{"etcd is started again", func(t *testing.T) {
			plane.Etcd.Restart(t)
			expect.Eventually(t, time.Minute, "kube-apiserver reaches etcd again", func() string {
				_, err := plane.Client.CoreV1().Nodes().Get(context.Background(), n.name, metav1.GetOptions{})
				if err != nil {
					return err.Error()
				}
				return ""
			})
		}},
		{"its Lease is deleted", func(t *testing.T) {
			expect.NoError(t, plane.Client.CoordinationV1().Leases("kube-node-lease").Delete(context.Background(),
				n.name,
				metav1.DeleteOptions{}))
		}},
		{"it is killed", func(t *testing.T) {
			n.kill(t)
			n.start(t)
		}},
	} {
		t.Run(fault.name, func(t *testing.T) {
			fault.do(t)
			n.works(t, "after")
			plane.RunsStill(t, before)
			if all := plane.PodsOf(t, n.name); len(all) != 1 {
				t.Errorf("pods: %v, want one", all)
			}
		})
	}
}

// TestNodeChurn creates and deletes a thousand pods within a minute and kills the node in the middle. In the end no
// pod may exist.
func TestNodeChurn(t *testing.T) {
	t.Parallel()
	programs.Slow(t)
	alone(t)
	plane := controlplane.Shared(t, controlplane.ForNodes)
	s := kubelet.ServingCertificate(t)
	s["kubeAPIQPS"], s["kubeAPIBurst"] = 500, 1000 // with kubeAPIQPS 50, the default, the test would take longer
	n := join(t, plane, joinOptions{settings: s})
	plane.AwaitNode(t, n.name, "is Ready", controlplane.ReadyIs(v1.ConditionTrue))
	ctx, pods := context.Background(), plane.Client.CoreV1().Pods("default")
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
			pod, err := pods.Create(ctx, controlplane.BoundTo(n.name, fmt.Sprintf("churn-%d", i)),
				metav1.CreateOptions{})
			if err != nil {
				return err
			}
			grace := int64(i % 3)
			if i%3 == 1 { // delete the pod before the node reports its first status
				return pods.Delete(ctx, pod.Name, metav1.DeleteOptions{GracePeriodSeconds: &grace})
			}
			if problem := expect.Within(2*time.Minute, func() string {
				pod, err := pods.Get(ctx, pod.Name, metav1.GetOptions{})
				if err != nil {
					return err.Error()
				}
				return controlplane.PhaseIs(v1.PodRunning)(pod)
			}); problem != "" {
				return fmt.Errorf("%s: %s", pod.Name, problem)
			}
			return pods.Delete(ctx, pod.Name, metav1.DeleteOptions{GracePeriodSeconds: &grace})
		})
	}
	expect.NoError(t, group.Wait())
	expect.Eventually(t, time.Minute, "all pods are gone", func() string {
		if left := plane.PodsOf(t, n.name); len(left) > 0 {
			return fmt.Sprintf("%d are left, such as %v", len(left), left)
		}
		return ""
	})
	programs.Progress("%d pods have come and gone in %v", count,
		time.Since(began).Round(time.Second)) // the rate is lower on a busy machine
	client := kubelet.Credential{}
	var err error
	client.Pair, err = plane.PKI.CA.Client("admin", []string{"system:masters"})
	expect.NoError(t, err)
	k := &kubelet.Kubelet{Secure: n.open.Secure}
	expect.Eventually(t, time.Minute, "the node has no such pods", func() string {
		got := k.Get(t, "/pods", client)
		if got.Status != 200 || strings.Contains(got.Body, "churn-") {
			return fmt.Sprintf("%d %.300s", got.Status, got.Body)
		}
		return ""
	})
	n.works(t, "afterwards")
}

// TestDeletedNodeStaysDeletedUntilRestart deletes a Node. Like a kubelet, the node does not register again until it
// restarts.
func TestDeletedNodeStaysDeletedUntilRestart(t *testing.T) {
	t.Parallel()
	plane := controlplane.Shared(t, controlplane.ForNodes)
	s := kubelet.ServingCertificate(t)
	s["nodeStatusUpdateFrequency"] = "1s"
	n := join(t, plane, joinOptions{settings: s})
	first := plane.AwaitNode(t, n.name, "is Ready", controlplane.ReadyIs(v1.ConditionTrue))
	expect.NoError(t, plane.Client.CoreV1().Nodes().Delete(context.Background(), n.name, metav1.DeleteOptions{}))
	n.awaitLog(t, "Error updating node status, will retry", 10, 0)
	if _, err := plane.Client.CoreV1().Nodes().Get(context.Background(), n.name,
		metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("the Node exists again: %v", err)
	}
	n.halt(t)
	n.start(t)
	if again := plane.AwaitNode(t, n.name, "is Ready again",
		controlplane.ReadyIs(v1.ConditionTrue)); again.UID == first.UID {
		t.Error("the Node was not replaced")
	}
}

// TestKubectlTop runs "kubectl top nodes" and "kubectl top pods". The node has registered itself, and runs a pod.
func TestKubectlTop(t *testing.T) {
	t.Parallel()
	programs.Slow(t)
	port := programs.FreePort(t)
	plane := controlplane.NewWithMetricsAPI(t, port, controlplane.ForNodes...)
	token, _ := plane.Token(t, "scraper")
	n := join(t, plane, joinOptions{settings: kubelet.ServingCertificate(t),
		args: []string{"--capacity=cpu=4,memory=16Gi"}})
	plane.AwaitNode(t, n.name, "is Ready", controlplane.ReadyIs(v1.ConditionTrue))
	plane.CreatePod(t, controlplane.BoundTo(n.name, "web"))
	plane.AwaitPod(t, "web", "runs", controlplane.PhaseIs(v1.PodRunning))
	plane.StartMetricsServer(t, token, port)
	expect.Eventually(t, 2*time.Minute, "kubectl top", func() string {
		nodes, pods := plane.Kubectl(t, "top", "nodes"), plane.Kubectl(t, "top", "pods")
		if nodes.Status != 0 || pods.Status != 0 || !strings.Contains(nodes.Stdout, "node-1") ||
			!strings.Contains(pods.Stdout, "web") {
			return fmt.Sprintln(nodes, pods)
		}
		t.Logf("\n%s\n%s", nodes.Stdout, pods.Stdout)
		return ""
	})
}
