package podlife_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"fauxlet/internal/podlife"
	"fauxlet/scenario"
)

// TestProperties checks, with many random pods and scenarios, properties that every simulated pod must have.
func TestProperties(t *testing.T) {
	for seed := range uint64(120) {
		r := rand.New(rand.NewPCG(seed, 0))
		pod, containers := madeUp(r)
		w := &walk{t: t, r: r, pod: pod, containers: containers,
			now: birth.Add(time.Duration(r.IntN(1000)) * time.Millisecond)}
		w.begin()
		for range 40 {
			if w.step(); t.Failed() {
				spec, _ := json.Marshal(pod.Spec)
				scenario, _ := json.Marshal(containers)
				t.Fatalf("seed %d: %s\nscenario %s", seed, spec, scenario)
			}
		}
		w.again()
	}
}

// walk moves one Life forward in steps of random length.
type walk struct {
	t          *testing.T
	r          *rand.Rand
	pod        *v1.Pod
	containers map[string]scenario.Container
	life       *podlife.Life
	began, now time.Time
	status     v1.PodStatus
	next       time.Time
	changed    bool // Update was called
}

func (w *walk) begin() {
	w.began = w.now
	w.life = w.new(w.pod, w.now)
	w.status, w.next, _ = w.life.At(w.now)
	w.adopted()
}

func (w *walk) new(pod *v1.Pod, now time.Time) *podlife.Life {
	l, err := podlife.New(pod, w.containers, settings, now)
	if err != nil {
		w.t.Fatal(err)
	}
	return l
}

func (w *walk) step() {
	before, exact := w.status, false
	switch choice := w.r.IntN(10); {
	case choice == 0: // a long step over many changes
		w.now = w.now.Add(time.Duration(w.r.Int64N(int64(3 * time.Hour))))
	case w.next.IsZero() && choice == 1 && w.pod.DeletionTimestamp == nil || choice == 2 &&
		w.pod.DeletionTimestamp == nil && w.r.IntN(8) == 0:
		w.now = w.now.Add(time.Duration(w.r.Int64N(int64(time.Second))))
		w.pod = w.pod.DeepCopy()
		deletedAt(int64(w.now.Sub(birth)/time.Second), int64(w.r.IntN(20)))(w.pod)
		w.pod.Status = *w.status.DeepCopy()
		w.life.Update(w.pod, w.containers, w.now)
		w.changed = true
	case w.next.IsZero():
		w.now = w.now.Add(time.Duration(w.r.Int64N(int64(time.Hour))))
		w.same(w.now)
	case choice < 6: // a step to the time of the next change
		w.same(w.now.Add(time.Duration(w.r.Int64N(int64(w.next.Sub(w.now))))))
		w.same(w.next.Add(-1))
		w.now, exact = w.next, true
	default:
		w.now = w.now.Add(time.Duration(w.r.Int64N(int64(30 * time.Second))))
	}
	w.status, w.next, _ = w.life.At(w.now)
	if !w.next.IsZero() && !w.next.After(w.now) {
		w.t.Errorf("at %v: the next change is in the past, at %v", w.now, w.next)
	}
	w.compare(before, exact)
	w.adopted()
}

// The method "same" fails the test if the status changes before the announced time of the next change. It looks at the
// status at the time "then", which must be earlier than the announced time.
func (w *walk) same(then time.Time) {
	if status, next, _ := w.life.At(then); !equality.Semantic.DeepEqual(status, w.status) || !next.Equal(w.next) {
		w.t.Errorf("at %v, before the next change at %v: the status is %s, with a next change at %v\nbefore it was %s",
			then, w.next, inWords(status), next, inWords(w.status))
	}
}

// compare checks the current status against the previous status. The argument "exact" is set if the last step of the
// walk ended exactly at the time of a change.
func (w *walk) compare(before v1.PodStatus, exact bool) {
	now := w.status
	if !now.StartTime.Equal(before.StartTime) {
		w.t.Errorf("startTime has changed from %v to %v", before.StartTime, now.StartTime)
	}
	if before.Phase == v1.PodSucceeded || before.Phase == v1.PodFailed {
		before.ObservedGeneration = now.ObservedGeneration
		for i := range before.Conditions {
			before.Conditions[i].ObservedGeneration = now.ObservedGeneration
		}
		if !equality.Semantic.DeepEqual(before, now) {
			w.t.Errorf("the pod had ended, but its status changed from\n%s\nto\n%s", inWords(before), inWords(now))
		}
	}
	for i, c := range now.Conditions {
		old := before.Conditions[i]
		if changed := c.Status != old.Status; exact && changed == c.LastTransitionTime.Equal(&old.LastTransitionTime) &&
			changed != (c.LastTransitionTime.Unix() == old.LastTransitionTime.Unix()) {
			w.t.Errorf("condition %s was %s since %v, and is now %s since %v", c.Type, old.Status,
				old.LastTransitionTime, c.Status, c.LastTransitionTime)
		}
		if exact && c.Status != old.Status && c.LastTransitionTime.Unix() != w.now.Unix() {
			w.t.Errorf("at %v: condition %s is %s since %v, want since now", w.now, c.Type, c.Status,
				c.LastTransitionTime)
		}
		if c.LastTransitionTime.Before(&old.LastTransitionTime) || c.LastTransitionTime.After(w.now) {
			w.t.Errorf("at %v: condition %s was %s since %v, and is now %s since %v", w.now, c.Type, old.Status,
				old.LastTransitionTime, c.Status, c.LastTransitionTime)
		}
	}
	old := map[string]v1.ContainerStatus{}
	for _, c := range containersOf(before) {
		old[c.Name] = c
	}
	for _, c := range containersOf(now) {
		was, there := old[c.Name]
		if !there {
			continue
		}
		if c.RestartCount < was.RestartCount {
			w.t.Errorf("container %s: restartCount has fallen from %d to %d", c.Name, was.RestartCount,
				c.RestartCount)
		}
		if c.RestartCount == was.RestartCount && was.ContainerID != "" && c.ContainerID != was.ContainerID {
			w.t.Errorf("container %s: containerID has changed from %s to %s", c.Name, was.ContainerID, c.ContainerID)
		}
		if w.isFinal(c.Name, was) && c.State.Terminated == nil { // the apiserver rejects such a change
			w.t.Errorf("container %s had ended for good, and is now %s", c.Name, stateInWords(c.State))
		}
		if running := c.State.Running; running != nil &&
			(running.StartedAt.After(w.now) || running.StartedAt.Before(now.StartTime)) {
			w.t.Errorf("at %v: container %s seems to run since %v", w.now, c.Name, running.StartedAt)
		}
		if last := c.LastTerminationState.Terminated; c.State.Running != nil && c.RestartCount > 0 &&
			(last == nil || last.FinishedAt.After(c.State.Running.StartedAt.Time)) {
			w.t.Errorf("container %s runs since %v, but its last run is %v", c.Name, c.State.Running.StartedAt, last)
		}
	}
	phase := func(s v1.PodStatus) int {
		return map[v1.PodPhase]int{v1.PodPending: 0, v1.PodRunning: 1, v1.PodSucceeded: 2, v1.PodFailed: 2}[s.Phase]
	}
	if phase(now) < phase(before) {
		w.t.Errorf("the phase has changed from %s to %s", before.Phase, now.Phase)
	}
}

// isFinal reports whether a container has ended and does not restart.
func (w *walk) isFinal(name string, s v1.ContainerStatus) bool {
	if s.State.Terminated == nil {
		return false
	}
	for kind, c := range podlife.Containers(w.pod) {
		if c.Name == name {
			return !podlife.Restarts(w.pod, kind, c, s.State.Terminated.ExitCode)
		}
	}
	return false
}

// The method "adopted" checks that a new Life, made from the current status, has the same status and the same time of
// the next change.
func (w *walk) adopted() {
	text, err := json.Marshal(w.status)
	if err != nil {
		w.t.Fatal(err)
	}
	pod := w.pod.DeepCopy()
	pod.Status = v1.PodStatus{}
	if err := json.Unmarshal(text, &pod.Status); err != nil {
		w.t.Fatal(err)
	}
	status, next, _ := w.new(pod, w.now).At(w.now)
	if !equality.Semantic.DeepEqual(status, w.status) || !next.Equal(w.next) {
		w.t.Errorf("after adoption at %v: %s, next change at %v\nbefore: %s, next change at %v", w.now,
			inWords(status), next, inWords(w.status), w.next)
		for i, c := range status.Conditions {
			if !equality.Semantic.DeepEqual(c, w.status.Conditions[i]) {
				w.t.Errorf("condition after adoption: %+v\nbefore: %+v", c, w.status.Conditions[i])
			}
		}
	}
}

// The method "again" checks that a new Life reaches the same status in one long step as w.life in many steps. It does
// nothing if the pod was updated during the walk.
func (w *walk) again() {
	if w.changed {
		return
	}
	l := w.new(w.pod, w.began)
	if status, next, _ := l.At(w.now); !equality.Semantic.DeepEqual(status, w.status) || !next.Equal(w.next) {
		w.t.Errorf("in one jump: %s, next %v\nin steps:    %s, next %v", inWords(status), next, inWords(w.status),
			w.next)
	}
}

func containersOf(s v1.PodStatus) []v1.ContainerStatus {
	return append(append(append([]v1.ContainerStatus(nil), s.InitContainerStatuses...), s.ContainerStatuses...),
		s.EphemeralContainerStatuses...)
}

// madeUp returns a random pod and the descriptions of its containers.
func madeUp(r *rand.Rand) (*v1.Pod, map[string]scenario.Container) {
	one := func(of ...float64) metav1.Duration { return seconds(of[r.IntN(len(of))]) }
	sometimes := func(n int) bool { return r.IntN(n) == 0 }
	policies := []v1.RestartPolicy{v1.RestartPolicyAlways, v1.RestartPolicyNever, v1.RestartPolicyOnFailure}
	pod := newPod(policies[r.IntN(len(policies))], "")
	pod.Spec.TerminationGracePeriodSeconds = ptr.To(int64(r.IntN(20)))
	if sometimes(6) {
		pod.Spec.ActiveDeadlineSeconds = ptr.To(int64(1 + r.IntN(200)))
	}
	if sometimes(10) {
		pod.Spec.ReadinessGates = []v1.PodReadinessGate{{ConditionType: "example.com/gate"}}
	}
	containers := map[string]scenario.Container{}
	scenario := func(c *v1.Container, mayProbe bool) {
		if mayProbe && sometimes(4) {
			c.ReadinessProbe = &v1.Probe{InitialDelaySeconds: int32(r.IntN(20))}
		}
		if mayProbe && sometimes(4) {
			c.StartupProbe = &v1.Probe{InitialDelaySeconds: int32(r.IntN(20))}
		}
		if sometimes(3) {
			return
		}
		var is scenario.Container
		if sometimes(12) {
			is.State = []string{"Running", "ImagePullBackOff", "CrashLoopBackOff", "Completed", "OOMKilled"}[r.IntN(5)]
		} else {
			is.StartAfter = one(0, 0, 0.3, 2, 7.5)
			if sometimes(3) {
				is.ReadyAfter = ptr.To(one(0, 1, 5, 5.5))
			}
			if sometimes(2) {
				is.Exits = &scenario.Exit{After: one(0, 0.2, 1, 4.7, 30, 700), Code: int32(r.IntN(2)),
					Times: int32(r.IntN(4)), Message: "bye"}
			}
		}
		is.Stops = scenario.Stop{After: one(0, 0, 1, 3.5, 60), Code: int32(r.IntN(2)) * 143}
		containers[c.Name] = is
	}
	for i := range r.IntN(4) {
		c := v1.Container{Name: fmt.Sprint("init-", i), Image: "example.com/init"}
		if sometimes(2) {
			c.RestartPolicy = ptr.To(v1.ContainerRestartPolicyAlways)
		}
		scenario(&c, c.RestartPolicy != nil)
		pod.Spec.InitContainers = append(pod.Spec.InitContainers, c)
	}
	for i := range 1 + r.IntN(3) {
		c := v1.Container{Name: fmt.Sprint("main-", i), Image: "example.com/main@sha256:00"}
		scenario(&c, true)
		pod.Spec.Containers = append(pod.Spec.Containers, c)
	}
	return pod, containers
}
