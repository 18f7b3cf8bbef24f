package pods_test

import (
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"fauxlet/internal/pods"
)

func newPod(namespace, name string, containers ...string) *v1.Pod {
	pod := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	for _, c := range containers {
		pod.Spec.Containers = append(pod.Spec.Containers, v1.Container{Name: c, Image: c + ":1"})
	}
	return pod
}

func newStore(t testing.TB, specs ...pods.Spec) *pods.Store {
	t.Helper()
	store, err := pods.NewStore(specs...)
	if err != nil {
		t.Fatal(err)
	}
	return store
}

// TestComplete: what an apiserver and a kubelet would have filled in is there.
func TestComplete(t *testing.T) {
	given := newPod("", "nginx", "nginx", "sidecar")
	given.Spec.InitContainers = []v1.Container{{Name: "init", Image: "init:1"}}
	store := newStore(t, pods.Spec{Pod: given, Containers: map[string]pods.Container{"nginx": {Log: pods.Log{Previous: &pods.Log{}}}}})
	pod, found := store.Get("default", "nginx")
	if !found {
		t.Fatal("the pod is not in namespace default")
	}
	if given.Namespace != "" || given.Status.Phase != "" {
		t.Error("the pod that was given was changed")
	}
	again, _ := newStore(t, pods.Spec{Pod: given}).Get("default", "nginx")
	if len(pod.UID) != 36 || pod.UID != again.UID {
		t.Errorf("uids %q and %q: want the same at each start", pod.UID, again.UID)
	}
	if pod.Status.Phase != v1.PodRunning || len(pod.Status.ContainerStatuses) != 2 || len(pod.Status.InitContainerStatuses) != 1 {
		t.Fatalf("status %+v", pod.Status)
	}
	nginx, sidecar, init := pod.Status.ContainerStatuses[0], pod.Status.ContainerStatuses[1], pod.Status.InitContainerStatuses[0]
	if nginx.State.Running == nil || !nginx.Ready || nginx.RestartCount != 1 || nginx.LastTerminationState.Terminated == nil {
		t.Errorf("nginx, which has a previous log: %+v", nginx)
	}
	if sidecar.RestartCount != 0 || sidecar.LastTerminationState.Terminated != nil || sidecar.ContainerID == nginx.ContainerID {
		t.Errorf("sidecar: %+v", sidecar)
	}
	if init.State.Terminated == nil || init.State.Terminated.Reason != "Completed" {
		t.Errorf("init: %+v", init)
	}
	for _, condition := range pod.Status.Conditions {
		if condition.Status != v1.ConditionTrue {
			t.Errorf("condition %+v", condition)
		}
	}

	running := store.Running()
	if len(running) != 1 || len(running[0].Spec.Containers) != 2 || running[0].Status.Phase != "" || running[0].UID != pod.UID {
		t.Errorf("the runtime knows %+v", running)
	}
}

// TestNotRunning: a pod keeps the status that it comes with, and the runtime does not know it.
func TestNotRunning(t *testing.T) {
	given := newPod("default", "job", "job")
	given.Status.Phase = v1.PodSucceeded
	store := newStore(t, pods.Spec{Pod: given})
	if len(store.Running()) != 0 || len(store.List()) != 1 {
		t.Errorf("running %v, all %v", store.Running(), store.List())
	}
}

// TestStates: what is given for the containers makes the pod's phase and conditions.
func TestStates(t *testing.T) {
	for _, test := range []struct {
		name, init, first, second string
		policy                    v1.RestartPolicy
		phase                     v1.PodPhase
		running                   int
		initialized, ready        bool
	}{
		{name: "running", phase: v1.PodRunning, running: 2, initialized: true, ready: true},
		{name: "crashing", first: "CrashLoopBackOff", phase: v1.PodRunning, running: 1, initialized: true},
		{name: "no-image", second: "ImagePullBackOff", phase: v1.PodPending, running: 1, initialized: true},
		{name: "init-runs", init: "Running", phase: v1.PodPending, running: 1},
		{name: "init-crashes", init: "CrashLoopBackOff", phase: v1.PodPending},
		{name: "init-failed", init: "Error", policy: v1.RestartPolicyNever, phase: v1.PodFailed},
		{name: "succeeded", first: "Completed", second: "Completed", policy: v1.RestartPolicyOnFailure, phase: v1.PodSucceeded, initialized: true},
		{name: "failed", first: "Completed", second: "OOMKilled", policy: v1.RestartPolicyNever, phase: v1.PodFailed, initialized: true},
		{name: "restarting", first: "Error", second: "Error", phase: v1.PodRunning, initialized: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			given := newPod("default", "p", "first", "second")
			given.Spec.InitContainers = []v1.Container{{Name: "init"}}
			given.Spec.RestartPolicy = test.policy
			store := newStore(t, pods.Spec{Pod: given, Containers: map[string]pods.Container{
				"init": {State: test.init}, "first": {State: test.first}, "second": {State: test.second}}})
			pod, _ := store.Get("default", "p")
			if pod.Status.Phase != test.phase {
				t.Errorf("phase %s, want %s", pod.Status.Phase, test.phase)
			}
			running := 0
			for _, known := range store.Running() {
				running += len(known.Spec.Containers)
			}
			if running != test.running {
				t.Errorf("%d containers run, want %d", running, test.running)
			}
			want := map[v1.PodConditionType]bool{v1.PodInitialized: test.initialized, v1.PodReady: test.ready, v1.ContainersReady: test.ready}
			for _, c := range pod.Status.Conditions {
				if met, there := want[c.Type]; there && met != (c.Status == v1.ConditionTrue) {
					t.Errorf("condition %+v", c)
				}
			}
		})
	}
}

// TestRefused: each mistake is named with its field.
func TestRefused(t *testing.T) {
	withLog := func(log pods.Log) []pods.Spec {
		return []pods.Spec{{Pod: newPod("", "a", "c"), Containers: map[string]pods.Container{"c": {Log: log}}}}
	}
	withContainer := func(c pods.Container) []pods.Spec {
		return []pods.Spec{{Pod: newPod("", "a", "c"), Containers: map[string]pods.Container{"c": c}}}
	}
	sameUID := newPod("", "b", "c")
	sameUID.UID = "u"
	otherUID := newPod("", "a", "c")
	otherUID.UID = "u"
	twice := newPod("", "a", "c")
	twice.Spec.InitContainers = []v1.Container{{Name: "c"}}
	for _, c := range []struct {
		name  string
		specs []pods.Spec
		err   string
	}{
		{"no-pod", []pods.Spec{{}}, "pods[0]: Required value"},
		{"no-name", []pods.Spec{{Pod: newPod("", "", "c")}}, "pods[0].metadata.name: Required value"},
		{"bad-name", []pods.Spec{{Pod: newPod("", "A_b", "c")}}, `pods[0].metadata.name: Invalid value: "A_b"`},
		{"bad-namespace", []pods.Spec{{Pod: newPod("a.b", "a", "c")}}, `pods[0].metadata.namespace: Invalid value: "a.b"`},
		{"no-containers", []pods.Spec{{Pod: newPod("", "a")}}, "pods[0].spec.containers: Required value"},
		{"nameless-container", []pods.Spec{{Pod: newPod("", "a", "c", "")}}, "pods[0].spec.containers[1].name: Required value"},
		{"container-twice", []pods.Spec{{Pod: newPod("", "a", "c", "c")}}, `pods[0].spec.containers[1].name: Duplicate value: "c"`},
		{"container-and-init-container", []pods.Spec{{Pod: twice}}, `pods[0].spec.containers[0].name: Duplicate value: "c"`},
		{"pod-twice", []pods.Spec{{Pod: newPod("", "a", "c")}, {Pod: newPod("default", "a", "c")}}, `pods[1].metadata.name: Duplicate value: "default/a"`},
		{"uid-twice", []pods.Spec{{Pod: otherUID}, {Pod: sameUID}}, `pods[1].metadata.uid: Invalid value: "u": is the uid of pod default/a too`},
		{"log-of-no-container", []pods.Spec{{Pod: newPod("", "a", "c"), Containers: map[string]pods.Container{"d": {Log: pods.Log{}}}}}, `it has no container "d"`},
		{"negative-interval", withLog(pods.Log{Interval: metav1.Duration{Duration: -time.Second}}), "interval: -1s: must not be negative"},
		{"negative-lines", withLog(pods.Log{Lines: -1}), "lines: -1: must not be negative"},
		{"too-many-lines", withLog(pods.Log{Lines: 1 << 40}), "lines: 1099511627776: too many"},
		{"stderr", withLog(pods.Log{Stderr: 1.5}), "stderr: 1.5: must be from 0 to 1"},
		{"text-and-file", withLog(pods.Log{Text: "a", File: "b"}), "text and file: only one"},
		{"text-and-lines", withLog(pods.Log{Text: "a", Lines: 3}), "lines and seed are for lines that are made up"},
		{"no-file", withLog(pods.Log{File: "does/not/exist"}), "file: open does/not/exist"},
		{"previous", withLog(pods.Log{Previous: &pods.Log{Lines: -1}}), "previous.lines: -1"},
		{"state", withContainer(pods.Container{State: "Crashed"}), `state: "Crashed": must be Running, a reason to wait (ContainerCreating, CrashLoopBackOff`},
		{"exit-code", withContainer(pods.Container{Exec: []pods.Answer{{}, {ExitCode: 256}}}), "exec[1].exitCode: 256: must be from 0 to 255"},
		{"relative-file", withContainer(pods.Container{Files: map[string]string{"etc/motd": ""}}), `files: "etc/motd": must be the absolute path`},
		{"port", withContainer(pods.Container{Ports: []pods.Port{{}}}), "ports[0].port: 0: must be from 1 to 65535"},
		{"forward-elsewhere", withContainer(pods.Container{Ports: []pods.Port{{Port: 80, Forward: "10.0.0.1:80"}}}), `ports[0].forward: "10.0.0.1:80": it is not on loopback`},
		{"forward-name", withContainer(pods.Container{Ports: []pods.Port{{Port: 80, Forward: "localhost:80"}}}), `it must be an address and port on loopback, as in 127.0.0.1:8080`},
		{"previous-of-previous", withLog(pods.Log{Previous: &pods.Log{Previous: &pods.Log{}}}), "previous.previous"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := pods.NewStore(c.specs...); err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("%v, want %s", err, c.err)
			}
		})
	}
}
