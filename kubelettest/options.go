package kubelettest

import (
	"maps"
	"net/http"
	"slices"

	"go.uber.org/zap"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	authenticationclient "k8s.io/client-go/kubernetes/typed/authentication/v1"
	authorizationclient "k8s.io/client-go/kubernetes/typed/authorization/v1"
	kubeletconfigv1beta1 "k8s.io/kubelet/config/v1beta1"

	"fauxlet/internal/pods"
	"fauxlet/scenario"
	"fauxlet/testcerts"
)

// Option changes a kubelet from the default that [New] describes. Options that add users, pods, manifests, faults or
// changes of the configuration may be given several times.
type Option func(*options)

type options struct {
	nodeName   string
	ca         *testcerts.Authority
	users      []User
	manifests  []string
	authorizer http.Handler
	reviewer   ReviewClient
	pods       []scenario.Pod
	nodeLogs   map[string]string
	executor   pods.Executor
	configure  []func(*kubeletconfigv1beta1.KubeletConfiguration)
	readOnly   bool
	faults     []Fault
	logger     *zap.Logger
}

func newOptions(with []Option) *options {
	o := &options{nodeName: "node-1", logger: zap.NewNop()}
	for _, option := range with {
		option(o)
	}
	if o.pods == nil {
		nginx := scenario.Container{Log: scenario.Log{Lines: 100}}
		o.pods = []scenario.Pod{Pod("default", "nginx", map[string]scenario.Container{"nginx": nginx})}
	}
	return o
}

// WithNodeName sets the name of the node. The default is node-1.
func WithNodeName(name string) Option { return func(o *options) { o.nodeName = name } }

// WithCA sets the CA that signs the certificates. If it is [Kubelet.CA] of another kubelet, both kubelets accept the
// same clients. By default, and if ca is nil, each kubelet has a CA of its own.
func WithCA(ca *testcerts.Authority) Option { return func(o *options) { o.ca = ca } }

// WithUser adds a user. A user with the name kubelet-client replaces the default one.
func WithUser(u User) Option { return func(o *options) { o.users = append(o.users, u) } }

// WithRBAC adds RBAC manifests to the rights in [User.Allow]: one or more documents of YAML or JSON, as for kubectl.
// With WithRBAC, a test can check that the ClusterRole in a deployment's manifests is sufficient.
func WithRBAC(manifests string) Option {
	return func(o *options) { o.manifests = append(o.manifests, manifests) }
}

// WithAuthorizer makes a webhook decide what users are allowed to do, in place of [User.Allow] and [WithRBAC]. The
// webhook receives each SubjectAccessReview (authorization.k8s.io/v1, as JSON) in a POST to the path /, and answers
// with a review that has a status, as for a kube-apiserver with --authorization-mode=Webhook. To use a webhook that
// already runs as a server, pass [net/http/httputil.NewSingleHostReverseProxy].
func WithAuthorizer(webhook http.Handler) Option { return func(o *options) { o.authorizer = webhook } }

// ReviewClient sends TokenReviews and SubjectAccessReviews. Every kubernetes.Interface is a ReviewClient.
type ReviewClient interface {
	AuthenticationV1() authenticationclient.AuthenticationV1Interface
	AuthorizationV1() authorizationclient.AuthorizationV1Interface
}

// WithReviewClient sends the kubelet's reviews to a client, in place of [User.Allow] and [WithRBAC]. The client can be
// client-go's fake clientset, or a client of a real kube-apiserver. [Kubelet.Reviews] has its answers, and the faults
// of reviewers apply to them.
func WithReviewClient(client ReviewClient) Option { return func(o *options) { o.reviewer = client } }

// WithPods adds pods. It removes the default pod, default/nginx.
func WithPods(specs ...scenario.Pod) Option {
	return func(o *options) { o.pods = append(o.pods, specs...) }
}

// WithNodeLogs sets the files that /logs/ serves, by their paths below /var/log.
func WithNodeLogs(files map[string]string) Option { return func(o *options) { o.nodeLogs = files } }

// WithExecutor sets how the commands of exec requests run if the scenario has no answer for them. The default needs
// no shell: it runs echo, cat, ls, env, hostname, id, date, sleep, true, false, and sh -c with one of them. For a
// shell, use package kubelettest/fakeshell.
func WithExecutor(executor pods.Executor) Option { return func(o *options) { o.executor = executor } }

// WithConfig changes the configuration before it is defaulted and validated as a kubelet does it. The configuration
// that change receives has webhook authentication and authorization with a cache TTL of one nanosecond, no anonymous
// authentication, a clientCAFile, a serving certificate, and a free port on 127.0.0.1.
func WithConfig(change func(*kubeletconfigv1beta1.KubeletConfiguration)) Option {
	return func(o *options) { o.configure = append(o.configure, change) }
}

// WithReadOnlyPort opens the read-only port, which has no authentication, on a free port.
func WithReadOnlyPort() Option { return func(o *options) { o.readOnly = true } }

// WithLogger sets the logger of Decisions and of the server. By default [New] logs to the test, and [Start] logs
// nothing.
func WithLogger(logger *zap.Logger) Option { return func(o *options) { o.logger = logger } }

// Pod returns a pod for [WithPods] with these containers, in the order of their names. Other fields can be set in the
// v1.Pod of the result.
func Pod(namespace, name string, containers map[string]scenario.Container) scenario.Pod {
	pod := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	for _, container := range slices.Sorted(maps.Keys(containers)) {
		pod.Spec.Containers = append(pod.Spec.Containers, v1.Container{Name: container, Image: container})
	}
	return scenario.Pod{Pod: pod, Containers: containers}
}
