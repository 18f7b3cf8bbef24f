package server

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"github.com/gorilla/mux"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"fauxlet/internal/pods"
	"fauxlet/scenario"
)

// TestPodIsRemovedDuringRequest expects each handler to answer with an error, and not to panic, if the pod of the
// request is removed while the handler runs. A goroutine removes the pod and adds it again all the time.
func TestPodIsRemovedDuringRequest(t *testing.T) {
	store, err := pods.NewStore()
	if err != nil {
		t.Fatal(err)
	}
	pod := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web", UID: "1"},
		Spec: v1.PodSpec{Containers: []v1.Container{{Name: "web", TTY: true}}},
		Status: v1.PodStatus{ContainerStatuses: []v1.ContainerStatus{
			{Name: "web", State: v1.ContainerState{Running: &v1.ContainerStateRunning{}}}}}}
	var stop atomic.Bool
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		for !stop.Load() {
			if err := store.Put(scenario.Pod{Pod: pod}); err != nil {
				t.Error(err)
				return
			}
			store.Remove(pod.Namespace, pod.Name, pod.UID)
		}
	}()
	defer func() {
		stop.Store(true)
		<-stopped
	}()
	vars := map[string]string{"namespace": "default", "pod": "web", "container": "web", "uid": "2"}
	for _, test := range []struct {
		name, url string
		handler   func(http.ResponseWriter, *http.Request) error
	}{
		{"attach", "/attach?output=1", (&streamHandlers{pods: store}).getAttach},
		{"port-forward", "/portForward?port=80", (&streamHandlers{pods: store}).getPortForward},
		{"checkpoint", "/checkpoint?timeout=x", (&podHandlers{pods: store}).postCheckpoint},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := mux.SetURLVars(httptest.NewRequest(http.MethodGet, test.url, nil), vars)
			for range 100_000 {
				var answer *statusError
				if err := test.handler(nil, r); !errors.As(err, &answer) {
					t.Fatal(err)
				}
			}
		})
	}
}
