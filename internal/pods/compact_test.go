package pods_test

import (
	"bytes"
	"context"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"fauxlet/internal/compact"
	"fauxlet/internal/pods"
	"fauxlet/scenario"
)

// TestCompactPodsAnswerLikeOthers compares a pod of PutCompact with the same pod of Put: its log, its list, its state,
// and what a new version of the pod does to a log that is being followed.
func TestCompactPodsAnswerLikeOthers(t *testing.T) {
	began := metav1.NewTime(time.Now().Add(-time.Minute).Truncate(time.Second))
	version := func(state v1.ContainerState) scenario.Pod {
		return scenario.Pod{Pod: &v1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "a", UID: "u"},
			Spec: v1.PodSpec{Containers: []v1.Container{{Name: "web", Image: "nginx"}}},
			Status: v1.PodStatus{Phase: v1.PodRunning, ContainerStatuses: []v1.ContainerStatus{{Name: "web",
				ContainerID: "fauxlet://1", State: state}}}},
			Containers: map[string]scenario.Container{"web": {Log: scenario.Log{Text: "hello\n"}}}}
	}
	runs := version(v1.ContainerState{Running: &v1.ContainerStateRunning{StartedAt: began}})
	ended := version(v1.ContainerState{Terminated: &v1.ContainerStateTerminated{ContainerID: "fauxlet://1",
		StartedAt: began, FinishedAt: metav1.NewTime(time.Now().Truncate(time.Second))}})
	put := map[string]func(*pods.Store, scenario.Pod) error{
		"whole": (*pods.Store).Put,
		"compact": func(s *pods.Store, pod scenario.Pod) error {
			packed, err := compact.Pack(pod.Pod)
			if err != nil {
				return err
			}
			return s.PutCompact(pod, packed)
		},
	}
	for name, put := range put {
		t.Run(name, func(t *testing.T) {
			store, err := pods.NewStore()
			if err == nil {
				err = put(store, runs)
			}
			if err != nil {
				t.Fatal(err)
			}
			if got, found := store.Get("default", "a"); !found || got.UID != "u" {
				t.Errorf("Get: %v, %v", got, found)
			}
			if list := store.List(); len(list) != 1 || list[0].Spec.Containers[0].Image != "nginx" {
				t.Errorf("List: %v", list)
			}
			if all := store.Described(); len(all) != 1 || all[0].Containers["web"].Log.Text != "hello\n" {
				t.Errorf("Described: %v", all)
			}
			if !store.IsRunning("default", "a", "web") || len(store.Running()) != 1 {
				t.Error("the container does not run")
			}
			if exits := store.Exits("default", "a"); len(exits) > 0 {
				t.Errorf("exits: %v", exits)
			}
			var log bytes.Buffer
			followed := make(chan error)
			go func() {
				followed <- store.Logs(context.Background(), "default", "a", "web", &v1.PodLogOptions{Follow: true},
					&log, nil)
			}()
			if err := put(store, ended); err != nil {
				t.Fatal(err)
			}
			if err := <-followed; err != nil || log.String() != "hello\n" {
				t.Errorf("the followed log: %q, %v", log.String(), err)
			}
			if store.IsRunning("default", "a", "web") {
				t.Error("the container still runs")
			}
			store.Remove("default", "a", "other")
			if len(store.List()) != 1 {
				t.Error("Remove has removed the pod of another uid")
			}
			store.Remove("default", "a", "u")
			if len(store.List()) != 0 {
				t.Error("the pod is still there")
			}
		})
	}
}

func TestCompactPodWithInvalidDescriptionIsRefused(t *testing.T) {
	store, err := pods.NewStore()
	if err != nil {
		t.Fatal(err)
	}
	pod := scenario.Pod{Pod: &v1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "a"},
		Spec: v1.PodSpec{Containers: []v1.Container{{Name: "web"}}}},
		Containers: map[string]scenario.Container{"other": {}}}
	if err := store.PutCompact(pod, compact.Whole(pod.Pod)); err == nil || len(store.List()) > 0 {
		t.Errorf("error %v, and the pods %v", err, store.List())
	}
}
