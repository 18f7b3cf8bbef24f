package main

import (
	v1 "k8s.io/api/core/v1"
	"k8s.io/kubernetes/pkg/kubelet/cm"
	"k8s.io/utils/ptr"
)

// cgroups is kubemark's container manager, which has no cgroups, plus a cgroup for each pod. The kubelet reads the
// pod's resources from this cgroup.
type cgroups struct{ cm.ContainerManager }

func (c cgroups) NewPodContainerManager() cm.PodContainerManager {
	return podCgroups{c.ContainerManager.NewPodContainerManager()}
}

type podCgroups struct{ cm.PodContainerManager }

// A CPU quota is the CPU time that a pod may use in one period. The constant "period" is the length of this period in
// microseconds. The constant "none" is the value of a CPU quota or memory limit that means "no limit".
const (
	period = 100_000
	none   = -1
)

func (podCgroups) GetPodCgroupConfig(pod *v1.Pod, _ v1.ResourceName) (*cm.ResourceConfig, error) {
	c := cm.ResourceConfigForPod(pod, true, period, false, "")
	if c.Memory == nil {
		c.Memory = ptr.To[int64](none)
	}
	if c.CPUQuota == nil {
		c.CPUQuota, c.CPUPeriod = ptr.To[int64](none), ptr.To[uint64](period)
	}
	return c, nil
}
