package node

import (
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"fauxlet/scenario"
)

// TestPodsAtRestTakeLittleMemory checks that a pod that does not change has no Life, and that it nevertheless reacts to
// its deletion, and stops as its description says. It also checks that pods share equal descriptions.
func TestPodsAtRestTakeLittleMemory(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newFixture(t)
		for _, name := range []string{"a", "b"} {
			w.containers[name] = map[string]scenario.Container{"app": {
				Stops: scenario.Stop{After: metav1.Duration{Duration: 5 * time.Second}}}}
		}
		w.run().add(w.specOf("node-1"))
		w.create(podOf("node-1", "a", "1"))
		w.create(podOf("node-1", "b", "2"))
		entry := func(name string) *podEntry {
			w.fleet.mu.RLock()
			defer w.fleet.mu.RUnlock()
			return w.fleet.lives[types.NamespacedName{Namespace: "default", Name: name}]
		}
		for _, name := range []string{"a", "b"} {
			w.awaitPhase(name, v1.PodRunning)
		}
		synctest.Wait() // until then the Fleet handles the last event of each pod
		for _, name := range []string{"a", "b"} {
			if entry(name).life != nil {
				t.Errorf("pod %s does not change, but has a Life", name)
			}
		}
		shared := 0
		w.fleet.descriptions.Range(func(_, _ any) bool { shared++; return true })
		if shared != 1 {
			t.Errorf("there are %d descriptions of two equal pods, want 1", shared)
		}
		began := time.Now()
		w.delete("a", 30)
		w.awaitNone("a")
		if took := time.Since(began); took < 4*time.Second || took > 10*time.Second {
			t.Errorf("the deleted pod was gone after %v, want about 5 s", took)
		}
		if pod := w.awaitPhase("b", v1.PodRunning); pod.Status.ContainerStatuses[0].RestartCount != 0 {
			t.Errorf("the other pod was restarted: %v", pod.Status)
		}
	})
}
