// Package stage keeps what a run of a program makes in a cluster for its stand-ins: a namespace with a Lease that says that the
// run is alive, Nodes with a pod bound to each, and a CertificateSigningRequest. All is found by a label, removed when the
// run ends, and when it was killed, by the next run.
package stage

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/ptr"
)

// Owner is whose runs these are. It leaves alone what others made.
type Owner struct {
	// Name is its own: fauxlet NAME. It is in the names of all objects and in their label.
	Name string
	// Reason and Message are of the condition that says that its Nodes are ready.
	Reason, Message string
	// ApprovedBy says by what it approves a request for a certificate.
	ApprovedBy string
}

// label is on all that a run makes; its value is the run.
func (p Owner) label() string { return "fauxlet." + p.Name + "/run" }

// nameOf is the name of a run's namespace, and the beginning of all of its other names.
func (p Owner) nameOf(id string) string { return "fauxlet-" + p.Name + "-" + id }

// account is the service account of the pods. They get no token of it; there must be one where pods are admitted.
func (p Owner) account() string { return "fauxlet-" + p.Name }

// making is how long it may take to make one object. It is made whole though the run is stopped meanwhile: a request
// that is given up may still be carried out, after all has been removed.
const making = 15 * time.Second

// ContainerName is the only container of each pod.
const ContainerName = "main"

// Stage is one run and its objects in the cluster. All have the run's label, and names that begin with the run's.
type Stage struct {
	client  *kubernetes.Clientset
	program Owner
	id      string
	note    func(string)

	renewing sync.WaitGroup
	stop     context.CancelCauseFunc
}

// New is a run that has not begun. note gets what there is to say.
func New(client *kubernetes.Clientset, program Owner, note func(string)) *Stage {
	return &Stage{client: client, program: program, id: newID(), note: note, stop: func(error) {}}
}

// Name is the name of the run's namespace, and the beginning of all of its other names.
func (o *Stage) Name() string { return o.program.nameOf(o.id) }

func (o *Stage) labels() map[string]string { return map[string]string{o.program.label(): o.id} }

// Setup makes the namespace, says in it that the run is alive, and removes what runs that are no more have left behind. The
// context that it gives ends when the run can no longer say so. The caller calls Teardown, also where Setup failed.
func (o *Stage) Setup(ctx context.Context) (context.Context, error) {
	namespace, err := o.createNamespace(ctx)
	if err != nil {
		return ctx, err
	}
	if err := o.createLease(ctx); err != nil {
		return ctx, err
	}
	ctx, o.stop = context.WithCancelCause(ctx)
	o.renewing.Go(func() { o.renew(ctx, o.stop) })
	if err := o.sweep(ctx, namespace.CreationTimestamp.Time); err != nil {
		return ctx, fmt.Errorf("looking for what runs before have left behind: %w", err)
	}
	return ctx, nil
}

// Teardown removes all that the run has made, and tells what is left and why. It has a time of its own, whether or not ctx is
// done.
func (o *Stage) Teardown(ctx context.Context) (left []string) {
	o.stop(nil)
	o.renewing.Wait()
	slow := time.AfterFunc(3*time.Second, func() { o.note("removing what was made") })
	defer slow.Stop()
	return o.program.remove(context.WithoutCancel(ctx), o.client, o.id)
}

// create makes an object, by the create function of a client.
func create[T any](ctx context.Context, object T, by func(context.Context, T, metav1.CreateOptions) (T, error)) (T, error) {
	if err := context.Cause(ctx); err != nil {
		var none T
		return none, err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), making)
	defer cancel()
	return by(ctx, object, metav1.CreateOptions{})
}

// createNamespace makes the namespace, and in it the account of the pods.
func (o *Stage) createNamespace(ctx context.Context) (*v1.Namespace, error) {
	namespace, err := create(ctx, &v1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: o.Name(), Labels: o.labels()}}, o.client.CoreV1().Namespaces().Create)
	if err != nil {
		return nil, err
	}
	_, err = create(ctx, &v1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: o.program.account(), Labels: o.labels()}}, o.client.CoreV1().ServiceAccounts(o.Name()).Create)
	return namespace, err
}

// CreateNode makes a Node on which nothing is scheduled.
func (o *Stage) CreateNode(ctx context.Context, suffix string, status v1.NodeStatus) (*v1.Node, error) {
	now := metav1.Now()
	// A Node that is not ready, and that the cloud provider does not know, would be removed by the provider's controller.
	// It has no label of an operating system: DaemonSets that tolerate everything ask for one.
	status.Conditions = []v1.NodeCondition{{
		Type: v1.NodeReady, Status: v1.ConditionTrue, Reason: o.program.Reason, Message: o.program.Message,
		LastHeartbeatTime: now, LastTransitionTime: now,
	}}
	node := &v1.Node{ObjectMeta: metav1.ObjectMeta{Name: o.Name() + "-" + suffix, Labels: o.labels()}, Status: status}
	node.Labels[v1.LabelNodeExcludeBalancers] = ""
	node.Spec.Unschedulable = true
	node.Spec.Taints = []v1.Taint{
		{Key: o.program.label(), Value: o.id, Effect: v1.TaintEffectNoSchedule},
		{Key: o.program.label(), Value: o.id, Effect: v1.TaintEffectNoExecute},
	}
	return create(ctx, node, o.client.CoreV1().Nodes().Create)
}

// CreatePod makes a pod that is bound to a Node and has its name, and against which no policy of pods has anything.
func (o *Stage) CreatePod(ctx context.Context, node string) (*v1.Pod, error) {
	no, yes := ptr.To(false), ptr.To(true)
	return create(ctx, &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: o.Name(), Name: node, Labels: o.labels()},
		Spec: v1.PodSpec{
			NodeName: node, ServiceAccountName: o.program.account(), AutomountServiceAccountToken: no, EnableServiceLinks: no,
			TerminationGracePeriodSeconds: ptr.To(int64(0)), RestartPolicy: v1.RestartPolicyNever,
			Tolerations: []v1.Toleration{{Operator: v1.TolerationOpExists}},
			SecurityContext: &v1.PodSecurityContext{
				RunAsNonRoot: yes, RunAsUser: ptr.To(int64(65532)),
				SeccompProfile: &v1.SeccompProfile{Type: v1.SeccompProfileTypeRuntimeDefault},
			},
			Containers: []v1.Container{{
				Name: ContainerName, Image: "fauxlet.invalid/none",
				SecurityContext: &v1.SecurityContext{AllowPrivilegeEscalation: no, Capabilities: &v1.Capabilities{Drop: []v1.Capability{"ALL"}}},
			}},
		},
	}, o.client.CoreV1().Pods(o.Name()).Create)
}

// owned are the objects of runs that are in no namespace, and the namespaces.
type owned struct {
	namespaces []v1.Namespace
	nodes      []v1.Node
	requests   []certificatesv1.CertificateSigningRequest
}

// find lists what has the label of a run, of any with an empty id. What has the label and not the name is not ours.
func (p Owner) find(ctx context.Context, client *kubernetes.Clientset, id string) (*owned, error) {
	options := metav1.ListOptions{LabelSelector: p.label()}
	if id != "" {
		options.LabelSelector += "=" + id
	}
	namespaces, err := client.CoreV1().Namespaces().List(ctx, options)
	if err != nil {
		return nil, err
	}
	nodes, err := client.CoreV1().Nodes().List(ctx, options)
	if err != nil {
		return nil, err
	}
	requests, err := client.CertificatesV1().CertificateSigningRequests().List(ctx, options)
	if err != nil {
		return nil, err
	}
	all := &owned{
		namespaces: slices.DeleteFunc(namespaces.Items, func(n v1.Namespace) bool { return !p.isOurs(&n) }),
		nodes:      slices.DeleteFunc(nodes.Items, func(n v1.Node) bool { return !p.isOurs(&n) }),
		requests:   slices.DeleteFunc(requests.Items, func(r certificatesv1.CertificateSigningRequest) bool { return !p.isOurs(&r) }),
	}
	return all, nil
}

func (p Owner) isOurs(o metav1.Object) bool {
	id := o.GetLabels()[p.label()]
	return id != "" && (o.GetName() == p.nameOf(id) || strings.HasPrefix(o.GetName(), p.nameOf(id)+"-"))
}

// each gives every object, with what it is.
func (o *owned) each(visit func(kind string, object metav1.Object)) {
	for i := range o.nodes {
		visit("node", &o.nodes[i])
	}
	for i := range o.requests {
		visit("certificatesigningrequest", &o.requests[i])
	}
	for i := range o.namespaces {
		visit("namespace", &o.namespaces[i])
	}
}

// names are those of all objects, each with its kind.
func (o *owned) names() []string {
	var all []string
	o.each(func(kind string, object metav1.Object) {
		all = append(all, fmt.Sprintf("%s %s", kind, object.GetName()))
	})
	return all
}

// newID names a run. It is long enough for nobody to meet another's.
func newID() string {
	const letters = "bcdfghjklmnpqrstvwxz2456789"
	id := make([]byte, 8)
	for i := range id {
		id[i] = letters[rand.IntN(len(letters))]
	}
	return string(id)
}
