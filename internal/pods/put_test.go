package pods_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	utilexec "k8s.io/utils/exec"
	"k8s.io/utils/ptr"

	"fauxlet/internal/pods"
	"fauxlet/scenario"
)

// The function "living" returns a pod whose container c is in its nth run. Each earlier run lasted a minute.
func living(n int32, began time.Time) *v1.Pod {
	pod := newPod("default", "p", "c")
	pod.UID = "1"
	id := func(n int32) string { return "fauxlet://" + string('0'+n) }
	pod.Status.Phase = v1.PodRunning
	status := v1.ContainerStatus{Name: "c", ContainerID: id(n), RestartCount: n,
		State: v1.ContainerState{Running: &v1.ContainerStateRunning{StartedAt: metav1.NewTime(began)}}}
	if n > 0 {
		status.LastTerminationState.Terminated = &v1.ContainerStateTerminated{ContainerID: id(n - 1),
			StartedAt: metav1.NewTime(began.Add(-time.Minute)), FinishedAt: metav1.NewTime(began)}
	}
	pod.Status.ContainerStatuses = []v1.ContainerStatus{status}
	return pod
}

// The function "ended" returns a pod whose container c has ended its nth run and waits to restart.
func ended(n int32, began, over time.Time) *v1.Pod {
	pod := living(n+1, over)
	s := &pod.Status.ContainerStatuses[0]
	s.ContainerID, s.State = "", v1.ContainerState{Waiting: &v1.ContainerStateWaiting{Reason: "CrashLoopBackOff"}}
	s.LastTerminationState.Terminated.StartedAt = metav1.NewTime(began)
	return pod
}

func put(t *testing.T, store *pods.Store, pod *v1.Pod) {
	t.Helper()
	if err := store.Put(scenario.Pod{Pod: pod}); err != nil {
		t.Fatal(err)
	}
}

func lines(t *testing.T, store *pods.Store, options v1.PodLogOptions) int {
	t.Helper()
	return strings.Count(read(t, store, options), "\n")
}

// TestPutLogs checks that the current log and the previous log each begin and end with their run of the container.
func TestPutLogs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newStore(t)
		began := time.Now()
		put(t, store, living(0, began))
		time.Sleep(9*time.Second + time.Millisecond)
		if got := lines(t, store, v1.PodLogOptions{}); got != 10 {
			t.Errorf("after 9 s: %d lines, want 10", got)
		}
		put(t, store, ended(0, began, began.Add(5*time.Second)))
		for _, previous := range []bool{false, true} {
			if got := lines(t, store, v1.PodLogOptions{Previous: previous}); got != 6 {
				t.Errorf("log of a run of 5 s with previous=%v: %d lines, want 6", previous, got)
			}
		}
		put(t, store, living(1, time.Now()))
		if got := lines(t, store, v1.PodLogOptions{}); got != 1 {
			t.Errorf("log of a run that has just begun: %d lines, want 1", got)
		}
		if got := lines(t, store, v1.PodLogOptions{Previous: true}); got != 6 {
			t.Errorf("log of the previous run: %d lines, want 6", got)
		}
	})
}

// TestPutEndedLogs checks the logs of runs that have ended, with the times of their lines. Each log is the same if the
// Store had the pod while the container ran.
func TestPutEndedLogs(t *testing.T) {
	const numbers = "0\n1\n2\n3\n4\n5\n6\n7\n"
	text := scenario.Log{Text: numbers}
	// The function "after" returns the description of a container that ends after the given time.
	after := func(after time.Duration, log scenario.Log) scenario.Container {
		return scenario.Container{Log: log, Exits: &scenario.Exit{After: metav1.Duration{Duration: after}}}
	}
	for _, test := range []struct {
		name      string
		described scenario.Container
		runs      time.Duration
		options   v1.PodLogOptions
		// waits is true if the container waits to restart; otherwise it is Terminated.
		waits bool
		lines int
		last  time.Duration // from the start of the container to the last line
	}{
		{name: "text of a state that never changes", described: scenario.Container{State: "Completed", Log: text},
			lines: 8},
		{name: "generated lines of a state that never changes", described: scenario.Container{State: "OOMKilled"},
			lines: 100},
		{name: "a number of lines of a state that never changes",
			described: scenario.Container{State: "Error", Log: scenario.Log{Lines: 7}}, lines: 7},
		{name: "text of a container that crashes", waits: true,
			described: scenario.Container{State: "CrashLoopBackOff", Log: text}, lines: 8},
		{name: "previous text of a container that crashes", waits: true, described: scenario.Container{
			State: "CrashLoopBackOff", Log: scenario.Log{Previous: &scenario.Log{Text: "panic\nstack\n"}}},
			options: v1.PodLogOptions{Previous: true}, lines: 2},
		{name: "previous generated lines of a container that crashes", waits: true, described: scenario.Container{
			State: "CrashLoopBackOff", Log: scenario.Log{Text: "one\n", Previous: &scenario.Log{Seed: 3}}},
			options: v1.PodLogOptions{Previous: true}, lines: 100},
		{name: "previous log of a container that restarts", waits: true, runs: 3 * time.Second,
			described: after(3*time.Second, scenario.Log{Previous: &text}),
			options:   v1.PodLogOptions{Previous: true}, lines: 8, last: 3 * time.Second},
		{name: "a run that ends at once", described: after(0, scenario.Log{}), lines: 100},
		{name: "text of a run that ends at once", described: after(0, text), lines: 8},
		{name: "text that is longer than the run", runs: 5 * time.Second, described: after(5*time.Second, text),
			lines: 8, last: 5 * time.Second},
		{name: "text that is shorter than the run", runs: 20 * time.Second, described: after(20*time.Second, text),
			lines: 8, last: 7 * time.Second},
		{name: "a number of lines that is longer than the run", runs: 5 * time.Second,
			described: after(5*time.Second, scenario.Log{Lines: 200}), lines: 200, last: 5 * time.Second},
		{name: "generated lines", runs: 5 * time.Second, described: after(5*time.Second, scenario.Log{}), lines: 6,
			last: 5 * time.Second},
		{name: "the last lines", runs: 5 * time.Second, described: after(5*time.Second, text),
			options: v1.PodLogOptions{TailLines: ptr.To[int64](3)}, lines: 3, last: 5 * time.Second},
		{name: "lines since a time", runs: 5 * time.Second, described: after(5*time.Second, text),
			options: v1.PodLogOptions{SinceSeconds: ptr.To[int64](1)}, lines: 4, last: 5 * time.Second},
		{name: "lines since the end", runs: 5 * time.Second, described: after(5*time.Second, text),
			options: v1.PodLogOptions{SinceSeconds: ptr.To[int64](0)}, lines: 3, last: 5 * time.Second},
		{name: "text of a container that was stopped", runs: 5 * time.Second,
			described: scenario.Container{Log: text}, lines: 6, last: 5 * time.Second},
		{name: "text of a container that was stopped before it ended by itself", runs: 5 * time.Second,
			described: after(6*time.Second, text), lines: 6, last: 5 * time.Second},
	} {
		for _, seen := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, seen while running: %v", test.name, seen), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					store := newStore(t)
					putDescribed := func(pod *v1.Pod) {
						t.Helper()
						described := map[string]scenario.Container{"c": test.described}
						if err := store.Put(scenario.Pod{Pod: pod, Containers: described}); err != nil {
							t.Fatal(err)
						}
					}
					began := time.Now()
					if seen {
						putDescribed(living(0, began))
					}
					time.Sleep(test.runs)
					over := ended(0, began, began.Add(test.runs))
					if s := &over.Status.ContainerStatuses[0]; !test.waits {
						s.RestartCount, s.State, s.LastTerminationState = 0, s.LastTerminationState, v1.ContainerState{}
					}
					putDescribed(over)
					putDescribed(over.DeepCopy()) // a change that does not affect the container
					test.options.Timestamps = true
					got := strings.Split(strings.TrimSpace(read(t, store, test.options)), "\n")
					if len(got) != test.lines {
						t.Fatalf("%d lines, want %d:\n%s", len(got), test.lines, strings.Join(got, "\n"))
					}
					before := began
					for _, line := range got {
						at, err := time.Parse(time.RFC3339Nano, strings.Fields(line)[0])
						if err != nil {
							t.Fatal(err)
						}
						if at.Before(before) {
							t.Errorf("line %q is earlier than the line before or than the start", line)
						}
						before = at
					}
					if last := before.Sub(began); last != test.last {
						t.Errorf("the last line is %v after the start, want %v", last, test.last)
					}
				})
			})
		}
	}
}

// TestPutLostContainer checks that the log of a container that the kubelet lost is the log of its last known run.
func TestPutLostContainer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newStore(t)
		began := time.Now()
		lost := living(1, began.Add(3*time.Second))
		s := &lost.Status.ContainerStatuses[0]
		s.State = v1.ContainerState{Terminated: &v1.ContainerStateTerminated{ExitCode: 137,
			Reason: "ContainerStatusUnknown"}}
		s.LastTerminationState.Terminated.StartedAt = metav1.NewTime(began)
		put(t, store, lost)
		time.Sleep(time.Minute)
		for _, previous := range []bool{false, true} {
			got := read(t, store, v1.PodLogOptions{Previous: previous, Timestamps: true})
			if lines := strings.Count(got, "\n"); lines != 4 || !strings.HasPrefix(got, began.Format("2006-01-02T15:04:05")) {
				t.Errorf("previous=%v: %q, want 4 lines from %v on", previous, got, began)
			}
		}
	})
}

// TestPutUsageAboveLimit checks that the description of a container of a cluster may have a higher usage than the
// limits of the container allow. The description often applies to many pods, and the metrics never exceed the limits.
func TestPutUsageAboveLimit(t *testing.T) {
	pod := living(0, time.Now())
	pod.Spec.Containers[0].Resources.Limits = v1.ResourceList{v1.ResourceCPU: resource.MustParse("100m"),
		v1.ResourceMemory: resource.MustParse("16Mi")}
	for _, usage := range []scenario.Usage{{CPU: resource.MustParse("1")}, {Memory: resource.MustParse("1Gi")}} {
		described := map[string]scenario.Container{"c": {Usage: usage}}
		if err := newStore(t).Put(scenario.Pod{Pod: pod, Containers: described}); err != nil {
			t.Error(err)
		}
		if _, err := pods.NewStore(scenario.Pod{Pod: pod, Containers: described}); err == nil ||
			!strings.Contains(err.Error(), "at most the container's limit") {
			t.Errorf("a pod of the scenario: error %v, want an error about the limit", err)
		}
	}
}

// TestPutFollowsToTheLastLine checks that a client that follows the log of a container gets the lines that the
// container writes at its end.
func TestPutFollowsToTheLastLine(t *testing.T) {
	for _, previous := range []*scenario.Log{nil, {Text: "previous\n"}} {
		synctest.Test(t, func(t *testing.T) {
			store := newStore(t)
			described := map[string]scenario.Container{"c": {
				Log:   scenario.Log{Text: "0\n1\n2\n3\n4\n5\n6\n7\n", Previous: previous},
				Exits: &scenario.Exit{After: metav1.Duration{Duration: 3 * time.Second}},
			}}
			began := time.Now()
			if err := store.Put(scenario.Pod{Pod: living(0, began), Containers: described}); err != nil {
				t.Fatal(err)
			}
			var out bytes.Buffer
			done := make(chan error)
			go func() {
				done <- store.Logs(t.Context(), "default", "p", "c", &v1.PodLogOptions{Follow: true}, &out, nil)
			}()
			time.Sleep(3 * time.Second)
			synctest.Wait()
			if out.String() != "0\n1\n2\n3\n" {
				t.Errorf("after 3 s the client has %q", out.String())
			}
			next := living(1, began.Add(3*time.Second))
			next.Status.ContainerStatuses[0].LastTerminationState.Terminated.StartedAt = metav1.NewTime(began)
			if err := store.Put(scenario.Pod{Pod: next, Containers: described}); err != nil {
				t.Fatal(err)
			}
			if err := <-done; err != nil {
				t.Fatal(err)
			}
			if got := out.String(); got != "0\n1\n2\n3\n4\n5\n6\n7\n" {
				t.Errorf("at the end the client has %q", got)
			}
		})
	}
}

// TestPutEndsFollowers checks that a client that follows a log gets all lines until the container ends, and that the
// response then ends.
func TestPutEndsFollowers(t *testing.T) {
	for _, test := range []struct {
		name  string
		after func(store *pods.Store, began time.Time)
	}{
		{name: "restarted", after: func(store *pods.Store, began time.Time) {
			put(t, store, living(1,
				began.Add(3*time.Second)))
		}},
		{name: "crashed", after: func(store *pods.Store,
			began time.Time) {
			put(t, store, ended(0, began, began.Add(3*time.Second)))
		}},
		{name: "removed", after: func(store *pods.Store, _ time.Time) { store.Remove("default", "p", "1") }},
		{name: "replaced", after: func(store *pods.Store, _ time.Time) {
			other := living(0, time.Now())
			other.UID = "2"
			put(t, store, other)
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := newStore(t)
				began := time.Now()
				put(t, store, living(0, began))
				var out bytes.Buffer
				done := make(chan error)
				go func() {
					done <- store.Logs(t.Context(), "default", "p", "c", &v1.PodLogOptions{Follow: true}, &out, nil)
				}()
				time.Sleep(3 * time.Second)
				synctest.Wait()
				put(t, store, living(0, began)) // an update that does not affect the container
				test.after(store, began)
				if err := <-done; err != nil {
					t.Fatal(err)
				}
				if got := strings.Count(out.String(), "\n"); got != 4 {
					t.Errorf("the client got %d lines, want 4:\n%s", got, out.String())
				}
			})
		})
	}
}

// TestPutKeepsFiles checks that files that a command has written are kept until the container ends.
func TestPutKeepsFiles(t *testing.T) {
	store := newStore(t)
	run := func(command string) string {
		var out bytes.Buffer
		err := store.Exec(t.Context(), "default", "p", "c", []string{"sh", "-c", command}, pods.Streams{Stdout: &out})
		if err != nil && !errors.As(err, &utilexec.CodeExitError{}) {
			t.Fatal(err)
		}
		return out.String()
	}
	began := time.Now()
	put(t, store, living(0, began))
	run("echo mine > /tmp/file")
	changed := living(0, began)
	changed.Labels = map[string]string{"a": "b"}
	put(t, store, changed)
	if got := run("cat /tmp/file"); got != "mine\n" {
		t.Errorf("file in the same run: %q", got)
	}
	put(t, store, living(1, time.Now()))
	if got := run("cat /tmp/file"); got != "" {
		t.Errorf("file in the next run: %q, want no such file", got)
	}
}

// TestPutKillsCommands checks that commands and attached clients end when the container ends.
func TestPutKillsCommands(t *testing.T) {
	store := newStore(t)
	put(t, store, living(0, time.Now()))
	started, write := io.Pipe()
	done := make(chan error)
	go func() {
		done <- store.Exec(context.Background(), "default", "p", "c", []string{"sh", "-c", "echo started; sleep 3600"},
			pods.Streams{Stdout: write})
	}()
	if _, err := io.ReadFull(started, make([]byte, len("started\n"))); err != nil {
		t.Fatal(err)
	}
	attached := make(chan error)
	go func() { attached <- store.Attach(context.Background(), "default", "p", "c", pods.Streams{}) }()
	store.Remove("default", "p", types.UID("another's"))
	if _, there := store.Get("default", "p"); !there {
		t.Fatal("Remove has removed a pod with a different uid")
	}
	store.Remove("default", "p", "1")
	var exit utilexec.CodeExitError
	if err := <-done; !errors.As(err, &exit) || exit.Code != 137 {
		t.Errorf("exec: error %v, want exit code 137", err)
	}
	if err := <-attached; err != nil && err.Error() != `container not found ("c")` {
		t.Errorf("attach: error %v", err)
	}
	if list := store.List(); len(list) != 0 {
		t.Errorf("pods left after Remove: %v", list)
	}
}

// TestPutKeepsOrder checks that List returns pods in the order in which they were added, and that Put does not
// change earlier results of List.
func TestPutKeepsOrder(t *testing.T) {
	store := newStore(t)
	named := func(name string) *v1.Pod {
		pod := living(0, time.Now())
		pod.Name, pod.UID = name, types.UID(name)
		return pod
	}
	names := func(list []*v1.Pod) (names string) {
		for _, pod := range list {
			names += pod.Name
		}
		return names
	}
	for _, name := range []string{"a", "b", "c", "b"} {
		put(t, store, named(name))
	}
	before := store.List()
	store.Remove("default", "a", "a")
	put(t, store, named("d"))
	if names(before) != "abc" || names(store.List()) != "bcd" {
		t.Errorf("before the changes %s, after them %s; want abc, bcd", names(before), names(store.List()))
	}
}

// TestPutInvalid checks that Put with an invalid description leaves the Store unchanged.
func TestPutInvalid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newStore(t)
		put(t, store, living(0, time.Now()))
		for name, containers := range map[string]map[string]scenario.Container{
			"unknown container": {"e": {}},
			"no such file":      {"d": {Log: scenario.Log{File: "/nonexistent"}}},
		} {
			restarted := living(1, time.Now())
			restarted.Spec.Containers = append(restarted.Spec.Containers, v1.Container{Name: "d"})
			added := restarted.Status.ContainerStatuses[0]
			added.Name = "d"
			restarted.Status.ContainerStatuses = append(restarted.Status.ContainerStatuses, added)
			if err := store.Put(scenario.Pod{Pod: restarted, Containers: containers}); err == nil {
				t.Errorf("%s: Put returned no error", name)
			}
		}
		pod, _ := store.Get("default", "p")
		if pod.Status.ContainerStatuses[0].RestartCount != 0 {
			t.Error("a failed Put has replaced the pod")
		}
		time.Sleep(5 * time.Second)
		if got := lines(t, store, v1.PodLogOptions{}); got != 6 {
			t.Errorf("5 s after a failed Put: %d lines, want 6", got)
		}
	})
}
