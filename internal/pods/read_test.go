package pods_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"fauxlet/internal/pods"
	"fauxlet/scenario"
)

var began = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// logStore returns a Store with one pod, default/p, which has one container, c.
func logStore(t testing.TB, log scenario.Log) *pods.Store {
	t.Helper()
	return newStore(t, scenario.Pod{Pod: newPod("default", "p", "c"),
		Containers: map[string]scenario.Container{"c": {Log: log}}})
}

func read(t testing.TB, store *pods.Store, options v1.PodLogOptions) string {
	t.Helper()
	var b bytes.Buffer
	if err := store.Logs(context.Background(), "default", "p", "c", &options, &b, &b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestPrevious checks that the previous log ends before the current log begins.
func TestPrevious(t *testing.T) {
	store := logStore(t, scenario.Log{Text: "now", Start: &metav1.Time{Time: began},
		Previous: &scenario.Log{Text: "then\nand then"}})
	if got := read(t, store, v1.PodLogOptions{Previous: true, Timestamps: true}); got !=
		"2026-01-02T03:04:03.000000000Z then\n2026-01-02T03:04:04.000000000Z and then\n" {
		t.Errorf("got %q", got)
	}
	made := logStore(t, scenario.Log{Previous: &scenario.Log{}})
	if lines := strings.Count(read(t, made, v1.PodLogOptions{Previous: true}), "\n"); lines != 100 {
		t.Errorf("the previous log has %d lines, want 100", lines)
	}
	// The log of a container that does not run has 100 lines if its description sets no number of lines.
	ended := newStore(t, scenario.Pod{Pod: newPod("default", "p", "c"),
		Containers: map[string]scenario.Container{"c": {State: "CrashLoopBackOff"}}})
	if lines := strings.Count(read(t, ended, v1.PodLogOptions{Follow: true}), "\n"); lines != 100 {
		t.Errorf("log of a crashed container: %d lines, want 100", lines)
	}
	// A request that follows the log of a container that has ended returns at once.
	if got := read(t, store, v1.PodLogOptions{Previous: true, Follow: true}); got != "then\nand then\n" {
		t.Errorf("got %q", got)
	}
}

// TestNoLog checks that Logs returns the kubelet's errors for a container without a log.
func TestNoLog(t *testing.T) {
	with := func(status v1.ContainerStatus) scenario.Pod {
		pod := newPod("default", "p", "c")
		pod.Status.Phase = v1.PodPending
		status.Name = "c"
		pod.Status.ContainerStatuses = []v1.ContainerStatus{status}
		return scenario.Pod{Pod: pod}
	}
	waiting := func(reason string) v1.ContainerStatus {
		return v1.ContainerStatus{State: v1.ContainerState{Waiting: &v1.ContainerStateWaiting{Reason: reason}}}
	}
	ended := func(id string) *v1.ContainerStateTerminated { return &v1.ContainerStateTerminated{ContainerID: id} }
	for _, c := range []struct {
		name     string
		spec     scenario.Pod
		previous bool
		err      string
	}{
		{name: "running-without-previous", spec: scenario.Pod{Pod: newPod("default", "p", "c")}, previous: true,
			err: `previous terminated container "c" in pod "p" not found`},
		{name: "creating", spec: with(waiting("ContainerCreating")),
			err: `container "c" in pod "p" is waiting to start: ContainerCreating`},
		{name: "image-pull", spec: with(waiting("ErrImagePull")),
			err: `container "c" in pod "p" is waiting to start: image can't be pulled`},
		{name: "image-pull-back-off", spec: with(waiting("ImagePullBackOff")),
			err: `container "c" in pod "p" is waiting to start: trying and failing to pull image`},
		{name: "no-state", spec: with(v1.ContainerStatus{}),
			err: `container "c" in pod "p" is waiting to start - no logs yet`},
		{name: "terminated-without-id", spec: with(v1.ContainerStatus{State: v1.ContainerState{Terminated: ended("")}}),
			err: `container "c" in pod "p" is terminated`},
		{name: "terminated", spec: with(v1.ContainerStatus{State: v1.ContainerState{Terminated: ended("x://1")}})},
		{name: "crash-loop", spec: with(v1.ContainerStatus{State: waiting("CrashLoopBackOff").State,
			LastTerminationState: v1.ContainerState{Terminated: ended("x://1")}})},
	} {
		t.Run(c.name, func(t *testing.T) {
			// A request that follows the log of a container that does not run must return by itself.
			err := newStore(t, c.spec).Logs(context.Background(), "default", "p", "c",
				&v1.PodLogOptions{Previous: c.previous, Follow: c.name == "terminated"}, io.Discard, io.Discard)
			if got := fmt.Sprint(err); got != c.err && !(c.err == "" && err == nil) {
				t.Errorf("error %v, want %s", err, c.err)
			}
		})
	}
	pending := newPod("default", "p", "c")
	pending.Status.Phase = v1.PodPending
	if err := newStore(t, scenario.Pod{Pod: pending}).Logs(context.Background(), "default", "p", "c",
		&v1.PodLogOptions{}, io.Discard, nil); err == nil ||
		err.Error() != `container "c" in pod "p" is not available` {
		t.Errorf("Logs returned the error %v", err)
	}
}
