package node

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"testing"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"fauxlet/e2e/internal/expect"
)

// shape is a pod of the comparison. Both nodes run it.
type shape struct {
	name  string
	spec  v1.PodSpec
	lives map[string]life // lives maps the names of containers to their lives
	grace *int64          // grace period of the deletion; nil: as in the pod spec
	// hurried is true for a pod that is deleted a second time, with a shorter grace period.
	hurried bool
	// debugged is true for a pod that gets an ephemeral container during the test.
	debugged bool
}

// life describes when and how a container ends. fauxlet reads it from a scenario, and hollow from an environment
// variable of the container.
type life struct {
	Init  bool   `json:"init,omitempty"` // only for hollow, whose runtime cannot detect init containers
	Exits *exits `json:"exits,omitempty"`
	Stops *stops `json:"stops,omitempty"`
}

type exits struct {
	After string `json:"after,omitempty"`
	Code  int    `json:"code,omitempty"`
	Times int    `json:"times,omitempty"`
}

type stops struct {
	After string `json:"after,omitempty"`
	Code  int    `json:"code,omitempty"`
}

// aWhile is a duration for which a container stays in one state. It is long enough that both nodes must report the
// state. The constant "longer" is twice that duration.
const (
	aWhile = "6s"
	longer = "12s"
)

// ends returns the life of a container that runs for a given time and then exits with a given code. The parameter
// "times" says how many runs of the container, from the first one on, end in this way. The value 0 means all runs.
func ends(after string, code, times int) life { return life{Exits: &exits{after, code, times}} }

// pod returns the Pod that the shape describes, in the given namespace and bound to the given node.
func (s *shape) pod(t testing.TB, namespace, node string) *v1.Pod {
	t.Helper()
	pod := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: s.name}, Spec: *s.spec.DeepCopy()}
	pod.Spec.NodeName = node
	addLife := func(c *v1.Container, init bool) {
		is := s.lives[c.Name]
		is.Init = init && c.RestartPolicy == nil
		if is != (life{}) {
			text, err := json.Marshal(is)
			expect.NoError(t, err)
			c.Env = append(c.Env, v1.EnvVar{Name: "HOLLOW_LIFE", Value: string(text)})
		}
		c.Image = "example.com/" + c.Name + ":1"
	}
	for i := range pod.Spec.InitContainers {
		addLife(&pod.Spec.InitContainers[i], true)
	}
	for i := range pod.Spec.Containers {
		addLife(&pod.Spec.Containers[i], false)
	}
	return pod
}

// sidecar returns an init container that is a sidecar (restart policy Always).
func sidecar(c v1.Container) v1.Container {
	c.RestartPolicy = ptr.To(v1.ContainerRestartPolicyAlways)
	return c
}

// The function "named" returns containers with the given names.
func named(names ...string) []v1.Container {
	var all []v1.Container
	for _, name := range names {
		all = append(all, v1.Container{Name: name})
	}
	return all
}

// probe returns an exec probe that succeeds once the container has run for a number of seconds.
func probe(delay int32) *v1.Probe {
	return &v1.Probe{
		ProbeHandler:        v1.ProbeHandler{Exec: &v1.ExecAction{Command: []string{"0s"}}},
		InitialDelaySeconds: delay, PeriodSeconds: 1,
	}
}

// shapes returns the handwritten pods of the comparison.
func shapes() []shape {
	probed := named("a", "b")
	probed[0].ReadinessProbe, probed[0].StartupProbe = probe(4), probe(0)
	probed[1].LivenessProbe = probe(1)
	slowSidecar := sidecar(v1.Container{Name: "s"})
	slowSidecar.StartupProbe = probe(4)
	return []shape{
		{name: "one", spec: v1.PodSpec{Containers: named("a")}},
		{name: "two", spec: v1.PodSpec{Containers: named("a", "b")}, grace: ptr.To[int64](0)},
		{name: "inits", spec: v1.PodSpec{InitContainers: named("i", "j"), Containers: named("a", "b")},
			lives: map[string]life{"i": ends(aWhile, 0, 0)}},
		{name: "init-fails", spec: v1.PodSpec{RestartPolicy: v1.RestartPolicyNever, InitContainers: named("i", "j"),
			Containers: named("a")}, lives: map[string]life{"i": ends(aWhile, 2, 0)}},
		{name: "init-fails-once", spec: v1.PodSpec{RestartPolicy: v1.RestartPolicyOnFailure, InitContainers: named("i"),
			Containers: named("a")}, lives: map[string]life{"i": ends("1s", 2, 1)}},
		{name: "init-fails-always", spec: v1.PodSpec{InitContainers: named("i"), Containers: named("a")},
			lives: map[string]life{"i": ends("1s", 2, 0)}},
		{name: "sidecars", spec: v1.PodSpec{InitContainers: []v1.Container{sidecar(v1.Container{Name: "s"}),
			{Name: "i"}},
			Containers: named("a")}, lives: map[string]life{"i": ends(aWhile, 0, 0)}},
		{name: "sidecar-starts-late", spec: v1.PodSpec{InitContainers: []v1.Container{slowSidecar},
			Containers: named("a")}},
		{name: "sidecar-job", spec: v1.PodSpec{RestartPolicy: v1.RestartPolicyNever,
			InitContainers: []v1.Container{sidecar(v1.Container{Name: "s"})}, Containers: named("a")},
			lives: map[string]life{"a": ends(aWhile, 0, 0)}},
		{name: "sidecar-job-fails", spec: v1.PodSpec{RestartPolicy: v1.RestartPolicyNever,
			InitContainers: []v1.Container{sidecar(v1.Container{Name: "s"})}, Containers: named("a")},
			lives: map[string]life{"a": ends(aWhile, 1, 0), "s": {Stops: &stops{Code: 143}}}},
		{name: "sidecar-crashes", spec: v1.PodSpec{InitContainers: []v1.Container{sidecar(v1.Container{Name: "s"})},
			Containers: named("a")}, lives: map[string]life{"s": ends("1s", 1, 0)}},
		{name: "sidecar-crashes-early",
			spec: v1.PodSpec{InitContainers: []v1.Container{sidecar(v1.Container{Name: "s"}),
				{Name: "i"}}, Containers: named("a")},
			lives: map[string]life{"s": ends("1s", 1, 0), "i": ends(aWhile, 0, 0)}},
		{name: "job", spec: v1.PodSpec{RestartPolicy: v1.RestartPolicyNever, Containers: named("a")},
			lives: map[string]life{"a": ends(aWhile, 0, 0)}},
		{name: "job-fails", spec: v1.PodSpec{RestartPolicy: v1.RestartPolicyNever, Containers: named("a", "b")},
			lives: map[string]life{"a": ends(aWhile, 0, 0), "b": ends(longer, 3, 0)}},
		{name: "job-half", spec: v1.PodSpec{RestartPolicy: v1.RestartPolicyNever, Containers: named("a", "b")},
			lives: map[string]life{"a": ends(aWhile, 1, 0)}},
		{name: "on-failure", spec: v1.PodSpec{RestartPolicy: v1.RestartPolicyOnFailure, Containers: named("a", "b")},
			lives: map[string]life{"a": ends("1s", 1, 1), "b": ends(aWhile, 0, 0)}},
		{name: "crashes", spec: v1.PodSpec{Containers: named("a")}, lives: map[string]life{"a": ends("1s", 1, 0)}},
		{name: "completes-again", spec: v1.PodSpec{Containers: named("a", "b")},
			lives: map[string]life{"a": ends("1s", 0, 0)}},
		{name: "crashed-once", spec: v1.PodSpec{Containers: named("a")}, lives: map[string]life{"a": ends("1s", 1, 1)}},
		{name: "host", spec: v1.PodSpec{HostNetwork: true, Containers: named("a")}},
		{name: "probes", spec: v1.PodSpec{Containers: probed}},
		{name: "gates", spec: v1.PodSpec{ReadinessGates: []v1.PodReadinessGate{{ConditionType: "example.com/one"},
			{ConditionType: "example.com/two"}}, Containers: named("a")}},
		{name: "deadline", spec: v1.PodSpec{ActiveDeadlineSeconds: ptr.To[int64](4), Containers: named("a", "b")},
			lives: map[string]life{"b": {Stops: &stops{Code: 143}}}},
		{name: "deadline-init", spec: v1.PodSpec{ActiveDeadlineSeconds: ptr.To[int64](4), InitContainers: named("i"),
			Containers: named("a")}, lives: map[string]life{"i": ends("1h", 0, 0)}},
		{name: "deadline-and-deleted", spec: v1.PodSpec{ActiveDeadlineSeconds: ptr.To[int64](4),
			TerminationGracePeriodSeconds: ptr.To[int64](25), Containers: named("a")},
			lives: map[string]life{"a": {Stops: &stops{After: "1h"}}}, grace: ptr.To[int64](1)},
		{name: "stops-slowly", spec: v1.PodSpec{Containers: named("a", "b")},
			lives: map[string]life{"a": {Stops: &stops{After: aWhile, Code: 5}}}},
		{name: "is-killed", spec: v1.PodSpec{Containers: named("a", "b")},
			lives: map[string]life{"a": {Stops: &stops{After: "1h"}}}, grace: ptr.To[int64](5)},
		{name: "is-hurried", spec: v1.PodSpec{Containers: named("a")},
			lives: map[string]life{"a": {Stops: &stops{After: "1h"}}}, grace: ptr.To[int64](18), hurried: true},
		{name: "stops-in-back-off", spec: v1.PodSpec{Containers: named("a", "b")},
			lives: map[string]life{"a": ends("1s", 1, 0), "b": {Stops: &stops{After: aWhile}}}},
		{name: "stops-in-order", spec: v1.PodSpec{TerminationGracePeriodSeconds: ptr.To[int64](20),
			InitContainers: []v1.Container{sidecar(v1.Container{Name: "s"}), sidecar(v1.Container{Name: "r"})},
			Containers:     named("a")}, lives: map[string]life{"a": {Stops: &stops{After: aWhile}},
			"r": {Stops: &stops{After: aWhile}}}},
		{name: "is-debugged", spec: v1.PodSpec{Containers: named("a")}, debugged: true},
		{name: "resources", spec: v1.PodSpec{Containers: []v1.Container{{Name: "a",
			Resources: requesting("100m", "64Mi")}}}},
	}
}

func requesting(cpu, memory string) v1.ResourceRequirements {
	list := v1.ResourceList{v1.ResourceCPU: resource.MustParse(cpu), v1.ResourceMemory: resource.MustParse(memory)}
	return v1.ResourceRequirements{Requests: list, Limits: list}
}

// generatedShapes returns pods that combine the features of the handwritten pods at random. In each pod at most one
// container ends repeatedly. If two did, both nodes would rarely be in the same state for long.
func generatedShapes(seed uint64, count int) []shape {
	r := rand.New(rand.NewPCG(seed, 1))
	often := func(percent int) bool { return r.IntN(100) < percent }
	var all []shape
	for n := range count {
		s := shape{name: fmt.Sprintf("generated-%d", n), lives: map[string]life{}}
		s.spec.RestartPolicy = []v1.RestartPolicy{v1.RestartPolicyAlways, v1.RestartPolicyOnFailure,
			v1.RestartPolicyNever}[r.IntN(3)]
		s.spec.HostNetwork = often(15)
		deadline := often(15) // a pod with a deadline gets no other features: the order of their events would be random
		if deadline {
			s.spec.ActiveDeadlineSeconds = ptr.To[int64](8)
		}
		if often(10) {
			s.spec.ReadinessGates = []v1.PodReadinessGate{{ConditionType: "example.com/one"}}
		}
		if often(40) {
			s.grace = ptr.To([]int64{0, 1, 4}[r.IntN(3)])
		}
		restless := false
		live := func(c *v1.Container, init bool) {
			var is life
			switch {
			case deadline:
			// The containers of a pod with a deadline run until the deadline. If a container ended by itself, it could
			// end at the moment of the deadline.
			case c.RestartPolicy != nil && s.spec.RestartPolicy != v1.RestartPolicyAlways:
			case init && often(50):
				is.Exits = &exits{After: aWhile}
				if often(25) {
					is.Exits = &exits{After: "1s", Code: 1, Times: 1}
				}
			case !init && often(45):
				is.Exits = &exits{After: []string{"1s", aWhile}[r.IntN(2)], Code: []int{0, 0, 1, 7}[r.IntN(4)],
					Times: 1}
			}
			if is.Exits != nil && !restless && often(50) {
				is.Exits.Times, restless = 0, true
			}
			if often(30) {
				is.Stops = &stops{After: []string{"", aWhile, "1h"}[r.IntN(3)], Code: []int{0, 143}[r.IntN(2)]}
				if is.Stops.After == "1h" && s.grace == nil {
					s.grace = ptr.To[int64](1)
				}
			}
			if is != (life{}) {
				s.lives[c.Name] = is
			}
		}
		for i := range r.IntN(3) {
			c := v1.Container{Name: fmt.Sprintf("i%d", i)}
			if often(40) {
				c = sidecar(c)
				if often(30) && !deadline {
					c.StartupProbe = probe(2)
				}
				if often(20) {
					c.ReadinessProbe = probe(4)
				}
			}
			live(&c, c.RestartPolicy == nil)
			s.spec.InitContainers = append(s.spec.InitContainers, c)
		}
		for i := range 1 + r.IntN(3) {
			c := v1.Container{Name: fmt.Sprintf("c%d", i)}
			if often(25) {
				c.ReadinessProbe = probe(int32(r.IntN(2) * 4))
			}
			if often(15) {
				c.StartupProbe = probe(0)
			}
			live(&c, false)
			s.spec.Containers = append(s.spec.Containers, c)
		}
		all = append(all, s)
	}
	return all
}
