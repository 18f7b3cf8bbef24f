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

// Option is an option of [New], [Start] and [NewUnstarted]. New describes the kubelet without options. Options that add
// users, pods, manifests, faults or changes of the configuration may be given several times. If any other option is
// given several times, the last one takes effect.
type Option func(*options)

type options struct {
	nodeName   string
	version    string
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

// WithVersion makes the kubelet behave like the kubelet of a version of Kubernetes, from 1.30 to 1.37. The version is a
// minor version such as 1.33, or also has a patch version, such as 1.31.5. The default is 1.37. What differs between
// the versions is printed by the command "fauxlet versions". With another version, the kubelet does not start: New
// fails the test, and Start returns an error.
func WithVersion(version string) Option { return func(o *options) { o.version = version } }

// WithCA sets the CA that signs the serving certificate and the users' client certificates. By default, and if ca is
// nil, each kubelet has its own CA. If ca is the [Kubelet.CA] of another kubelet, both kubelets accept the same client
// certificates.
func WithCA(ca *testcerts.Authority) Option { return func(o *options) { o.ca = ca } }

// WithUser adds a user. A user with the name kubelet-client replaces the default user of that name.
func WithUser(u User) Option { return func(o *options) { o.users = append(o.users, u) } }

// WithRBAC adds RBAC manifests to the rights in [User.Allow]: one or more documents of YAML or JSON, as for kubectl. A
// test can use WithRBAC to check that the ClusterRole in the manifests of a deployment grants all rights that a program
// needs.
func WithRBAC(manifests string) Option {
	return func(o *options) { o.manifests = append(o.manifests, manifests) }
}

// WithAuthorizer sets an authorization webhook, which decides what users are allowed to do in place of [User.Allow] and
// [WithRBAC]. As from a kube-apiserver with --authorization-mode=Webhook, the webhook receives each SubjectAccessReview
// (authorization.k8s.io/v1) as JSON in a POST request, at the path /. It responds with a SubjectAccessReview that has a
// status. If the webhook fails, access is denied. The webhook may be called from several goroutines at once. To use a
// webhook that already runs as a server, pass [net/http/httputil.NewSingleHostReverseProxy].
func WithAuthorizer(webhook http.Handler) Option { return func(o *options) { o.authorizer = webhook } }

// ReviewClient sends TokenReviews and SubjectAccessReviews. Every kubernetes.Interface is a ReviewClient.
type ReviewClient interface {
	AuthenticationV1() authenticationclient.AuthenticationV1Interface
	AuthorizationV1() authorizationclient.AuthorizationV1Interface
}

// WithReviewClient sets the client that answers the kubelet's TokenReviews and SubjectAccessReviews. The users' tokens,
// [User.Allow] and [WithRBAC] then have no effect. The client can be client-go's fake clientset, or a clientset of a
// real kube-apiserver. [Kubelet.Reviews] returns the answers of the client, and faults can change them. The client may
// be called from several goroutines at once, and the caller closes it.
func WithReviewClient(client ReviewClient) Option { return func(o *options) { o.reviewer = client } }

// WithPods adds pods to the node. With this option, the node does not have the default pod default/nginx.
func WithPods(specs ...scenario.Pod) Option {
	return func(o *options) { o.pods = append(o.pods, specs...) }
}

// WithNodeLogs sets the log files of the node, which the path /logs/ serves. Each key of files is a path below
// /var/log, and the value is the content of the file.
func WithNodeLogs(files map[string]string) Option { return func(o *options) { o.nodeLogs = files } }

// WithExecutor sets the executor of the commands in exec and run requests. It runs the commands for which a pod of
// [WithPods] defines no answer. The default executor runs echo, cat, ls, env, hostname, id, date, sleep, true, false,
// and sh -c with one of these commands. Package kubelettest/fakeshell has an executor with a shell.
func WithExecutor(executor pods.Executor) Option { return func(o *options) { o.executor = executor } }

// WithConfig changes the KubeletConfiguration. The function "change" runs once for each kubelet, before defaults are
// set and the configuration is validated. The configuration that it receives has webhook authentication and
// authorization with a cache TTL of one nanosecond, no anonymous authentication, a clientCAFile, a serving certificate,
// and a free port on 127.0.0.1.
func WithConfig(change func(*kubeletconfigv1beta1.KubeletConfiguration)) Option {
	return func(o *options) { o.configure = append(o.configure, change) }
}

// WithReadOnlyPort opens the read-only port, which does not authenticate requests. The kubelet chooses a free port. The
// port is part of [Kubelet.ReadOnlyURL].
func WithReadOnlyPort() Option { return func(o *options) { o.readOnly = true } }

// WithLogger sets the logger, which receives the Decisions and the messages of the server. By default, a kubelet from
// [New] logs to the test, and a kubelet from [Start] or [NewUnstarted] logs nothing.
func WithLogger(logger *zap.Logger) Option { return func(o *options) { o.logger = logger } }

// Pod returns a pod for [WithPods]. The keys of containers are the names of the containers, which are added in
// alphabetical order. The caller may set other fields in the v1.Pod of the result.
func Pod(namespace, name string, containers map[string]scenario.Container) scenario.Pod {
	pod := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	for _, container := range slices.Sorted(maps.Keys(containers)) {
		pod.Spec.Containers = append(pod.Spec.Containers, v1.Container{Name: container, Image: container})
	}
	return scenario.Pod{Pod: pod, Containers: containers}
}
