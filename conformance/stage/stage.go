// Package stage creates the objects that a run of fauxlet check needs in a cluster: a namespace with a Lease that
// shows that the run is alive, Nodes with a pod bound to each, and CertificateSigningRequests. All objects have a
// label with the run's ID. They are deleted when the run ends. If the run was killed, the next run deletes them.
package stage

import (
	"context"
	"fmt"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilrand "k8s.io/apimachinery/pkg/util/rand"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"
)

const (
	RunLabel = "fauxlet.check/run" // the label of every object of a run; the value is the run's ID
	// accountName is the name of the pods' service account, which the ServiceAccount admission plugin requires. The
	// pods do not mount its token.
	accountName = "fauxlet-check"
	// createTimeout is the maximum duration of a request to create an object. The end of a run does not abort such a
	// request, because the API server might carry it out after all other objects have been deleted.
	createTimeout = 15 * time.Second
)

// ContainerName is the name of the only container of each pod.
const ContainerName = "main"

// Stage is the set of objects of one run. The names of all objects begin with [Stage.Name].
type Stage struct {
	client  kubernetes.Interface
	objects metadata.Interface
	id      string // random; 8 characters make a collision between concurrent runs improbable
	notify  func(string)

	renewing sync.WaitGroup
	stop     context.CancelCauseFunc
}

// New returns a Stage with a new run ID. It creates no objects yet. It calls notify with progress messages.
func New(cluster *rest.Config, client kubernetes.Interface, notify func(string)) (*Stage, error) {
	objects, err := metadata.NewForConfig(cluster)
	return &Stage{client: client, objects: objects, id: utilrand.String(8), notify: notify, stop: func(error) {}}, err
}

// Name is the name of the run's namespace and the prefix of the names of its cluster-scoped objects.
func (s *Stage) Name() string { return nameOf(s.id) }

func nameOf(id string) string { return "fauxlet-check-" + id }

// NodeName is the name of the Node that CreateNode creates for a suffix.
func (s *Stage) NodeName(suffix string) string { return s.Name() + "-" + suffix }

// Selector is the label selector of the run's objects.
func (s *Stage) Selector() string { return RunLabel + "=" + s.id }

func (s *Stage) labels() map[string]string { return map[string]string{RunLabel: s.id} }

// Setup creates the namespace and its Lease, keeps renewing the Lease, and deletes the objects that dead runs have
// left behind. The returned context is cancelled when the Lease cannot be renewed. The caller must call Teardown,
// even after an error.
func (s *Stage) Setup(ctx context.Context) (context.Context, error) {
	namespace, err := s.createNamespace(ctx)
	if err != nil {
		return ctx, err
	}
	if err := s.createLease(ctx); err != nil {
		return ctx, err
	}
	ctx, s.stop = context.WithCancelCause(ctx)
	s.renewing.Go(func() { s.renewLease(ctx, s.stop) })
	if err := s.removeDeadRuns(ctx, namespace.CreationTimestamp.Time); err != nil {
		return ctx, fmt.Errorf("cannot look for objects of earlier runs: %w", err)
	}
	return ctx, nil
}

// Teardown deletes all objects of the run. It returns the objects that remain, and the error that prevented their
// removal. Teardown has a separate timeout and also runs if ctx is already cancelled.
func (s *Stage) Teardown(ctx context.Context) (notRemoved []string) {
	s.stop(nil)
	s.renewing.Wait()
	slow := time.AfterFunc(3*time.Second, func() { s.notify("removing the objects of this run") })
	defer slow.Stop()
	return s.remove(context.WithoutCancel(ctx), s.id)
}

// create calls a client's Create method with createTimeout. It ignores the end of ctx during the call.
func create[T any](
	ctx context.Context, object T, createFunc func(context.Context, T, metav1.CreateOptions) (T, error),
) (T, error) {
	if err := context.Cause(ctx); err != nil {
		var none T
		return none, err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), createTimeout)
	defer cancel()
	return createFunc(ctx, object, metav1.CreateOptions{})
}

// createNamespace creates the namespace, and in it the service account of the pods.
func (s *Stage) createNamespace(ctx context.Context) (*v1.Namespace, error) {
	namespace, err := create(ctx, &v1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: s.Name(), Labels: s.labels()}},
		s.client.CoreV1().Namespaces().Create)
	if err != nil {
		return nil, err
	}
	_, err = create(ctx, &v1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: accountName, Labels: s.labels()}},
		s.client.CoreV1().ServiceAccounts(s.Name()).Create)
	return namespace, err
}

// CreateNode creates a Node on which no other pods are scheduled. The Node is ready, because a cloud provider's
// controller deletes unready Nodes that the provider does not know. It has no operating system label, because
// DaemonSets that tolerate every taint select Nodes by that label.
func (s *Stage) CreateNode(ctx context.Context, suffix string, status v1.NodeStatus) (*v1.Node, error) {
	now := metav1.Now()
	status.Conditions = []v1.NodeCondition{{Type: v1.NodeReady, Status: v1.ConditionTrue, Reason: "FauxletCheck",
		Message:           "not a real node: fauxlet check observes how the kube-apiserver connects to it",
		LastHeartbeatTime: now, LastTransitionTime: now}}
	node := &v1.Node{ObjectMeta: metav1.ObjectMeta{Name: s.NodeName(suffix), Labels: s.labels()}, Status: status}
	node.Labels[v1.LabelNodeExcludeBalancers] = ""
	node.Spec.Unschedulable = true
	node.Spec.Taints = []v1.Taint{{Key: RunLabel, Value: s.id, Effect: v1.TaintEffectNoSchedule},
		{Key: RunLabel, Value: s.id, Effect: v1.TaintEffectNoExecute}}
	return create(ctx, node, s.client.CoreV1().Nodes().Create)
}

// CreatePod creates a pod that is bound to a Node and has the Node's name. It satisfies the restricted Pod Security
// Standard.
func (s *Stage) CreatePod(ctx context.Context, node string) (*v1.Pod, error) {
	no, yes := ptr.To(false), ptr.To(true)
	return create(ctx, &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.Name(), Name: node, Labels: s.labels()},
		Spec: v1.PodSpec{
			NodeName: node, ServiceAccountName: accountName, AutomountServiceAccountToken: no, EnableServiceLinks: no,
			TerminationGracePeriodSeconds: ptr.To(int64(0)), RestartPolicy: v1.RestartPolicyNever,
			Tolerations: []v1.Toleration{{Operator: v1.TolerationOpExists}},
			SecurityContext: &v1.PodSecurityContext{RunAsNonRoot: yes, RunAsUser: ptr.To(int64(65532)),
				SeccompProfile: &v1.SeccompProfile{Type: v1.SeccompProfileTypeRuntimeDefault}},
			Containers: []v1.Container{{Name: ContainerName, Image: "fauxlet.invalid/none",
				SecurityContext: &v1.SecurityContext{AllowPrivilegeEscalation: no,
					Capabilities: &v1.Capabilities{Drop: []v1.Capability{"ALL"}}}}},
		},
	}, s.client.CoreV1().Pods(s.Name()).Create)
}
