package podlife

import (
	"testing"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

func TestQoS(t *testing.T) {
	list := func(cpu string) v1.ResourceList {
		return v1.ResourceList{v1.ResourceCPU: resource.MustParse(cpu), v1.ResourceMemory: resource.MustParse("1Gi")}
	}
	for name, test := range map[string]struct {
		containers []v1.ResourceRequirements
		status     v1.PodQOSClass
		want       v1.PodQOSClass
	}{
		"nothing":  {containers: []v1.ResourceRequirements{{}}, want: v1.PodQOSBestEffort},
		"limits":   {containers: []v1.ResourceRequirements{{Limits: list("1")}}, want: v1.PodQOSGuaranteed},
		"requests": {containers: []v1.ResourceRequirements{{Requests: list("1")}}, want: v1.PodQOSBurstable},
		"both, the same": {containers: []v1.ResourceRequirements{{Requests: list("1"), Limits: list("1")}},
			want: v1.PodQOSGuaranteed},
		"both, not": {containers: []v1.ResourceRequirements{{Requests: list("1"), Limits: list("2")}},
			want: v1.PodQOSBurstable},
		"one without": {containers: []v1.ResourceRequirements{{Limits: list("1")}, {}}, want: v1.PodQOSBurstable},
		"its status knows": {containers: []v1.ResourceRequirements{{}}, status: v1.PodQOSGuaranteed,
			want: v1.PodQOSGuaranteed},
	} {
		t.Run(name, func(t *testing.T) {
			pod := &v1.Pod{}
			pod.Status.QOSClass = test.status
			for _, r := range test.containers {
				pod.Spec.Containers = append(pod.Spec.Containers, v1.Container{Resources: r})
			}
			if got := QOSClass(pod); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}
