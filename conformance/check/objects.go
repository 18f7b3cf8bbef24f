package check

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/ptr"
)

// runLabel is on all that a run makes; its value is the run.
const runLabel = "fauxlet.check/run"

// making is how long it may take to make one object. It is made whole though the run is stopped meanwhile: a request
// that is given up may still be carried out, after all has been removed.
const making = 15 * time.Second

const (
	// account is the service account of the pods. They get no token of it; there must be one where pods are admitted.
	account = "fauxlet-check"
	// container is the only container of each pod.
	container = "main"
)

// objects are those of a run in the cluster: a namespace, with a Lease that says that the run is alive, and Nodes and
// CertificateSigningRequests, which are in no namespace. All have the run's label, and names that begin with the run's.
type objects struct {
	client *kubernetes.Clientset
	id     string
	note   func(string)
}

// nameOf is the name of a run's namespace, and the beginning of all of its other names.
func nameOf(id string) string { return "fauxlet-check-" + id }

func (o *objects) name() string { return nameOf(o.id) }

func (o *objects) labels() map[string]string { return map[string]string{runLabel: o.id} }

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
func (o *objects) createNamespace(ctx context.Context) (*v1.Namespace, error) {
	namespace, err := create(ctx, &v1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: o.name(), Labels: o.labels()}}, o.client.CoreV1().Namespaces().Create)
	if err != nil {
		return nil, err
	}
	_, err = create(ctx, &v1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: account, Labels: o.labels()}}, o.client.CoreV1().ServiceAccounts(o.name()).Create)
	return namespace, err
}

// createNode makes a Node on which nothing is scheduled.
func (o *objects) createNode(ctx context.Context, suffix string, status v1.NodeStatus) (*v1.Node, error) {
	now := metav1.Now()
	// A Node that is not ready, and that the cloud provider does not know, would be removed by the provider's controller.
	// It has no label of an operating system: DaemonSets that tolerate everything ask for one.
	status.Conditions = []v1.NodeCondition{{
		Type: v1.NodeReady, Status: v1.ConditionTrue, Reason: "FauxletCheck", Message: "no node: fauxlet check looks how the apiserver comes to it",
		LastHeartbeatTime: now, LastTransitionTime: now,
	}}
	node := &v1.Node{ObjectMeta: metav1.ObjectMeta{Name: o.name() + "-" + suffix, Labels: o.labels()}, Status: status}
	node.Labels[v1.LabelNodeExcludeBalancers] = ""
	node.Spec.Unschedulable = true
	node.Spec.Taints = []v1.Taint{
		{Key: runLabel, Value: o.id, Effect: v1.TaintEffectNoSchedule},
		{Key: runLabel, Value: o.id, Effect: v1.TaintEffectNoExecute},
	}
	return create(ctx, node, o.client.CoreV1().Nodes().Create)
}

// createPod makes a pod that is bound to a Node and has its name, and against which no policy of pods has anything.
func (o *objects) createPod(ctx context.Context, node string) (*v1.Pod, error) {
	no, yes := ptr.To(false), ptr.To(true)
	return create(ctx, &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: o.name(), Name: node, Labels: o.labels()},
		Spec: v1.PodSpec{
			NodeName: node, ServiceAccountName: account, AutomountServiceAccountToken: no, EnableServiceLinks: no,
			TerminationGracePeriodSeconds: ptr.To(int64(0)), RestartPolicy: v1.RestartPolicyNever,
			Tolerations: []v1.Toleration{{Operator: v1.TolerationOpExists}},
			SecurityContext: &v1.PodSecurityContext{
				RunAsNonRoot: yes, RunAsUser: ptr.To(int64(65532)),
				SeccompProfile: &v1.SeccompProfile{Type: v1.SeccompProfileTypeRuntimeDefault},
			},
			Containers: []v1.Container{{
				Name: container, Image: "fauxlet.invalid/none",
				SecurityContext: &v1.SecurityContext{AllowPrivilegeEscalation: no, Capabilities: &v1.Capabilities{Drop: []v1.Capability{"ALL"}}},
			}},
		},
	}, o.client.CoreV1().Pods(o.name()).Create)
}

// createRequest asks the cluster for a kubelet's serving certificate.
func (o *objects) createRequest(ctx context.Context, request []byte) (*certificatesv1.CertificateSigningRequest, error) {
	return create(ctx, &certificatesv1.CertificateSigningRequest{
		ObjectMeta: metav1.ObjectMeta{Name: o.name(), Labels: o.labels()},
		Spec: certificatesv1.CertificateSigningRequestSpec{
			Request: request, SignerName: certificatesv1.KubeletServingSignerName,
			ExpirationSeconds: ptr.To(int32(servingLife / time.Second)),
			Usages:            []certificatesv1.KeyUsage{certificatesv1.UsageDigitalSignature, certificatesv1.UsageServerAuth},
		},
	}, o.client.CertificatesV1().CertificateSigningRequests().Create)
}

// owned are the objects of runs that are in no namespace, and the namespaces.
type owned struct {
	namespaces []v1.Namespace
	nodes      []v1.Node
	requests   []certificatesv1.CertificateSigningRequest
}

// find lists what has the label of a run, of any with an empty id. What has the label and not the name is not ours.
func find(ctx context.Context, client *kubernetes.Clientset, id string) (*owned, error) {
	options := metav1.ListOptions{LabelSelector: runLabel}
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
	return &owned{
		namespaces: slices.DeleteFunc(namespaces.Items, func(n v1.Namespace) bool { return !isOurs(&n) }),
		nodes:      slices.DeleteFunc(nodes.Items, func(n v1.Node) bool { return !isOurs(&n) }),
		requests:   slices.DeleteFunc(requests.Items, func(r certificatesv1.CertificateSigningRequest) bool { return !isOurs(&r) }),
	}, nil
}

func isOurs(o metav1.Object) bool {
	id := o.GetLabels()[runLabel]
	return id != "" && (o.GetName() == nameOf(id) || strings.HasPrefix(o.GetName(), nameOf(id)+"-"))
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
