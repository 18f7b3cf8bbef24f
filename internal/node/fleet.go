// Package node registers stand-in kubelets as nodes of a cluster. It creates the Node objects, renews their Leases,
// reports their statuses, and reports the status of each pod that is bound to them. The pods in the API and the pods
// that the kubelet's endpoints serve are always the same.
//
// A [Fleet] is one or more nodes that share one connection to the apiserver, one watch of pods and one watch of nodes.
// Package podlife computes what a pod does as a function of time. No container runs.
//
// Sources of the behaviour: pkg/kubelet/kubelet_node_status.go, pkg/kubelet/nodestatus, pkg/kubelet/status,
// pkg/kubelet/pod and pkg/kubelet/config of k8s.io/kubernetes v1.37.
package node

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/semaphore"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"

	"fauxlet/config"
	"fauxlet/internal/compact"
	"fauxlet/internal/pods"
	"fauxlet/internal/podstats"
	"fauxlet/scenario"
)

// Options configure a Fleet. All its nodes share them.
type Options struct {
	// Client is the client for the apiserver (required). If it has a node's credential, set Only to the node's name.
	Client kubernetes.Interface
	// Heartbeats is the client that renews Leases and reports node statuses. Each of its requests should time out
	// before the next request is due. If Heartbeats is nil, Client sends these requests.
	Heartbeats kubernetes.Interface
	// Only, if set, is the name of the only node of the Fleet. The Fleet then watches only this Node and its pods,
	// because a node's own credential does not allow more. If Only is empty, the Fleet watches all Nodes and all bound
	// pods.
	Only string
	// Containers returns the Scenario file's descriptions of a pod's containers, by container name. If Containers is
	// nil, no container has a description.
	Containers func(*v1.Pod) map[string]scenario.Container
	// HeartbeatFailed, if set, is called after repeated failures to renew a Lease or to report a status, so that the
	// caller can close the connections to the apiserver.
	HeartbeatFailed func()
	// Logger logs the actions of the nodes. If it is nil, nothing is logged.
	Logger *zap.Logger
}

// Spec describes one node of a Fleet.
type Spec struct {
	// Config is the kubelet configuration of the node: name, addresses, labels, taints, report intervals. Required. The
	// Fleet does not change it, so nodes may share it.
	Config *config.Config
	// Name is the name of the node. If it is empty, the node has the name in Config.
	Name string
	// Pods is the store that receives the node's pods. Required.
	Pods *pods.Store
	// Port is the port of the kubelet API.
	Port int32
	// Addresses are reported in addition to the addresses from --node-ip and the node's name.
	Addresses []v1.NodeAddress
	// Capacity is the reported capacity. If it is nil, the node reports DefaultCapacity.
	Capacity v1.ResourceList
	// Machine has the IDs and versions in status.nodeInfo.
	Machine podstats.Machine
	// Version is the version of fauxlet. KubeletVersion is the version of the kubelet that the node reports.
	Version, KubeletVersion string
	// Static are the static pods of the node. The apiserver shows their mirror pods.
	Static []*v1.Pod
	// Context, if set, marks a context for requests to the apiserver that belong to this node.
	Context func(context.Context) context.Context
	// Deregister deletes the Node object when the node stops. Otherwise the Node stays and becomes NotReady.
	Deregister bool
}

// Fleet is a set of nodes. It is safe for concurrent use.
type Fleet struct {
	options Options
	pods    cache.SharedIndexInformer
	nodes   cache.SharedIndexInformer
	queue   workqueue.TypedRateLimitingInterface[types.NamespacedName]
	made    time.Time // when NewFleet was called; has a monotonic clock reading
	// registering limits how many nodes register or leave at the same time.
	registering *semaphore.Weighted
	// remedies are the remedies that were logged.
	remedies sync.Map
	// descriptions maps the JSON form of the descriptions of a pod's containers to the descriptions.
	descriptions sync.Map
	// allocatable has the allocatable resources of the last node that was added; see shareAllocatable.
	allocatable atomic.Pointer[v1.ResourceList]

	mu sync.RWMutex
	// The field "running" is a context that is done when the nodes must stop. Before and after Run the field is nil.
	running context.Context
	members map[string]*member
	lives   map[types.NamespacedName]*podEntry
	static  map[types.NamespacedName]*member
	active  sync.WaitGroup // counts the members that have not left
	// The field "unlist" is true when the informers must send no more list requests, because Run ends.
	unlist bool
	lists  sync.WaitGroup // counts the list requests of the informers that are under way
}

const (
	// workers is the maximum number of pods that are synchronized at the same time.
	workers = 16
	// registrations is the maximum number of nodes that register or leave at the same time.
	registrations = 64
	// indexNode is the name of the index that finds pods by node name.
	indexNode = "spec.nodeName"
)

// NewFleet makes a Fleet without nodes.
func NewFleet(options Options) (*Fleet, error) {
	if options.Heartbeats == nil {
		options.Heartbeats = options.Client
	}
	if options.Logger == nil {
		options.Logger = zap.NewNop()
	}
	limiter := workqueue.NewTypedItemExponentialFailureRateLimiter[types.NamespacedName](100*time.Millisecond,
		30*time.Second)
	f := &Fleet{options: options, queue: workqueue.NewTypedRateLimitingQueue(limiter), made: time.Now(),
		registering: semaphore.NewWeighted(registrations), members: map[string]*member{},
		lives: map[types.NamespacedName]*podEntry{}, static: map[types.NamespacedName]*member{}}
	// The informers select the same objects as in a kubelet. (kubelet: NewSourceApiserver and NewMainKubelet)
	bound, named := indexNode+"!=", ""
	if options.Only != "" {
		bound, named = indexNode+"="+options.Only, "metadata.name="+options.Only
	}
	core := options.Client.CoreV1()
	f.pods = newInformer(f, &v1.Pod{}, core.Pods(metav1.NamespaceAll), bound, cache.Indexers{
		indexNode: func(object any) ([]string, error) { return []string{object.(*compact.Pod).Node()}, nil },
	})
	f.nodes = newInformer(f, &v1.Node{}, core.Nodes(), named, nil)
	if err := f.pods.SetTransform(f.compactPod); err != nil {
		return nil, err
	}
	if err := f.nodes.SetTransform(f.compactNode); err != nil {
		return nil, err
	}
	_, err := f.nodes.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(object any) { f.queueStatic(object.(*compact.Node).Key().Name) },
		DeleteFunc: f.nodeDeleted,
	})
	if err != nil {
		return nil, err
	}
	_, err = f.pods.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(object any) { f.changed(object.(*compact.Pod)) },
		UpdateFunc: func(_, object any) { f.changed(object.(*compact.Pod)) },
		DeleteFunc: func(object any) {
			if key, err := cache.DeletionHandlingObjectToName(object); err == nil {
				f.queue.Add(key.AsNamespacedName())
			}
		},
	})
	return f, err
}

// newInformer returns an informer of the objects that the field selector selects. An informer sends each list request
// in its own goroutine, and ends without waiting for it. Therefore f.lists counts list requests, and Run waits for
// them. Otherwise client-go could still use the connection and the log after Run.
func newInformer[List runtime.Object](f *Fleet, object runtime.Object, client interface {
	List(context.Context, metav1.ListOptions) (List, error)
	Watch(context.Context, metav1.ListOptions) (watch.Interface, error)
}, selector string, indexers cache.Indexers) cache.SharedIndexInformer {
	return cache.NewSharedIndexInformer(cache.ToListWatcherWithWatchListSemantics(&cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
			f.mu.Lock()
			if f.unlist {
				f.mu.Unlock()
				return nil, context.Canceled
			}
			f.lists.Add(1)
			f.mu.Unlock()
			defer f.lists.Done()
			options.FieldSelector = selector
			return client.List(ctx, options)
		},
		WatchFuncWithContext: func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
			options.FieldSelector = selector
			return client.Watch(ctx, options)
		},
	}, f.options.Client), object, 0, indexers)
}

// compactPod makes the form of a pod that the cache keeps. It is called for each pod that the apiserver sends. A Fleet
// of many nodes packs its pods, because most of them have no requests. The only node of a Fleet keeps them as they are.
func (f *Fleet) compactPod(object any) (any, error) {
	pod, is := object.(*v1.Pod)
	switch {
	case !is: // an informer may transform an object twice
		return object, nil
	case f.options.Only == "":
		return compact.Pack(pod)
	}
	return compact.Whole(pod), nil
}

// compactNode is like compactPod for a Node.
func (f *Fleet) compactNode(object any) (any, error) {
	node, is := object.(*v1.Node)
	switch {
	case !is:
		return object, nil
	case f.options.Only == "":
		return compact.PackNode(node)
	}
	return compact.WholeNode(node), nil
}

// The method "changed" queues a pod that is bound to a node of this Fleet, or that was bound to one until now.
func (f *Fleet) changed(pod *compact.Pod) {
	key := pod.Key()
	f.mu.RLock()
	_, ours := f.members[pod.Node()]
	_, lives := f.lives[key]
	f.mu.RUnlock()
	if ours || lives {
		f.queue.Add(key)
	}
}

// queueStatic queues the static pods of a new Node, so that they get mirror pods. (kubelet: fastStaticPodsRegistration)
func (f *Fleet) queueStatic(name string) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	if m := f.members[name]; m != nil {
		for key := range m.static {
			f.queue.Add(key)
		}
	}
}

// nodeDeleted records that the Node object was deleted. Neither the Node nor objects that it owns are created again.
func (f *Fleet) nodeDeleted(object any) {
	if key, err := cache.DeletionHandlingObjectToName(object); err == nil {
		if m := f.member(key.Name); m != nil {
			m.registered.Store(nil)
		}
	}
}

// Run keeps the nodes and their pods up to date until ctx is done. Then each node reports that it is not ready or
// deletes its Node, which may take a few seconds. When Run returns, all requests to the apiserver have ended. Call Run
// once. Nodes may be added before and during Run.
func (f *Fleet) Run(ctx context.Context) error {
	// The watches end after the nodes have left.
	watching, unwatch := context.WithCancel(context.WithoutCancel(ctx))
	var group sync.WaitGroup
	defer func() {
		unwatch()
		group.Wait()
		f.mu.Lock()
		f.unlist = true
		f.mu.Unlock()
		f.lists.Wait()
	}()
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

	// Wait for the caches: a pod that has not been listed yet must not be treated as deleted.
	if cache.WaitForCacheSync(ctx.Done(), f.pods.HasSynced, f.nodes.HasSynced) {
		for range workers {
			group.Go(func() { f.work(ctx) })
		}
	}
	<-ctx.Done()
	f.mu.Lock()
	f.running = nil
	f.mu.Unlock()
	f.active.Wait()
	return nil
}

// Add adds a node. The node registers as soon as the Fleet runs.
func (f *Fleet) Add(spec Spec) error {
	m, err := f.newMember(&spec)
	if err != nil {
		return err
	}
	static, err := staticPods(spec.Static, m.name, time.Now())
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, there := f.members[m.name]; there {
		return fmt.Errorf("node %s already exists in this process; choose a different name", m.name)
	}
	f.members[m.name] = m
	if f.running != nil {
		f.start(m)
	}
	f.setPods(m, static)
	return nil
}

// setPods sets the static pods of a member, and queues all pods of the member. The caller holds f.mu.
func (f *Fleet) setPods(m *member, static map[types.NamespacedName]*v1.Pod) {
	for key, pod := range m.static {
		if same := static[key]; same != nil && isSame(same, pod) {
			static[key] = pod // an unchanged pod keeps the time when it was first read
		} else if same != nil && same.UID == pod.UID {
			m.changed[key] = true
		}
		delete(f.static, key)
		f.queue.Add(key)
	}
	m.static = static
	for key := range static {
		f.static[key] = m
		f.queue.Add(key)
	}
	for _, pod := range m.bound() {
		f.queue.Add(pod.Key())
	}
}

// Remove stops a node, and deletes its Node object if the apiserver allows it. Remove waits until the node has stopped.
// If ctx is done first, it returns ctx.Err().
func (f *Fleet) Remove(ctx context.Context, name string) error {
	f.mu.Lock()
	m := f.members[name]
	if m != nil {
		delete(f.members, name)
		f.setPods(m, nil)
	}
	f.mu.Unlock()
	if m == nil {
		return fmt.Errorf("node %s does not exist in this process", name)
	}
	m.deregister.Store(true)
	if m.stop == nil {
		return nil // the node has not started, so there is nothing to stop
	}
	m.stop()
	select {
	case <-m.gone:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// SetStatic replaces the static pods of a node.
func (f *Fleet) SetStatic(name string, static []*v1.Pod) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	m := f.members[name]
	if m == nil {
		return fmt.Errorf("node %s does not exist in this process", name)
	}
	now, err := staticPods(static, name, time.Now())
	if err == nil {
		f.setPods(m, now)
	}
	return err
}

// Addresses returns the addresses of a node, or nil if the node does not exist.
func (f *Fleet) Addresses(name string) []v1.NodeAddress {
	if m := f.member(name); m != nil {
		return slices.Clone(*m.addresses.Load())
	}
	return nil
}

// The method "start" starts a member. The caller holds f.mu.
func (f *Fleet) start(m *member) {
	ctx, stop := context.WithCancel(m.context(f.running))
	m.stop = stop
	f.active.Add(1)
	go m.run(ctx, func() {
		stop()
		close(m.gone)
		f.active.Done()
	})
}

func (f *Fleet) member(name string) *member {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.members[name]
}

// getNode returns a Node from the cache, or nil if the watch has not delivered it.
func (f *Fleet) getNode(name string) *v1.Node { return f.cachedNode(name).Object() }

func (f *Fleet) cachedNode(name string) *compact.Node {
	object, _, _ := f.nodes.GetIndexer().GetByKey(name) // GetByKey never returns an error
	node, _ := object.(*compact.Node)
	return node
}

// getPod returns a pod from the cache, or nil if the watch has not delivered it.
func (f *Fleet) getPod(key types.NamespacedName) *compact.Pod {
	object, _, _ := f.pods.GetIndexer().GetByKey(key.String()) // GetByKey never returns an error
	pod, _ := object.(*compact.Pod)
	return pod
}

func keyOf(pod *v1.Pod) types.NamespacedName {
	return types.NamespacedName{Namespace: pod.Namespace, Name: pod.Name}
}
