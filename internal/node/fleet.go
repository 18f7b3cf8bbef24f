// Package node is what makes a stand-in kubelet a node of a cluster: it registers Nodes, keeps their Leases and statuses,
// and lives the lives of the pods that are bound to them, so that what the API shows is what the kubelet's own endpoints
// answer for.
//
// A [Fleet] is one node or many behind one connection to the apiserver, with one watch of pods and one of nodes. What a
// pod does is told by package life, as a function of time; nothing runs here.
//
// Sources of the behaviour: pkg/kubelet/kubelet_node_status.go, pkg/kubelet/nodestatus, pkg/kubelet/status,
// pkg/kubelet/pod and pkg/kubelet/config of k8s.io/kubernetes v1.37.
package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"

	"fauxlet/config"
	"fauxlet/internal/pods"
	"fauxlet/scenario"
)

// Options are what the nodes of a Fleet share.
type Options struct {
	// Client is the apiserver's. With the credential of a node, Only is that node. Required.
	Client kubernetes.Interface

	// Heartbeats is the client by which nodes renew their Leases and report: one that gives up on a request before the next
	// is due. Nil: Client.
	Heartbeats kubernetes.Interface

	// Only is the name of the one node that this Fleet may have: only it and its pods are watched, which is all that a
	// node's own credential may do. Empty: all nodes are watched, and all pods that are bound to any.
	Only string

	// Containers is what is made up of the containers of a pod, by name; nil: nothing.
	Containers func(*v1.Pod) map[string]scenario.Container

	// HeartbeatFailed, where it is set, is called when a Lease or a status could not be renewed again and again, so that
	// the connections to the apiserver can be closed and made anew.
	HeartbeatFailed func()

	// Logger gets what the nodes do. Nil: no log.
	Logger *zap.Logger
}

// Spec is one node of a Fleet.
type Spec struct {
	// Config is the node's configuration as a kubelet: its name, addresses, labels, taints, and how often it reports.
	Config *config.Config
	// Pods is where its pods are put. Required.
	Pods *pods.Store
	// Port is where the stand-in serves the kubelet's API.
	Port int32
	// Addresses are those that the Node has beside its own of --node-ip and its name.
	Addresses []v1.NodeAddress
	// Capacity is what the Node pretends to have; nil: DefaultCapacity. Machine is what it is called.
	Capacity v1.ResourceList
	Machine  pods.Machine
	// Version is fauxlet's, KubeletVersion the kubelet's that it stands in for.
	Version, KubeletVersion string
	// Static are the pods that the node has without being told by an apiserver, which sees their mirrors.
	Static []*v1.Pod
	// Deregister deletes the Node when it leaves. Otherwise it stays, and says that it is not ready.
	Deregister bool
}

// Fleet is a set of nodes. It is safe for concurrent use.
type Fleet struct {
	options Options
	client  kubernetes.Interface
	// heartbeats is for what must not wait for a connection that is dead.
	heartbeats kubernetes.Interface
	logger     *zap.Logger

	pods  cache.SharedIndexInformer
	nodes cache.SharedIndexInformer
	queue workqueue.TypedRateLimitingInterface[types.NamespacedName]
	// made is when this was. What has passed since is told by a clock that does not jump.
	made time.Time
	// registering bounds how many nodes are registered at once.
	registering chan struct{}

	mu sync.RWMutex
	// running is done when the nodes are to leave; nil: none is to begin, for the Fleet does not run yet, or any more.
	running context.Context
	members map[string]*member
	lives   map[types.NamespacedName]*living
	static  map[types.NamespacedName]*member
	going   sync.WaitGroup
}

const (
	// workers is how many pods are attended to at once.
	workers = 16
	// registrations is how many nodes are registered, or leave, at once.
	registrations = 64
	// indexNode is the index of pods by the node that they are bound to.
	indexNode = "spec.nodeName"
)

// NewFleet makes a Fleet without nodes.
func NewFleet(options Options) (*Fleet, error) {
	if options.Client == nil {
		return nil, errors.New("node: Options.Client is required")
	}
	f := &Fleet{
		options: options, client: options.Client, heartbeats: options.Heartbeats, logger: options.Logger, made: time.Now(),
		registering: make(chan struct{}, registrations),
		members:     map[string]*member{},
		lives:       map[types.NamespacedName]*living{},
		static:      map[types.NamespacedName]*member{},
	}
	if f.heartbeats == nil {
		f.heartbeats = f.client
	}
	if f.logger == nil {
		f.logger = zap.NewNop()
	}
	f.queue = workqueue.NewTypedRateLimitingQueue(workqueue.NewTypedItemExponentialFailureRateLimiter[types.NamespacedName](100*time.Millisecond, 30*time.Second))

	// (kubelet: NewSourceApiserver; node informer of NewMainKubelet)
	bound, named := fields.OneTermNotEqualSelector(indexNode, ""), fields.Everything()
	if options.Only != "" {
		bound, named = fields.OneTermEqualSelector(indexNode, options.Only), fields.OneTermEqualSelector("metadata.name", options.Only)
	}
	pods, nodes := options.Client.CoreV1().Pods(metav1.NamespaceAll), options.Client.CoreV1().Nodes()
	f.pods = cache.NewSharedIndexInformer(selected(options.Client, bound, pods.List, pods.Watch), &v1.Pod{}, 0, cache.Indexers{
		indexNode: func(object any) ([]string, error) { return []string{object.(*v1.Pod).Spec.NodeName}, nil },
	})
	f.nodes = cache.NewSharedIndexInformer(selected(options.Client, named, nodes.List, nodes.Watch), &v1.Node{}, 0, nil)
	if options.Only == "" {
		// Nobody asks a whole fleet who set which field, and it is a third of a pod.
		for _, informer := range []cache.SharedIndexInformer{f.pods, f.nodes} {
			if err := informer.SetTransform(withoutManagers); err != nil {
				return nil, err
			}
		}
	}
	if _, err := f.nodes.AddEventHandler(cache.ResourceEventHandlerFuncs{AddFunc: f.nodeAdded, DeleteFunc: f.nodeDeleted}); err != nil {
		return nil, err
	}
	_, err := f.pods.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(object any) { f.changed(object.(*v1.Pod)) },
		UpdateFunc: func(_, object any) { f.changed(object.(*v1.Pod)) },
		DeleteFunc: func(object any) {
			if pod, ok := lastSeen[*v1.Pod](object); ok {
				f.changed(pod)
			}
		},
	})
	return f, err
}

// changed has a pod attended to, if it is of a node of ours.
func (f *Fleet) changed(pod *v1.Pod) {
	key := keyOf(pod)
	f.mu.RLock()
	_, ours := f.members[pod.Spec.NodeName]
	_, lives := f.lives[key]
	f.mu.RUnlock()
	if ours || lives {
		f.queue.Add(key)
	}
}

// nodeAdded has the mirrors of static pods made, which have waited for their Node. (kubelet: fastStaticPodsRegistration)
func (f *Fleet) nodeAdded(object any) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	if m := f.members[object.(*v1.Node).Name]; m != nil {
		for key := range m.static {
			f.queue.Add(key)
		}
	}
}

// nodeDeleted has a node know that its Node is no more: what is the Node's is not made again, nor is the Node.
func (f *Fleet) nodeDeleted(object any) {
	if node, ok := lastSeen[*v1.Node](object); ok {
		if m := f.member(node.Name); m != nil {
			m.registered.Store(nil)
		}
	}
}

// Run watches nodes and pods and attends to them until ctx is done; then the nodes leave, for which they have a few
// seconds. It may be called once. Nodes may be added before, and while it runs.
func (f *Fleet) Run(ctx context.Context) error {
	// The watches end after the nodes have left.
	watching, unwatch := context.WithCancel(context.WithoutCancel(ctx))
	var group sync.WaitGroup
	defer group.Wait()
	defer unwatch()
	for _, informer := range []cache.SharedIndexInformer{f.nodes, f.pods} {
		group.Go(func() { informer.RunWithContext(watching) })
	}
	defer f.queue.ShutDown()

	f.mu.Lock()
	f.running = ctx
	for _, m := range f.members {
		f.start(m)
	}
	f.mu.Unlock()

	// What is not known to be there must not be taken for gone: nothing is done before all pods are known.
	if cache.WaitForCacheSync(ctx.Done(), f.pods.HasSynced, f.nodes.HasSynced) {
		for range workers {
			group.Go(func() { f.work(ctx) })
		}
	}
	<-ctx.Done()
	f.mu.Lock()
	f.running = nil
	f.mu.Unlock()
	f.going.Wait()
	return nil
}

// Add adds a node, which registers itself once the Fleet runs.
func (f *Fleet) Add(spec Spec) error {
	if spec.Config == nil || spec.Pods == nil {
		return errors.New("node: Spec.Config and Spec.Pods are required")
	}
	m, err := f.newMember(&spec)
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.options.Only != "" && m.name != f.options.Only {
		return fmt.Errorf("node %s: these credentials are those of node %s alone", m.name, f.options.Only)
	}
	if _, there := f.members[m.name]; there {
		return fmt.Errorf("node %s is there already", m.name)
	}
	f.members[m.name] = m
	for key := range m.static {
		f.static[key] = m
	}
	if f.running != nil {
		f.start(m)
	}
	f.attend(m)
	return nil
}

// attend has all pods of a member attended to, whether it has come or gone; f.mu is held.
func (f *Fleet) attend(m *member) {
	for key := range m.static {
		f.queue.Add(key)
	}
	for _, pod := range m.bound() {
		f.queue.Add(keyOf(pod))
	}
}

// Remove has a node leave for good: its Node is deleted. It returns when that is done, or ctx is.
func (f *Fleet) Remove(ctx context.Context, name string) error {
	f.mu.Lock()
	m := f.members[name]
	if m != nil {
		delete(f.members, name)
		for key := range m.static {
			delete(f.static, key)
		}
		f.attend(m)
	}
	f.mu.Unlock()
	if m == nil {
		return fmt.Errorf("node %s: there is none of that name", name)
	}
	m.deregister.Store(true)
	if m.stop == nil {
		return nil // it has not been started
	}
	m.stop()
	select {
	case <-m.gone:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// SetStatic has a node have these static pods instead of those that it had.
func (f *Fleet) SetStatic(name string, static []*v1.Pod) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	m := f.members[name]
	if m == nil {
		return fmt.Errorf("node %s: there is none of that name", name)
	}
	now, err := staticPods(static, name, time.Now())
	if err != nil {
		return err
	}
	for key, pod := range m.static {
		if same := now[key]; same != nil && same.UID == pod.UID {
			now[key] = pod // which was seen before
		}
		delete(f.static, key)
		f.queue.Add(key)
	}
	m.static = now
	for key := range now {
		f.static[key] = m
		f.queue.Add(key)
	}
	return nil
}

// Addresses are those that a node has; none where there is no such node.
func (f *Fleet) Addresses(name string) []v1.NodeAddress {
	if m := f.member(name); m != nil {
		return slices.Clone(*m.addresses.Load())
	}
	return nil
}

// start has a member run; f.mu is held.
func (f *Fleet) start(m *member) {
	ctx, stop := context.WithCancel(f.running)
	m.stop = stop
	f.going.Go(func() {
		defer close(m.gone)
		defer stop()
		m.run(ctx)
	})
}

func (f *Fleet) member(name string) *member {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.members[name]
}

// getNode finds a Node among those watched; nil where it is not there (yet).
func (f *Fleet) getNode(name string) *v1.Node {
	object, found, err := f.nodes.GetIndexer().GetByKey(name)
	if err != nil || !found {
		return nil
	}
	return object.(*v1.Node)
}

func (f *Fleet) getPod(key types.NamespacedName) *v1.Pod {
	object, found, err := f.pods.GetIndexer().GetByKey(key.String())
	if err != nil || !found {
		return nil
	}
	return object.(*v1.Pod)
}

// lastSeen is an object that is no more, as the watch told of it last.
func lastSeen[T any](object any) (T, bool) {
	if unknown, is := object.(cache.DeletedFinalStateUnknown); is {
		object = unknown.Obj
	}
	last, is := object.(T)
	return last, is
}

func keyOf(pod *v1.Pod) types.NamespacedName {
	return types.NamespacedName{Namespace: pod.Namespace, Name: pod.Name}
}

// selected lists and watches what a selector selects.
func selected[List runtime.Object](client kubernetes.Interface, selector fields.Selector,
	list func(context.Context, metav1.ListOptions) (List, error), observe func(context.Context, metav1.ListOptions) (watch.Interface, error),
) cache.ListerWatcher {
	return cache.ToListWatcherWithWatchListSemantics(&cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
			options.FieldSelector = selector.String()
			return list(ctx, options)
		},
		WatchFuncWithContext: func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
			options.FieldSelector = selector.String()
			return observe(ctx, options)
		},
	}, client)
}

// withoutManagers is an object without who has set which of its fields.
func withoutManagers(object any) (any, error) {
	if accessor, err := meta.Accessor(object); err == nil {
		accessor.SetManagedFields(nil)
	}
	return object, nil
}
