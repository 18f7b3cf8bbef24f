// Package pods has the pods that are not there: what a node would tell of them, and the logs that they would have
// written.
//
// A log is made up as it is read. Line i is a function of the log's seed, the names of its container and i, written at
// start + i × interval, so that tailLines, sinceTime and limitBytes are arithmetic, a log of a billion lines takes no
// memory, and two runs print the same. A text or a file can stand in for the generator.
package pods

import (
	"crypto/sha256"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"fauxlet/pods/shell"
)

// Spec is a pod with what is made up of its containers.
type Spec struct {
	// Pod needs a name, and containers with names. What else an apiserver and a kubelet would have filled in is filled in
	// where it is missing: namespace default, a uid, and the status of a pod that has been running for an hour.
	Pod *v1.Pod
	// Containers are by the name of the container, of any kind. One that is missing is the zero Container.
	Containers map[string]Container
}

// age is how long the pods of a Store have been running when it is made.
const age = time.Hour

// Store holds the pods of a node. It never changes, and is safe for concurrent use.
type Store struct {
	pods  []*v1.Pod
	byKey map[types.NamespacedName]*entry
}

// entry is a pod with what its logs are read from.
type entry struct {
	pod *v1.Pod
	// current and previous are by container.
	current, previous map[string]source
	containers        map[string]*Container
	// systems are what commands find in the containers.
	systems map[string]func() (*shell.Container, error)
	// connections is how many have been made to its ports.
	connections atomic.Int64
}

// NewStore makes a Store. Its errors name fields as in a list of pods and, in Spec.Containers, by the names of pod and
// container.
func NewStore(specs ...Spec) (*Store, error) {
	made := time.Now()
	s := &Store{byKey: make(map[types.NamespacedName]*entry, len(specs))}
	uids := map[types.UID]types.NamespacedName{}
	for i, spec := range specs {
		path := field.NewPath("pods").Index(i)
		if errs := validatePod(spec.Pod, path); len(errs) > 0 {
			return nil, errs.ToAggregate()
		}
		pod := complete(spec.Pod, spec.Containers, made)
		key := types.NamespacedName{Namespace: pod.Namespace, Name: pod.Name}
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

func newEntry(pod *v1.Pod, containers map[string]Container, made time.Time) (*entry, error) {
	e := &entry{pod: pod, current: map[string]source{}, previous: map[string]source{}, containers: map[string]*Container{}, systems: map[string]func() (*shell.Container, error){}}
	for name := range containers {
		if !HasContainer(pod, name) {
			return nil, fmt.Errorf("pod %s/%s: it has no container %q; it has %s", pod.Namespace, pod.Name, name, strings.Join(containerNames(pod), ", "))
		}
	}
	for _, name := range containerNames(pod) {
		container := containers[name]
		if err := e.add(name, &container, made); err != nil {
			return nil, fmt.Errorf("container %s of pod %s/%s: %w", name, pod.Namespace, pod.Name, err)
		}
	}
	return e, nil
}

// add adds what is made up of a container.
func (e *entry) add(name string, container *Container, made time.Time) error {
	if err := container.validate(); err != nil {
		return err
	}
	if err := container.Usage.validate(containerSpec(e.pod, name).Resources.Limits); err != nil {
		return err
	}
	log := container.Log
	if !isRunning(containerStatus(e.pod, name)) {
		log = log.ended()
	}
	current, err := newSource(log, e.pod, name, made)
	if err != nil {
		return fmt.Errorf("log: %w", err)
	}
	e.current[name], e.containers[name] = current, container
	e.systems[name] = e.newSystem(name)
	if len(container.Files) > 0 { // which may not fit together
		if _, err := e.systems[name](); err != nil {
			return err
		}
	}
	if container.Log.Previous == nil {
		return nil
	}
	if e.previous[name], err = newSource(container.Log.Previous.ended(), e.pod, name, current.time(0)); err != nil {
		return fmt.Errorf("log: previous: %w", err)
	}
	return nil
}

// List gives all pods, in the order in which they were given. The slice is the caller's, the pods are not: they must not
// be changed.
func (s *Store) List() []*v1.Pod { return append([]*v1.Pod(nil), s.pods...) }

// Running gives the pods as a container runtime knows them: those that run, with the names and images of the containers
// that run, and no more. (kubelet: pkg/kubelet/container, Pod.ToAPIPod)
func (s *Store) Running() []*v1.Pod {
	var running []*v1.Pod
	for _, pod := range s.pods {
		known := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID}}
		for _, name := range containerNames(pod) {
			if status := containerStatus(pod, name); isRunning(status) {
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
	e, found := s.byKey[types.NamespacedName{Namespace: namespace, Name: name}]
	if !found {
		return nil, false
	}
	return e.pod, true
}

// madeUID is the uid of a pod that was given none: always the same for the same name.
func madeUID(namespace, name string) types.UID {
	sum := sha256.Sum256([]byte("fauxlet pod " + namespace + "/" + name))
	sum[6] = sum[6]&0x0f | 0x80 // version 8: made by the application's own rule
	sum[8] = sum[8]&0x3f | 0x80
	return types.UID(fmt.Sprintf("%x-%x-%x-%x-%x", sum[:4], sum[4:6], sum[6:8], sum[8:10], sum[10:16]))
}
