package pods_test

import (
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"fauxlet/internal/pods"
	"fauxlet/internal/shell"
	"fauxlet/scenario"
)

func newPod(namespace, name string, containers ...string) *v1.Pod {
	pod := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	for _, c := range containers {
		pod.Spec.Containers = append(pod.Spec.Containers, v1.Container{Name: c, Image: c + ":1"})
	}
	return pod
}

func newStore(t testing.TB, specs ...scenario.Pod) *pods.Store {
	t.Helper()
	store, err := pods.NewStoreWith(shell.Executor{}, specs...)
	if err != nil {
		t.Fatal(err)
	}
	return store
}

// TestComplete checks that NewStore sets the missing fields that an API server and a kubelet would set.
func TestComplete(t *testing.T) {
	given := newPod("", "nginx", "nginx", "sidecar")
	given.Spec.InitContainers = []v1.Container{{Name: "init", Image: "init:1"}}
	store := newStore(t, scenario.Pod{Pod: given,
		Containers: map[string]scenario.Container{"nginx": {Log: scenario.Log{Previous: &scenario.Log{}}}}})
	pod, found := store.Get("default", "nginx")
	if !found {
		t.Fatal("the pod is not in namespace default")
	}
	if given.Namespace != "" || given.Status.Phase != "" {
		t.Error("NewStore has changed its argument")
	}
	again, _ := newStore(t, scenario.Pod{Pod: given}).Get("default", "nginx")
	if len(pod.UID) != 36 || pod.UID != again.UID {
		t.Errorf("uids %q and %q, want the same uid at each start", pod.UID, again.UID)
	}
	if pod.Status.Phase != v1.PodRunning || len(pod.Status.ContainerStatuses) != 2 ||
		len(pod.Status.InitContainerStatuses) != 1 {
		t.Fatalf("status %+v", pod.Status)
	}
	nginx, sidecar, init := pod.Status.ContainerStatuses[0], pod.Status.ContainerStatuses[1],
		pod.Status.InitContainerStatuses[0]
	if nginx.State.Running == nil || !nginx.Ready || nginx.RestartCount != 1 ||
		nginx.LastTerminationState.Terminated == nil {
		t.Errorf("status of nginx, which has a previous log and so must have been restarted: %+v", nginx)
	}
	if sidecar.RestartCount != 0 || sidecar.LastTerminationState.Terminated != nil ||
		sidecar.ContainerID == nginx.ContainerID {
		t.Errorf("status of the sidecar: %+v", sidecar)
	}
	if init.State.Terminated == nil || init.State.Terminated.Reason != "Completed" {
		t.Errorf("status of the init container: %+v", init)
	}
	for _, condition := range pod.Status.Conditions {
		if condition.Status != v1.ConditionTrue {
			t.Errorf("condition %+v", condition)
		}
	}

	running := store.Running()
	if len(running) != 1 || len(running[0].Spec.Containers) != 2 || running[0].Status.Phase != "" ||
		running[0].UID != pod.UID {
		t.Errorf("Running returns %+v", running)
	}
}

// TestNotRunning checks that a pod that does not run keeps its given status and is missing from the result of
// Running.
func TestNotRunning(t *testing.T) {
	given := newPod("default", "job", "job")
	given.Status.Phase = v1.PodSucceeded
	store := newStore(t, scenario.Pod{Pod: given})
	if len(store.Running()) != 0 || len(store.List()) != 1 {
		t.Errorf("Running returns %v, List returns %v", store.Running(), store.List())
	}
}

// TestStates checks that the states of the containers determine the pod's phase and conditions.
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
		{name: "succeeded", first: "Completed", second: "Completed", policy: v1.RestartPolicyOnFailure,
			phase: v1.PodSucceeded, initialized: true},
		{name: "failed", first: "Completed", second: "OOMKilled", policy: v1.RestartPolicyNever, phase: v1.PodFailed,
			initialized: true},
		{name: "restarting", first: "Error", second: "Error", phase: v1.PodRunning, initialized: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			given := newPod("default", "p", "first", "second")
			given.Spec.InitContainers = []v1.Container{{Name: "init"}}
			given.Spec.RestartPolicy = test.policy
			store := newStore(t, scenario.Pod{Pod: given, Containers: map[string]scenario.Container{
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
			want := map[v1.PodConditionType]bool{v1.PodInitialized: test.initialized, v1.PodReady: test.ready,
				v1.ContainersReady: test.ready}
			for _, c := range pod.Status.Conditions {
				if met, there := want[c.Type]; there && met != (c.Status == v1.ConditionTrue) {
					t.Errorf("condition %+v", c)
				}
			}
		})
	}
}

// TestInvalidPods checks that errors name the field.
func TestInvalidPods(t *testing.T) {
	withLog := func(log scenario.Log) []scenario.Pod {
		return []scenario.Pod{{Pod: newPod("", "a", "c"), Containers: map[string]scenario.Container{"c": {Log: log}}}}
	}
	aboveLimit := func() []scenario.Pod {
		pod := newPod("", "a", "c")
		pod.Spec.Containers[0].Resources.Limits = v1.ResourceList{v1.ResourceCPU: resource.MustParse("1")}
		return []scenario.Pod{{Pod: pod,
			Containers: map[string]scenario.Container{"c": {Usage: scenario.Usage{CPU: resource.MustParse("2")}}}}}
	}
	sameUID := newPod("", "b", "c")
	sameUID.UID = "u"
	otherUID := newPod("", "a", "c")
	otherUID.UID = "u"
	twice := newPod("", "a", "c")
	twice.Spec.InitContainers = []v1.Container{{Name: "c"}}
	for _, c := range []struct {
		name  string
		specs []scenario.Pod
		err   string
	}{
		{name: "no-pod", specs: []scenario.Pod{{}}, err: "pods[0]: Required value"},
		{name: "no-name", specs: []scenario.Pod{{Pod: newPod("", "", "c")}},
			err: "pods[0].metadata.name: Required value"},
		{name: "bad-name", specs: []scenario.Pod{{Pod: newPod("", "A_b", "c")}},
			err: `pods[0].metadata.name: Invalid value: "A_b"`},
		{name: "bad-namespace", specs: []scenario.Pod{{Pod: newPod("a.b", "a", "c")}},
			err: `pods[0].metadata.namespace: Invalid value: "a.b"`},
		{name: "no-containers", specs: []scenario.Pod{{Pod: newPod("", "a")}},
			err: "pods[0].spec.containers: Required value"},
		{name: "nameless-container", specs: []scenario.Pod{{Pod: newPod("", "a", "c", "")}},
			err: "pods[0].spec.containers[1].name: Required value"},
		{name: "container-twice", specs: []scenario.Pod{{Pod: newPod("", "a", "c", "c")}},
			err: `pods[0].spec.containers[1].name: Duplicate value: "c"`},
		{name: "container-and-init-container", specs: []scenario.Pod{{Pod: twice}},
			err: `pods[0].spec.containers[0].name: Duplicate value: "c"`},
		{name: "pod-twice", specs: []scenario.Pod{{Pod: newPod("", "a", "c")}, {Pod: newPod("default", "a", "c")}},
			err: `pods[1].metadata.name: Duplicate value: "default/a"`},
		{name: "uid-twice", specs: []scenario.Pod{{Pod: otherUID}, {Pod: sameUID}},
			err: `pods[1].metadata.uid: Invalid value: "u": is also the uid of pod default/a`},
		{name: "log-of-no-container", specs: []scenario.Pod{{Pod: newPod("", "a", "c"),
			Containers: map[string]scenario.Container{"d": {Log: scenario.Log{}}}}}, err: `no container "d"`},
		{name: "invalid-log", specs: withLog(scenario.Log{Lines: -1}),
			err: "container c of pod default/a: log: lines: -1"},
		{name: "usage-above-limit", specs: aboveLimit(),
			err: "container c of pod default/a: usage.cpu: 2: must be at most the container's limit"},
		{name: "no-previous-file", specs: withLog(scenario.Log{Previous: &scenario.Log{File: "does/not/exist"}}),
			err: "previous log: file: open does/not/exist"},
		{name: "no-file", specs: withLog(scenario.Log{File: "does/not/exist"}), err: "file: open does/not/exist"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := pods.NewStore(c.specs...); err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("error %v, want %s", err, c.err)
			}
		})
	}
}
