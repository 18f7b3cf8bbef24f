package podlife

import (
	"iter"
	"slices"

	v1 "k8s.io/api/core/v1"
)

// ContainerType is the role of a container in its pod.
type ContainerType uint8

// The types of containers. An init container with restartPolicy Always is a Sidecar, not an InitContainer.
const (
	MainContainer ContainerType = iota
	InitContainer
	Sidecar
	EphemeralContainer
)

// Containers iterates over the containers of a pod: init containers and sidecars, then main, then ephemeral containers.
func Containers(pod *v1.Pod) iter.Seq2[ContainerType, *v1.Container] {
	return func(yield func(ContainerType, *v1.Container) bool) {
		for i := range pod.Spec.InitContainers {
			c, kind := &pod.Spec.InitContainers[i], InitContainer
			if isSidecar(c) {
				kind = Sidecar
			}
			if !yield(kind, c) {
				return
			}
		}
		for i := range pod.Spec.Containers {
			if !yield(MainContainer, &pod.Spec.Containers[i]) {
				return
			}
		}
		for i := range pod.Spec.EphemeralContainers {
			c := (*v1.Container)(&pod.Spec.EphemeralContainers[i].EphemeralContainerCommon)
			if !yield(EphemeralContainer, c) {
				return
			}
		}
	}
}

func isSidecar(c *v1.Container) bool {
	return c.RestartPolicy != nil && *c.RestartPolicy == v1.ContainerRestartPolicyAlways
}

// ContainerNames returns the names of a pod's containers in the order of [Containers].
func ContainerNames(pod *v1.Pod) []string {
	var names []string
	for _, c := range Containers(pod) {
		names = append(names, c.Name)
	}
	return names
}

// ContainerSpec returns the spec of a container of any type, or nil if the pod has no container of that name.
func ContainerSpec(pod *v1.Pod, name string) *v1.Container {
	for _, c := range Containers(pod) {
		if c.Name == name {
			return c
		}
	}
	return nil
}

// ContainerStatus returns the status of a container of any type, or nil if the pod's status has none.
func ContainerStatus(pod *v1.Pod, name string) *v1.ContainerStatus {
	for _, statuses := range [][]v1.ContainerStatus{
		pod.Status.ContainerStatuses, pod.Status.InitContainerStatuses, pod.Status.EphemeralContainerStatuses,
	} {
		for i := range statuses {
			if statuses[i].Name == name {
				return &statuses[i]
			}
		}
	}
	return nil
}

// QOSClass returns the quality of service class in a pod's status. If the status has none, QOSClass computes the class
// from the pod's requests and limits. (kubelet: pkg/apis/core/v1/helper/qos)
func QOSClass(pod *v1.Pod) v1.PodQOSClass {
	if pod.Status.QOSClass != "" {
		return pod.Status.QOSClass
	}
	guaranteed, anything := true, false
	for _, c := range slices.Concat(pod.Spec.Containers, pod.Spec.InitContainers) {
		for _, name := range []v1.ResourceName{v1.ResourceCPU, v1.ResourceMemory} {
			limit, limited := c.Resources.Limits[name]
			request, requested := c.Resources.Requests[name]
			anything = anything || limited && !limit.IsZero() || requested && !request.IsZero()
			if !limited || limit.IsZero() || requested && request.Cmp(limit) != 0 {
				guaranteed = false
			}
		}
	}
	switch {
	case !anything:
		return v1.PodQOSBestEffort
	case guaranteed:
		return v1.PodQOSGuaranteed
	}
	return v1.PodQOSBurstable
}
