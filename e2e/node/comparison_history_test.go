package node

import (
	"context"
	"sync"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"

	"fauxlet/e2e/internal/controlplane"
	"fauxlet/e2e/internal/expect"
)

// histories has the versions of all pods in the watched namespaces.
type histories struct {
	mu  sync.Mutex
	all map[types.NamespacedName][]moment
	err string // the reason why the watch ended
}

// moment is a version of a pod, with the time when the watch reported that version.
type moment struct {
	at      time.Time
	pod     *v1.Pod
	deleted bool
}

// watchPods watches pods and records their histories until the test ends.
func watchPods(t testing.TB, c *controlplane.Plane, namespaces ...string) *histories {
	t.Helper()
	h := &histories{all: map[types.NamespacedName][]moment{}}
	ctx, stop := context.WithCancel(context.Background())
	var watching sync.WaitGroup
	t.Cleanup(func() { stop(); watching.Wait() })
	for _, namespace := range namespaces {
		watched, err := c.Client.CoreV1().Pods(namespace).Watch(ctx, metav1.ListOptions{})
		expect.NoError(t, err)
		watching.Go(func() {
			for event := range watched.ResultChan() {
				h.add(event)
			}
			h.mu.Lock()
			defer h.mu.Unlock()
			h.err = "the watch has ended"
		})
	}
	return h
}

func (h *histories) add(event watch.Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	pod, ok := event.Object.(*v1.Pod)
	if !ok {
		h.err = "the watch says " + string(event.Type)
		return
	}
	key := types.NamespacedName{Namespace: pod.Namespace, Name: pod.Name}
	h.all[key] = append(h.all[key], moment{time.Now(), pod, event.Type == watch.Deleted})
}

// The method "of" returns the recorded history of one pod.
func (h *histories) of(namespace, name string) []moment {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.all[types.NamespacedName{Namespace: namespace, Name: name}]
}

func (h *histories) problem() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.err
}
