package node

import (
	"context"
	"fmt"
	"testing"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"fauxlet/e2e/internal/expect"
)

// The list "single" has pods that, by design, behave differently on fauxlet and on a kubelet. The test runs each of
// these pods separately and compares only a few of its properties. The function "seen" returns these properties, or nil
// if the pod does not have its final status yet.
var single = []struct {
	what string
	spec v1.PodSpec
	seen func(*v1.Pod) map[string]any
}{
	{
		"pod without room", v1.PodSpec{Containers: []v1.Container{{Name: "a", Resources: requesting("100", "64Mi")}}},
		func(pod *v1.Pod) map[string]any {
			if pod.Status.Phase == v1.PodPending {
				return nil
			}
			return map[string]any{"phase": pod.Status.Phase, "reason": pod.Status.Reason}
		},
	},
	{
		"pod that does not pass its probes", v1.PodSpec{Containers: []v1.Container{{
			Name:           "a",
			LivenessProbe:  &v1.Probe{ProbeHandler: failing, PeriodSeconds: 1, FailureThreshold: 1},
			ReadinessProbe: &v1.Probe{ProbeHandler: failing, PeriodSeconds: 1},
		}}},
		func(pod *v1.Pod) map[string]any {
			if len(pod.Status.ContainerStatuses) == 0 {
				return nil
			}
			is := pod.Status.ContainerStatuses[0]
			if is.RestartCount == 0 && !is.Ready {
				return nil
			}
			return map[string]any{"ready": is.Ready, "goes on": is.RestartCount == 0}
		},
	},
}

// failing is a probe that always fails in this test. In the kubelet with the fake runtime it would succeed one hour
// after the container has started.
var failing = v1.ProbeHandler{Exec: &v1.ExecAction{Command: []string{"1h"}}}

// singlePods runs each pod in the list "single" on both nodes and compares the properties of the pod.
func (s *sameNode) singlePods(t *testing.T) {
	for i, l := range single {
		name := fmt.Sprint("single-", i)
		for _, side := range sides {
			lone := shape{name: name, spec: l.spec}
			_, err := s.plane.Client.CoreV1().Pods(side).Create(context.Background(), lone.pod(t, side, side),
				metav1.CreateOptions{})
			expect.NoError(t, err)
		}
		s.compare(t, l.what, func(side int) (any, error) {
			pod, err := s.plane.Client.CoreV1().Pods(sides[side]).Get(context.Background(), name, metav1.GetOptions{})
			if err != nil {
				return nil, err
			}
			is := l.seen(pod)
			if is == nil {
				return nil, fmt.Errorf("the pod does not have its final status yet: %+v", pod.Status)
			}
			return is, nil
		})
	}
}
