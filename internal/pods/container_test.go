package pods_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"

	"fauxlet/internal/pods"
	"fauxlet/scenario"
)

// TestMomentsReturn: what a status tells of a container makes that status again.
func TestMomentsReturn(t *testing.T) {
	began := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	ended := pods.Run{Number: 3, Image: "a:1", Started: began.Add(-time.Minute), Finished: began.Add(-time.Second), Code: 2, Reason: "Error", Message: "bye"}
	running := pods.Run{Number: 4, Image: "a:1", Started: began}
	for _, test := range []struct {
		name string
		is   pods.Moment
	}{
		{"not-yet", pods.Moment{}},
		{"running", pods.Moment{Run: running, Last: ended, Started: true, Ready: true}},
		{"not-ready", pods.Moment{Run: running, Last: ended, Started: true}},
		{"another-image", pods.Moment{Run: pods.Run{Number: 4, Image: "a:0", Started: began}, Last: ended}},
		{"first-run", pods.Moment{Run: pods.Run{Image: "a:1", Started: began}, Started: true, Ready: true}},
		{"ended", pods.Moment{Run: ended}},
		{"waiting", pods.Moment{Run: ended, Waiting: "CrashLoopBackOff", BackOff: time.Minute}},
	} {
		t.Run(test.name, func(t *testing.T) {
			pod := newPod("default", "p", "c")
			pod.Spec.Containers[0].Image = "a:1"
			pod.UID = "1"
			status := pods.Status(pod, func(int) *pods.Moment { return &test.is }, pods.Course{})
			got := pods.MomentOf(&status.ContainerStatuses[0], &pod.Spec.Containers[0])
			got.BackOff = test.is.BackOff // which is only told in words
			again := pods.Status(pod, func(int) *pods.Moment { return &got }, pods.Course{})
			if diff := cmp.Diff(status, again); diff != "" {
				t.Errorf("-first +again:\n%s", diff)
			}
		})
	}
}

// TestRestarts: the container's policy and rules come before the pod's.
func TestRestarts(t *testing.T) {
	rule := func(operator v1.ContainerRestartRuleOnExitCodesOperator, codes ...int32) *v1.Container {
		return &v1.Container{RestartPolicy: ptr(v1.ContainerRestartPolicyNever), RestartPolicyRules: []v1.ContainerRestartRule{{
			Action: v1.ContainerRestartRuleActionRestart, ExitCodes: &v1.ContainerRestartRuleOnExitCodes{Operator: operator, Values: codes},
		}}}
	}
	none := &v1.Container{}
	in, notIn := v1.ContainerRestartRuleOnExitCodesOpIn, v1.ContainerRestartRuleOnExitCodesOpNotIn
	for _, test := range []struct {
		name   string
		policy v1.RestartPolicy
		kind   pods.ContainerType
		c      *v1.Container
		code   int32
		want   bool
	}{
		{"always", v1.RestartPolicyAlways, pods.MainContainer, none, 0, true},
		{"on-failure-well", v1.RestartPolicyOnFailure, pods.MainContainer, none, 0, false},
		{"on-failure", v1.RestartPolicyOnFailure, pods.MainContainer, none, 1, true},
		{"never", v1.RestartPolicyNever, pods.MainContainer, none, 1, false},
		{"init-done", v1.RestartPolicyAlways, pods.InitContainer, none, 0, false},
		{"init-failed", v1.RestartPolicyAlways, pods.InitContainer, none, 1, true},
		{"ephemeral", v1.RestartPolicyAlways, pods.EphemeralContainer, none, 1, false},
		{"sidecar", v1.RestartPolicyNever, pods.Sidecar, &v1.Container{RestartPolicy: ptr(v1.ContainerRestartPolicyAlways)}, 0, true},
		{"rule", v1.RestartPolicyNever, pods.MainContainer, rule(in, 1, 42), 42, true},
		{"no-rule", v1.RestartPolicyAlways, pods.MainContainer, rule(in, 1, 42), 43, false},
		{"rule-not-in", v1.RestartPolicyNever, pods.MainContainer, rule(notIn, 1, 42), 43, true},
		{"rule-not-not-in", v1.RestartPolicyNever, pods.MainContainer, rule(notIn, 1, 42), 42, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			pod := &v1.Pod{Spec: v1.PodSpec{RestartPolicy: test.policy}}
			if got := pods.Restarts(pod, test.kind, test.c, test.code); got != test.want {
				t.Errorf("%v, want %v", got, test.want)
			}
		})
	}
}

// TestMadeUpLikeAKubelets: a pod that comes without a status has one as a kubelet makes it.
func TestMadeUpLikeAKubelets(t *testing.T) {
	given := newPod("default", "p", "b", "a")
	given.Spec.InitContainers = []v1.Container{{Name: "i"}, {Name: "side", RestartPolicy: ptr(v1.ContainerRestartPolicyAlways)}}
	given.Spec.EphemeralContainers = []v1.EphemeralContainer{{EphemeralContainerCommon: v1.EphemeralContainerCommon{Name: "debug", Image: "busybox"}}}
	pod, _ := newStore(t, scenario.Pod{Pod: given}).Get("default", "p")
	s := pod.Status
	if s.ContainerStatuses[0].Name != "a" || s.InitContainerStatuses[1].Name != "side" {
		t.Errorf("%+v", s)
	}
	if side := s.InitContainerStatuses[1]; side.State.Running == nil || !side.Ready {
		t.Errorf("the sidecar is %+v", side)
	}
	if debug := s.EphemeralContainerStatuses[0]; debug.State.Running == nil || debug.Ready || debug.Started != nil || debug.Image != "busybox:latest" {
		t.Errorf("the ephemeral container is %+v", debug)
	}
	if s.QOSClass != v1.PodQOSBestEffort || s.Resources == nil || s.StartTime == nil {
		t.Errorf("%+v", s)
	}
	for _, c := range s.Conditions {
		if !c.LastTransitionTime.Equal(s.StartTime) {
			t.Errorf("%s since %v", c.Type, c.LastTransitionTime)
		}
	}
}
