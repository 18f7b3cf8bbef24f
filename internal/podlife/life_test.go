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

// newPod makes a pod. The argument "names" contains the names of the main containers, separated by spaces. Then newPod
// calls the functions in "and" to change the pod.
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

// deletedAt returns a function that marks a pod as deleted. The argument "at" is the time of the deletion in seconds
// after the creation of the pod, and "grace" is the grace period in seconds.
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

// The function "exits" returns the description of a container that ends after a number of seconds with an exit code.
func exits(after float64, code int32) *scenario.Exit {
	return &scenario.Exit{After: seconds(after), Code: code}
}

// inWords returns a status on one line: its phase, a letter for each condition that is true (S for
// PodReadyToStartContainers, I for Initialized, R for Ready, C for ContainersReady), and the states of its containers.
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

// expectation is the status that a pod should have at a time, in seconds since the pod's creation. If the field "pod"
// is not nil, it is a function that changes the pod before that time.
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
		{name: "runs", pod: newPod(always, "c"), story: []expectation{{want: "Running SIRC c:Running+ready"}, {at: 1e8,
			want: "Running SIRC c:Running+ready"}}},
		{name: "two-containers-by-name", pod: newPod(always, "b a"),
			story: []expectation{{want: "Running SIRC a:Running+ready b:Running+ready"}}},
		{name: "starts-late", pod: newPod(always, "a b"), containers: containers{"b": {StartAfter: seconds(3.5)}},
			story: []expectation{
				{want: "Pending SI a:Running+ready b:ContainerCreating"},
				{at: 3.4, want: "Pending SI a:Running+ready b:ContainerCreating"},
				{at: 3.5, want: "Running SIRC a:Running+ready b:Running+ready"},
			}},
		{name: "ready-late", pod: newPod(always, "c"), containers: containers{"c": {ReadyAfter: ptr.To(seconds(5))}},
			story: []expectation{
				{at: 4.9, want: "Running SI c:Running+started"}, {at: 5, want: "Running SIRC c:Running+ready"},
			}},
		{name: "probes", pod: newPod(always, "c", probes(3, 6)), story: []expectation{
			{want: "Running SI c:Running"}, {at: 3, want: "Running SI c:Running+started"},
			{at: 6, want: "Running SIRC c:Running+ready"},
		}},
		{name: "probes-that-need-twice", pod: newPod(always, "c", func(pod *v1.Pod) {
			pod.Spec.Containers[0].ReadinessProbe = &v1.Probe{SuccessThreshold: 3, PeriodSeconds: 5}
		}), story: []expectation{{at: 9, want: "Running SI c:Running+started"}, {at: 10,
			want: "Running SIRC c:Running+ready"}}},
		{name: "ready-in-spite-of-probes", pod: newPod(always, "c", probes(3, 6)),
			containers: containers{"c": {ReadyAfter: ptr.To(seconds(0))}}, story: []expectation{
				{want: "Running SIRC c:Running+ready"},
			}},

		{name: "init-containers", pod: newPod(always, "c", withInit("i j")),
			containers: containers{"i": {Exits: exits(2, 0)}, "j": {StartAfter: seconds(3), Exits: exits(1, 0)}},
			story: []expectation{
				{want: "Pending S i:Running+started j:PodInitializing c:PodInitializing"},
				{at: 2, want: "Pending S i:Completed(0)+ready j:PodInitializing c:PodInitializing"},
				{at: 5, want: "Pending S i:Completed(0)+ready j:Running+started c:PodInitializing"},
				{at: 6, want: "Running SIRC i:Completed(0)+ready j:Completed(0)+ready c:Running+ready"},
			}},
		{name: "init-containers-at-once", pod: newPod(always, "c", withInit("i j")), story: []expectation{
			{want: "Running SIRC i:Completed(0)+ready j:Completed(0)+ready c:Running+ready"},
		}},
		{name: "init-fails-for-good", pod: newPod(never, "c", withInit("i j")),
			containers: containers{"i": {Exits: exits(2, 3)}},
			story: []expectation{
				{at: 1, want: "Pending S i:Running+started j:PodInitializing c:PodInitializing"},
				{at: 2, want: "Failed  i:Error(3) j:PodInitializing c:PodInitializing"},
			}},
		{name: "init-fails-twice", pod: newPod(onFailure, "c", withInit("i")),
			containers: containers{"i": {Exits: &scenario.Exit{After: seconds(2), Code: 1, Times: 2}}},
			story: []expectation{
				{at: 2, want: "Pending S i:Error(1) c:PodInitializing"},
				{at: 3, want: "Pending S i:Running+started#1<Error(1) c:PodInitializing"},
				{at: 6, want: "Pending S i:CrashLoopBackOff#1<Error(1) c:PodInitializing"},
				{at: 15, want: "Pending S i:Running+started#2<Error(1) c:PodInitializing"},
				{at: 17, want: "Running SIRC i:Completed(0)+ready#2<Error(1) c:Running+ready"},
			}},
		{name: "init-hangs", pod: newPod(always, "c", withInit("i")), containers: containers{"i": {State: "Running"}},
			story: []expectation{{at: 1e6, want: "Pending S i:Running+started c:PodInitializing"}}},

		{name: "sidecar", pod: newPod(never, "c", withSidecar("s")),
			containers: containers{"c": {Exits: exits(5, 0)}, "s": {Stops: scenario.Stop{After: seconds(2)}}},
			story: []expectation{
				{want: "Running SIRC s:Running+ready c:Running+ready"},
				{at: 5, want: "Running SI s:Running+ready c:Completed(0)"},
				{at: 7, want: "Succeeded I s:Completed(0) c:Completed(0)"},
			}},
		{name: "sidecar-between", pod: newPod(always, "c", withInit("i"), withSidecar("s"), withInit("j")),
			containers: containers{"j": {Exits: exits(4, 0)}, "s": {StartAfter: seconds(1)}}, story: []expectation{
				{want: "Pending S i:Completed(0)+ready s:PodInitializing j:PodInitializing c:PodInitializing"},
				{at: 1, want: "Pending S i:Completed(0)+ready s:Running+ready j:Running+started c:PodInitializing"},
				{at: 5, want: "Running SIRC i:Completed(0)+ready s:Running+ready j:Completed(0)+ready c:Running+ready"},
			}},
		{name: "sidecar-with-startup-probe", pod: newPod(always, "c", withSidecar("s"), func(pod *v1.Pod) {
			pod.Spec.InitContainers[0].StartupProbe = &v1.Probe{InitialDelaySeconds: 4}
		}), story: []expectation{
			{at: 3, want: "Pending S s:Running c:PodInitializing"}, {at: 4,
				want: "Running SIRC s:Running+ready c:Running+ready"},
		}},
		{name: "sidecar-crashes", pod: newPod(always, "c", withSidecar("s")),
			containers: containers{"s": {Exits: &scenario.Exit{After: seconds(5), Code: 1, Times: 1}}},
			story: []expectation{
				{at: 5, want: "Running SI s:Error(1) c:Running+ready"},
				{at: 6, want: "Running SIRC s:Running+ready#1<Error(1) c:Running+ready"},
			}},

		{name: "sidecar-ends-with-0-again-and-again", pod: newPod(always, "c", withSidecar("s")),
			containers: containers{"s": {Exits: exits(2, 0)}}, story: []expectation{
				{at: 2, want: "Running SI s:Completed(0) c:Running+ready"},
				{at: 3, want: "Running SIRC s:Running+ready#1<Completed(0) c:Running+ready"},
				// During the back-off of a sidecar that ended with code 0, its state is Completed, not
				// CrashLoopBackOff.
				{at: 14, want: "Running SI s:Completed(0)#1<Completed(0) c:Running+ready"},
				{at: 15, want: "Running SIRC s:Running+ready#2<Completed(0) c:Running+ready"},
			}},
		{name: "sidecar-in-back-off-does-not-delay-others", pod: newPod(always, "c d", withSidecar("s"), withInit("i")),
			containers: containers{
				"s": {Exits: exits(1, 1)}, "i": {Exits: exits(6, 0)}, "d": {StartAfter: seconds(2)},
			}, story: []expectation{
				{at: 5,
					want: "Pending S s:CrashLoopBackOff#1<Error(1) " +
						"i:Running+started c:PodInitializing d:PodInitializing"},
				{at: 6,
					want: "Pending SI s:CrashLoopBackOff#1<Error(1) " +
						"i:Completed(0)+ready c:Running+ready d:PodInitializing"},
				{at: 8,
					want: "Running SI s:CrashLoopBackOff#1<Error(1) " +
						"i:Completed(0)+ready c:Running+ready d:Running+ready"},
			}},
		{name: "stays-initialized", pod: newPod(always, "c", withSidecar("s")),
			containers: containers{"s": {Exits: exits(2, 1)}, "c": {Exits: exits(2, 1)}}, story: []expectation{
				{at: 3, want: "Running SIRC s:Running+ready#1<Error(1) c:Running+ready#1<Error(1)"},
				{at: 6, want: "Running SI s:CrashLoopBackOff#1<Error(1) c:CrashLoopBackOff#1<Error(1)"},
			}},
		{name: "sidecar-in-back-off-is-lost", pod: newPod(never, "c", withSidecar("s")),
			containers: containers{"s": {Exits: exits(1, 2)}, "c": {Exits: exits(8, 1)}}, story: []expectation{
				{at: 7, want: "Running SI s:CrashLoopBackOff#1<Error(2) c:Running+ready"},
				{at: 8, want: "Failed I s:ContainerStatusUnknown(137)#1<Error(2) c:Error(1)"},
			}},
		{name: "init-fails-beside-a-sidecar", pod: newPod(never, "c", withSidecar("s"), withInit("i")),
			containers: containers{"i": {Exits: exits(3, 1)}, "s": {Stops: scenario.Stop{After: seconds(3)}}},
			story: []expectation{
				{at: 3, want: "Pending S s:Running+ready i:Error(1) c:PodInitializing"},
				{at: 6, want: "Failed  s:Completed(0) i:Error(1) c:PodInitializing"},
			}},

		{name: "job", pod: newPod(never, "c"), containers: containers{"c": {Exits: exits(5, 0)}}, story: []expectation{
			{at: 4, want: "Running SIRC c:Running+ready"}, {at: 5, want: "Succeeded I c:Completed(0)"},
			{at: 1e8, want: "Succeeded I c:Completed(0)"},
		}},
		{name: "job-fails", pod: newPod(never, "c d"),
			containers: containers{"c": {Exits: exits(5, 0)}, "d": {Exits: &scenario.Exit{After: seconds(7),
				Reason: "OOMKilled"}}},
			story: []expectation{
				{at: 5, want: "Running SI c:Completed(0) d:Running+ready"},
				{at: 7, want: "Failed I c:Completed(0) d:OOMKilled(137)"},
			}},
		{name: "job-succeeds-in-the-end", pod: newPod(onFailure, "c"),
			containers: containers{"c": {Exits: &scenario.Exit{After: seconds(5), Code: 1, Times: 1}}},
			story: []expectation{
				{at: 5, want: "Running SI c:Error(1)"}, {at: 6, want: "Running SIRC c:Running+ready#1<Error(1)"},
			}},
		{name: "on-failure-ends-well", pod: newPod(onFailure, "c"), containers: containers{"c": {Exits: exits(5, 0)}},
			story: []expectation{{at: 5, want: "Succeeded I c:Completed(0)"}}},
		{name: "rule-restarts", pod: newPod(never, "c", func(pod *v1.Pod) {
			pod.Spec.Containers[0].RestartPolicy = ptr.To(v1.ContainerRestartPolicyNever)
			pod.Spec.Containers[0].RestartPolicyRules = []v1.ContainerRestartRule{{
				Action: v1.ContainerRestartRuleActionRestart,
				ExitCodes: &v1.ContainerRestartRuleOnExitCodes{Operator: v1.ContainerRestartRuleOnExitCodesOpIn,
					Values: []int32{42}},
			}}
		}), containers: containers{"c": {Exits: &scenario.Exit{After: seconds(5), Code: 42, Times: 1}}},
			story: []expectation{
				{at: 5, want: "Running SI c:Error(42)"}, {at: 6, want: "Running SIRC c:Running+ready#1<Error(42)"},
			}},

		{name: "crash-loop", pod: newPod(always, "c"), containers: containers{"c": {Exits: exits(1, 7)}},
			story: []expectation{
				{at: 1, want: "Running SI c:Error(7)"},
				{at: 2, want: "Running SIRC c:Running+ready#1<Error(7)"},
				{at: 3, want: "Running SI c:Error(7)#1<Error(7)"},
				{at: 4, want: "Running SI c:CrashLoopBackOff#1<Error(7)"},
				{at: 13, want: "Running SIRC c:Running+ready#2<Error(7)"},  // after a back-off of 10 s
				{at: 34, want: "Running SIRC c:Running+ready#3<Error(7)"},  // 20
				{at: 75, want: "Running SIRC c:Running+ready#4<Error(7)"},  // 40
				{at: 156, want: "Running SIRC c:Running+ready#5<Error(7)"}, // 80
				{at: 316, want: "Running SI c:CrashLoopBackOff#5<Error(7)"},
				{at: 317, want: "Running SIRC c:Running+ready#6<Error(7)"}, // 160
				{at: 618, want: "Running SIRC c:Running+ready#7<Error(7)"}, // 300
				{at: 919, want: "Running SIRC c:Running+ready#8<Error(7)"},
				{at: 618 + 301*1000, want: "Running SIRC c:Running+ready#1007<Error(7)"},
			}},
		{name: "ends-well-again-and-again", pod: newPod(always, "c"), containers: containers{"c": {Exits: exits(1, 0)}},
			story: []expectation{{at: 4, want: "Running SI c:CrashLoopBackOff#1<Completed(0)"}}},
		{name: "back-off-is-forgiven", pod: newPod(always, "c"), containers: containers{"c": {Exits: exits(601, 1)}},
			story: []expectation{
				{at: 602, want: "Running SIRC c:Running+ready#1<Error(1)"},
				{at: 1204, want: "Running SIRC c:Running+ready#2<Error(1)"},
				{at: 1806, want: "Running SIRC c:Running+ready#3<Error(1)"},
			}},
		{name: "crashes-twice", pod: newPod(always, "c"),
			containers: containers{"c": {Exits: &scenario.Exit{After: seconds(1), Code: 1, Times: 2}}},
			story: []expectation{
				{at: 12, want: "Running SI c:CrashLoopBackOff#1<Error(1)"},
				{at: 1e8, want: "Running SIRC c:Running+ready#2<Error(1)"},
			}},
		{name: "crashes-at-once", pod: newPod(always, "c"), containers: containers{"c": {Exits: exits(0, 1)}},
			story: []expectation{{want: "Running SI c:Error(1)"}, {at: 1, want: "Running SI c:Error(1)#1<Error(1)"},
				{at: 11, want: "Running SI c:Error(1)#2<Error(1)"}}},

		{name: "no-image", pod: newPod(always, "c d"), containers: containers{"c": {State: "ImagePullBackOff"}},
			story: []expectation{{at: 1e6, want: "Pending SI c:ImagePullBackOff d:Running+ready"}}},
		{name: "crash-looping-since-ever", pod: newPod(always, "c"),
			containers: containers{"c": {State: "CrashLoopBackOff"}},
			story:      []expectation{{want: "Running SI c:CrashLoopBackOff#7<Error(1)"}}},
		{name: "killed-for-memory", pod: newPod(always, "c"), containers: containers{"c": {State: "OOMKilled"}},
			story: []expectation{{at: 1e6, want: "Running SI c:OOMKilled(137)"}}},
		{name: "completed", pod: newPod(never, "c"), containers: containers{"c": {State: "Completed"}},
			story: []expectation{{want: "Succeeded I c:Completed(0)"}}},

		{name: "deadline", pod: newPod(always, "c", deadline(10)), story: []expectation{
			{at: 9, want: "Running SIRC c:Running+ready"}, {at: 10, want: "Failed/DeadlineExceeded I c:Completed(0)"},
		}},
		{name: "deadline-takes-time", pod: newPod(always, "c", deadline(10)),
			containers: containers{"c": {Stops: scenario.Stop{After: seconds(5)}}}, story: []expectation{
				{at: 10, want: "Running SI c:Running+ready"}, {at: 15,
					want: "Failed/DeadlineExceeded I c:Completed(0)"},
			}},
		{name: "deadline-before-it-ran", pod: newPod(always, "c", deadline(10)),
			containers: containers{"c": {State: "ImagePullBackOff"}},
			story: []expectation{
				{at: 10, want: "Failed/DeadlineExceeded I c:ContainerStatusUnknown(137)"},
			}},

		{name: "deadline-in-back-off", pod: newPod(always, "c", deadline(10)),
			containers: containers{"c": {Exits: exits(1, 7)}},
			story: []expectation{
				{at: 9, want: "Running SI c:CrashLoopBackOff#1<Error(7)"},
				{at: 10, want: "Failed/DeadlineExceeded I c:ContainerStatusUnknown(137)#1<Error(7)"},
			}},
		{name: "deadline-while-it-initializes", pod: newPod(always, "c", withInit("i"), deadline(10)),
			containers: containers{"i": {Exits: exits(60, 0)}}, story: []expectation{
				{at: 10, want: "Failed/DeadlineExceeded I i:Completed(0)+ready c:PodInitializing"},
			}},
		{name: "deadline-when-it-is-initialized", pod: newPod(always, "c", withInit("i"), deadline(10)),
			containers: containers{"c": {StartAfter: seconds(60)}}, story: []expectation{
				{at: 10, want: "Failed/DeadlineExceeded I i:Completed(0)+ready c:ContainerStatusUnknown(137)"},
			}},

		{name: "deleted", pod: newPod(always, "c"), story: []expectation{{at: 5, want: "Succeeded I c:Completed(0)",
			pod: deletedAt(5, 30)}}, gone: true},
		{name: "deleted-slowly", pod: newPod(always, "c d"),
			containers: containers{"c": {Stops: scenario.Stop{After: seconds(8), Code: 143}}},
			story: []expectation{
				{at: 5, want: "Running SIRC c:Running+ready d:Running+ready", pod: deletedAt(5, 30)},
				{at: 12.9, want: "Running SIRC c:Running+ready d:Running+ready"},
				{at: 13, want: "Failed I c:Error(143) d:Completed(0)"},
			}, gone: true},
		{name: "deleted-and-killed", pod: newPod(always, "c"),
			containers: containers{"c": {Stops: scenario.Stop{After: seconds(60)}}},
			story: []expectation{
				{at: 34, want: "Running SIRC c:Running+ready", pod: deletedAt(5, 30)}, {at: 35,
					want: "Failed I c:Error(137)"},
			}, gone: true},
		{name: "deleted-again-with-less-grace", pod: newPod(always, "c"),
			containers: containers{"c": {Stops: scenario.Stop{After: seconds(60)}}}, story: []expectation{
				// the container ignores SIGTERM until it is killed
				{at: 6, want: "Running SIRC c:Running+ready", pod: deletedAt(5, 30)},
				{at: 10, want: "Running SIRC c:Running+ready", pod: deletedAt(10, 3)},
				{at: 34, want: "Running SIRC c:Running+ready"}, {at: 35, want: "Failed I c:Error(137)"},
			}, gone: true},
		{name: "ready-while-it-stops", pod: newPod(always, "c d", probes(0, 8)),
			containers: containers{"c": {Stops: scenario.Stop{After: seconds(5)}},
				"d": {Stops: scenario.Stop{After: seconds(60)}}},
			story: []expectation{
				{at: 5, want: "Running SI c:Running+started d:Running+ready", pod: deletedAt(5, 20)},
				{at: 8, want: "Running SIRC c:Running+ready d:Running+ready"},
				{at: 25, want: "Failed I c:Completed(0) d:Error(137)"},
			}, gone: true},
		{name: "never-started-while-it-stops", pod: newPod(always, "c", probes(8, 9)),
			containers: containers{"c": {Stops: scenario.Stop{After: seconds(60)}}}, story: []expectation{
				{at: 5, want: "Running SI c:Running", pod: deletedAt(5, 20)}, {at: 24, want: "Running SI c:Running"},
				{at: 25, want: "Failed I c:Error(137)"},
			}, gone: true},
		{name: "deleted-by-force", pod: newPod(always, "c"),
			containers: containers{"c": {Stops: scenario.Stop{After: seconds(60)}}},
			story:      []expectation{{at: 5, want: "Failed I c:Error(137)", pod: deletedAt(5, 0)}}, gone: true},
		{name: "deleted-with-sidecars", pod: newPod(always, "c", withSidecar("s"), withSidecar("t")),
			containers: containers{
				"c": {Stops: scenario.Stop{After: seconds(2)}}, "s": {Stops: scenario.Stop{After: seconds(4)}},
				"t": {Stops: scenario.Stop{After: seconds(3)}},
			}, story: []expectation{
				{at: 13, want: "Running SIRC s:Running+ready t:Running+ready c:Running+ready", pod: deletedAt(5, 30)},
				{at: 14, want: "Succeeded I s:Completed(0) t:Completed(0) c:Completed(0)"},
			}, gone: true},
		{name: "deleted-and-killed-with-sidecar", pod: newPod(always, "c", withSidecar("s")),
			containers: containers{"c": {Stops: scenario.Stop{After: seconds(60)}},
				"s": {Stops: scenario.Stop{After: seconds(60)}}}, story: []expectation{
				// the sidecar stops after the main container, and gets the minimum grace period of two seconds
				{at: 16.9, want: "Running SIRC s:Running+ready c:Running+ready", pod: deletedAt(5, 10)},
				{at: 17, want: "Failed I s:Error(137) c:Error(137)"},
			}, gone: true},
		{name: "deleted-with-hook", pod: newPod(always, "c", withHook("c", 6)), story: []expectation{
			{at: 10, want: "Running SIRC c:Running+ready", pod: deletedAt(5, 30)},
			{at: 11, want: "Succeeded I c:Completed(0)"}}, gone: true},
		{name: "deleted-with-hook-of-a-sidecar", pod: newPod(always, "c", withSidecar("s"), withHook("s", 6)),
			containers: containers{"c": {Stops: scenario.Stop{After: seconds(4)}}}, story: []expectation{
				// the hook of the sidecar begins at once, and the sidecar's turn comes before the hook ends
				{at: 10, want: "Running SIRC s:Running+ready c:Running+ready", pod: deletedAt(5, 30)},
				{at: 11, want: "Succeeded I s:Completed(0) c:Completed(0)"},
			}, gone: true},
		{name: "deleted-with-short-hook-of-a-sidecar", pod: newPod(always, "c", withSidecar("s"), withHook("s", 3)),
			containers: containers{"c": {Stops: scenario.Stop{After: seconds(4)}},
				"s": {Stops: scenario.Stop{After: seconds(1)}}},
			story: []expectation{
				// the hook ends before the sidecar's turn
				{at: 9, want: "Running SIRC s:Running+ready c:Running+ready", pod: deletedAt(5, 30)},
				{at: 10, want: "Succeeded I s:Completed(0) c:Completed(0)"},
			}, gone: true},
		{name: "hook-longer-than-the-grace-period", pod: newPod(always, "c", withSidecar("s"), withHook("c", 60)),
			containers: containers{"c": {Stops: scenario.Stop{After: seconds(1)}}}, story: []expectation{
				// at 15, both containers get SIGTERM and two more seconds; the sidecar ends first
				{at: 15, want: "Running SIRC s:Running+ready c:Running+ready", pod: deletedAt(5, 10)},
				{at: 16, want: "Succeeded I s:Completed(0) c:Completed(0)"},
			}, gone: true},
		{name: "sidecar-does-not-wait-for-ephemeral", pod: newPod(always, "c", withSidecar("s"), withEphemeral("debug")),
			containers: containers{"s": {Stops: scenario.Stop{After: seconds(4)}},
				"debug": {Stops: scenario.Stop{After: seconds(3)}}}, story: []expectation{
				{at: 8.9, want: "Running SIRC s:Running+ready c:Running+ready debug:Running", pod: deletedAt(5, 30)},
				{at: 9, want: "Succeeded I s:Completed(0) c:Completed(0) debug:Completed(0)"},
			}, gone: true},
		{name: "deleted-while-it-waits", pod: newPod(always, "c"),
			containers: containers{"c": {StartAfter: seconds(60)}}, story: []expectation{
				{at: 5, want: "Failed I c:ContainerStatusUnknown(137)", pod: deletedAt(5, 30)},
				{at: 100, want: "Failed I c:ContainerStatusUnknown(137)"},
			}, gone: true},
		{name: "deleted-while-it-initializes", pod: newPod(always, "c", withInit("i j")),
			containers: containers{"i": {Exits: exits(60, 0)}},
			story: []expectation{
				{at: 5, want: "Failed  i:Completed(0)+ready j:PodInitializing c:PodInitializing", pod: deletedAt(5,
					30)},
			}, gone: true},
		{name: "deleted-in-back-off", pod: newPod(always, "c"), containers: containers{"c": {Exits: exits(1, 7)}},
			story: []expectation{
				{at: 5, want: "Running SI c:CrashLoopBackOff#1<Error(7)"},
				{at: 6, want: "Failed I c:Error(7)#1<Error(7)", pod: deletedAt(6, 30)}, {at: 100,
					want: "Failed I c:Error(7)#1<Error(7)"},
			}, gone: true},
		{name: "deleted-slowly-in-back-off", pod: newPod(always, "c d"),
			containers: containers{"c": {Exits: exits(1, 7)}, "d": {Stops: scenario.Stop{After: seconds(3)}}},
			story: []expectation{
				{at: 5, want: "Running SI c:CrashLoopBackOff#1<Error(7) d:Running+ready"},
				{at: 6, want: "Running SI c:Error(7)#1<Error(7) d:Running+ready", pod: deletedAt(6, 30)},
				{at: 9, want: "Failed I c:Error(7)#1<Error(7) d:Completed(0)"},
			}, gone: true},
		{name: "deleted-after-its-deadline", pod: newPod(always, "c d", deadline(4)),
			containers: containers{"c": {Exits: exits(1, 7)}, "d": {Stops: scenario.Stop{After: seconds(60)}}},
			story: []expectation{
				{at: 5, want: "Running SI c:CrashLoopBackOff#1<Error(7) d:Running+ready"},
				// the container ignores SIGTERM until it is killed
				{at: 6, want: "Running SI c:CrashLoopBackOff#1<Error(7) d:Running+ready", pod: deletedAt(6, 1)},
				{at: 33, want: "Running SI c:CrashLoopBackOff#1<Error(7) d:Running+ready"},
				{at: 34, want: "Failed/DeadlineExceeded I c:ContainerStatusUnknown(137)#1<Error(7) d:Error(137)"},
			}, gone: true},
		{name: "deleted-after-the-end", pod: newPod(never, "c"), containers: containers{"c": {Exits: exits(1, 7)}},
			story: []expectation{
				{at: 1, want: "Failed I c:Error(7)"}, {at: 6, want: "Failed I c:Error(7)", pod: deletedAt(6, 30)},
			}, gone: true},
		{name: "marked-failed-in-the-api", pod: newPod(always, "c"),
			containers: containers{"c": {Stops: scenario.Stop{After: seconds(2)}}},
			story: []expectation{
				{at: 5, want: "Failed/Evicted SI c:Running+ready",
					pod: func(pod *v1.Pod) { pod.Status.Phase, pod.Status.Reason = v1.PodFailed, "Evicted" }},
				{at: 7, want: "Failed/Evicted I c:Completed(0)"},
			}},

		{name: "ephemeral", pod: newPod(always, "c"), story: []expectation{
			{at: 5, want: "Running SIRC c:Running+ready debug:Running", pod: withEphemeral("debug")},
			{at: 100, want: "Running SIRC c:Running+ready debug:Running"},
			{at: 105, want: "Succeeded I c:Completed(0) debug:Completed(0)", pod: deletedAt(105, 30)},
		}, gone: true},
		{name: "ephemeral-ends", pod: newPod(always, "c"), containers: containers{"debug": {StartAfter: seconds(1),
			Exits: exits(3, 1)}},
			story: []expectation{
				{at: 5, want: "Running SIRC c:Running+ready debug:ContainerCreating", pod: withEphemeral("debug")},
				{at: 6, want: "Running SIRC c:Running+ready debug:Running"},
				{at: 100, want: "Running SIRC c:Running+ready debug:Error(1)"},
			}},
		{name: "another-image", pod: newPod(always, "c"), story: []expectation{
			{at: 5, want: "Running SIRC c:Running+ready#1<Completed(0)",
				pod: func(pod *v1.Pod) { pod.Spec.Containers[0].Image = "example.com/c:2" }},
		}},
		{name: "another-image-then-crash", pod: newPod(always, "c"), containers: containers{"c": {Exits: exits(8, 7)}},
			story: []expectation{
				{at: 5, want: "Running SIRC c:Running+ready#1<Completed(0)", pod: withImage("c", 2)},
				// the container has never ended by itself, so there is no back-off yet
				{at: 14, want: "Running SIRC c:Running+ready#2<Error(7)"},
				{at: 32, want: "Running SIRC c:Running+ready#3<Error(7)"}, // 10
			}},
		{name: "another-image-in-back-off", pod: newPod(always, "c"), containers: containers{"c": {Exits: exits(1, 7)}},
			story: []expectation{
				{at: 80, want: "Running SI c:CrashLoopBackOff#4<Error(7)"},
				{at: 81, want: "Running SIRC c:Running+ready#5<Error(7)", pod: withImage("c", 2)},
				{at: 82, want: "Running SI c:Error(7)#5<Error(7)"},
				{at: 91, want: "Running SI c:CrashLoopBackOff#5<Error(7)"},
				{at: 92, want: "Running SIRC c:Running+ready#6<Error(7)"},  // 10
				{at: 113, want: "Running SIRC c:Running+ready#7<Error(7)"}, // 20
			}},
		{name: "another-image-before-the-back-off", pod: newPod(always, "c"),
			containers: containers{"c": {Exits: exits(1, 7)}}, story: []expectation{
				{at: 3.5, want: "Running SI c:Error(7)#1<Error(7)", pod: withImage("c", 2)},
				{at: 4, want: "Running SIRC c:Running+ready#2<Error(7)"},
				{at: 15, want: "Running SIRC c:Running+ready#3<Error(7)"}, // 10
			}},
		{name: "another-image-of-a-job-that-has-failed", pod: newPod(never, "c d"),
			containers: containers{"c": {Exits: exits(1, 7)}}, story: []expectation{
				{at: 5, want: "Running SI c:Error(7) d:Running+ready", pod: withImage("c", 2)},
			}},
		{name: "another-image-of-init-containers", pod: newPod(always, "c", withInit("i j")),
			containers: containers{"i": {Exits: exits(1, 7)}}, story: []expectation{
				{at: 5, want: "Pending S i:CrashLoopBackOff#1<Error(7) j:PodInitializing c:PodInitializing"},
				{at: 6, want: "Pending S i:Running+started#2<Error(7) j:PodInitializing c:PodInitializing",
					pod: withImage("i", 2)},
				// a kubelet does not stop an init container that runs
				{at: 6.5, want: "Pending S i:Running+started#2<Error(7) j:PodInitializing c:PodInitializing",
					pod: withImage("i", 3)},
			}},
		{name: "gate", pod: newPod(always, "c", func(pod *v1.Pod) {
			pod.Spec.ReadinessGates = []v1.PodReadinessGate{{ConditionType: "example.com/gate"}}
		}), story: []expectation{
			{want: "Running SIC c:Running+ready"},
			{at: 5, want: "Running SIRC c:Running+ready", pod: func(pod *v1.Pod) {
				pod.Status.Conditions = []v1.PodCondition{{Type: "example.com/gate", Status: v1.ConditionTrue}}
			}},
		}},
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
					l.Update(pod, test.containers, now)
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

// withHook returns a function that gives a container a preStop hook, which sleeps for a number of seconds.
func withHook(name string, seconds int64) func(*v1.Pod) {
	return func(pod *v1.Pod) {
		podlife.ContainerSpec(pod, name).Lifecycle = &v1.Lifecycle{
			PreStop: &v1.LifecycleHandler{Sleep: &v1.SleepAction{Seconds: seconds}}}
	}
}

// withImage returns a function that gives a container another image.
func withImage(name string, tag int) func(*v1.Pod) {
	return func(pod *v1.Pod) {
		podlife.ContainerSpec(pod, name).Image = fmt.Sprintf("example.com/%s:%d", name, tag)
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

// TestExit ends a run of a container with the method Exit. A second call with the container ID of that run has no
// effect.
func TestExit(t *testing.T) {
	at := func(seconds float64) time.Time { return birth.Add(time.Duration(seconds * float64(time.Second))) }
	for _, test := range []struct {
		policy       v1.RestartPolicy
		code         int32
		ended, later string
	}{
		{v1.RestartPolicyNever, 0, "Succeeded I c:Completed(0)", "Succeeded I c:Completed(0)"},
		{v1.RestartPolicyNever, 3, "Failed I c:Error(3)", "Failed I c:Error(3)"},
		{v1.RestartPolicyAlways, 3, "Running SI c:Error(3)", "Running SIRC c:Running+ready#1<Error(3)"},
	} {
		l, err := podlife.New(newPod(test.policy, "c"), nil, settings, birth)
		if err != nil {
			t.Fatal(err)
		}
		status, _, _ := l.At(at(5))
		id := status.ContainerStatuses[0].ContainerID
		l.Exit(id, test.code, at(5.5))
		status, _, _ = l.At(at(5.6))
		if got := inWords(status); got != test.ended {
			t.Errorf("%s, code %d: %s, want %s", test.policy, test.code, got, test.ended)
		}
		status, _, _ = l.At(at(7))
		l.Exit(id, 9, at(8))
		status, _, _ = l.At(at(8))
		if got := inWords(status); got != test.later {
			t.Errorf("%s, code %d, later: %s, want %s", test.policy, test.code, got, test.later)
		}
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

// TestAdopted checks that a new Life, made from the status of a pod, continues as if the first Life had never ended.
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

// TestBackOffBeginsAgain checks that the back-off is 10 s again after a run longer than ten minutes, also if a new Life
// is made from the pod's status every second.
func TestBackOffBeginsAgain(t *testing.T) {
	for _, adopts := range []bool{false, true} {
		pod := newPod(v1.RestartPolicyAlways, "c")
		l, err := podlife.New(pod, nil, settings, birth)
		if err != nil {
			t.Fatal(err)
		}
		crash := func(at int) {
			status, _, _ := l.At(birth.Add(time.Duration(at) * time.Second))
			l.Exit(status.ContainerStatuses[0].ContainerID, 1, birth.Add(time.Duration(at)*time.Second))
		}
		var starts []int
		restarts := int32(0)
		for second := range 1000 {
			switch second {
			case 10, 20, 40, 70, 800, 820: // the fourth run is from 60 to 70, the fifth from 110 to 800
				crash(second)
			}
			now := birth.Add(time.Duration(second) * time.Second)
			status, _, _ := l.At(now)
			if c := status.ContainerStatuses[0]; c.RestartCount > restarts {
				starts, restarts = append(starts, second), c.RestartCount
			}
			if adopts {
				pod = pod.DeepCopy()
				pod.Status = *status.DeepCopy()
				if l, err = podlife.New(pod, nil, settings, now); err != nil {
					t.Fatal(err)
				}
			}
		}
		if got, want := fmt.Sprint(starts), "[11 30 60 110 801 830]"; got != want {
			t.Errorf("adopts %v: the container restarted at %s, want %s", adopts, got, want)
		}
	}
}

// TestRejectedStays checks that a pod keeps its status if it had already ended when its Life was made.
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
			l.Update(pod, nil, birth.Add(time.Hour))
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
