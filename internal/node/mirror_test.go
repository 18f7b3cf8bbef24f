package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

func manifest(name, image string) *v1.Pod {
	return &v1.Pod{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"},
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       v1.PodSpec{Containers: []v1.Container{{Name: "agent", Image: image}}},
	}
}

// withAgent makes a fixture in which node-1 has the static pod agent-node-1.
func withAgent(t *testing.T, refuse func(string) error) *fixture {
	t.Helper()
	w := newFixture(t)
	w.refuse = refuse
	spec := w.specOf("node-1")
	spec.Static = []*v1.Pod{manifest("agent", "agent:1")}
	w.run().add(spec)
	return w
}

// TestStaticPodWithoutMirror checks that a static pod runs even if the apiserver rejects its mirror pod or the Node,
// and that both are created later.
func TestStaticPodWithoutMirror(t *testing.T) {
	t.Parallel()
	for _, refused := range []string{"create pods agent-node-1", "create nodes node-1"} {
		t.Run(refused, func(t *testing.T) {
			var takes atomic.Bool
			w := withAgent(t, func(request string) error {
				if request == refused && !takes.Load() {
					return errors.New("not now")
				}
				return nil
			})
			w.eventually("the static pod runs", func() string {
				pod, there := w.stores["node-1"].Get("default", "agent-node-1")
				if !there || pod.Status.Phase != v1.PodRunning {
					return fmt.Sprint(there)
				}
				return ""
			})
			takes.Store(true)
			w.awaitPhase("agent-node-1", v1.PodRunning)
		})
	}
}

// TestMirrorPodChangedByOthers checks that conditions that other programs set on a mirror pod are kept, and that
// their changes to the node's own fields are reverted.
func TestMirrorPodChangedByOthers(t *testing.T) {
	w := withAgent(t, nil)
	mirror := w.awaitPhase("agent-node-1", v1.PodRunning)
	theirs := v1.PodCondition{Type: "example.com/theirs", Status: v1.ConditionTrue}
	written := mirror.DeepCopy()
	written.Status.Phase = v1.PodFailed
	written.Status.Conditions = append(written.Status.Conditions, theirs)
	w.put(written)
	mirror = w.awaitPhase("agent-node-1", v1.PodRunning)
	if !slices.ContainsFunc(mirror.Status.Conditions, func(c v1.PodCondition) bool { return c.Type == theirs.Type }) {
		t.Errorf("the condition of another program is missing: %+v", mirror.Status.Conditions)
	}
	if s := mirror.Status.ContainerStatuses; len(s) != 1 || s[0].RestartCount != 0 || s[0].State.Running == nil {
		t.Errorf("the container was stopped: %+v", s)
	}
}

// TestStaticPodIsReadAgain checks that the pod of an unchanged manifest stays the same, and that a changed manifest
// replaces its pod.
func TestStaticPodIsReadAgain(t *testing.T) {
	w := withAgent(t, nil)
	mirror := w.awaitPhase("agent-node-1", v1.PodRunning)
	served := func() *v1.Pod {
		t.Helper()
		pod, there := w.stores["node-1"].Get("default", "agent-node-1")
		if !there {
			t.Fatal("the pod is not served")
		}
		return pod
	}
	before := served()
	if err := w.fleet.SetStatic("node-1",
		[]*v1.Pod{manifest("agent", "agent:1"), manifest("other", "other:1")}); err != nil {
		t.Fatal(err)
	}
	w.awaitPhase("other-node-1", v1.PodRunning)
	if again := served(); again.UID != before.UID ||
		again.Annotations[annotationSeen] != before.Annotations[annotationSeen] {
		t.Errorf("the metadata of the pod is now %+v, and was %+v", again.ObjectMeta, before.ObjectMeta)
	}
	if again := w.awaitPhase("agent-node-1", v1.PodRunning); again.UID != mirror.UID {
		t.Error("the mirror pod was replaced")
	}
	if err := w.fleet.SetStatic("node-2", nil); err == nil {
		t.Error("no error for an unknown node")
	}
}

// TestMirrorAfterRestart checks that after a restart unchanged mirror pods are kept, mirror pods of changed manifests
// are replaced, mirror pods of removed manifests are deleted, and mirror pods of other nodes are not touched.
func TestMirrorAfterRestart(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newFixture(t)
		spec := w.specOf("node-1")
		spec.Static = []*v1.Pod{manifest("same", "a:1"), manifest("changed", "a:1"), manifest("gone", "a:1")}
		w.run().add(spec)
		before := map[string]*v1.Pod{}
		for _, name := range []string{"same", "changed", "gone"} {
			before[name] = w.awaitPhase(name+"-node-1", v1.PodRunning)
		}
		w.stop()
		theirs := podOf("node-2", "gone-node-2", "7")
		theirs.Annotations = map[string]string{annotationMirror: "x", annotationSource: "file", annotationHash: "x"}
		w.put(theirs)

		w.again()
		spec = w.specOf("node-1")
		spec.Static = []*v1.Pod{manifest("same", "a:1"), manifest("changed", "a:2")}
		w.run().add(spec)
		w.eventually("the mirror pods match the manifests", func() string {
			all, err := w.client.CoreV1().Pods("default").List(context.Background(), metav1.ListOptions{})
			if err != nil {
				return err.Error()
			}
			var got []string
			for _, pod := range all.Items {
				same := before[strings.TrimSuffix(pod.Name, "-node-1")]
				got = append(got, fmt.Sprintf("%s %s %v", pod.Name, pod.Spec.Containers[0].Image,
					same != nil && same.UID == pod.UID))
			}
			slices.Sort(got)
			if want := []string{"changed-node-1 a:2 false", "gone-node-2 app false",
				"same-node-1 a:1 true"}; !slices.Equal(got, want) {
				return fmt.Sprintf("%q, want %q", got, want)
			}
			return ""
		})
		same := w.awaitPhase("same-node-1", v1.PodRunning)
		if !same.Status.StartTime.Equal(before["same"].Status.StartTime) ||
			same.Status.PodIP != before["same"].Status.PodIP {
			t.Errorf("the pod was restarted: %+v", same.Status)
		}
		w.awaitServed("node-1", map[string]types.UID{"same-node-1": uidOf(same),
			"changed-node-1": uidOf(w.awaitPhase("changed-node-1", v1.PodRunning))})
	})
}

// TestStaticPodWithOwnUID checks that the container of a static pod restarts with a new image if the manifest sets the
// UID. As with a kubelet, the spec of the mirror pod then stays as it is.
func TestStaticPodWithOwnUID(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newFixture(t).run()
		spec, agent := w.specOf("node-1"), manifest("agent", "agent:1")
		agent.UID = "own"
		spec.Static = []*v1.Pod{agent}
		w.add(spec)
		before := w.awaitPhase("agent-node-1", v1.PodRunning)
		if before.Annotations[annotationMirror] != "own" {
			t.Errorf("annotations of the mirror pod: %v", before.Annotations)
		}
		agent = manifest("agent", "agent:2")
		agent.UID = "own"
		if err := w.fleet.SetStatic("node-1", []*v1.Pod{agent}); err != nil {
			t.Fatal(err)
		}
		w.eventually("the container runs with the new image", func() string {
			pod, err := w.client.CoreV1().Pods("default").Get(context.Background(), "agent-node-1", metav1.GetOptions{})
			if err != nil || pod.UID != before.UID || len(pod.Status.ContainerStatuses) != 1 {
				return fmt.Sprint(pod, err)
			}
			if s := pod.Status.ContainerStatuses[0]; s.Image != "agent:2" || s.RestartCount != 1 {
				return fmt.Sprint(s)
			}
			return ""
		})
	})
}
