package podlife

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	podresource "k8s.io/component-helpers/resource"
	"k8s.io/utils/ptr"
)

// stage is the part of the simulation that a Life has reached. The stages follow one another.
type stage uint8

const (
	living   stage = iota // containers start, and restart as restartPolicy allows
	stopping              // no container starts any more, but some containers still run
	ended                 // no container runs, and none will run again
)

// makeStatus returns the status that a kubelet derives from the spec and the containers, without addresses. The status
// shares unchanged parts with the pod. The caller may change lists in the status, but not the objects to which their
// entries point. (kubelet: pkg/kubelet/kubelet_pods.go, generateAPIPodStatus; pkg/kubelet/status, TerminatePod and
// mergePodStatus)
func (l *Life) makeStatus() v1.PodStatus {
	s := l.containerStatuses()
	s.StartTime = ptr.To(metav1.NewTime(l.began))
	s.ObservedGeneration, s.QOSClass = l.generation(), QOSClass(l.pod)
	s.Phase = phase(l.pod, &s, l.stage)
	concluded := cmp.Or(l.stop.outcome, s.Phase)
	l.setConditions(&s, concluded)
	switch {
	case l.stage == ended:
		s.Phase = concluded
		markLost(&s, l.stop.initialized)
		if !isTerminal(s.Phase) { // no main container ever ran
			s.Phase = v1.PodFailed
		}
	case isTerminal(s.Phase): // a kubelet reports a terminal phase only after all containers have stopped
		s.Phase = v1.PodPending
		if mainHasRun(&s) {
			s.Phase = v1.PodRunning
		}
	}
	setResources(l.pod, &s)
	byName := func(a, b v1.ContainerStatus) int { return strings.Compare(a.Name, b.Name) }
	slices.SortFunc(s.ContainerStatuses, byName)
	slices.SortFunc(s.EphemeralContainerStatuses, byName)
	return s
}

// containerStatuses returns a status that contains only the container statuses, in the order of the spec.
func (l *Life) containerStatuses() (s v1.PodStatus) {
	s.ContainerStatuses = make([]v1.ContainerStatus, 0, len(l.pod.Spec.Containers))
	for i := range l.containers {
		c := &l.containers[i]
		list := &s.ContainerStatuses
		switch c.kind {
		case InitContainer, Sidecar:
			list = &s.InitContainerStatuses
		case EphemeralContainer:
			list = &s.EphemeralContainerStatuses
		}
		*list = append(*list, c.status(l.pod, c.kind, c.spec))
	}
	return s
}

// generation returns the pod's generation that the kubelet has observed.
func (l *Life) generation() int64 {
	if l.stage == stopping {
		return l.stop.generation
	}
	return l.pod.Generation
}

func isTerminal(phase v1.PodPhase) bool { return phase == v1.PodSucceeded || phase == v1.PodFailed }

func mainHasRun(s *v1.PodStatus) bool {
	return slices.ContainsFunc(s.ContainerStatuses, func(c v1.ContainerStatus) bool { return c.ContainerID != "" })
}

// phase returns the phase of a pod whose container statuses are still in the order of its spec.
// (kubelet: pkg/kubelet/kubelet_pods.go, getPhase)
func phase(pod *v1.Pod, s *v1.PodStatus, stage stage) v1.PodPhase {
	var pending, waiting, running, stopped, final, succeeded int
	for i := range pod.Spec.InitContainers {
		c, status := &pod.Spec.InitContainers[i], &s.InitContainerStatuses[i]
		t := termination(status)
		switch {
		case isSidecar(c):
			if status.State.Running != nil {
				running++
			}
			if status.State.Waiting != nil && t == nil {
				waiting++
			}
			if status.State.Running != nil && !*status.Started && !mainHasRun(s) {
				pending++
			}
		case t == nil:
			pending++
		case t.ExitCode != 0 && !restarts(pod, InitContainer, c, t.ExitCode):
			return v1.PodFailed
		}
	}
	for i := range pod.Spec.Containers {
		c, status := &pod.Spec.Containers[i], &s.ContainerStatuses[i]
		t := termination(status)
		switch {
		case status.State.Running != nil:
			running++
		case t == nil:
			waiting++
		default:
			stopped++
			if !restarts(pod, MainContainer, c, t.ExitCode) {
				final++
			}
			if status.State.Terminated != nil && t.ExitCode == 0 {
				succeeded++
			}
		}
	}
	switch {
	case pending > 0, waiting > 0:
		return v1.PodPending
	case running > 0, stage != ended && stopped != final:
		return v1.PodRunning
	case stopped == succeeded:
		return v1.PodSucceeded
	}
	return v1.PodFailed
}

// termination returns how the latest run of a container ended. It returns nil if the container runs or never ran.
func termination(s *v1.ContainerStatus) *v1.ContainerStateTerminated {
	switch {
	case s.State.Terminated != nil:
		return s.State.Terminated
	case s.State.Waiting != nil:
		return s.LastTerminationState.Terminated
	}
	return nil
}

// markLost sets the terminated state ContainerStatusUnknown for those containers of an ended pod that have no
// terminated state, because a kubelet cannot find these containers. (kubelet: pkg/kubelet/status, TerminatePod)
func markLost(s *v1.PodStatus, initialized bool) {
	mark := func(statuses []v1.ContainerStatus) {
		for i := range statuses {
			if statuses[i].State.Terminated == nil {
				statuses[i].State = v1.ContainerState{Terminated: &v1.ContainerStateTerminated{
					Reason: "ContainerStatusUnknown", ExitCode: killedCode,
					Message: "The container could not be located when the pod was terminated"}}
			}
		}
	}
	inits := s.InitContainerStatuses
	begun := len(inits)
	for begun > 1 && inits[begun-1].State.Waiting != nil && inits[begun-1].LastTerminationState.Terminated == nil {
		begun--
	}
	if len(inits) == 0 || mainHasRun(s) || initialized {
		mark(s.ContainerStatuses)
	}
	mark(inits[:begun])
}

// setResources sets the resources of the pod as a whole. For a running pod a kubelet reports only CPU and memory, which
// it reads from the pod's cgroup. (kubelet: pkg/kubelet/kubelet_pods.go, convertToAPIPodLevelResourcesStatus)
func setResources(pod *v1.Pod, s *v1.PodStatus) {
	requests := podresource.PodRequests(pod, podresource.PodResourcesOptions{})
	limits := podresource.PodLimits(pod, podresource.PodResourcesOptions{})
	s.AllocatedResources = requests
	s.Resources = &v1.ResourceRequirements{Requests: requests, Limits: limits}
	if pod.Spec.Resources != nil {
		s.Resources.Claims = pod.Spec.Resources.Claims
	}
	if s.Phase == v1.PodRunning {
		s.Resources.Requests, s.Resources.Limits = onlyCPUAndMemory(requests), onlyCPUAndMemory(limits)
	}
}

func onlyCPUAndMemory(list v1.ResourceList) v1.ResourceList {
	reduced := maps.Clone(list)
	maps.DeleteFunc(reduced, func(name v1.ResourceName, _ resource.Quantity) bool {
		return name != v1.ResourceCPU && name != v1.ResourceMemory
	})
	return reduced
}
