package node

import (
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// TestStaticPod checks the annotations of a static pod, and that its UID is the same when its manifest is read
// again.
func TestStaticPod(t *testing.T) {
	manifest := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "agent"},
		Spec: v1.PodSpec{Containers: []v1.Container{{Name: "agent"}}}}
	key := types.NamespacedName{Namespace: "default", Name: "agent-node-1"}
	read := func(image string, at time.Time) *v1.Pod {
		t.Helper()
		manifest.Spec.Containers[0].Image = image
		all, err := staticPods([]*v1.Pod{manifest}, "Node-1", at)
		if err != nil || all[key] == nil {
			t.Fatalf("pods %v, error %v", all, err)
		}
		return all[key]
	}
	first := time.Date(2026, 11, 23, 10, 0, 0, 5, time.UTC)
	pod := read("a", first)
	for name, want := range map[string]string{annotationHash: string(pod.UID), annotationSource: "file",
		annotationSeen: "2026-11-23T10:00:00.000000005Z"} {
		if got := pod.Annotations[name]; got != want {
			t.Errorf("annotation %s is %q, want %q", name, got, want)
		}
	}
	if again := read("a", first.Add(time.Hour)); again.UID != pod.UID {
		t.Errorf("UID after reading again: %s, before: %s", again.UID, pod.UID)
	}
	if changed := read("b", first); changed.UID == pod.UID {
		t.Error("a static pod has the same UID after its image has changed")
	}
	if !IsStatic(pod) {
		t.Error("IsStatic is false for a static pod")
	}
	manifest.UID = "own"
	if own := read("c", first); own.UID != "own" || own.Annotations[annotationHash] != "own" {
		t.Errorf("the manifest's UID is own, but the static pod has UID %s and annotations %v", own.UID, own.Annotations)
	}
}
