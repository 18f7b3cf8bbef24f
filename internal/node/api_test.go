package node

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/test/bufconn"
	coordinationv1 "k8s.io/api/coordination/v1"
	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// api is a small apiserver with Nodes, Pods and Leases. Unlike the fake clientset it has UIDs and resource versions,
// field selectors, graceful deletion, preconditions, status subresources, and strategic merge patches. It has no
// admission and no controllers.
type api struct {
	*httptest.Server
	client kubernetes.Interface

	mu      sync.Mutex
	objects map[objectKey]object
	changes []change      // the first change made resource version 1
	more    chan struct{} // closed when changes has a new element
	asked   []string
	// The function "refuse", if set, is called for each request. Its argument is a text such as "patch pods/status a".
	// If it returns an error, the API answers the request with this error.
	refuse func(request string) error
}

type object interface {
	runtime.Object
	metav1.Object
}

// objectKey identifies an object.
type objectKey struct{ kind, namespace, name string }

// change records one change of an object. The field "was" is the object before the change. It is nil if the change
// created the object. The field "now" is the object after the change. It is nil if the change deleted the object.
type change struct {
	of       objectKey
	was, now object
}

// kinds has an empty object and an empty list for each kind that the apiserver serves.
var kinds = map[string]struct {
	group  string
	object func() object
}{
	"nodes": {group: "/api/v1/", object: func() object {
		return &v1.Node{TypeMeta: metav1.TypeMeta{APIVersion: "v1",
			Kind: "Node"}}
	}},
	"pods": {group: "/api/v1/", object: func() object {
		return &v1.Pod{TypeMeta: metav1.TypeMeta{APIVersion: "v1",
			Kind: "Pod"}}
	}},
	"leases": {group: "/apis/coordination.k8s.io/v1/", object: func() object {
		return &coordinationv1.Lease{TypeMeta: metav1.TypeMeta{APIVersion: "coordination.k8s.io/v1", Kind: "Lease"}}
	}},
}

// inBubble runs a test with fake time.
func inBubble(t *testing.T, test func(*testing.T)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		t.Cleanup(func() { time.Sleep(time.Minute) }) // this cleanup runs last, so that all goroutines can end
		test(t)
	})
}

// newAPI makes an apiserver that listens in memory.
func newAPI(t testing.TB) *api {
	t.Helper()
	a := &api{objects: map[objectKey]object{}, more: make(chan struct{})}
	a.Server = httptest.NewUnstartedServer(http.HandlerFunc(a.serve))
	// Drop the errors about connections that are still open when the test ends.
	a.Config.ErrorLog = log.New(io.Discard, "", 0)
	a.EnableHTTP2 = true // all nodes send their requests concurrently on one connection
	listener := bufconn.Listen(1 << 20)
	a.Listener.Close()
	a.Listener = listener
	a.StartTLS()
	config := &rest.Config{Host: "https://127.0.0.1", QPS: -1, TLSClientConfig: rest.TLSClientConfig{Insecure: true},
		Dial: func(ctx context.Context, _, _ string) (net.Conn, error) { return listener.DialContext(ctx) }}
	config.ContentType, config.AcceptContentTypes = "application/json", "application/json"
	transport, err := rest.HTTPClientFor(config)
	if err != nil {
		t.Fatal(err)
	}
	if a.client, err = kubernetes.NewForConfigAndClient(config, transport); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		a.CloseClientConnections()
		a.Close()
	})
	return a
}

// The method "serve" answers one request.
func (a *api) serve(w http.ResponseWriter, r *http.Request) {
	of, sub, err := named(r.URL.Path)
	if err != nil {
		http.Error(w, err.Error(), http.StatusNotFound)
		return
	}
	verbs := map[string]string{"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete", "GET": "get"}
	verb := verbs[r.Method]
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the client has disconnected
	}
	if of.name == "" && verb == "get" {
		verb = "list"
		if r.FormValue("watch") != "" {
			verb = "watch"
		}
	}
	name := of.name
	if verb == "create" {
		var meta metav1.PartialObjectMetadata
		if err := json.Unmarshal(body, &meta); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		name = meta.Name
		of.name = name
	}
	request := strings.TrimSpace(verb + " " + of.kind + strings.TrimSuffix("/"+sub, "/") + " " +
		cmp.Or(name, r.FormValue("fieldSelector")))
	a.mu.Lock()
	a.asked = append(a.asked, request)
	refuse := a.refuse
	a.mu.Unlock()
	if refuse != nil {
		if err := refuse(request); err != nil {
			fail(w, err)
			return
		}
	}
	var answer any
	switch verb {
	case "watch":
		err = a.watch(w, r, of)
		if err == nil {
			return
		}
	case "list":
		answer, err = a.list(r, of)
	case "get":
		answer, err = a.get(of)
	case "create":
		answer, err = a.create(of, body)
	case "update":
		answer, err = a.update(of, body)
	case "patch":
		answer, err = a.patch(of, sub, body)
	case "delete":
		answer, err = a.remove(of, body)
	}
	if err != nil {
		fail(w, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(answer)
}

// The function "named" returns the object and the subresource that a path identifies.
func named(path string) (of objectKey, sub string, err error) {
	for kind, k := range kinds {
		rest, is := strings.CutPrefix(path, k.group)
		if !is {
			continue
		}
		parts := strings.Split(rest, "/")
		if len(parts) > 2 && parts[0] == "namespaces" {
			of.namespace, parts = parts[1], parts[2:]
		}
		if parts[0] == kind {
			parts = append(parts, "", "")
			return objectKey{kind, of.namespace, parts[1]}, parts[2], nil
		}
	}
	return of, "", errors.New("no such path: " + path)
}

func fail(w http.ResponseWriter, err error) {
	status := apierrors.NewInternalError(err).Status()
	if is := apierrors.APIStatus(nil); errors.As(err, &is) {
		status = is.Status()
	}
	status.APIVersion, status.Kind = "v1", "Status"
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(int(status.Code))
	_ = json.NewEncoder(w).Encode(status)
}

func (of objectKey) group() schema.GroupResource { return schema.GroupResource{Resource: of.kind} }

// The method "set" stores an object. If the argument "now" is nil, it deletes the object. The caller holds a.mu.
func (a *api) set(of objectKey, now object) {
	was := a.objects[of]
	if now == nil {
		delete(a.objects, of)
		last := was.DeepCopyObject().(object) // in a watch, a deleted object has the resource version of the deletion
		last.SetResourceVersion(strconv.Itoa(len(a.changes) + 1))
		a.changes = append(a.changes, change{of, last, nil})
	} else {
		now.SetResourceVersion(strconv.Itoa(len(a.changes) + 1))
		a.objects[of] = now
		a.changes = append(a.changes, change{of, was, now})
	}
	close(a.more)
	a.more = make(chan struct{})
}

func (a *api) get(of objectKey) (object, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if there := a.objects[of]; there != nil {
		return there, nil
	}
	return nil, apierrors.NewNotFound(of.group(), of.name)
}

func (a *api) create(of objectKey, body []byte) (object, error) {
	created := kinds[of.kind].object()
	if err := json.Unmarshal(body, created); err != nil {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.objects[of] != nil {
		return nil, apierrors.NewAlreadyExists(of.group(), of.name)
	}
	if created.GetUID() == "" {
		created.SetUID(types.UID(fmt.Sprintf("%s-%d", of.name, len(a.changes)+1)))
	}
	created.SetCreationTimestamp(metav1.Now())
	created.SetGeneration(1)
	if pod, is := created.(*v1.Pod); is {
		pod.Status = v1.PodStatus{Phase: v1.PodPending}
	}
	a.set(of, created)
	return created, nil
}

// The method "put" stores an object with its status.
func (a *api) put(o object) {
	kind := "nodes"
	if _, is := o.(*v1.Pod); is {
		kind = "pods"
	}
	o.GetObjectKind().SetGroupVersionKind(
		kinds[kind].object().GetObjectKind().GroupVersionKind()) // client-go removes the kind from decoded objects
	a.mu.Lock()
	defer a.mu.Unlock()
	a.set(objectKey{kind, o.GetNamespace(), o.GetName()}, o)
}

func (a *api) update(of objectKey, body []byte) (object, error) {
	updated := kinds[of.kind].object()
	if err := json.Unmarshal(body, updated); err != nil {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	there := a.objects[of]
	switch version := updated.GetResourceVersion(); {
	case there == nil:
		return nil, apierrors.NewNotFound(of.group(), of.name)
	case version != "" && version != there.GetResourceVersion() || updated.GetUID() != "" &&
		updated.GetUID() != there.GetUID():
		return nil, apierrors.NewConflict(of.group(), of.name, errors.New("the object has been modified"))
	}
	a.set(of, updated)
	return updated, nil
}

// The method "patch" applies a patch as the apiserver does. A patch of a pod's status changes only the status. A patch
// of a Node's status changes everything except the spec.
func (a *api) patch(of objectKey, sub string, body []byte) (object, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	there := a.objects[of]
	if there == nil {
		return nil, apierrors.NewNotFound(of.group(), of.name)
	}
	before, err := json.Marshal(there)
	if err != nil {
		return nil, err
	}
	patched := kinds[of.kind].object()
	after, err := strategicpatch.StrategicMergePatch(before, body, patched)
	if err == nil {
		err = json.Unmarshal(after, patched)
	}
	if err != nil {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	if patched.GetUID() != there.GetUID() {
		return nil, apierrors.NewConflict(of.group(), of.name, errors.New("the UID in the precondition does not match"))
	}
	switch patched := patched.(type) {
	case *v1.Pod:
		if sub == "status" {
			pod := there.(*v1.Pod)
			patched.Spec, patched.DeletionTimestamp, patched.OwnerReferences = pod.Spec, pod.DeletionTimestamp,
				pod.OwnerReferences
		}
	case *v1.Node:
		if sub == "status" {
			patched.Spec = there.(*v1.Node).Spec
		}
	}
	if now, err := json.Marshal(patched); err == nil && string(now) == string(before) {
		return there, nil // a patch without effect makes no new version
	}
	a.set(of, patched)
	return patched, nil
}

// The method "remove" deletes an object. A pod that is on a node and has a grace period above 0 is not deleted yet: it
// only gets a deletion timestamp.
func (a *api) remove(of objectKey, body []byte) (object, error) {
	var options metav1.DeleteOptions
	if err := json.Unmarshal(body, &options); err != nil && len(body) > 0 {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	there := a.objects[of]
	if there == nil {
		return nil, apierrors.NewNotFound(of.group(), of.name)
	}
	if p := options.Preconditions; p != nil && p.UID != nil && *p.UID != there.GetUID() {
		return nil, apierrors.NewConflict(of.group(), of.name, errors.New("the UID in the precondition does not match"))
	}
	pod, is := there.(*v1.Pod)
	if !is || pod.Spec.NodeName == "" || options.GracePeriodSeconds != nil && *options.GracePeriodSeconds == 0 {
		a.set(of, nil)
		return there, nil
	}
	grace := int64(30)
	if seconds := cmp.Or(options.GracePeriodSeconds, pod.Spec.TerminationGracePeriodSeconds); seconds != nil {
		grace = *seconds
	}
	if before := pod.DeletionGracePeriodSeconds; before != nil && *before <= grace {
		return there, nil
	}
	deleted := pod.DeepCopy()
	deleted.Generation++
	deleted.DeletionGracePeriodSeconds = &grace
	at := metav1.NewTime(time.Now().Add(time.Duration(grace) * time.Second).Truncate(time.Second))
	deleted.DeletionTimestamp = &at
	a.set(of, deleted)
	return deleted, nil
}

// The function "chosen" returns a filter that selects the objects which match the path and the field selector of a
// request.
func chosen(r *http.Request, of objectKey) (func(objectKey, object) bool, error) {
	selector, err := fields.ParseSelector(r.FormValue("fieldSelector"))
	return func(other objectKey, o object) bool {
		if o == nil || other.kind != of.kind || of.namespace != "" && other.namespace != of.namespace {
			return false
		}
		set := fields.Set{"metadata.name": o.GetName()}
		if pod, is := o.(*v1.Pod); is {
			set["spec.nodeName"] = pod.Spec.NodeName
		}
		return selector.Matches(set)
	}, err
}

func (a *api) list(r *http.Request, of objectKey) (any, error) {
	wanted, err := chosen(r, of)
	if err != nil {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	items := []object{}
	for other, o := range a.objects {
		if wanted(other, o) {
			items = append(items, o)
		}
	}
	kind := kinds[of.kind].object().GetObjectKind().GroupVersionKind()
	return map[string]any{"apiVersion": kind.GroupVersion().String(), "kind": kind.Kind + "List",
		"metadata": map[string]string{"resourceVersion": strconv.Itoa(len(a.changes))}, "items": items}, nil
}

// The method "watch" sends the changes since a given resource version. It refuses a request for initial events, so that
// the client sends a list request instead.
func (a *api) watch(w http.ResponseWriter, r *http.Request, of objectKey) error {
	wanted, err := chosen(r, of)
	if err == nil && r.FormValue("sendInitialEvents") != "" {
		return apierrors.NewInvalid(schema.GroupKind{Kind: "ListOptions"}, "", nil)
	}
	from, versionErr := strconv.Atoi(r.FormValue("resourceVersion"))
	if err = errors.Join(err, versionErr); err != nil {
		return apierrors.NewBadRequest(err.Error())
	}
	w.Header().Set("Content-Type", "application/json")
	encoder, flush := json.NewEncoder(w), http.NewResponseController(w)
	for {
		if err := flush.Flush(); err != nil {
			return nil
		}
		a.mu.Lock()
		news, more := slices.Clone(a.changes[from:]), a.more
		a.mu.Unlock()
		from += len(news)
		for _, c := range news {
			event := map[string]any{"type": watch.Modified, "object": c.now}
			switch was, is := wanted(c.of, c.was), wanted(c.of, c.now); {
			case !was && !is:
				continue
			case !was:
				event["type"] = watch.Added
			case !is:
				event["type"], event["object"] = watch.Deleted, c.was
			}
			if err := encoder.Encode(event); err != nil {
				return nil
			}
		}
		if len(news) > 0 {
			continue
		}
		select {
		case <-more:
		case <-r.Context().Done():
			return nil
		}
	}
}

// The method "requests" returns all requests that the API has received so far.
func (a *api) requests() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.asked)
}

// The method "count" returns the number of times that the API has received the given request.
func (a *api) count(request string) int {
	n := 0
	for _, asked := range a.requests() {
		if asked == request {
			n++
		}
	}
	return n
}

// created returns how many objects of a kind were ever created.
func (a *api) created(kind string) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	n := 0
	for _, c := range a.changes {
		if c.of.kind == kind && c.was == nil {
			n++
		}
	}
	return n
}
