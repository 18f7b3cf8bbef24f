package pods

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/utils/ptr"
)

// Objects reads the objects of a cluster to which pods refer. Errors are those of the API server.
type Objects interface {
	ConfigMap(ctx context.Context, namespace, name string) (*v1.ConfigMap, error)
	Secret(ctx context.Context, namespace, name string) (*v1.Secret, error)
	// Token requests a token of the pod's ServiceAccount.
	Token(ctx context.Context, pod *v1.Pod, request *authenticationv1.TokenRequest) (*authenticationv1.TokenRequest,
		error)
	// KubernetesService returns the Service "kubernetes" in the namespace "default".
	KubernetesService(ctx context.Context) (*v1.Service, error)
	// Services returns the Services in a namespace.
	Services(ctx context.Context, namespace string) ([]v1.Service, error)
	// Missing is called once for each pod and object that cannot be read or lacks a key.
	Missing(pod *v1.Pod, missing MissingObject)
}

// MissingObject is an object that a pod needs and that cannot be read.
type MissingObject struct {
	// Object is the kind and the name of the object, as in "Secret db", or the kind alone, as in "Services".
	Object string
	// Permission is the verb and the resource that a client needs to read it, as in "get secrets".
	Permission string
	// Err is the error of the API server. It is nil if only a key of the object is missing.
	Err error
	// Key is the missing key, or empty.
	Key string
}

// PodState belongs to a pod, not to one version of it. The method Value holds what an Executor keeps for all
// containers of the pod. A nil PodState belongs to a single container.
type PodState struct {
	connections atomic.Int64 // to the pod's ports

	mu       sync.Mutex
	value    any
	tokens   map[string]*token // by volume and path
	reported map[string]bool   // the objects for which Objects.Missing was called
}

// Value returns the value that the function "create" returned in the first call of Value for this pod.
func (p *PodState) Value(create func() any) any {
	if p == nil {
		return create()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.value == nil {
		p.value = create()
	}
	return p.value
}

// token is a token of a pod in one of its volumes.
type token struct {
	text             string
	renewAt, expires time.Time
}

const (
	// A token is renewed after tokenShare of its life, or after maxTokenAge if that is shorter. (kubelet:
	// pkg/kubelet/token, requiresRefresh)
	tokenShare  = 0.8
	maxTokenAge = 24 * time.Hour
)

// reader reads the objects of one pod. It reads each object at most once. A nil reader reads nothing.
type reader struct {
	ctx     context.Context
	objects Objects
	pod     *v1.Pod
	state   *PodState
	read    map[string]*object
	// complete is false after something that is not optional could not be read.
	complete bool
}

// The kinds of objects with keys.
const (
	configMap = "ConfigMap"
	secret    = "Secret"
)

// resources are the names of these kinds in permissions.
var resources = map[string]string{configMap: "configmaps", secret: "secrets"}

// object is the content of a ConfigMap or a Secret. Only the values in "text" can become variables.
type object struct {
	text  map[string]string
	files map[string][]byte
}

func (r *reader) missing(missing MissingObject) {
	r.complete = false
	object := missing.Object
	r.state.mu.Lock()
	reported := r.state.reported[object]
	if r.state.reported == nil {
		r.state.reported = map[string]bool{}
	}
	left := r.ctx.Err() == context.Canceled // the client has left: this is no error of the object
	r.state.reported[object] = reported || !left
	r.state.mu.Unlock()
	if !reported && !left {
		r.objects.Missing(r.pod, missing)
	}
}

// object returns a ConfigMap or a Secret, or nil if it cannot be read. A missing object that is optional is empty.
func (r *reader) object(kind, name string, optional *bool) *object {
	if r == nil {
		return nil
	}
	id := kind + "/" + name
	o, found := r.read[id]
	if !found {
		var err error
		o, err = r.get(kind, name)
		switch {
		case apierrors.IsNotFound(err) && ptr.Deref(optional, false):
			return &object{}
		case err != nil:
			r.missing(MissingObject{Object: kind + " " + name, Permission: "get " + resources[kind], Err: err})
		}
		r.read[id] = o
	}
	return o
}

func (r *reader) get(kind, name string) (*object, error) {
	o := &object{text: map[string]string{}, files: map[string][]byte{}}
	if kind == configMap {
		read, err := r.objects.ConfigMap(r.ctx, r.pod.Namespace, name)
		if err != nil {
			return nil, err
		}
		o.text = read.Data
		maps.Copy(o.files, read.BinaryData)
		for key, value := range read.Data {
			o.files[key] = []byte(value)
		}
		return o, nil
	}
	read, err := r.objects.Secret(r.ctx, r.pod.Namespace, name)
	if err != nil {
		return nil, err
	}
	for key, value := range read.Data {
		o.text[key], o.files[key] = string(value), value
	}
	return o, nil
}

// key returns the value of a key for a variable.
func (r *reader) key(kind, name, key string, optional *bool) (value string, found bool) {
	o := r.object(kind, name, optional)
	if o == nil {
		return "", false
	}
	if value, found = o.text[key]; !found {
		r.noKey(kind, name, key, optional)
	}
	return value, found
}

func (r *reader) noKey(kind, name, key string, optional *bool) {
	if !ptr.Deref(optional, false) {
		r.missing(MissingObject{Object: kind + " " + name, Key: key})
	}
}

// token returns the token in a volume. If it cannot be renewed, it returns the old token until it expires. (kubelet:
// pkg/kubelet/token, GetServiceAccountToken)
func (r *reader) token(volume string, from *v1.ServiceAccountTokenProjection) (text string, found bool) {
	id := volume + "/" + from.Path
	r.state.mu.Lock()
	old := r.state.tokens[id]
	r.state.mu.Unlock()
	now := time.Now()
	if old != nil && now.Before(old.renewAt) {
		return old.text, true
	}
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
		ExpirationSeconds: from.ExpirationSeconds,
		BoundObjectRef: &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Pod", Name: r.pod.Name,
			UID: r.pod.UID},
	}}
	if from.Audience != "" {
		request.Spec.Audiences = []string{from.Audience}
	}
	answer, err := r.objects.Token(r.ctx, r.pod, request)
	switch {
	case err == nil && answer.Status.Token != "":
	case old != nil && now.Before(old.expires):
		return old.text, true
	default:
		r.missing(MissingObject{Object: "token of ServiceAccount " + ServiceAccount(r.pod),
			Permission: "create serviceaccounts/token", Err: cmp.Or(err, errNoToken)})
		return "", false
	}
	life := time.Duration(ptr.Deref(answer.Spec.ExpirationSeconds, 3600)) * time.Second
	expires := answer.Status.ExpirationTimestamp.Time
	renewAt := expires.Add(-life + min(time.Duration(float64(life)*tokenShare), maxTokenAge))
	r.state.mu.Lock()
	defer r.state.mu.Unlock()
	if r.state.tokens == nil {
		r.state.tokens = map[string]*token{}
	}
	r.state.tokens[id] = &token{answer.Status.Token, renewAt, expires}
	return answer.Status.Token, true
}

var errNoToken = errors.New("the answer has no token")

// ServiceAccount returns the name of a pod's ServiceAccount.
func ServiceAccount(pod *v1.Pod) string { return cmp.Or(pod.Spec.ServiceAccountName, "default") }

// services returns the variables of Services: the Service "kubernetes" and, unless enableServiceLinks is false, those
// in the namespace of the pod. (kubelet: getServiceEnvVarMap; pkg/kubelet/envvars, FromServices)
func (r *reader) services(pod *v1.Pod) map[string]string {
	env := map[string]string{}
	if r != nil {
		if master, err := r.objects.KubernetesService(r.ctx); err != nil {
			r.missing(MissingObject{Object: "Service default/kubernetes", Permission: "get services", Err: err})
		} else {
			addService(env, master)
		}
		if r.complete && ptr.Deref(pod.Spec.EnableServiceLinks, true) {
			links, err := r.objects.Services(r.ctx, pod.Namespace)
			if err != nil {
				r.missing(MissingObject{Object: "Services", Permission: "list services", Err: err})
			}
			for i := range links {
				if links[i].Name != "kubernetes" || pod.Namespace != v1.NamespaceDefault {
					addService(env, &links[i])
				}
			}
		}
	}
	if _, found := env["KUBERNETES_SERVICE_HOST"]; !found {
		maps.Copy(env, map[string]string{"KUBERNETES_SERVICE_HOST": "10.96.0.1", "KUBERNETES_SERVICE_PORT": "443",
			"KUBERNETES_SERVICE_PORT_HTTPS": "443", "KUBERNETES_PORT": "tcp://10.96.0.1:443"})
	}
	return env
}

// addService adds the variables of a Service that has an IP address.
func addService(env map[string]string, service *v1.Service) {
	ip := service.Spec.ClusterIP
	if ip == "" || ip == v1.ClusterIPNone || len(service.Spec.Ports) == 0 {
		return
	}
	variable := func(name string) string { return strings.ToUpper(strings.ReplaceAll(name, "-", "_")) }
	prefix := variable(service.Name)
	env[prefix+"_SERVICE_HOST"] = ip
	for i, port := range slices.Backward(service.Spec.Ports) { // the first port is the last that is written
		number := strconv.Itoa(int(port.Port))
		protocol := string(cmp.Or(port.Protocol, v1.ProtocolTCP))
		url := strings.ToLower(protocol) + "://" + net.JoinHostPort(ip, number)
		if port.Name != "" {
			env[prefix+"_SERVICE_PORT_"+variable(port.Name)] = number
		}
		if i == 0 {
			env[prefix+"_SERVICE_PORT"], env[prefix+"_PORT"] = number, url
		}
		link := prefix + "_PORT_" + number + "_" + strings.ToUpper(protocol)
		env[link], env[link+"_PROTO"] = url, strings.ToLower(protocol)
		env[link+"_PORT"], env[link+"_ADDR"] = number, ip
	}
}
