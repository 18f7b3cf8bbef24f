// Package pods keeps the pods of a node and answers the requests for them: their logs, commands, attached streams
// and forwarded ports. No container actually runs: the descriptions in a scenario determine what clients see.
//
// Begin with [Store]. Packages podlife and podlog compute statuses and logs.
package pods

import (
	"slices"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"fauxlet/internal/compact"
	"fauxlet/internal/podcounts"
	"fauxlet/internal/podlife"
	"fauxlet/scenario"
)

// Store holds the pods of a node. It is safe for concurrent use.
type Store struct {
	executor Executor
	counts   *podcounts.Counts

	mu    sync.RWMutex
	pods  []*record // in the order in which they were added
	byKey map[types.NamespacedName]*record
	// allocatable has the node's resources for pods; see SetAllocatable.
	allocatable v1.ResourceList
	// objects and readEvery are set by SetObjects.
	objects   Objects
	readEvery time.Duration
	// onExit is called without the lock when the command of an attached container has ended; see OnExit.
	onExit func(types.NamespacedName)
}

// record is a pod in a Store.
type record struct {
	pod       *compact.Pod
	described map[string]scenario.Container
	// entry is the pod with its logs and environments. It is nil until a request needs it, if PutCompact added the pod.
	entry *entry
}

func (r *record) object() *v1.Pod {
	if r.entry != nil {
		return r.entry.pod
	}
	return r.pod.Object()
}

// NewStore makes a Store of pods that never change. Missing fields of the pods are completed: namespace default, a uid,
// and the status of a pod that has been running for an hour. An error about a pod names the field and the index of the
// pod, as in pods[0].metadata.name. An error about a description names the container and the pod. Exec requests can run
// a few simple commands, such as ls and cat. [NewStoreWith] takes a different Executor.
func NewStore(all ...scenario.Pod) (*Store, error) { return NewStoreWith(simpleExecutor{}, all...) }

// NewStoreWith is like [NewStore], but executor runs the commands of exec requests, unless it is nil.
func NewStoreWith(executor Executor, all ...scenario.Pod) (*Store, error) {
	if executor == nil {
		executor = simpleExecutor{}
	}
	made := time.Now()
	s := &Store{executor: executor, counts: podcounts.New(), byKey: make(map[types.NamespacedName]*record, len(all))}
	uids := map[types.UID]types.NamespacedName{}
	for i, given := range all {
		path := field.NewPath("pods").Index(i)
		if errs := validatePod(given.Pod, path); len(errs) > 0 {
			return nil, errs.ToAggregate()
		}
		pod := complete(given.Pod, given.Containers, made)
		key := keyOf(pod)
		if _, found := s.byKey[key]; found {
			return nil, field.Duplicate(path.Child("metadata", "name"), key.String())
		}
		if other, found := uids[pod.UID]; found {
			return nil, field.Invalid(path.Child("metadata", "uid"), pod.UID,
				"is also the uid of pod "+other.String()+"; remove the uid to get a generated one")
		}
		uids[pod.UID] = key
		e, err := s.newEntry(scenario.Pod{Pod: pod, Containers: given.Containers}, made)
		if err != nil {
			return nil, err
		}
		s.byKey[key] = &record{compact.Whole(pod), given.Containers, e}
		s.pods = append(s.pods, s.byKey[key])
		s.counts.Changed(nil, pod, time.Since(made))
	}
	return s, nil
}

// Put adds a pod of a cluster, or replaces the pod of that name. Put adds no missing fields: the pod must have all
// fields that an API server and a kubelet set, including its status. The log of a container begins and ends as the
// status shows. When a container ends, its commands and the readers that follow its log end too.
//
// The Store keeps the pod, which must not change later. After an error the Store is unchanged.
func (s *Store) Put(pod scenario.Pod) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.put(pod, compact.Whole(pod.Pod), false)
}

// PutCompact is like Put, but takes little memory for a pod without requests. The argument "stored" is the compact form
// of pod.Pod. The Store keeps only "stored", and makes logs and environments when the first request needs them.
func (s *Store) PutCompact(pod scenario.Pod, stored *compact.Pod) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.put(pod, stored, true)
}

func (s *Store) put(pod scenario.Pod, stored *compact.Pod, lazy bool) error {
	key := keyOf(pod.Pod)
	began := time.Now()
	before := s.byKey[key]
	var used *entry
	if before != nil {
		used = before.entry
	}
	e, err := updateEntry(used, pod)
	if err != nil {
		return err
	}
	after := &record{pod: stored, described: pod.Containers}
	if used != nil || !lazy {
		after.entry = e
	}
	s.byKey[key] = after
	var old *v1.Pod
	if before == nil {
		s.pods = append(s.pods, after)
	} else {
		s.pods[slices.Index(s.pods, before)] = after
		old = before.object()
	}
	s.counts.Changed(old, pod.Pod, time.Since(began))
	return nil
}

// Counts returns the counters of what has happened to the pods, for metrics. The Store reports all its changes to them.
func (s *Store) Counts() *podcounts.Counts { return s.counts }

// SetAllocatable sets the node's resources for pods. Containers without limits see them as their limits.
func (s *Store) SetAllocatable(resources v1.ResourceList) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.allocatable = resources
}

// SetObjects sets how the Store reads the objects to which pods refer. Without it, containers have no volumes, and no
// variables from ConfigMaps and Secrets. A container reads its objects for its first command, and again before a
// command when readEvery has passed. Call SetObjects before the first command.
func (s *Store) SetObjects(objects Objects, readEvery time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.objects, s.readEvery = objects, readEvery
}

// Remove removes the pod of a name and uid, if any. It ends the pod's commands and the readers that follow its logs.
func (s *Store) Remove(namespace, name string, uid types.UID) {
	key := types.NamespacedName{Namespace: namespace, Name: name}
	s.mu.Lock()
	defer s.mu.Unlock()
	began := time.Now()
	r := s.byKey[key]
	if r == nil {
		return
	}
	pod := r.object()
	if pod.UID != uid {
		return
	}
	delete(s.byKey, key)
	s.pods = slices.DeleteFunc(s.pods, func(other *record) bool { return other == r })
	if r.entry != nil {
		r.entry.endAllBut(&entry{})
	}
	s.counts.Removed(pod, time.Since(began))
}

// used returns the entry of a pod, or nil if the pod has none or does not exist.
func (s *Store) used(namespace, name string) *entry {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if r := s.byKey[types.NamespacedName{Namespace: namespace, Name: name}]; r != nil {
		return r.entry
	}
	return nil
}

// The method "entry" returns the entry of a pod. If the pod has none yet, the method makes it.
func (s *Store) entry(namespace, name string) (*entry, bool) {
	if e := s.used(namespace, name); e != nil {
		return e, true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	r, found := s.byKey[types.NamespacedName{Namespace: namespace, Name: name}]
	if !found {
		return nil, false
	}
	if r.entry == nil {
		e, err := updateEntry(nil, scenario.Pod{Pod: r.pod.Object(), Containers: r.described})
		if err != nil { // cannot happen, because PutCompact has made an entry of the same pod
			return nil, false
		}
		r.entry = e
	}
	return r.entry, true
}

func keyOf(pod *v1.Pod) types.NamespacedName {
	return types.NamespacedName{Namespace: pod.Namespace, Name: pod.Name}
}

// List returns all pods in the order in which they were added. The caller may change the slice, but not the pods.
func (s *Store) List() []*v1.Pod {
	s.mu.RLock()
	defer s.mu.RUnlock()
	all := make([]*v1.Pod, len(s.pods))
	for i, r := range s.pods {
		all[i] = r.object()
	}
	return all
}

// Described returns all pods with the descriptions of their containers, in the order of List. The caller may change
// the slice, but not the pods and descriptions.
func (s *Store) Described() []scenario.Pod {
	s.mu.RLock()
	defer s.mu.RUnlock()
	all := make([]scenario.Pod, len(s.pods))
	for i, r := range s.pods {
		all[i] = scenario.Pod{Pod: r.object(), Containers: r.described}
	}
	return all
}

// Running returns the pods that a container runtime lists: the pods with running containers, reduced to the names
// and images of these containers. (kubelet: pkg/kubelet/container, Pod.ToAPIPod)
func (s *Store) Running() []*v1.Pod {
	var running []*v1.Pod
	for _, pod := range s.List() {
		listed := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID}}
		for _, name := range podlife.ContainerNames(pod) {
			if status := podlife.ContainerStatus(pod, name); isRunning(status) {
				listed.Spec.Containers = append(listed.Spec.Containers, v1.Container{Name: name, Image: status.Image})
			}
		}
		if pod.Status.Phase == v1.PodRunning || len(listed.Spec.Containers) > 0 {
			running = append(running, listed)
		}
	}
	return running
}

func isRunning(status *v1.ContainerStatus) bool { return status != nil && status.State.Running != nil }

// Get returns a pod, which the caller must not change.
func (s *Store) Get(namespace, name string) (*v1.Pod, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	r, found := s.byKey[types.NamespacedName{Namespace: namespace, Name: name}]
	if !found {
		return nil, false
	}
	return r.object(), true
}

// The method "running" returns the entry of a pod if the given container of the pod runs. Like a container runtime, it
// ignores the pod's uid.
func (s *Store) running(namespace, name, container string) (*entry, bool) {
	e, found := s.entry(namespace, name)
	if !found || !isRunning(podlife.ContainerStatus(e.pod, container)) {
		return nil, false
	}
	return e, true
}

// IsRunning reports whether the pod has a running container of that name, of any type.
func (s *Store) IsRunning(namespace, name, container string) bool {
	pod, found := s.Get(namespace, name)
	return found && isRunning(podlife.ContainerStatus(pod, container))
}

// HasContainer reports whether the pod has a container of that name, of any type.
func HasContainer(pod *v1.Pod, name string) bool { return podlife.ContainerSpec(pod, name) != nil }

// HasTTY reports whether the spec of a container, of any type, requests a terminal.
func HasTTY(pod *v1.Pod, name string) bool {
	c := podlife.ContainerSpec(pod, name)
	return c != nil && c.TTY
}
