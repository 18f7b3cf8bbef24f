package node

import (
	"context"
	"fmt"
	"testing"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"fauxlet/e2e/internal/expect"
)

// lonely are pods in which a stand-in is no kubelet, and so they are compared alone: each by what there is to see of
// it, or why there is nothing yet.
var lonely = []struct {
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

// failing passes an hour after the start of its container. (package hollow)
var failing = v1.ProbeHandler{Exec: &v1.ExecAction{Command: []string{"1h"}}}

// alone compares what becomes of the lonely.
func (s *sameNode) alone(t *testing.T) {
	for i, l := range lonely {
		name := fmt.Sprint("lonely-", i)
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
				return nil, fmt.Errorf("there is nothing to see yet: %+v", pod.Status)
			}
			return is, nil
		})
	}
}
