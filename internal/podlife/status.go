package podlife

import (
	"cmp"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/component-helpers/resource"
)

// stage is one of the three successive parts of a pod's life.
type stage uint8

const (
	// living means that containers start, and restart as restartPolicy allows.
	living stage = iota
	// stopping means that no container starts any more, but some still run.
	stopping
	// ended means that no container runs or will run.
	ended
)

// progress is the state of a pod as a whole, beyond the moments of its containers.
type progress struct {
	stage stage
	// outcome is the phase in which the pod ends regardless of its containers, for example after
	// activeDeadlineSeconds. It is empty if the exit codes of the containers determine the phase.
	outcome v1.PodPhase
	// initialized reports whether the init containers were done when the pod began to stop. If they were, main
	// containers that never started count as lost. Otherwise such containers are still waiting in PodInitializing.
	initialized bool
	// wasInitialized reports whether the condition Initialized has ever been true. If so, the condition stays true
	// even when sidecars end.
	wasInitialized bool
}

// makeStatus returns the part of a pod's status that a kubelet derives from the spec and from the containers:
// everything except addresses and times. momentOf returns the moment of the nth of [Containers].
//
// The status shares unchanged parts with the pod. The caller may change the lists, but not what their entries point
// to. (kubelet: pkg/kubelet/kubelet_pods.go, generateAPIPodStatus; pkg/kubelet/status, TerminatePod and
// mergePodStatus)
func makeStatus(pod *v1.Pod, momentOf func(n int) *moment, p progress) v1.PodStatus {
	s := v1.PodStatus{ObservedGeneration: pod.Generation, QOSClass: QOSClass(pod)}
	if n := len(pod.Spec.InitContainers); n > 0 {
		s.InitContainerStatuses = make([]v1.ContainerStatus, 0, n)
	}
	if n := len(pod.Spec.EphemeralContainers); n > 0 {
		s.EphemeralContainerStatuses = make([]v1.ContainerStatus, 0, n)
	}
	s.ContainerStatuses = make([]v1.ContainerStatus, 0, len(pod.Spec.Containers))
	n := 0
	for kind, c := range Containers(pod) {
		list := &s.ContainerStatuses
		switch kind {
		case InitContainer, Sidecar:
			list = &s.InitContainerStatuses
		case EphemeralContainer:
			list = &s.EphemeralContainerStatuses
		}
		*list = append(*list, momentOf(n).status(pod, kind, c))
		n++
	}

	stage := p.stage
	s.Phase = phase(pod, &s, stage)
	concluded := cmp.Or(p.outcome, s.Phase)
	if stage == living && isTerminal(s.Phase) {
		stage = ended // the containers have ended by themselves
	}
	setConditions(pod, &s, stage, concluded, p.wasInitialized)
	switch {
	case stage == ended:
		s.Phase = concluded
		markLost(&s, p.initialized)
		if !isTerminal(s.Phase) { // no main container ever ran
			s.Phase = v1.PodFailed
		}
	case isTerminal(s.Phase): // a kubelet reports a terminal phase only after all containers have stopped
		s.Phase = v1.PodPending
		if mainHasRun(&s) {
			s.Phase = v1.PodRunning
		}
	}
	setResources(pod, &s)
	byName := func(a, b v1.ContainerStatus) int { return strings.Compare(a.Name, b.Name) }
	slices.SortFunc(s.ContainerStatuses, byName)
	slices.SortFunc(s.EphemeralContainerStatuses, byName)
	return s
}

func isTerminal(phase v1.PodPhase) bool { return phase == v1.PodSucceeded || phase == v1.PodFailed }

// mainHasRun reports whether a main container has ever run.
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

// markLost gives a pod that has ended the kubelet's state for containers that were to run and cannot be found:
// terminated with ContainerStatusUnknown. (kubelet: pkg/kubelet/status, TerminatePod)
func markLost(s *v1.PodStatus, initialized bool) {
	mark := func(statuses []v1.ContainerStatus) {
		for i := range statuses {
			if statuses[i].State.Terminated == nil {
				statuses[i].State = v1.ContainerState{Terminated: &v1.ContainerStateTerminated{
					Reason:   "ContainerStatusUnknown",
					Message:  "The container could not be located when the pod was terminated",
					ExitCode: 137,
				}}
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

// setResources sets the resources of the pod as a whole. A kubelet reads the resources of a running pod from the
// pod's cgroup, so it reports only CPU and memory. (kubelet: pkg/kubelet/kubelet_pods.go,
// convertToAPIPodLevelResourcesStatus)
func setResources(pod *v1.Pod, s *v1.PodStatus) {
	requests := resource.PodRequests(pod, resource.PodResourcesOptions{})
	limits := resource.PodLimits(pod, resource.PodResourcesOptions{})
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
	others := 0
	for name := range list {
		if name != v1.ResourceCPU && name != v1.ResourceMemory {
			others++
		}
	}
	if others == 0 {
		return list
	}
	reduced := v1.ResourceList{}
	for _, name := range []v1.ResourceName{v1.ResourceCPU, v1.ResourceMemory} {
		if amount, found := list[name]; found {
			reduced[name] = amount
		}
	}
	return reduced
}
