// Package pods has the pods that are not there: what a node would tell of them, and the logs that they would have
// written.
//
// A log is made up as it is read. Line i is a function of the log's seed, the names of its container and i, written at
// start + i × interval, so that tailLines, sinceTime and limitBytes are arithmetic, a log of a billion lines takes no
// memory, and two runs print the same. A text or a file can stand in for the generator.
package pods

import (
	"slices"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"fauxlet/internal/podlife"
	"fauxlet/scenario"
)

// age is how long the pods of a Store have been running when it is made.
const age = time.Hour

// Store holds the pods of a node. It is safe for concurrent use.
type Store struct {
	mu    sync.RWMutex
	pods  []*v1.Pod
	byKey map[types.NamespacedName]*entry
}

// NewStore makes a Store. Its errors name fields as in a list of pods and, in scenario.Pod.Containers, by the names of pod and
// container.
func NewStore(specs ...scenario.Pod) (*Store, error) {
	made := time.Now()
	s := &Store{byKey: make(map[types.NamespacedName]*entry, len(specs))}
	uids := map[types.UID]types.NamespacedName{}
	for i, spec := range specs {
		path := field.NewPath("pods").Index(i)
		if errs := validatePod(spec.Pod, path); len(errs) > 0 {
			return nil, errs.ToAggregate()
		}
		pod := complete(spec.Pod, spec.Containers, made)
		key := keyOf(pod)
		if _, there := s.byKey[key]; there {
			return nil, field.Duplicate(path.Child("metadata", "name"), key.String())
		}
		if other, there := uids[pod.UID]; there {
			return nil, field.Invalid(path.Child("metadata", "uid"), pod.UID, "is the uid of pod "+other.String()+" too; leave it out to have one made")
		}
		uids[pod.UID] = key
		e, err := newEntry(pod, spec.Containers, made)
		if err != nil {
			return nil, err
		}
		s.pods = append(s.pods, pod)
		s.byKey[key] = e
	}
	return s, nil
}

// Put adds a pod that lives, or has it in place of the one of that name. All that an apiserver and a kubelet fill in is
// there, status too, and nothing is made up: a container's log begins and ends when its status says that the container
// did, and what reads it, follows it or runs in the container ends with that.
//
// The pod is the Store's from then on, and must not be changed. A scenario's error leaves the Store as it was.
func (s *Store) Put(spec scenario.Pod) error {
	key := keyOf(spec.Pod)
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.byKey[key]
	e, err := before.next(spec)
	if err != nil {
		return err
	}
	s.byKey[key] = e
	if before == nil {
		s.pods = append(s.pods, spec.Pod)
		return nil
	}
	// Whoever was given the list before still reads it.
	s.pods = slices.Clone(s.pods)
	s.pods[slices.Index(s.pods, before.pod)] = spec.Pod
	return nil
}

// Remove takes a pod away, and ends what reads its logs or runs in it. Of another uid, or unknown, it is left.
func (s *Store) Remove(namespace, name string, uid types.UID) {
	key := types.NamespacedName{Namespace: namespace, Name: name}
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.byKey[key]
	if e == nil || e.pod.UID != uid {
		return
	}
	delete(s.byKey, key)
	pods := make([]*v1.Pod, 0, len(s.pods)-1)
	for _, pod := range s.pods {
		if pod != e.pod {
			pods = append(pods, pod)
		}
	}
	s.pods = pods
	e.end(time.Now())
}

// list gives all pods, for reading only.
func (s *Store) list() []*v1.Pod {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.pods
}

// entries are those of list, in its order.
func (s *Store) entries() []*entry {
	s.mu.RLock()
	defer s.mu.RUnlock()
	entries := make([]*entry, len(s.pods))
	for i, pod := range s.pods {
		entries[i] = s.byKey[keyOf(pod)]
	}
	return entries
}

func (s *Store) entry(namespace, name string) (*entry, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	e, found := s.byKey[types.NamespacedName{Namespace: namespace, Name: name}]
	return e, found
}

func keyOf(pod *v1.Pod) types.NamespacedName {
	return types.NamespacedName{Namespace: pod.Namespace, Name: pod.Name}
}

// List gives all pods, in the order in which they were given. The slice is the caller's, the pods are not: they must not
// be changed.
func (s *Store) List() []*v1.Pod { return slices.Clone(s.list()) }

// Running gives the pods as a container runtime knows them: those that run, with the names and images of the containers
// that run, and no more. (kubelet: pkg/kubelet/container, Pod.ToAPIPod)
func (s *Store) Running() []*v1.Pod {
	var running []*v1.Pod
	for _, pod := range s.list() {
		known := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID}}
		for _, name := range podlife.ContainerNames(pod) {
			if status := podlife.ContainerStatus(pod, name); isRunning(status) {
				known.Spec.Containers = append(known.Spec.Containers, v1.Container{Name: name, Image: status.Image})
			}
		}
		if pod.Status.Phase == v1.PodRunning || len(known.Spec.Containers) > 0 {
			running = append(running, known)
		}
	}
	return running
}

func isRunning(status *v1.ContainerStatus) bool { return status != nil && status.State.Running != nil }

// Get finds a pod. It must not be changed.
func (s *Store) Get(namespace, name string) (*v1.Pod, bool) {
	e, found := s.entry(namespace, name)
	if !found {
		return nil, false
	}
	return e.pod, true
}
