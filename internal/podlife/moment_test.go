package podlife

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
)

// TestMomentSurvivesStatus checks that a container's state, when it is recovered from a status, produces the same
// status again.
func TestMomentSurvivesStatus(t *testing.T) {
	began := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	earlier := run{
		number: 3, image: "a:1", started: began.Add(-time.Minute), finished: began.Add(-time.Second),
		code: 2, reason: "Error", message: "bye",
	}
	running := run{number: 4, image: "a:1", started: began}
	for _, test := range []struct {
		name   string
		moment moment
	}{
		{name: "not started", moment: moment{}},
		{name: "ready", moment: moment{run: running, last: earlier, started: true, ready: true}},
		{name: "not ready", moment: moment{run: running, last: earlier, started: true}},
		{name: "older image", moment: moment{run: run{number: 4, image: "a:0", started: began}, last: earlier}},
		{name: "first run", moment: moment{run: run{image: "a:1", started: began}, started: true, ready: true}},
		{name: "terminated", moment: moment{run: earlier}},
		{name: "back-off", moment: moment{run: earlier, waiting: crashLoop, backOff: time.Minute}},
	} {
		t.Run(test.name, func(t *testing.T) {
			pod := &v1.Pod{Spec: v1.PodSpec{Containers: []v1.Container{{Name: "c", Image: "a:1"}}}}
			pod.Namespace, pod.Name, pod.UID = "default", "p", "1"
			spec := &pod.Spec.Containers[0]
			l := &Life{pod: pod, containers: []container{{moment: test.moment, spec: spec}}}
			status := l.makeStatus()
			recovered := momentOf(&status.ContainerStatuses[0], spec)
			l.containers[0].moment = recovered
			again := l.makeStatus()
			if diff := cmp.Diff(status, again); diff != "" {
				t.Errorf("-first status +status of the recovered moment:\n%s", diff)
			}
		})
	}
}

// TestRestarts checks that a container's restart rules and restart policy take precedence over the pod's restart
// policy.
func TestRestarts(t *testing.T) {
	rule := func(operator v1.ContainerRestartRuleOnExitCodesOperator, codes ...int32) *v1.Container {
		return &v1.Container{RestartPolicy: ptr.To(v1.ContainerRestartPolicyNever),
			RestartPolicyRules: []v1.ContainerRestartRule{{
				Action:    v1.ContainerRestartRuleActionRestart,
				ExitCodes: &v1.ContainerRestartRuleOnExitCodes{Operator: operator, Values: codes},
			}}}
	}
	plain := &v1.Container{}
	sidecar := &v1.Container{RestartPolicy: ptr.To(v1.ContainerRestartPolicyAlways)}
	in, notIn := v1.ContainerRestartRuleOnExitCodesOpIn, v1.ContainerRestartRuleOnExitCodesOpNotIn
	for _, test := range []struct {
		name      string
		policy    v1.RestartPolicy
		kind      ContainerType
		container *v1.Container
		code      int32
		want      bool
	}{
		{name: "Always", policy: v1.RestartPolicyAlways, container: plain, want: true},
		{name: "OnFailure after success", policy: v1.RestartPolicyOnFailure, container: plain},
		{name: "OnFailure after failure", policy: v1.RestartPolicyOnFailure, container: plain, code: 1, want: true},
		{name: "Never", policy: v1.RestartPolicyNever, container: plain, code: 1},
		{name: "init container completed", policy: v1.RestartPolicyAlways, kind: InitContainer, container: plain},
		{name: "init container failed", policy: v1.RestartPolicyAlways, kind: InitContainer, container: plain, code: 1,
			want: true},
		{name: "ephemeral container", policy: v1.RestartPolicyAlways, kind: EphemeralContainer, container: plain,
			code: 1},
		{name: "sidecar", policy: v1.RestartPolicyNever, kind: Sidecar, container: sidecar, want: true},
		{name: "rule In matches", policy: v1.RestartPolicyNever, container: rule(in, 1, 42), code: 42, want: true},
		{name: "rule In does not match", policy: v1.RestartPolicyAlways, container: rule(in, 1, 42), code: 43},
		{name: "rule NotIn matches", policy: v1.RestartPolicyNever, container: rule(notIn, 1, 42), code: 43,
			want: true},
		{name: "rule NotIn does not match", policy: v1.RestartPolicyNever, container: rule(notIn, 1, 42), code: 42},
	} {
		t.Run(test.name, func(t *testing.T) {
			pod := &v1.Pod{Spec: v1.PodSpec{RestartPolicy: test.policy}}
			if got := restarts(pod, test.kind, test.container, test.code); got != test.want {
				t.Errorf("restarts = %v, want %v", got, test.want)
			}
		})
	}
}

// TestFixedStatus checks that the status of a pod that never changes has the same form as a kubelet's status.
func TestFixedStatus(t *testing.T) {
	pod := &v1.Pod{Spec: v1.PodSpec{
		InitContainers: []v1.Container{{Name: "i"},
			{Name: "side", RestartPolicy: ptr.To(v1.ContainerRestartPolicyAlways)}},
		Containers: []v1.Container{{Name: "b"}, {Name: "a"}},
		EphemeralContainers: []v1.EphemeralContainer{
			{EphemeralContainerCommon: v1.EphemeralContainerCommon{Name: "debug", Image: "busybox"}},
		},
	}}
	pod.CreationTimestamp = metav1.NewTime(time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC))
	s := FixedStatus(pod, nil)
	if s.ContainerStatuses[0].Name != "a" || s.InitContainerStatuses[1].Name != "side" {
		t.Errorf("wrong order: main containers are sorted by name, init containers are not: %+v", s)
	}
	if side := s.InitContainerStatuses[1]; side.State.Running == nil || !side.Ready {
		t.Errorf("the sidecar is %+v, want a running and ready sidecar", side)
	}
	debug := s.EphemeralContainerStatuses[0]
	if debug.State.Running == nil || debug.Ready || debug.Started != nil || debug.Image != "busybox:latest" {
		t.Errorf("the ephemeral container is %+v, want a running container without probe results", debug)
	}
	if s.QOSClass != v1.PodQOSBestEffort || s.Resources == nil || s.StartTime == nil {
		t.Errorf("the status lacks fields: %+v", s)
	}
	for _, c := range s.Conditions {
		if !c.LastTransitionTime.Equal(s.StartTime) {
			t.Errorf("condition %s has changed at %v, want %v", c.Type, c.LastTransitionTime, s.StartTime)
		}
	}
}
