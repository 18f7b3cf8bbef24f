package check

import (
	"context"
	"fmt"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/ptr"
)

// runLabel is on all that a run makes; its value is the run.
const runLabel = "fauxlet.check/run"

// removing is how long removing may take, after the run was stopped too.
const removing = 30 * time.Second

// objects are those that a run has made in the cluster. Every one is noted before it is made, with a name that nobody else
// has, and removed by its UID.
type objects struct {
	client *kubernetes.Clientset
	id     string
	note   func(string)

	mu        sync.Mutex
	nodes     []*v1.Node
	pods      []*v1.Pod
	namespace *v1.Namespace
}

func (o *objects) name() string { return "fauxlet-check-" + o.id }

func (o *objects) labels() map[string]string { return map[string]string{runLabel: o.id} }

// open makes the namespace of the run.
func (o *objects) open(ctx context.Context, _ context.CancelCauseFunc) error {
	namespace, err := o.client.CoreV1().Namespaces().Create(ctx, &v1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: o.name(), Labels: o.labels()}}, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	o.namespace = namespace
	_, err = o.client.CoreV1().ServiceAccounts(o.name()).Create(ctx, &v1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: account, Labels: o.labels()}}, metav1.CreateOptions{})
	return err
}

// account is the service account of the pods. They are given no token of it; there must be one where pods are admitted.
const account = "fauxlet-check"

// createNode makes a Node on which nothing is scheduled and of which no cloud provider is asked.
func (o *objects) createNode(ctx context.Context, name string, status v1.NodeStatus) (*v1.Node, error) {
	now := metav1.Now()
	// A cloud provider's controller removes Nodes that are not ready and that the provider does not know.
	status.Conditions = []v1.NodeCondition{{
		Type: v1.NodeReady, Status: v1.ConditionTrue, Reason: "FauxletCheck", Message: "is there for a check of the apiserver, and gone in a moment",
		LastHeartbeatTime: now, LastTransitionTime: now,
	}}
	node := &v1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: o.labels()}, Status: status}
	node.Labels[v1.LabelNodeExcludeBalancers] = ""
	node.Spec.Unschedulable = true
	node.Spec.Taints = []v1.Taint{
		{Key: runLabel, Value: o.id, Effect: v1.TaintEffectNoSchedule},
		{Key: runLabel, Value: o.id, Effect: v1.TaintEffectNoExecute},
	}
	made, err := o.client.CoreV1().Nodes().Create(ctx, node, metav1.CreateOptions{})
	if err != nil {
		return nil, err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.nodes = append(o.nodes, made)
	return made, nil
}

// createPod makes a pod that is bound to a node, and that no policy of pods has anything against.
func (o *objects) createPod(ctx context.Context, node *v1.Node) (*v1.Pod, error) {
	no, yes := ptr.To(false), ptr.To(true)
	made, err := o.client.CoreV1().Pods(o.name()).Create(ctx, &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: node.Name, Labels: o.labels()},
		Spec: v1.PodSpec{
			NodeName: node.Name, ServiceAccountName: account, AutomountServiceAccountToken: no, EnableServiceLinks: no,
			TerminationGracePeriodSeconds: ptr.To(int64(0)), RestartPolicy: v1.RestartPolicyNever,
			Tolerations:     []v1.Toleration{{Operator: v1.TolerationOpExists}},
			SecurityContext: &v1.PodSecurityContext{RunAsNonRoot: yes, RunAsUser: ptr.To(int64(65532)), SeccompProfile: &v1.SeccompProfile{Type: v1.SeccompProfileTypeRuntimeDefault}},
			Containers: []v1.Container{{
				Name: container, Image: "fauxlet.invalid/none",
				SecurityContext: &v1.SecurityContext{AllowPrivilegeEscalation: no, Capabilities: &v1.Capabilities{Drop: []v1.Capability{"ALL"}}},
			}},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		return nil, err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.pods = append(o.pods, made)
	return made, nil
}

// container is the only container of each pod.
const container = "main"

// remove removes all, and tells what it could not remove. It has its own time, because it must be done after ctx too.
func (o *objects) remove(ctx context.Context) (left []string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), removing)
	defer cancel()
	o.mu.Lock()
	defer o.mu.Unlock()
	gone := func(kind, name string, err error) {
		if err != nil && !apierrors.IsNotFound(err) {
			left = append(left, fmt.Sprintf("%s %s: %v", kind, name, err))
		}
	}
	for _, pod := range o.pods {
		gone("pod", pod.Name, o.client.CoreV1().Pods(pod.Namespace).Delete(ctx, pod.Name, metav1.DeleteOptions{
			GracePeriodSeconds: ptr.To(int64(0)), Preconditions: &metav1.Preconditions{UID: &pod.UID}}))
	}
	for _, node := range o.nodes {
		gone("node", node.Name, o.client.CoreV1().Nodes().Delete(ctx, node.Name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &node.UID}}))
	}
	if o.namespace != nil {
		gone("namespace", o.namespace.Name, o.client.CoreV1().Namespaces().Delete(ctx, o.namespace.Name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &o.namespace.UID}}))
	}
	return left
}
