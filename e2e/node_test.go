package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// joining are the flags of a control plane that nodes join by themselves: they may touch only what is theirs, and are
// dialled at their addresses, for nobody knows their names.
var joining = append([]string{"--enable-admission-plugins=NodeRestriction", "--kubelet-preferred-address-types=InternalIP"}, verifying...)

// joined is a stand-in that has joined by itself: one node, or many.
type joined struct {
	*process
	name  string
	plane *controlPlane
	args  []string
	// open are the addresses that it listens on.
	open struct {
		Secure string
		Nodes  map[string]string
	}
	ready string
}

// joinOptions are what tests vary.
type joinOptions struct {
	name       string // empty: node-1
	kubeconfig string // empty: the node's own credential
	settings   settings
	scenario   string
	args       []string
}

// join starts a stand-in that registers itself, with its node's own credential, and waits until it listens. It is stopped,
// and its Node deleted, with the test.
func (c *controlPlane) join(t testing.TB, o joinOptions) *joined {
	t.Helper()
	if o.name == "" {
		o.name = "node-1"
	}
	dir := t.TempDir()
	n := &joined{name: o.name, plane: c, ready: filepath.Join(dir, "ready.json")}
	if o.kubeconfig == "" {
		o.kubeconfig = filepath.Join(dir, "kubeconfig")
		must(t, c.writeKubeconfig(o.kubeconfig, "system:node:"+o.name, "system:nodes"))
	}
	p, err := certificates()
	must(t, err)
	config, err := o.settings.yaml(p)
	must(t, err)
	must(t, os.WriteFile(filepath.Join(dir, "kubelet.yaml"), config, 0o644))
	n.args = []string{"serve", "--config", filepath.Join(dir, "kubelet.yaml"), "--kubeconfig", o.kubeconfig, "--hostname-override", o.name,
		"--cert-dir", filepath.Join(dir, "pki"), "--port", "0", "--ready-file", n.ready, "-v=2"}
	if o.scenario != "" {
		file := filepath.Join(dir, "scenario.yaml")
		must(t, os.WriteFile(file, []byte("apiVersion: fauxlet/v1alpha1\nkind: Scenario\n"+o.scenario), 0o644))
		n.args = append(n.args, "--scenario", file)
	}
	n.args = append(n.args, o.args...)
	n.start(t)
	t.Cleanup(func() {
		n.halt(t)
		n.tell(t, 0)
		err := c.client.CoreV1().Nodes().Delete(context.Background(), n.name, metav1.DeleteOptions{})
		if err != nil && !apierrors.IsNotFound(err) {
			t.Error(err)
		}
	})
	return n
}

// start starts it, for the first time or again.
func (n *joined) start(t testing.TB) {
	t.Helper()
	if err := os.Remove(n.ready); err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	var err error
	n.process, err = start("fauxlet", binary(t, "fauxlet"), n.args...)
	must(t, err)
	eventually(t, time.Minute, "fauxlet listens", func() string {
		select {
		case <-n.ended:
			t.Fatalf("fauxlet has ended: %v\n%s", n.err, n.out.String())
		default:
		}
		if err := n.readOpen(); err != nil {
			return err.Error()
		}
		return ""
	})
}

// readOpen reads the addresses from its ready file.
func (n *joined) readOpen() error {
	data, err := os.ReadFile(n.ready)
	if err != nil {
		return err
	}
	n.open.Nodes = nil // which Unmarshal would add to
	return json.Unmarshal(data, &n.open)
}

// halt stops it as an init system does.
func (n *joined) halt(t testing.TB) {
	t.Helper()
	if err := n.stop(); err != nil {
		t.Error(err)
	}
}

// kill ends it without a word.
func (n *joined) kill(t testing.TB) {
	t.Helper()
	must(t, n.cmd.Process.Kill())
	<-n.ended
}

// awaitNode waits until the Node is as is wants it, which says what is not.
func (c *controlPlane) awaitNode(t testing.TB, name, what string, is func(*v1.Node) string) *v1.Node {
	t.Helper()
	var node *v1.Node
	eventually(t, time.Minute, "node "+name+" "+what, func() string {
		var err error
		if node, err = c.client.CoreV1().Nodes().Get(context.Background(), name, metav1.GetOptions{}); err != nil {
			return err.Error()
		}
		return is(node)
	})
	return node
}

// readyIs wants the condition Ready to have this status.
func readyIs(status v1.ConditionStatus) func(*v1.Node) string {
	return func(node *v1.Node) string {
		for _, c := range node.Status.Conditions {
			if c.Type == v1.NodeReady && c.Status == status {
				return ""
			}
		}
		return fmt.Sprintf("its conditions are %v", node.Status.Conditions)
	}
}

// boundTo is a pod of nginx for a node.
func boundTo(node, name string, with ...func(*v1.Pod)) *v1.Pod {
	pod := &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name},
		Spec:       v1.PodSpec{NodeName: node, Containers: []v1.Container{{Name: "nginx", Image: "nginx"}}},
	}
	for _, change := range with {
		change(pod)
	}
	return pod
}

func (c *controlPlane) create(t testing.TB, pod *v1.Pod) *v1.Pod {
	t.Helper()
	created, err := c.client.CoreV1().Pods(pod.Namespace).Create(context.Background(), pod, metav1.CreateOptions{})
	must(t, err)
	t.Cleanup(func() { c.remove(t, pod) })
	return created
}

// remove deletes a pod, if it is still there, without waiting for its node.
func (c *controlPlane) remove(t testing.TB, pod *v1.Pod) {
	now := int64(0)
	err := c.client.CoreV1().Pods(pod.Namespace).Delete(context.Background(), pod.Name, metav1.DeleteOptions{GracePeriodSeconds: &now})
	if err != nil && !apierrors.IsNotFound(err) {
		t.Error(err)
	}
}

// awaitPod waits until the pod is as is wants it, which says what is not.
func (c *controlPlane) awaitPod(t testing.TB, name, what string, is func(*v1.Pod) string) *v1.Pod {
	t.Helper()
	var pod *v1.Pod
	eventually(t, time.Minute, "pod "+name+" "+what, func() string {
		var err error
		if pod, err = c.client.CoreV1().Pods("default").Get(context.Background(), name, metav1.GetOptions{}); err != nil {
			return err.Error()
		}
		return is(pod)
	})
	return pod
}

func phaseIs(phase v1.PodPhase) func(*v1.Pod) string {
	return func(pod *v1.Pod) string {
		if pod.Status.Phase != phase {
			return fmt.Sprintf("its phase is %q: %+v", pod.Status.Phase, pod.Status)
		}
		return ""
	}
}

func (c *controlPlane) awaitNoPod(t testing.TB, name string) {
	t.Helper()
	eventually(t, time.Minute, "pod "+name+" is gone", func() string {
		pod, err := c.client.CoreV1().Pods("default").Get(context.Background(), name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return ""
		}
		return fmt.Sprint(pod, err)
	})
}

// prints wants kubectl to succeed, and what it prints to have these parts.
func (c *controlPlane) prints(t testing.TB, parts []string, args ...string) string {
	t.Helper()
	got := c.kubectl(t, args...)
	if got.status != 0 {
		t.Fatalf("kubectl %s: status %d, %s", strings.Join(args, " "), got.status, got.stderr)
	}
	for _, part := range parts {
		contains(t, "kubectl "+strings.Join(args, " "), got.stdout, part)
	}
	return got.stdout
}

// TestNodeJoins is one command against a fresh control plane, and all that a tester does then.
func TestNodeJoins(t *testing.T) {
	plane := withFlags(t, joining)
	plane.bind(t, kubeletAPIAdmin, userNamed("kubelet-client"))
	n := plane.join(t, joinOptions{settings: servingCertificate(t), args: []string{
		"--node-labels=rack=7,node.kubernetes.io/instance-type=stand-in", "--register-with-taints=fauxlet=true:NoSchedule",
		"--node-address=ExternalDNS=node-1.example.com", "--capacity=cpu=3,example.com/gpu=2", "--max-pods=50"}})
	node := plane.awaitNode(t, n.name, "is Ready", readyIs(v1.ConditionTrue))

	port, err := strconv.Atoi(n.open.Secure[strings.LastIndex(n.open.Secure, ":")+1:])
	must(t, err)
	if got := node.Status.DaemonEndpoints.KubeletEndpoint.Port; got != int32(port) {
		t.Errorf("kubelet endpoint %d, want %d", got, port)
	}
	wanted := []v1.NodeAddress{{Type: v1.NodeInternalIP, Address: "127.0.0.1"}, {Type: v1.NodeHostName, Address: "node-1"}, {Type: v1.NodeExternalDNS, Address: "node-1.example.com"}}
	if fmt.Sprint(node.Status.Addresses) != fmt.Sprint(wanted) {
		t.Errorf("addresses %v, want %v", node.Status.Addresses, wanted)
	}
	for label, value := range map[string]string{"rack": "7", v1.LabelInstanceTypeStable: "stand-in", v1.LabelHostname: "node-1", v1.LabelOSStable: "linux"} {
		if node.Labels[label] != value {
			t.Errorf("label %s is %q, want %q", label, node.Labels[label], value)
		}
	}
	if !strings.Contains(fmt.Sprint(node.Spec.Taints), "fauxlet true NoSchedule") {
		t.Errorf("taints %v", node.Spec.Taints)
	}
	gpu := node.Status.Allocatable["example.com/gpu"]
	if node.Status.Capacity.Cpu().String() != "3" || gpu.String() != "2" || node.Status.Allocatable.Pods().String() != "50" {
		t.Errorf("capacity %v, allocatable %v", node.Status.Capacity, node.Status.Allocatable)
	}
	plane.prints(t, []string{"node-1   Ready", "v1.37.2+fauxlet"}, "get", "nodes")
	eventually(t, time.Minute, "its Lease is renewed and goes with it", func() string {
		lease, err := plane.client.CoordinationV1().Leases("kube-node-lease").Get(context.Background(), n.name, metav1.GetOptions{})
		if err != nil {
			return err.Error()
		}
		if *lease.Spec.HolderIdentity != n.name || len(lease.OwnerReferences) != 1 || lease.OwnerReferences[0].UID != node.UID || !lease.Spec.RenewTime.After(lease.CreationTimestamp.Time.Add(5*time.Second)) {
			return fmt.Sprintf("%+v %+v", lease.Spec, lease.OwnerReferences)
		}
		return ""
	})

	plane.prints(t, nil, "run", "web", "--image=nginx", `--overrides={"spec":{"nodeName":"node-1"}}`)
	plane.prints(t, nil, "wait", "--for=condition=Ready", "pod/web")
	pod := plane.awaitPod(t, "web", "runs", phaseIs(v1.PodRunning))
	t.Cleanup(func() { plane.remove(t, pod) })
	plane.prints(t, []string{"HTTP/1.1"}, "logs", "web", "--tail=1")
	plane.prints(t, []string{"web\n"}, "exec", "web", "--", "hostname")
	if pod.Status.PodIP == "" || pod.Status.HostIP != "127.0.0.1" {
		t.Errorf("pod IP %q, host IP %q", pod.Status.PodIP, pod.Status.HostIP)
	}
	plane.prints(t, []string{pod.Status.PodIP}, "exec", "web", "--", "hostname", "-i")
	plane.prints(t, []string{string(pod.UID), pod.Status.PodIP}, "get", "--raw", "/api/v1/namespaces/default/pods/web")
	plane.prints(t, []string{`pod "web" deleted`}, "delete", "pod", "web")
	plane.awaitNoPod(t, "web")

	n.halt(t)
	plane.awaitNode(t, n.name, "is not ready after it was stopped", readyIs(v1.ConditionFalse))
}

// TestNodeDeregisters: with --deregister-node nothing is left.
func TestNodeDeregisters(t *testing.T) {
	plane := withFlags(t, joining)
	// A node's own credential may not delete Nodes.
	n := plane.join(t, joinOptions{kubeconfig: plane.kubeconfig, settings: servingCertificate(t), args: []string{"--deregister-node"}})
	plane.awaitNode(t, n.name, "is Ready", readyIs(v1.ConditionTrue))
	n.halt(t)
	if _, err := plane.client.CoreV1().Nodes().Get(context.Background(), n.name, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("the Node is left: %v", err)
	}
}

// TestNodeGoesOn: a stand-in that is killed, or stopped, and started again goes on with the pods that it had.
func TestNodeGoesOn(t *testing.T) {
	plane := withFlags(t, joining)
	plane.bind(t, kubeletAPIAdmin, userNamed("kubelet-client"))
	n := plane.join(t, joinOptions{settings: servingCertificate(t)})
	for _, name := range []string{"stays", "goes", "another"} {
		plane.create(t, boundTo(n.name, name))
	}
	before := map[string]*v1.Pod{}
	for _, name := range []string{"stays", "goes", "another"} {
		before[name] = plane.awaitPod(t, name, "runs", phaseIs(v1.PodRunning))
	}
	firstNode := plane.awaitNode(t, n.name, "is Ready", readyIs(v1.ConditionTrue))

	n.kill(t)
	plane.prints(t, nil, "delete", "pod", "goes", "--wait=false")
	plane.create(t, boundTo(n.name, "new"))
	n.start(t)
	plane.awaitNoPod(t, "goes")
	plane.awaitPod(t, "new", "runs", phaseIs(v1.PodRunning))
	for _, name := range []string{"stays", "another"} {
		after := plane.awaitPod(t, name, "runs still", phaseIs(v1.PodRunning))
		if after.UID != before[name].UID || !equality.Semantic.DeepEqual(after.Status, before[name].Status) {
			t.Errorf("%s is another now:\nbefore %+v\nafter  %+v", name, before[name].Status, after.Status)
		}
	}
	if node := plane.awaitNode(t, n.name, "is Ready again", readyIs(v1.ConditionTrue)); node.UID != firstNode.UID {
		t.Error("it is another Node now")
	}
	plane.prints(t, []string{"HTTP/1.1"}, "logs", "stays", "--tail=1")
	ips := map[string]string{}
	for _, name := range []string{"stays", "another", "new"} {
		ip := plane.awaitPod(t, name, "has an address", phaseIs(v1.PodRunning)).Status.PodIP
		if other := ips[ip]; other != "" {
			t.Errorf("%s and %s have the same address %s", name, other, ip)
		}
		ips[ip] = name
	}

	n.halt(t)
	plane.awaitNode(t, n.name, "is not ready", readyIs(v1.ConditionFalse))
	n.start(t)
	plane.awaitNode(t, n.name, "is Ready once more", readyIs(v1.ConditionTrue))
}

// TestNodeScenario: pods do what a scenario says of them, by name or by pattern, and its own pods are static pods, with
// mirrors.
func TestNodeScenario(t *testing.T) {
	plane := withFlags(t, joining)
	plane.bind(t, kubeletAPIAdmin, userNamed("kubelet-client"))
	manifests := t.TempDir()
	s := servingCertificate(t)
	s["staticPodPath"], s["fileCheckFrequency"] = manifests, "1s"
	manifest := filepath.Join(manifests, "proxy.yaml")
	must(t, os.WriteFile(manifest, []byte("apiVersion: v1\nkind: Pod\nmetadata: {name: proxy}\nspec: {containers: [{name: proxy, image: proxy}]}\n"), 0o644))
	n := plane.join(t, joinOptions{settings: s, scenario: `
pods:
- metadata: {name: agent}
  spec: {containers: [{name: agent, image: agent}]}
containers:
- {pod: agent, log: {text: "I am the agent\n"}}
- {pod: "job-*", exits: {after: 1s, code: 0}}
- {pod: "broken-*", exits: {after: 1s, code: 3}}
- {pod: nowhere, state: ImagePullBackOff}
`})
	plane.awaitNode(t, n.name, "is Ready", readyIs(v1.ConditionTrue))
	never := func(pod *v1.Pod) { pod.Spec.RestartPolicy = v1.RestartPolicyNever }
	plane.create(t, boundTo(n.name, "job-1", never))
	plane.create(t, boundTo(n.name, "broken-1", never))
	plane.create(t, boundTo(n.name, "broken-2"))
	plane.create(t, boundTo(n.name, "nowhere"))

	mirror := plane.awaitPod(t, "agent-node-1", "runs", phaseIs(v1.PodRunning))
	plane.prints(t, []string{"I am the agent\n"}, "logs", "agent-node-1")
	plane.awaitPod(t, "proxy-node-1", "runs", phaseIs(v1.PodRunning))
	plane.awaitPod(t, "job-1", "succeeds", phaseIs(v1.PodSucceeded))
	plane.awaitPod(t, "broken-1", "fails", phaseIs(v1.PodFailed))
	plane.awaitPod(t, "nowhere", "has no image", func(pod *v1.Pod) string {
		if s := pod.Status.ContainerStatuses; len(s) == 1 && s[0].State.Waiting != nil && s[0].State.Waiting.Reason == "ImagePullBackOff" {
			return ""
		}
		return fmt.Sprint(pod.Status)
	})
	plane.awaitPod(t, "broken-2", "is in its back-off", func(pod *v1.Pod) string {
		if s := pod.Status.ContainerStatuses; len(s) == 1 && s[0].RestartCount > 0 && s[0].State.Waiting != nil && s[0].State.Waiting.Reason == "CrashLoopBackOff" {
			return ""
		}
		return fmt.Sprint(pod.Status)
	})
	plane.prints(t, []string{"HTTP/1.1"}, "logs", "broken-2", "--previous", "--tail=1")

	// A mirror that is deleted comes back; one whose pod is gone goes.
	plane.prints(t, nil, "delete", "pod", "agent-node-1", "--wait=false")
	plane.awaitPod(t, "agent-node-1", "is there again", func(pod *v1.Pod) string {
		if pod.UID == mirror.UID || pod.Status.Phase != v1.PodRunning {
			return "it is the one of before, or does not run yet"
		}
		return ""
	})
	must(t, os.Remove(manifest))
	plane.awaitNoPod(t, "proxy-node-1")
	for _, name := range []string{"agent-node-1"} {
		plane.remove(t, &v1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}})
	}
}

// podsOf are the uids of the pods that a node has, by name.
func (c *controlPlane) podsOf(t testing.TB, node string) map[string]types.UID {
	t.Helper()
	list, err := c.client.CoreV1().Pods("").List(context.Background(), metav1.ListOptions{FieldSelector: "spec.nodeName=" + node})
	must(t, err)
	all := map[string]types.UID{}
	for _, pod := range list.Items {
		all[pod.Name] = pod.UID
	}
	return all
}
