package node

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

	"fauxlet/e2e/internal/controlplane"
	"fauxlet/e2e/internal/expect"
	"fauxlet/e2e/internal/kubelet"
	"fauxlet/e2e/internal/programs"
)

// joined is a stand-in kubelet process whose nodes have registered themselves: one node or many.
type joined struct {
	*programs.Process
	name  string
	plane *controlplane.Plane
	args  []string
	// The field "open" has the listening addresses from the ready file.
	open struct {
		Secure string
		Nodes  map[string]string
	}
	ready string
}

// joinOptions configure a stand-in kubelet.
type joinOptions struct {
	name       string // empty: node-1
	kubeconfig string // kubeconfig file; empty: a new one with the node's own certificate
	settings   kubelet.Settings
	scenario   string
	args       []string
}

// join starts a stand-in kubelet that registers itself, and waits until it listens. When the test ends, the stand-in
// kubelet is stopped and its Node deleted.
func join(t testing.TB, c *controlplane.Plane, o joinOptions) *joined {
	t.Helper()
	if o.name == "" {
		o.name = "node-1"
	}
	dir := t.TempDir()
	n := &joined{name: o.name, plane: c, ready: filepath.Join(dir, "ready.json")}
	if o.kubeconfig == "" {
		o.kubeconfig = filepath.Join(dir, "kubeconfig")
		expect.NoError(t, c.WriteKubeconfig(o.kubeconfig, "system:node:"+o.name, "system:nodes"))
	}
	p, err := controlplane.Certificates()
	expect.NoError(t, err)
	config, err := o.settings.YAML(p)
	expect.NoError(t, err)
	expect.NoError(t, os.WriteFile(filepath.Join(dir, "kubelet.yaml"), config, 0o644))
	n.args = []string{"serve", "--config", filepath.Join(dir, "kubelet.yaml"), "--kubeconfig", o.kubeconfig,
		"--hostname-override", o.name,
		"--cert-dir", filepath.Join(dir, "pki"), "--port", "0", "--ready-file", n.ready, "-v=2"}
	if o.scenario != "" {
		file := filepath.Join(dir, "scenario.yaml")
		expect.NoError(t, os.WriteFile(file, []byte("apiVersion: fauxlet/v1alpha1\nkind: Scenario\n"+o.scenario),
			0o644))
		n.args = append(n.args, "--scenario", file)
	}
	n.args = append(n.args, o.args...)
	n.start(t)
	t.Cleanup(func() {
		n.halt(t)
		n.LogOnFailure(t, 0)
		c.DeleteNode(t, n.name)
	})
	return n
}

// start starts the process and waits until it listens. After the process has ended, start can be called again.
func (n *joined) start(t testing.TB) {
	t.Helper()
	if err := os.Remove(n.ready); err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	var err error
	n.Process, err = programs.Start("fauxlet", programs.Path(t, "fauxlet"), n.args...)
	expect.NoError(t, err)
	expect.Eventually(t, time.Minute, "fauxlet listens", func() string {
		select {
		case <-n.Ended:
			t.Fatalf("fauxlet has ended: %v\n%s", n.Err, n.Out.String())
		default:
		}
		if err := n.readOpen(); err != nil {
			return err.Error()
		}
		return ""
	})
}

// readOpen reads the addresses from the ready file.
func (n *joined) readOpen() error {
	data, err := os.ReadFile(n.ready)
	if err != nil {
		return err
	}
	n.open.Nodes = nil // Unmarshal adds to a map that is not nil
	return json.Unmarshal(data, &n.open)
}

// halt stops the process with SIGTERM.
func (n *joined) halt(t testing.TB) {
	t.Helper()
	if err := n.Stop(); err != nil {
		t.Error(err)
	}
}

// kill ends the process with SIGKILL.
func (n *joined) kill(t testing.TB) {
	t.Helper()
	expect.NoError(t, n.Cmd.Process.Kill())
	<-n.Ended
}

// TestNodeJoins starts a node with one command on a control plane, and uses the node: it checks the Node and its
// Lease, runs a pod, and reads its logs.
func TestNodeJoins(t *testing.T) {
	t.Parallel()
	plane := controlplane.Shared(t, controlplane.ForNodes)
	plane.Bind(t, controlplane.KubeletAPIAdmin, controlplane.User("kubelet-client"))
	n := join(t, plane, joinOptions{settings: kubelet.ServingCertificate(t), args: []string{
		"--node-labels=rack=7,node.kubernetes.io/instance-type=stand-in",
		"--register-with-taints=fauxlet=true:NoSchedule",
		"--node-address=ExternalDNS=node-1.example.com", "--capacity=cpu=3,example.com/gpu=2", "--max-pods=50"}})
	node := plane.AwaitNode(t, n.name, "is Ready", controlplane.ReadyIs(v1.ConditionTrue))

	port, err := strconv.Atoi(n.open.Secure[strings.LastIndex(n.open.Secure, ":")+1:])
	expect.NoError(t, err)
	if got := node.Status.DaemonEndpoints.KubeletEndpoint.Port; got != int32(port) {
		t.Errorf("kubelet endpoint %d, want %d", got, port)
	}
	wanted := []v1.NodeAddress{{Type: v1.NodeInternalIP, Address: "127.0.0.1"},
		{Type: v1.NodeHostName, Address: "node-1"}, {Type: v1.NodeExternalDNS, Address: "node-1.example.com"}}
	if fmt.Sprint(node.Status.Addresses) != fmt.Sprint(wanted) {
		t.Errorf("addresses %v, want %v", node.Status.Addresses, wanted)
	}
	for label, value := range map[string]string{"rack": "7", v1.LabelInstanceTypeStable: "stand-in",
		v1.LabelHostname: "node-1", v1.LabelOSStable: "linux"} {
		if node.Labels[label] != value {
			t.Errorf("label %s is %q, want %q", label, node.Labels[label], value)
		}
	}
	if !strings.Contains(fmt.Sprint(node.Spec.Taints), "fauxlet true NoSchedule") {
		t.Errorf("taints %v", node.Spec.Taints)
	}
	gpu := node.Status.Allocatable["example.com/gpu"]
	if node.Status.Capacity.Cpu().String() != "3" || gpu.String() != "2" ||
		node.Status.Allocatable.Pods().String() != "50" {
		t.Errorf("capacity %v, allocatable %v", node.Status.Capacity, node.Status.Allocatable)
	}
	plane.KubectlPrints(t, []string{"node-1   Ready", "v1.37.2+fauxlet"}, "get", "nodes")
	expect.Eventually(t, time.Minute, "the Lease of the node is renewed and owned by the Node", func() string {
		lease, err := plane.Client.CoordinationV1().Leases("kube-node-lease").Get(context.Background(), n.name,
			metav1.GetOptions{})
		if err != nil {
			return err.Error()
		}
		if *lease.Spec.HolderIdentity != n.name || len(lease.OwnerReferences) != 1 ||
			lease.OwnerReferences[0].UID != node.UID ||
			!lease.Spec.RenewTime.After(lease.CreationTimestamp.Time.Add(5*time.Second)) {
			return fmt.Sprintf("%+v %+v", lease.Spec, lease.OwnerReferences)
		}
		return ""
	})

	plane.KubectlPrints(t, nil, "run", "web", "--image=nginx", `--overrides={"spec":{"nodeName":"node-1"}}`)
	plane.KubectlPrints(t, nil, "wait", "--for=condition=Ready", "pod/web")
	pod := plane.AwaitPod(t, "web", "runs", controlplane.PhaseIs(v1.PodRunning))
	t.Cleanup(func() { plane.RemovePod(t, pod) })
	plane.KubectlPrints(t, []string{"HTTP/1.1"}, "logs", "web", "--tail=1")
	plane.KubectlPrints(t, []string{"web\n"}, "exec", "web", "--", "hostname")
	if pod.Status.PodIP == "" || pod.Status.HostIP != "127.0.0.1" {
		t.Errorf("pod IP %q, host IP %q", pod.Status.PodIP, pod.Status.HostIP)
	}
	plane.KubectlPrints(t, []string{pod.Status.PodIP}, "exec", "web", "--", "hostname", "-i")
	plane.KubectlPrints(t, []string{string(pod.UID), pod.Status.PodIP}, "get", "--raw",
		"/api/v1/namespaces/default/pods/web")
	plane.KubectlPrints(t, []string{`pod "web" deleted`}, "delete", "pod", "web")
	plane.AwaitNoPod(t, "web")

	n.halt(t)
	plane.AwaitNode(t, n.name, "is not ready after it was stopped", controlplane.ReadyIs(v1.ConditionFalse))
}

// TestNodeDeregisters stops a node that runs with --deregister-node. The node must delete its Node object.
func TestNodeDeregisters(t *testing.T) {
	t.Parallel()
	plane := controlplane.Shared(t, controlplane.ForNodes)
	// The node needs another credential, because a node's own certificate may not delete Nodes.
	n := join(t, plane, joinOptions{kubeconfig: plane.Kubeconfig, settings: kubelet.ServingCertificate(t),
		args: []string{"--deregister-node"}})
	plane.AwaitNode(t, n.name, "is Ready", controlplane.ReadyIs(v1.ConditionTrue))
	n.halt(t)
	if _, err := plane.Client.CoreV1().Nodes().Get(context.Background(), n.name,
		metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("the Node still exists: %v", err)
	}
}

// TestNodeKeepsPodsAfterRestart restarts a node after a SIGKILL, and again after a SIGTERM. Both times, the node must
// continue with the same pods.
func TestNodeKeepsPodsAfterRestart(t *testing.T) {
	t.Parallel()
	plane := controlplane.Shared(t, controlplane.ForNodes)
	plane.Bind(t, controlplane.KubeletAPIAdmin, controlplane.User("kubelet-client"))
	n := join(t, plane, joinOptions{settings: kubelet.ServingCertificate(t)})
	for _, name := range []string{"stays", "goes", "another"} {
		plane.CreatePod(t, controlplane.BoundTo(n.name, name))
	}
	before := map[string]*v1.Pod{}
	for _, name := range []string{"stays", "goes", "another"} {
		before[name] = plane.AwaitPod(t, name, "runs", controlplane.PhaseIs(v1.PodRunning))
	}
	firstNode := plane.AwaitNode(t, n.name, "is Ready", controlplane.ReadyIs(v1.ConditionTrue))

	n.kill(t)
	plane.KubectlPrints(t, nil, "delete", "pod", "goes", "--wait=false")
	plane.CreatePod(t, controlplane.BoundTo(n.name, "new"))
	n.start(t)
	plane.AwaitNoPod(t, "goes")
	plane.AwaitPod(t, "new", "runs", controlplane.PhaseIs(v1.PodRunning))
	for _, name := range []string{"stays", "another"} {
		after := plane.AwaitPod(t, name, "still runs", controlplane.PhaseIs(v1.PodRunning))
		if after.UID != before[name].UID || !equality.Semantic.DeepEqual(after.Status, before[name].Status) {
			t.Errorf("%s has changed:\nbefore %+v\nafter  %+v", name, before[name].Status, after.Status)
		}
	}
	if node := plane.AwaitNode(t, n.name, "is Ready again",
		controlplane.ReadyIs(v1.ConditionTrue)); node.UID != firstNode.UID {
		t.Error("the Node was replaced")
	}
	plane.KubectlPrints(t, []string{"HTTP/1.1"}, "logs", "stays", "--tail=1")
	ips := map[string]string{}
	for _, name := range []string{"stays", "another", "new"} {
		ip := plane.AwaitPod(t, name, "has an address", controlplane.PhaseIs(v1.PodRunning)).Status.PodIP
		if other := ips[ip]; other != "" {
			t.Errorf("%s and %s have the same address %s", name, other, ip)
		}
		ips[ip] = name
	}

	n.halt(t)
	plane.AwaitNode(t, n.name, "is not ready", controlplane.ReadyIs(v1.ConditionFalse))
	n.start(t)
	plane.AwaitNode(t, n.name, "is Ready again", controlplane.ReadyIs(v1.ConditionTrue))
}

// TestNodeScenario checks that pods behave as a scenario describes by name or by pattern. The pods that the scenario
// defines become static pods with mirror pods.
func TestNodeScenario(t *testing.T) {
	t.Parallel()
	plane := controlplane.Shared(t, controlplane.ForNodes)
	plane.Bind(t, controlplane.KubeletAPIAdmin, controlplane.User("kubelet-client"))
	manifests := t.TempDir()
	s := kubelet.ServingCertificate(t)
	s["staticPodPath"], s["fileCheckFrequency"] = manifests, "1s"
	manifest := filepath.Join(manifests, "proxy.yaml")
	expect.NoError(t,
		os.WriteFile(manifest,
			[]byte("apiVersion: v1\nkind: Pod\nmetadata: {name: proxy}\nspec: {containers: [{name: proxy, image: "+
				"proxy}]}\n"),
			0o644))
	n := join(t, plane, joinOptions{settings: s, scenario: `
pods:
- metadata: {name: agent}
  spec: {containers: [{name: agent, image: agent}]}
containers:
- {pod: agent, log: {text: "I am the agent\n"}}
- {pod: "job-*", exits: {after: 1s, code: 0}}
- {pod: "broken-*", exits: {after: 1s, code: 3}}
- {pod: nowhere, state: ImagePullBackOff}
`})
	plane.AwaitNode(t, n.name, "is Ready", controlplane.ReadyIs(v1.ConditionTrue))
	never := func(pod *v1.Pod) { pod.Spec.RestartPolicy = v1.RestartPolicyNever }
	plane.CreatePod(t, controlplane.BoundTo(n.name, "job-1", never))
	plane.CreatePod(t, controlplane.BoundTo(n.name, "broken-1", never))
	plane.CreatePod(t, controlplane.BoundTo(n.name, "broken-2"))
	plane.CreatePod(t, controlplane.BoundTo(n.name, "nowhere"))

	mirror := plane.AwaitPod(t, "agent-node-1", "runs", controlplane.PhaseIs(v1.PodRunning))
	plane.KubectlPrints(t, []string{"I am the agent\n"}, "logs", "agent-node-1")
	plane.AwaitPod(t, "proxy-node-1", "runs", controlplane.PhaseIs(v1.PodRunning))
	plane.AwaitPod(t, "job-1", "succeeds", controlplane.PhaseIs(v1.PodSucceeded))
	plane.AwaitPod(t, "broken-1", "fails", controlplane.PhaseIs(v1.PodFailed))
	plane.AwaitPod(t, "nowhere", "has no image", func(pod *v1.Pod) string {
		if s := pod.Status.ContainerStatuses; len(s) == 1 && s[0].State.Waiting != nil &&
			s[0].State.Waiting.Reason == "ImagePullBackOff" {
			return ""
		}
		return fmt.Sprint(pod.Status)
	})
	plane.AwaitPod(t, "broken-2", "is in CrashLoopBackOff", func(pod *v1.Pod) string {
		if s := pod.Status.ContainerStatuses; len(s) == 1 && s[0].RestartCount > 0 && s[0].State.Waiting != nil &&
			s[0].State.Waiting.Reason == "CrashLoopBackOff" {
			return ""
		}
		return fmt.Sprint(pod.Status)
	})
	plane.KubectlPrints(t, []string{"HTTP/1.1"}, "logs", "broken-2", "--previous", "--tail=1")

	// The node creates a mirror pod again if it was deleted. When a static pod is removed, the node deletes its mirror
	// pod.
	plane.KubectlPrints(t, nil, "delete", "pod", "agent-node-1", "--wait=false")
	plane.AwaitPod(t, "agent-node-1", "exists again", func(pod *v1.Pod) string {
		if pod.UID == mirror.UID || pod.Status.Phase != v1.PodRunning {
			return "it is the one of before, or does not run yet"
		}
		return ""
	})
	expect.NoError(t, os.Remove(manifest))
	plane.AwaitNoPod(t, "proxy-node-1")
	for _, name := range []string{"agent-node-1"} {
		plane.RemovePod(t, &v1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}})
	}
}
