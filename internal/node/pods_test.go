package node

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	"fauxlet/internal/compact"
	"fauxlet/internal/pods"
	"fauxlet/scenario"
)

// nodeWith returns a Node with the given podCIDRs.
func nodeWith(cidrs ...string) *v1.Node {
	return &v1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node-1", UID: "node-1"},
		Spec: v1.NodeSpec{PodCIDR: cidrs[0], PodCIDRs: cidrs}}
}

// The method "once" returns a pod whose container exits immediately.
func (w *fixture) once(name string) *v1.Pod {
	pod := podOf("node-1", name, types.UID(name))
	pod.Spec.RestartPolicy = v1.RestartPolicyNever
	w.containers[name] = map[string]scenario.Container{"app": {Exits: &scenario.Exit{}}}
	return pod
}

// TestProcessExits checks that a container ends with the exit code of the command that a client is attached to.
func TestProcessExits(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newFixture(t, nodeWith("10.1.2.0/24"))
		w.run().add(w.specOf("node-1"))
		pod := podOf("node-1", "p", "p")
		pod.Spec.RestartPolicy = v1.RestartPolicyNever
		pod.Spec.Containers[0].Stdin, pod.Spec.Containers[0].StdinOnce = true, true
		pod.Spec.Containers[0].Command = []string{"sh", "-c", "exit 3"}
		w.create(pod)
		w.awaitPhase("p", v1.PodRunning)
		if err := w.stores["node-1"].Attach(t.Context(), "default", "p", "app",
			pods.Streams{Stdin: strings.NewReader("")}); err != nil {
			t.Error(err)
		}
		status := w.awaitPhase("p", v1.PodFailed).Status.ContainerStatuses[0]
		if ended := status.State.Terminated; ended == nil || ended.ExitCode != 3 || ended.Reason != "Error" {
			t.Errorf("state %+v, want exit code 3", status.State)
		}
	})
}

// awaitNone waits until neither the apiserver nor the node has a pod of this name.
func (w *fixture) awaitNone(name string) {
	w.t.Helper()
	w.eventually("pod "+name+" is gone", func() string {
		if _, err := w.client.CoreV1().Pods("default").Get(context.Background(), name,
			metav1.GetOptions{}); !apierrors.IsNotFound(err) {
			return fmt.Sprint(err)
		}
		if _, there := w.served("node-1")[name]; there {
			return "the node still serves the pod"
		}
		return ""
	})
}

// TestPodAddresses checks that as many pods can run as there are addresses, and that each gets one address of each
// range. Pods that have ended occupy no addresses.
func TestPodAddresses(t *testing.T) {
	for _, test := range []struct {
		cidrs  []string
		prefix string
		room   int
	}{
		{cidrs: []string{"10.1.2.0/30"}, prefix: "10.1.2.", room: 2},
		{cidrs: []string{"fd00::/126"}, prefix: "fd00::", room: 3},
		{cidrs: []string{"10.1.2.0/30", "fd00::/64"}, prefix: "10.1.2.", room: 2},
	} {
		t.Run(strings.Join(test.cidrs, " and "), func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				w := newFixture(t, nodeWith(test.cidrs...))
				// These pods ended before this process started. They hold no addresses.
				old := w.once("old")
				old.Status = v1.PodStatus{Phase: v1.PodSucceeded, PodIP: test.prefix + "1",
					PodIPs: []v1.PodIP{{IP: test.prefix + "1"}}, StartTime: ptr.To(metav1.Now())}
				w.put(old)
				for i := range test.room + 1 {
					name := fmt.Sprintf("once-%d", i)
					w.containers[name] = w.containers["old"]
				}
				w.run().add(w.specOf("node-1"))
				w.awaitServed("node-1", map[string]types.UID{"old": "old"})
				for i := range test.room + 1 {
					pod := w.once(fmt.Sprintf("once-%d", i))
					w.create(pod)
					if ended := w.awaitPhase(pod.Name, v1.PodSucceeded); len(ended.Status.PodIPs) != len(test.cidrs) {
						t.Errorf("a pod that has ended reports the IPs %v, want one of each range", ended.Status.PodIPs)
					}
				}
				given := map[string]bool{}
				for i := range test.room {
					name := fmt.Sprintf("stays-%d", i)
					w.create(podOf("node-1", name, types.UID(name)))
					pod := w.awaitPhase(name, v1.PodRunning)
					if given[pod.Status.PodIP] || !strings.HasPrefix(pod.Status.PodIP, test.prefix) ||
						len(pod.Status.PodIPs) != len(test.cidrs) {
						t.Errorf("pod %s has the IPs %v; IPs of the pods before: %v", name, pod.Status.PodIPs, given)
					}
					given[pod.Status.PodIP] = true
				}
				w.create(podOf("node-1", "waits", "waits"))
				w.create(func() *v1.Pod {
					pod := podOf("node-1", "host", "host")
					pod.Spec.HostNetwork = true
					return pod
				}())
				if pod := w.awaitPhase("host", v1.PodRunning); pod.Status.PodIP != "192.0.2.7" {
					t.Errorf("a pod with hostNetwork has the IP %s", pod.Status.PodIP)
				}
				if pod := w.awaitPhase("waits", v1.PodPending); pod.Status.PodIP != "" {
					t.Errorf("a pod has the IP %s, but no address was free", pod.Status.PodIP)
				}
				w.delete("stays-0", 0)
				if pod := w.awaitPhase("waits", v1.PodRunning); pod.Status.PodIP == "" {
					t.Error("the waiting pod has no IP after an address was released")
				}
			})
		})
	}
}

// TestPodAddressesAfterRestart checks that each pod keeps its address, and that a new pod gets a different one.
func TestPodAddressesAfterRestart(t *testing.T) {
	for _, cidrs := range [][]string{{"10.1.2.0/29"}, nil} {
		t.Run(fmt.Sprint(cidrs), func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				w := newFixture(t)
				if cidrs != nil {
					w.put(nodeWith(cidrs...))
				}
				w.run().add(w.specOf("node-1"))
				before := map[string]string{}
				for _, name := range []string{"a", "b", "c"} {
					w.create(podOf("node-1", name, types.UID(name)))
					before[name] = w.awaitPhase(name, v1.PodRunning).Status.PodIP
				}
				w.stop()
				w.delete("a", 0)
				w.again()
				w.run().add(w.specOf("node-1"))
				w.create(podOf("node-1", "d", "d"))
				for _, name := range []string{"b", "c"} {
					if ip := w.awaitPhase(name, v1.PodRunning).Status.PodIP; ip != before[name] {
						t.Errorf("pod %s has the IP %s, and had %s before the restart", name, ip, before[name])
					}
				}
				if ip := w.awaitPhase("d", v1.PodRunning).Status.PodIP; ip == before["b"] || ip == before["c"] {
					t.Errorf("pod d has the IP %s of an existing pod; IPs before the restart: %v", ip, before)
				}
			})
		})
	}
}

// TestPodAddressesAreReserved checks that addresses of existing pods are reserved before these pods are synchronized.
func TestPodAddressesAreReserved(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newFixture(t)
		defer w.fleet.queue.ShutDown()
		w.add(w.specOf("node-1", "pod-cidr", "10.1.2.0/29"))
		for i, name := range []string{"a", "b"} {
			pod := podOf("node-1", name, types.UID(name))
			pod.Status.PodIPs = []v1.PodIP{{IP: fmt.Sprintf("10.1.2.%d", i+1)}}
			if err := w.fleet.pods.GetIndexer().Add(compact.Whole(pod)); err != nil {
				t.Fatal(err)
			}
		}
		addresses, err := w.fleet.member("node-1").addressesOfPods()
		if err != nil {
			t.Fatal(err)
		}
		if ips := mustTake(t, addresses, "c"); ips[0] != "10.1.2.3" {
			t.Errorf("allocated %v, want the first address that is not reserved", ips)
		}
	})
}

// TestPodAddressesComeLater checks a Node that gets its podCIDRs late. A pod that has already started keeps its
// address. The next pod gets an address from the podCIDRs.
func TestPodAddressesComeLater(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newFixture(t).run()
		w.add(w.specOf("node-1"))
		w.create(podOf("node-1", "early", "early"))
		early := w.awaitPhase("early", v1.PodRunning)
		if !strings.HasPrefix(early.Status.PodIP, "100.") {
			t.Errorf("before the Node has podCIDRs, a pod has the IP %s", early.Status.PodIP)
		}
		node := w.awaitReady("node-1", v1.ConditionTrue)
		node.Spec.PodCIDRs = []string{"10.1.2.0/24"}
		w.put(node)
		w.eventually("the Fleet sees the podCIDRs", func() string {
			if node := w.fleet.getNode("node-1"); node == nil || len(node.Spec.PodCIDRs) == 0 {
				return "the cached Node has no podCIDRs"
			}
			return ""
		})
		w.create(podOf("node-1", "late", "late"))
		if late := w.awaitPhase("late", v1.PodRunning); late.Status.PodIP != "10.1.2.1" {
			t.Errorf("after the Node has podCIDRs, a new pod has the IP %s", late.Status.PodIP)
		}
		if now := w.awaitPhase("early", v1.PodRunning); now.Status.PodIP != early.Status.PodIP {
			t.Errorf("the IP of the early pod is %s, and was %s before", now.Status.PodIP, early.Status.PodIP)
		}
	})
}

// TestPodIsDeleted checks that a pod disappears when its containers have exited, when its grace period is over, or
// when it is deleted by force.
func TestPodIsDeleted(t *testing.T) {
	for _, test := range []struct {
		name   string
		stops  time.Duration
		graces []int64 // the grace periods, in seconds, of successive deletions
		byNode bool    // whether the node must delete the pod from the apiserver
	}{
		{name: "ends at once", graces: []int64{30}, byNode: true},
		{name: "ends in time", stops: time.Second, graces: []int64{30}, byNode: true},
		{name: "is killed", stops: time.Hour, graces: []int64{1}, byNode: true},
		{name: "by force", stops: time.Hour, graces: []int64{0}},
		{name: "by force in the end", stops: time.Hour, graces: []int64{3600, 0}},
	} {
		t.Run(test.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				w := newFixture(t)
				w.containers["a"] = map[string]scenario.Container{"app": {
					Stops: scenario.Stop{After: metav1.Duration{Duration: test.stops}}}}
				w.run().add(w.specOf("node-1"))
				w.create(podOf("node-1", "a", "1"))
				w.awaitPhase("a", v1.PodRunning)
				for i, grace := range test.graces {
					w.delete("a", grace)
					if i < len(test.graces)-1 {
						w.eventually("the node sees the deletionTimestamp", func() string {
							if pod, there := w.stores["node-1"].Get("default", "a"); !there ||
								pod.DeletionTimestamp == nil {
								return "the node's pod has no deletionTimestamp"
							}
							return ""
						})
					}
				}
				w.awaitNone("a")
				// A new pod of the same name starts without the state of the deleted pod.
				delete(w.containers, "a")
				w.create(podOf("node-1", "a", "2"))
				if pod := w.awaitPhase("a", v1.PodRunning); pod.UID != "2" ||
					pod.Status.ContainerStatuses[0].RestartCount != 0 {
					t.Errorf("the new pod has UID %s and status %+v", pod.UID, pod.Status)
				}
				w.awaitServed("node-1", map[string]types.UID{"a": "2"})
				if n := w.count("delete pods a") - len(test.graces); n > 0 != test.byNode {
					t.Errorf("the node has deleted the pod %d times", n)
				}
			})
		})
	}
}

// TestPodWasReplaced checks what happens if a pod is replaced by a new pod of the same name before the node's request
// about the old pod arrives. The request does not change the new pod, and the node logs no warning.
func TestPodWasReplaced(t *testing.T) {
	for _, test := range []struct{ request, node string }{
		{request: "patch pods/status a", node: "node-2"}, {request: "patch pods/status a", node: "node-1"},
		{request: "delete pods a", node: "node-2"},
		{request: "delete pods a", node: "node-1"},
	} {
		t.Run(test.request+" on "+test.node, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				w := newFixture(t)
				var swap sync.Once
				byTest := test.request == "delete pods a" // the first of these requests comes from the test
				at := objectKey{"pods", "default", "a"}
				w.refuse = func(request string) error {
					if request != test.request || byTest && w.count(request) < 2 {
						return nil
					}
					swap.Do(func() {
						another := podOf(test.node, "a", "2")
						another.TypeMeta, another.Status.Phase = metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"},
							v1.PodPending
						w.mu.Lock()
						w.set(at, nil)
						w.set(at, another)
						w.mu.Unlock()
						w.eventually("the Fleet sees the new pod", func() string {
							if pod := w.fleet.getPod(types.NamespacedName{Namespace: "default",
								Name: "a"}).Object(); pod == nil ||
								pod.UID != "2" {
								return "the cache does not contain the new pod"
							}
							return ""
						})
					})
					return nil
				}
				w.run().add(w.specOf("node-1"))
				w.create(podOf("node-1", "a", "1"))
				if byTest {
					w.awaitPhase("a", v1.PodRunning)
					w.delete("a", 30)
				}
				phase, served := v1.PodPending, map[string]types.UID{}
				if test.node == "node-1" {
					phase, served = v1.PodRunning, map[string]types.UID{"a": "2"}
				}
				w.awaitRequests(test.request, 1)
				w.awaitServed("node-1", served)
				if pod := w.awaitPhase("a", phase); pod.UID != "2" {
					t.Errorf("the pod in the apiserver has UID %s, want 2", pod.UID)
				}
				w.delete("a", 0)
				w.awaitNone("a")
				w.stop()
				for _, line := range w.log.All() {
					t.Errorf("unexpected warning: %s %v", line.Message, line.ContextMap())
				}
			})
		})
	}
}

// TestPodIsChanged checks the node's reaction to allowed changes in the spec of a running pod.
func TestPodIsChanged(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*v1.Pod)
		is     func(v1.PodStatus) bool
	}{
		{name: "image", change: func(pod *v1.Pod) { pod.Spec.Containers[0].Image = "app:2" },
			is: func(s v1.PodStatus) bool {
				c := s.ContainerStatuses[0]
				return c.RestartCount == 1 && c.Image == "app:2" && c.State.Running != nil
			}},
		{name: "deadline", change: func(pod *v1.Pod) { pod.Spec.ActiveDeadlineSeconds = ptr.To[int64](1) },
			is: func(s v1.PodStatus) bool {
				return s.Phase == v1.PodFailed && s.Reason == "DeadlineExceeded" &&
					s.ContainerStatuses[0].State.Terminated != nil
			}},
		{name: "ephemeral container", change: func(pod *v1.Pod) {
			pod.Spec.EphemeralContainers = []v1.EphemeralContainer{
				{EphemeralContainerCommon: v1.EphemeralContainerCommon{Name: "debug", Image: "sh"}}}
		}, is: func(s v1.PodStatus) bool {
			return len(s.EphemeralContainerStatuses) == 1 && s.EphemeralContainerStatuses[0].State.Running != nil
		}},
		{name: "readiness gate", change: func(pod *v1.Pod) {
			pod.Status.Conditions = append(pod.Status.Conditions,
				v1.PodCondition{Type: "example.com/gate", Status: v1.ConditionTrue})
		}, is: func(s v1.PodStatus) bool {
			return slices.ContainsFunc(s.Conditions,
				func(c v1.PodCondition) bool { return c.Type == v1.PodReady && c.Status == v1.ConditionTrue })
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				w := newFixture(t).run()
				w.add(w.specOf("node-1"))
				pod := podOf("node-1", "a", "1")
				if test.name == "readiness gate" {
					pod.Spec.ReadinessGates = []v1.PodReadinessGate{{ConditionType: "example.com/gate"}}
				}
				w.create(pod)
				changed := w.awaitPhase("a", v1.PodRunning)
				if test.is(changed.Status) {
					t.Fatalf("the pod has this status before the change: %+v", changed.Status)
				}
				test.change(changed)
				w.put(changed)
				w.eventually("the status is unchanged", func() string {
					now, err := w.client.CoreV1().Pods("default").Get(context.Background(), "a", metav1.GetOptions{})
					if err != nil || !test.is(now.Status) {
						return fmt.Sprint(err, now.Status)
					}
					return ""
				})
			})
		})
	}
}

// TestEphemeralContainerIsDescribed checks that the description of an ephemeral container that is added to a running
// pod applies to it. The descriptions of containers that have started do not change.
func TestEphemeralContainerIsDescribed(t *testing.T) {
	exits := func(after time.Duration, code int32) scenario.Container {
		return scenario.Container{Exits: &scenario.Exit{After: metav1.Duration{Duration: after}, Code: code}}
	}
	for _, test := range []struct {
		name   string
		before map[string]scenario.Container
	}{
		{name: "of a pod without descriptions"},
		{name: "of a pod whose status changes later", before: map[string]scenario.Container{"app": exits(time.Hour, 0)}},
	} {
		t.Run(test.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				w := newFixture(t)
				if test.before != nil {
					w.containers["a"] = test.before
				}
				w.run().add(w.specOf("node-1"))
				w.create(podOf("node-1", "a", "1"))
				pod := w.awaitPhase("a", v1.PodRunning)
				debug := exits(time.Second, 3)
				debug.Log.Text = "described\n"
				w.containers["a"] = map[string]scenario.Container{"app": exits(0, 1), "debug": debug}
				pod.Spec.EphemeralContainers = []v1.EphemeralContainer{
					{EphemeralContainerCommon: v1.EphemeralContainerCommon{Name: "debug", Image: "sh"}}}
				w.put(pod)
				w.eventually("the ephemeral container ends with exit code 3", func() string {
					pod = w.awaitPhase("a", v1.PodRunning)
					for _, c := range pod.Status.EphemeralContainerStatuses {
						if c.State.Terminated != nil && c.State.Terminated.ExitCode == 3 {
							return ""
						}
					}
					return fmt.Sprint(pod.Status.EphemeralContainerStatuses)
				})
				if c := pod.Status.ContainerStatuses[0]; c.State.Running == nil || c.RestartCount != 0 {
					t.Errorf("the container that ran before has the status %+v", c)
				}
				var log strings.Builder
				if err := w.stores["node-1"].Logs(t.Context(), "default", "a", "debug", &v1.PodLogOptions{}, &log,
					nil); err != nil || log.String() != "described\n" {
					t.Errorf("the log of the ephemeral container: %q, %v", log.String(), err)
				}
			})
		})
	}
}
