package kubelettest

import (
	"maps"
	"net/http"
	"slices"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kubeletconfigv1beta1 "k8s.io/kubelet/config/v1beta1"

	"fauxlet/internal/faults"
	"fauxlet/scenario"
	"fauxlet/testcerts"
)

// Option says what a stand-in is to be. Those that add something (users, pods, manifests, changes of the configuration,
// faults) may be given several times.
type Option func(*options)

type options struct {
	nodeName   string
	ca         *testcerts.Authority
	users      []User
	manifests  []string
	authorizer http.Handler
	pods       []scenario.Pod
	nodeLogs   map[string]string
	configure  []func(*kubeletconfigv1beta1.KubeletConfiguration)
	readOnly   bool
	faults     []faults.Fault
}

func newOptions(with []Option) *options {
	o := &options{nodeName: "node-1"}
	for _, option := range with {
		option(o)
	}
	if o.pods == nil {
		o.pods = []scenario.Pod{Pod("default", "nginx", map[string]scenario.Container{"nginx": {Log: scenario.Log{Lines: 100}}})}
	}
	return o
}

// WithNodeName sets the node's name, node-1 if it is left out.
func WithNodeName(name string) Option { return func(o *options) { o.nodeName = name } }

// WithCA has a CA that there is already sign the certificates: that of another stand-in, so that one client is known to
// both. Nil, or left out: one is made.
func WithCA(ca *testcerts.Authority) Option { return func(o *options) { o.ca = ca } }

// WithUser adds a user. One who is called kubelet-client takes the place of that which is there anyway.
func WithUser(u User) Option { return func(o *options) { o.users = append(o.users, u) } }

// WithRBAC adds RBAC manifests to what User.May says: YAML or JSON as it would be given to kubectl, in one document or many.
// Thus a test can hold its own deployment's ClusterRole to what it needs of a kubelet.
func WithRBAC(manifests string) Option {
	return func(o *options) { o.manifests = append(o.manifests, manifests) }
}

// WithAuthorizer has a webhook decide what users may, in the place of RBAC: a handler that takes a SubjectAccessReview
// (authorization.k8s.io/v1, as JSON) and answers with one that has a status, as a kube-apiserver with
// --authorization-mode=Webhook asks it. It is asked for the path /. For one that serves already, that is
// [net/http/httputil.NewSingleHostReverseProxy]. User.May and WithRBAC mean nothing then.
func WithAuthorizer(webhook http.Handler) Option { return func(o *options) { o.authorizer = webhook } }

// WithPods adds pods. Where there is one, default/nginx is no longer there by itself.
func WithPods(specs ...scenario.Pod) Option {
	return func(o *options) { o.pods = append(o.pods, specs...) }
}

// WithNodeLogs sets the files that /logs/ serves, by their paths below /var/log.
func WithNodeLogs(files map[string]string) Option { return func(o *options) { o.nodeLogs = files } }

// WithConfig changes the configuration before it is read, which then is defaulted and validated as that of a kubelet is. It
// comes with webhook authentication and authorization (whose answers are kept for a nanosecond), no anonymous, the files of
// clientCAFile and of the serving certificate, and free ports on 127.0.0.1.
func WithConfig(change func(*kubeletconfigv1beta1.KubeletConfiguration)) Option {
	return func(o *options) { o.configure = append(o.configure, change) }
}

// WithReadOnlyPort opens the read-only port, on a free port, where nobody is asked anything.
func WithReadOnlyPort() Option { return func(o *options) { o.readOnly = true } }

// Pod is a pod of these containers, in the order of their names, for [WithPods]. More of it can be said in the v1.Pod of the
// Pod.
func Pod(namespace, name string, containers map[string]scenario.Container) scenario.Pod {
	pod := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	for _, container := range slices.Sorted(maps.Keys(containers)) {
		pod.Spec.Containers = append(pod.Spec.Containers, v1.Container{Name: container, Image: container})
	}
	return scenario.Pod{Pod: pod, Containers: containers}
}
