package podlife_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"fauxlet/internal/podlife"
	"fauxlet/scenario"
)

var birth = time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)

// newPod makes a pod with main containers, whose names are separated by spaces, and applies the changes.
func newPod(policy v1.RestartPolicy, names string, and ...func(*v1.Pod)) *v1.Pod {
	pod := &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "p", UID: "1", Generation: 1,
			CreationTimestamp: metav1.NewTime(birth)},
		Spec:   v1.PodSpec{RestartPolicy: policy, TerminationGracePeriodSeconds: ptr.To[int64](30)},
		Status: v1.PodStatus{Phase: v1.PodPending, QOSClass: v1.PodQOSBestEffort},
	}
	for _, name := range strings.Fields(names) {
		pod.Spec.Containers = append(pod.Spec.Containers, v1.Container{Name: name, Image: "example.com/" + name + ":1"})
	}
	for _, do := range and {
		do(pod)
	}
	return pod
}

func withInit(names string) func(*v1.Pod) {
	return func(pod *v1.Pod) {
		for _, name := range strings.Fields(names) {
			pod.Spec.InitContainers = append(pod.Spec.InitContainers,
				v1.Container{Name: name, Image: "example.com/init:1"})
		}
	}
}

func withSidecar(name string) func(*v1.Pod) {
	return func(pod *v1.Pod) {
		pod.Spec.InitContainers = append(pod.Spec.InitContainers,
			v1.Container{Name: name, Image: "example.com/side:1",
				RestartPolicy: ptr.To(v1.ContainerRestartPolicyAlways)})
	}
}

// deletedAt deletes the pod after a number of seconds, with a grace period.
func deletedAt(at, grace int64) func(*v1.Pod) {
	return func(pod *v1.Pod) {
		pod.Generation++
		pod.DeletionTimestamp = ptr.To(metav1.NewTime(birth.Add(time.Duration(at+grace) * time.Second)))
		pod.DeletionGracePeriodSeconds = &grace
	}
}

func seconds(n float64) metav1.Duration {
	return metav1.Duration{Duration: time.Duration(n * float64(time.Second))}
}

// exits returns the description of a container that ends after a number of seconds with an exit code.
func exits(after float64, code int32) *scenario.Exit {
	return &scenario.Exit{After: seconds(after), Code: code}
}

// inWords returns a status on one line: its phase, the conditions that are true (Sandbox, Initialized, Ready,
// ContainersReady), and its containers.
func inWords(s v1.PodStatus) string {
	var b strings.Builder
	b.WriteString(string(s.Phase))
	if s.Reason != "" {
		b.WriteString("/" + s.Reason)
	}
	b.WriteString(" ")
	for _, c := range s.Conditions {
		letter := map[v1.PodConditionType]string{v1.PodReadyToStartContainers: "S", v1.PodInitialized: "I",
			v1.PodReady: "R", v1.ContainersReady: "C"}[c.Type]
		if c.Status == v1.ConditionTrue {
			b.WriteString(letter)
		}
	}
	for _, list := range [][]v1.ContainerStatus{s.InitContainerStatuses, s.ContainerStatuses,
		s.EphemeralContainerStatuses} {
		for _, c := range list {
			fmt.Fprintf(&b, " %s:%s", c.Name, stateInWords(c.State))
			if c.Started != nil && *c.Started && !c.Ready {
				b.WriteString("+started")
			}
			if c.Ready {
				b.WriteString("+ready")
			}
			if c.RestartCount > 0 {
				fmt.Fprintf(&b, "#%d", c.RestartCount)
			}
			if c.LastTerminationState.Terminated != nil {
				fmt.Fprintf(&b, "<%s", stateInWords(c.LastTerminationState))
			}
		}
	}
	return b.String()
}

func stateInWords(s v1.ContainerState) string {
	switch {
	case s.Running != nil:
		return "Running"
	case s.Terminated != nil:
		return fmt.Sprintf("%s(%d)", s.Terminated.Reason, s.Terminated.ExitCode)
	}
	return s.Waiting.Reason
}

// expectation is the wanted status at a time in seconds since the pod was created. The function pod, if set, changes
// the pod before that time.
type expectation struct {
	at   float64
	want string
	pod  func(*v1.Pod)
}

// TestLife compares the statuses of pods, from creation to end, with the expected statuses.
func TestLife(t *testing.T) {
	never, always, onFailure := v1.RestartPolicyNever, v1.RestartPolicyAlways, v1.RestartPolicyOnFailure
	type containers = map[string]scenario.Container
	for _, test := range []struct {
		name       string
		pod        *v1.Pod
		containers containers
		story      []expectation
		gone       bool
	}{
		{"runs", newPod(always, "c"), nil,
			[]expectation{{0, "Running SIRC c:Running+ready", nil}, {1e8, "Running SIRC c:Running+ready", nil}}, false},
		{"two-containers-by-name", newPod(always, "b a"), nil,
			[]expectation{{0, "Running SIRC a:Running+ready b:Running+ready", nil}}, false},
		{"starts-late", newPod(always, "a b"), containers{"b": {StartAfter: seconds(3.5)}}, []expectation{
			{0, "Pending SI a:Running+ready b:ContainerCreating", nil},
			{3.4, "Pending SI a:Running+ready b:ContainerCreating", nil},
			{3.5, "Running SIRC a:Running+ready b:Running+ready", nil},
		}, false},
		{"ready-late", newPod(always, "c"), containers{"c": {ReadyAfter: ptr.To(seconds(5))}}, []expectation{
			{4.9, "Running SI c:Running+started", nil}, {5, "Running SIRC c:Running+ready", nil},
		}, false},
		{"probes", newPod(always, "c", probes(3, 6)), nil, []expectation{
			{0, "Running SI c:Running", nil}, {3, "Running SI c:Running+started", nil},
			{6, "Running SIRC c:Running+ready", nil},
		}, false},
		{"probes-that-need-twice", newPod(always, "c", func(pod *v1.Pod) {
			pod.Spec.Containers[0].ReadinessProbe = &v1.Probe{SuccessThreshold: 3, PeriodSeconds: 5}
		}), nil, []expectation{{9, "Running SI c:Running+started", nil}, {10, "Running SIRC c:Running+ready", nil}},
			false},
		{"ready-in-spite-of-probes", newPod(always, "c", probes(3, 6)),
			containers{"c": {ReadyAfter: ptr.To(seconds(0))}}, []expectation{
				{0, "Running SIRC c:Running+ready", nil},
			}, false},

		{"init-containers", newPod(always, "c", withInit("i j")),
			containers{"i": {Exits: exits(2, 0)}, "j": {StartAfter: seconds(3), Exits: exits(1, 0)}}, []expectation{
				{0, "Pending S i:Running+started j:PodInitializing c:PodInitializing", nil},
				{2, "Pending S i:Completed(0)+ready j:PodInitializing c:PodInitializing", nil},
				{5, "Pending S i:Completed(0)+ready j:Running+started c:PodInitializing", nil},
				{6, "Running SIRC i:Completed(0)+ready j:Completed(0)+ready c:Running+ready", nil},
			}, false},
		{"init-containers-at-once", newPod(always, "c", withInit("i j")), nil, []expectation{
			{0, "Running SIRC i:Completed(0)+ready j:Completed(0)+ready c:Running+ready", nil},
		}, false},
		{"init-fails-for-good", newPod(never, "c", withInit("i j")), containers{"i": {Exits: exits(2, 3)}},
			[]expectation{
				{1, "Pending S i:Running+started j:PodInitializing c:PodInitializing", nil},
				{2, "Failed  i:Error(3) j:PodInitializing c:PodInitializing", nil},
			}, false},
		{"init-fails-twice", newPod(onFailure, "c", withInit("i")),
			containers{"i": {Exits: &scenario.Exit{After: seconds(2), Code: 1, Times: 2}}}, []expectation{
				{2, "Pending S i:Error(1) c:PodInitializing", nil},
				{3, "Pending S i:Running+started#1<Error(1) c:PodInitializing", nil},
				{6, "Pending S i:CrashLoopBackOff#1<Error(1) c:PodInitializing", nil},
				{15, "Pending S i:Running+started#2<Error(1) c:PodInitializing", nil},
				{17, "Running SIRC i:Completed(0)+ready#2<Error(1) c:Running+ready", nil},
			}, false},
		{"init-hangs", newPod(always, "c", withInit("i")), containers{"i": {State: "Running"}},
			[]expectation{{1e6, "Pending S i:Running+started c:PodInitializing", nil}}, false},

		{"sidecar", newPod(never, "c", withSidecar("s")),
			containers{"c": {Exits: exits(5, 0)}, "s": {Stops: scenario.Stop{After: seconds(2)}}}, []expectation{
				{0, "Running SIRC s:Running+ready c:Running+ready", nil},
				{5, "Running SI s:Running+ready c:Completed(0)", nil},
				{7, "Succeeded I s:Completed(0) c:Completed(0)", nil},
			}, false},
		{"sidecar-between", newPod(always, "c", withInit("i"), withSidecar("s"), withInit("j")),
			containers{"j": {Exits: exits(4, 0)}, "s": {StartAfter: seconds(1)}}, []expectation{
				{0, "Pending S i:Completed(0)+ready s:PodInitializing j:PodInitializing c:PodInitializing", nil},
				{1, "Pending S i:Completed(0)+ready s:Running+ready j:Running+started c:PodInitializing", nil},
				{5, "Running SIRC i:Completed(0)+ready s:Running+ready j:Completed(0)+ready c:Running+ready", nil},
			}, false},
		{"sidecar-with-startup-probe", newPod(always, "c", withSidecar("s"), func(pod *v1.Pod) {
			pod.Spec.InitContainers[0].StartupProbe = &v1.Probe{InitialDelaySeconds: 4}
		}), nil, []expectation{
			{3, "Pending S s:Running c:PodInitializing", nil}, {4, "Running SIRC s:Running+ready c:Running+ready", nil},
		}, false},
		{"sidecar-crashes", newPod(always, "c", withSidecar("s")),
			containers{"s": {Exits: &scenario.Exit{After: seconds(5), Code: 1, Times: 1}}}, []expectation{
				{5, "Running SI s:Error(1) c:Running+ready", nil},
				{6, "Running SIRC s:Running+ready#1<Error(1) c:Running+ready", nil},
			}, false},

		{"sidecar-ends-with-0-again-and-again", newPod(always, "c", withSidecar("s")),
			containers{"s": {Exits: exits(2, 0)}}, []expectation{
				{2, "Running SI s:Completed(0) c:Running+ready", nil},
				{3, "Running SIRC s:Running+ready#1<Completed(0) c:Running+ready", nil},
				// During the back-off the state is Completed, not CrashLoopBackOff.
				{14, "Running SI s:Completed(0)#1<Completed(0) c:Running+ready", nil},
				{15, "Running SIRC s:Running+ready#2<Completed(0) c:Running+ready", nil},
			}, false},
		{"sidecar-in-back-off-does-not-delay-others", newPod(always, "c d", withSidecar("s"), withInit("i")),
			containers{
				"s": {Exits: exits(1, 1)}, "i": {Exits: exits(6, 0)}, "d": {StartAfter: seconds(2)},
			}, []expectation{
				{5, "Pending S s:CrashLoopBackOff#1<Error(1) i:Running+started c:PodInitializing d:PodInitializing",
					nil},
				{6, "Pending SI s:CrashLoopBackOff#1<Error(1) i:Completed(0)+ready c:Running+ready d:PodInitializing",
					nil},
				{8, "Running SI s:CrashLoopBackOff#1<Error(1) i:Completed(0)+ready c:Running+ready d:Running+ready",
					nil},
			}, false},
		{"stays-initialized", newPod(always, "c", withSidecar("s")),
			containers{"s": {Exits: exits(2, 1)}, "c": {Exits: exits(2, 1)}}, []expectation{
				{3, "Running SIRC s:Running+ready#1<Error(1) c:Running+ready#1<Error(1)", nil},
				{6, "Running SI s:CrashLoopBackOff#1<Error(1) c:CrashLoopBackOff#1<Error(1)", nil},
			}, false},
		{"sidecar-in-back-off-is-lost", newPod(never, "c", withSidecar("s")),
			containers{"s": {Exits: exits(1, 2)}, "c": {Exits: exits(8, 1)}}, []expectation{
				{7, "Running SI s:CrashLoopBackOff#1<Error(2) c:Running+ready", nil},
				{8, "Failed I s:ContainerStatusUnknown(137)#1<Error(2) c:Error(1)", nil},
			}, false},
		{"init-fails-beside-a-sidecar", newPod(never, "c", withSidecar("s"), withInit("i")),
			containers{"i": {Exits: exits(3, 1)}, "s": {Stops: scenario.Stop{After: seconds(3)}}}, []expectation{
				{3, "Pending S s:Running+ready i:Error(1) c:PodInitializing", nil},
				{6, "Failed  s:Completed(0) i:Error(1) c:PodInitializing", nil},
			}, false},

		{"job", newPod(never, "c"), containers{"c": {Exits: exits(5, 0)}}, []expectation{
			{4, "Running SIRC c:Running+ready", nil}, {5, "Succeeded I c:Completed(0)", nil},
			{1e8, "Succeeded I c:Completed(0)", nil},
		}, false},
		{"job-fails", newPod(never, "c d"),
			containers{"c": {Exits: exits(5, 0)}, "d": {Exits: &scenario.Exit{After: seconds(7), Reason: "OOMKilled"}}},
			[]expectation{
				{5, "Running SI c:Completed(0) d:Running+ready", nil},
				{7, "Failed I c:Completed(0) d:OOMKilled(137)", nil},
			}, false},
		{"job-succeeds-in-the-end", newPod(onFailure, "c"),
			containers{"c": {Exits: &scenario.Exit{After: seconds(5), Code: 1, Times: 1}}}, []expectation{
				{5, "Running SI c:Error(1)", nil}, {6, "Running SIRC c:Running+ready#1<Error(1)", nil},
			}, false},
		{"on-failure-ends-well", newPod(onFailure, "c"), containers{"c": {Exits: exits(5, 0)}},
			[]expectation{{5, "Succeeded I c:Completed(0)", nil}}, false},
		{"rule-restarts", newPod(never, "c", func(pod *v1.Pod) {
			pod.Spec.Containers[0].RestartPolicy = ptr.To(v1.ContainerRestartPolicyNever)
			pod.Spec.Containers[0].RestartPolicyRules = []v1.ContainerRestartRule{{
				Action: v1.ContainerRestartRuleActionRestart,
				ExitCodes: &v1.ContainerRestartRuleOnExitCodes{Operator: v1.ContainerRestartRuleOnExitCodesOpIn,
					Values: []int32{42}},
			}}
		}), containers{"c": {Exits: &scenario.Exit{After: seconds(5), Code: 42, Times: 1}}}, []expectation{
			{5, "Running SI c:Error(42)", nil}, {6, "Running SIRC c:Running+ready#1<Error(42)", nil},
		}, false},

		{"crash-loop", newPod(always, "c"), containers{"c": {Exits: exits(1, 7)}}, []expectation{
			{1, "Running SI c:Error(7)", nil},
			{2, "Running SIRC c:Running+ready#1<Error(7)", nil},
			{3, "Running SI c:Error(7)#1<Error(7)", nil},
			{4, "Running SI c:CrashLoopBackOff#1<Error(7)", nil},
			{13, "Running SIRC c:Running+ready#2<Error(7)", nil},  // after a back-off of 10 s
			{34, "Running SIRC c:Running+ready#3<Error(7)", nil},  // 20
			{75, "Running SIRC c:Running+ready#4<Error(7)", nil},  // 40
			{156, "Running SIRC c:Running+ready#5<Error(7)", nil}, // 80
			{316, "Running SI c:CrashLoopBackOff#5<Error(7)", nil},
			{317, "Running SIRC c:Running+ready#6<Error(7)", nil}, // 160
			{618, "Running SIRC c:Running+ready#7<Error(7)", nil}, // 300
			{919, "Running SIRC c:Running+ready#8<Error(7)", nil},
			{618 + 301*1000, "Running SIRC c:Running+ready#1007<Error(7)", nil},
		}, false},
		{"ends-well-again-and-again", newPod(always, "c"), containers{"c": {Exits: exits(1, 0)}},
			[]expectation{{4, "Running SI c:CrashLoopBackOff#1<Completed(0)", nil}}, false},
		{"back-off-is-forgiven", newPod(always, "c"), containers{"c": {Exits: exits(601, 1)}}, []expectation{
			{602, "Running SIRC c:Running+ready#1<Error(1)", nil},
			{1204, "Running SIRC c:Running+ready#2<Error(1)", nil},
			{1806, "Running SIRC c:Running+ready#3<Error(1)", nil},
		}, false},
		{"crashes-twice", newPod(always, "c"),
			containers{"c": {Exits: &scenario.Exit{After: seconds(1), Code: 1, Times: 2}}}, []expectation{
				{12, "Running SI c:CrashLoopBackOff#1<Error(1)", nil},
				{1e8, "Running SIRC c:Running+ready#2<Error(1)", nil},
			}, false},
		{"crashes-at-once", newPod(always, "c"), containers{"c": {Exits: exits(0, 1)}},
			[]expectation{{0, "Running SI c:Error(1)", nil}, {1, "Running SI c:Error(1)#1<Error(1)", nil},
				{11, "Running SI c:Error(1)#2<Error(1)", nil}}, false},

		{"no-image", newPod(always, "c d"), containers{"c": {State: "ImagePullBackOff"}},
			[]expectation{{1e6, "Pending SI c:ImagePullBackOff d:Running+ready", nil}}, false},
		{"crash-looping-since-ever", newPod(always, "c"), containers{"c": {State: "CrashLoopBackOff"}},
			[]expectation{{0, "Running SI c:CrashLoopBackOff#7<Error(1)", nil}}, false},
		{"killed-for-memory", newPod(always, "c"), containers{"c": {State: "OOMKilled"}},
			[]expectation{{1e6, "Running SI c:OOMKilled(137)", nil}}, false},
		{"completed", newPod(never, "c"), containers{"c": {State: "Completed"}},
			[]expectation{{0, "Succeeded I c:Completed(0)", nil}}, false},

		{"deadline", newPod(always, "c", deadline(10)), nil, []expectation{
			{9, "Running SIRC c:Running+ready", nil}, {10, "Failed/DeadlineExceeded I c:Completed(0)", nil},
		}, false},
		{"deadline-takes-time", newPod(always, "c", deadline(10)),
			containers{"c": {Stops: scenario.Stop{After: seconds(5)}}}, []expectation{
				{10, "Running SI c:Running+ready", nil}, {15, "Failed/DeadlineExceeded I c:Completed(0)", nil},
			}, false},
		{"deadline-before-it-ran", newPod(always, "c", deadline(10)), containers{"c": {State: "ImagePullBackOff"}},
			[]expectation{
				{10, "Failed/DeadlineExceeded I c:ContainerStatusUnknown(137)", nil},
			}, false},

		{"deadline-in-back-off", newPod(always, "c", deadline(10)), containers{"c": {Exits: exits(1, 7)}},
			[]expectation{
				{9, "Running SI c:CrashLoopBackOff#1<Error(7)", nil},
				{10, "Failed/DeadlineExceeded I c:ContainerStatusUnknown(137)#1<Error(7)", nil},
			}, false},
		{"deadline-while-it-initializes", newPod(always, "c", withInit("i"), deadline(10)),
			containers{"i": {Exits: exits(60, 0)}}, []expectation{
				{10, "Failed/DeadlineExceeded I i:Completed(0)+ready c:PodInitializing", nil},
			}, false},
		{"deadline-when-it-is-initialized", newPod(always, "c", withInit("i"), deadline(10)),
			containers{"c": {StartAfter: seconds(60)}}, []expectation{
				{10, "Failed/DeadlineExceeded I i:Completed(0)+ready c:ContainerStatusUnknown(137)", nil},
			}, false},

		{"deleted", newPod(always, "c"), nil, []expectation{{5, "Succeeded I c:Completed(0)", deletedAt(5, 30)}}, true},
		{"deleted-slowly", newPod(always, "c d"), containers{"c": {Stops: scenario.Stop{After: seconds(8), Code: 143}}},
			[]expectation{
				{5, "Running SIRC c:Running+ready d:Running+ready", deletedAt(5, 30)},
				{12.9, "Running SIRC c:Running+ready d:Running+ready", nil},
				{13, "Failed I c:Error(143) d:Completed(0)", nil},
			}, true},
		{"deleted-and-killed", newPod(always, "c"), containers{"c": {Stops: scenario.Stop{After: seconds(60)}}},
			[]expectation{
				{34, "Running SIRC c:Running+ready", deletedAt(5, 30)}, {35, "Failed I c:Error(137)", nil},
			}, true},
		{"deleted-again-with-less-grace", newPod(always, "c"),
			containers{"c": {Stops: scenario.Stop{After: seconds(60)}}}, []expectation{
				// the container ignores SIGTERM until it is killed
				{6, "Running SIRC c:Running+ready", deletedAt(5, 30)},
				{10, "Running SIRC c:Running+ready", deletedAt(10, 3)},
				{34, "Running SIRC c:Running+ready", nil}, {35, "Failed I c:Error(137)", nil},
			}, true},
		{"ready-while-it-stops", newPod(always, "c d", probes(0, 8)),
			containers{"c": {Stops: scenario.Stop{After: seconds(5)}}, "d": {Stops: scenario.Stop{After: seconds(60)}}},
			[]expectation{
				{5, "Running SI c:Running+started d:Running+ready", deletedAt(5, 20)},
				{8, "Running SIRC c:Running+ready d:Running+ready", nil},
				{25, "Failed I c:Completed(0) d:Error(137)", nil},
			}, true},
		{"never-started-while-it-stops", newPod(always, "c", probes(8, 9)),
			containers{"c": {Stops: scenario.Stop{After: seconds(60)}}}, []expectation{
				{5, "Running SI c:Running", deletedAt(5, 20)}, {24, "Running SI c:Running", nil},
				{25, "Failed I c:Error(137)", nil},
			}, true},
		{"deleted-by-force", newPod(always, "c"), containers{"c": {Stops: scenario.Stop{After: seconds(60)}}},
			[]expectation{{5, "Failed I c:Error(137)", deletedAt(5, 0)}}, true},
		{"deleted-with-sidecars", newPod(always, "c", withSidecar("s"), withSidecar("t")), containers{
			"c": {Stops: scenario.Stop{After: seconds(2)}}, "s": {Stops: scenario.Stop{After: seconds(4)}},
			"t": {Stops: scenario.Stop{After: seconds(3)}},
		}, []expectation{
			{13, "Running SIRC s:Running+ready t:Running+ready c:Running+ready", deletedAt(5, 30)},
			{14, "Succeeded I s:Completed(0) t:Completed(0) c:Completed(0)", nil},
		}, true},
		{"deleted-and-killed-with-sidecar", newPod(always, "c", withSidecar("s")),
			containers{"c": {Stops: scenario.Stop{After: seconds(60)}},
				"s": {Stops: scenario.Stop{After: seconds(60)}}}, []expectation{
				// the sidecar gets the minimum of two seconds after the main container
				{16.9, "Running SIRC s:Running+ready c:Running+ready", deletedAt(5, 10)},
				{17, "Failed I s:Error(137) c:Error(137)", nil},
			}, true},
		{"deleted-with-hook", newPod(always, "c", func(pod *v1.Pod) {
			pod.Spec.Containers[0].Lifecycle = &v1.Lifecycle{PreStop: &v1.LifecycleHandler{Sleep: &v1.SleepAction{Seconds: 6}}}
		}), nil, []expectation{{10, "Running SIRC c:Running+ready", deletedAt(5, 30)},
			{11, "Succeeded I c:Completed(0)", nil}}, true},
		{"deleted-while-it-waits", newPod(always, "c"), containers{"c": {StartAfter: seconds(60)}}, []expectation{
			{5, "Failed I c:ContainerStatusUnknown(137)", deletedAt(5, 30)},
			{100, "Failed I c:ContainerStatusUnknown(137)", nil},
		}, true},
		{"deleted-while-it-initializes", newPod(always, "c", withInit("i j")), containers{"i": {Exits: exits(60, 0)}},
			[]expectation{
				{5, "Failed  i:Completed(0)+ready j:PodInitializing c:PodInitializing", deletedAt(5, 30)},
			}, true},
		{"deleted-in-back-off", newPod(always, "c"), containers{"c": {Exits: exits(1, 7)}}, []expectation{
			{5, "Running SI c:CrashLoopBackOff#1<Error(7)", nil},
			{6, "Failed I c:Error(7)#1<Error(7)", deletedAt(6, 30)}, {100, "Failed I c:Error(7)#1<Error(7)", nil},
		}, true},
		{"deleted-slowly-in-back-off", newPod(always, "c d"),
			containers{"c": {Exits: exits(1, 7)}, "d": {Stops: scenario.Stop{After: seconds(3)}}}, []expectation{
				{5, "Running SI c:CrashLoopBackOff#1<Error(7) d:Running+ready", nil},
				{6, "Running SI c:Error(7)#1<Error(7) d:Running+ready", deletedAt(6, 30)},
				{9, "Failed I c:Error(7)#1<Error(7) d:Completed(0)", nil},
			}, true},
		{"deleted-after-its-deadline", newPod(always, "c d", deadline(4)),
			containers{"c": {Exits: exits(1, 7)}, "d": {Stops: scenario.Stop{After: seconds(60)}}}, []expectation{
				{5, "Running SI c:CrashLoopBackOff#1<Error(7) d:Running+ready", nil},
				// the container ignores SIGTERM until it is killed
				{6, "Running SI c:CrashLoopBackOff#1<Error(7) d:Running+ready", deletedAt(6, 1)},
				{33, "Running SI c:CrashLoopBackOff#1<Error(7) d:Running+ready", nil},
				{34, "Failed/DeadlineExceeded I c:ContainerStatusUnknown(137)#1<Error(7) d:Error(137)", nil},
			}, true},
		{"deleted-after-the-end", newPod(never, "c"), containers{"c": {Exits: exits(1, 7)}}, []expectation{
			{1, "Failed I c:Error(7)", nil}, {6, "Failed I c:Error(7)", deletedAt(6, 30)},
		}, true},
		{"marked-failed-in-the-api", newPod(always, "c"), containers{"c": {Stops: scenario.Stop{After: seconds(2)}}},
			[]expectation{
				{5, "Failed/Evicted SI c:Running+ready",
					func(pod *v1.Pod) { pod.Status.Phase, pod.Status.Reason = v1.PodFailed, "Evicted" }},
				{7, "Failed/Evicted I c:Completed(0)", nil},
			}, false},

		{"ephemeral", newPod(always, "c"), nil, []expectation{
			{5, "Running SIRC c:Running+ready debug:Running", withEphemeral("debug")},
			{100, "Running SIRC c:Running+ready debug:Running", nil},
			{105, "Succeeded I c:Completed(0) debug:Completed(0)", deletedAt(105, 30)},
		}, true},
		{"ephemeral-ends", newPod(always, "c"), containers{"debug": {StartAfter: seconds(1), Exits: exits(3, 1)}},
			[]expectation{
				{5, "Running SIRC c:Running+ready debug:ContainerCreating", withEphemeral("debug")},
				{6, "Running SIRC c:Running+ready debug:Running", nil},
				{100, "Running SIRC c:Running+ready debug:Error(1)", nil},
			}, false},
		{"another-image", newPod(always, "c"), nil, []expectation{
			{5, "Running SIRC c:Running+ready#1<Completed(0)",
				func(pod *v1.Pod) { pod.Spec.Containers[0].Image = "example.com/c:2" }},
		}, false},
		{"gate", newPod(always, "c", func(pod *v1.Pod) {
			pod.Spec.ReadinessGates = []v1.PodReadinessGate{{ConditionType: "example.com/gate"}}
		}), nil, []expectation{
			{0, "Running SIC c:Running+ready", nil},
			{5, "Running SIRC c:Running+ready", func(pod *v1.Pod) {
				pod.Status.Conditions = []v1.PodCondition{{Type: "example.com/gate", Status: v1.ConditionTrue}}
			}},
		}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			pod := test.pod
			l, err := podlife.New(pod, test.containers, settings, birth)
			if err != nil {
				t.Fatal(err)
			}
			var gone bool
			for _, m := range test.story {
				now := birth.Add(time.Duration(m.at * float64(time.Second)))
				if m.pod != nil {
					pod = pod.DeepCopy()
					m.pod(pod)
					l.Update(pod, now)
				}
				var status v1.PodStatus
				status, _, gone = l.At(now)
				if got := inWords(status); got != m.want {
					t.Fatalf("after %v s:\n got %s\nwant %s", m.at, got, m.want)
				}
			}
			if gone != test.gone {
				t.Errorf("gone = %v, want %v", gone, test.gone)
			}
		})
	}
}

var settings = podlife.Settings{HostIPs: []string{"192.0.2.1", "2001:db8::1"}, PodIPs: []string{"10.0.0.7"}}

func probes(startup, readiness int32) func(*v1.Pod) {
	return func(pod *v1.Pod) {
		c := &pod.Spec.Containers[0]
		c.StartupProbe, c.ReadinessProbe = &v1.Probe{InitialDelaySeconds: startup},
			&v1.Probe{InitialDelaySeconds: readiness}
	}
}

func deadline(seconds int64) func(*v1.Pod) {
	return func(pod *v1.Pod) { pod.Spec.ActiveDeadlineSeconds = &seconds }
}

func withEphemeral(name string) func(*v1.Pod) {
	return func(pod *v1.Pod) {
		pod.Generation++
		pod.Spec.EphemeralContainers = append(pod.Spec.EphemeralContainers,
			v1.EphemeralContainer{EphemeralContainerCommon: v1.EphemeralContainerCommon{Name: name, Image: "busybox"}})
	}
}

// TestInvalidDescription checks that errors name the container and the field.
func TestInvalidDescription(t *testing.T) {
	_, err := podlife.New(newPod(v1.RestartPolicyAlways, "c"),
		map[string]scenario.Container{"c": {Exits: exits(-1, 0)}}, settings, birth)
	if want := "container c of pod default/p: exits.after: -1s: must be from 0 to"; err == nil ||
		!strings.Contains(err.Error(), want) {
		t.Errorf("error %v, want %s", err, want)
	}
}

// TestAdopted checks that a life continues from a pod's status as if the process had never stopped.
func TestAdopted(t *testing.T) {
	containers := map[string]scenario.Container{"c": {Exits: exits(1, 7)}}
	pod := newPod(v1.RestartPolicyAlways, "c")
	l, err := podlife.New(pod, containers, settings, birth.Add(300*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	status, _, _ := l.At(birth.Add(5 * time.Second))
	pod = pod.DeepCopy()
	pod.Status = *status.DeepCopy()

	later := birth.Add(10 * time.Hour)
	after, err := podlife.New(pod, containers, settings, later)
	if err != nil {
		t.Fatal(err)
	}
	want, wantNext, _ := l.At(later)
	got, next, _ := after.At(later)
	if !equality.Semantic.DeepEqual(got, want) || !next.Equal(wantNext) {
		t.Errorf("after adoption: %s, next change at %v\nwant            %s, next change at %v", inWords(got), next,
			inWords(want), wantNext)
	}
	if got.ContainerStatuses[0].RestartCount < 100 {
		t.Errorf("status in ten hours: %s", inWords(got))
	}
}

// TestRejectedStays checks that a pod that had ended before its life began keeps its status.
func TestRejectedStays(t *testing.T) {
	pod := newPod(v1.RestartPolicyAlways, "c")
	pod.Status = v1.PodStatus{Phase: v1.PodFailed, Reason: "OutOfcpu", Message: "Pod was rejected",
		StartTime: ptr.To(metav1.NewTime(birth))}
	l, err := podlife.New(pod, nil, settings, birth)
	if err != nil {
		t.Fatal(err)
	}
	for _, deleted := range []bool{false, true} {
		if deleted {
			pod = pod.DeepCopy()
			deletedAt(0, 60)(pod)
			l.Update(pod, birth.Add(time.Hour))
		}
		status, next, gone := l.At(birth.Add(time.Hour))
		if !equality.Semantic.DeepEqual(status, pod.Status) || !next.IsZero() || gone != deleted {
			t.Errorf("deleted %v: status %s, next change at %v, gone %v", deleted, inWords(status), next, gone)
		}
	}
}

// TestDeletedBeforeStart checks that no container starts in a pod that was deleted before the node saw the pod.
func TestDeletedBeforeStart(t *testing.T) {
	l, err := podlife.New(newPod(v1.RestartPolicyAlways, "c", deletedAt(0, 60)), nil, settings, birth)
	if err != nil {
		t.Fatal(err)
	}
	status, _, gone := l.At(birth)
	if got, want := inWords(status), "Failed I c:ContainerStatusUnknown(137)"; got != want || !gone {
		t.Errorf("status %s, gone %v, want %s", got, gone, want)
	}
}
