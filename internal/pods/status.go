package pods

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/component-helpers/resource"
)

// Stage is how far a pod is.
type Stage uint8

// The stages of a pod.
const (
	// Living is a pod that starts its containers, and starts them again as restartPolicy says.
	Living Stage = iota
	// Stopping is one that starts none any more, while some still run.
	Stopping
	// Ended is one of which nothing runs, or will run.
	Ended
)

// Course is how far a pod is, and what it comes to.
type Course struct {
	Stage Stage
	// Outcome is the phase to which it is made to end whatever its containers say, as by activeDeadlineSeconds; or empty.
	Outcome v1.PodPhase
	// Initialized is whether its init containers were done when it was told to end: main containers that never began are
	// lost then, and still wait for their turn otherwise.
	Initialized bool
	// WasInitialized is whether the condition Initialized has ever been met: it is not taken back when sidecars end.
	WasInitialized bool
}

// Status is the part of a pod's status that a kubelet makes of its spec and of what has become of its containers:
// everything but addresses and times. moment gives what the nth of Containers is.
//
// It shares what does not change with the pod, and must not be changed either, except for the lists themselves.
// (kubelet: pkg/kubelet/kubelet_pods.go, generateAPIPodStatus; pkg/kubelet/status, TerminatePod and mergePodStatus)
func Status(pod *v1.Pod, moment func(n int) *Moment, course Course) v1.PodStatus {
	s := v1.PodStatus{ObservedGeneration: pod.Generation, QOSClass: qosOf(pod)}
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
		*list = append(*list, moment(n).status(pod, kind, c))
		n++
	}

	stage := course.Stage
	s.Phase = phase(pod, &s, stage)
	concluded := cmp.Or(course.Outcome, s.Phase)
	if stage == Living && isTerminal(s.Phase) {
		stage = Ended // by itself
	}
	setConditions(pod, &s, stage, concluded, course.WasInitialized)
	switch {
	case stage == Ended:
		s.Phase = concluded
		lose(&s, course.Initialized)
		if !isTerminal(s.Phase) { // it never came to run
			s.Phase = v1.PodFailed
		}
	case isTerminal(s.Phase): // which is told only when nothing runs any more
		s.Phase = v1.PodPending
		if hasBegun(&s) {
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

// hasBegun says whether a main container has ever run.
func hasBegun(s *v1.PodStatus) bool {
	return slices.ContainsFunc(s.ContainerStatuses, func(c v1.ContainerStatus) bool { return c.ContainerID != "" })
}

// phase is that of a pod whose containers are in these states, in the order of its spec.
// (kubelet: pkg/kubelet/kubelet_pods.go, getPhase)
func phase(pod *v1.Pod, s *v1.PodStatus, stage Stage) v1.PodPhase {
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
			if status.State.Running != nil && !*status.Started && !hasBegun(s) {
				pending++
			}
		case t == nil:
			pending++
		case t.ExitCode != 0 && !Restarts(pod, InitContainer, c, t.ExitCode):
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
			if !Restarts(pod, MainContainer, c, t.ExitCode) {
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
	case running > 0, stage != Ended && stopped != final:
		return v1.PodRunning
	case stopped == succeeded:
		return v1.PodSucceeded
	}
	return v1.PodFailed
}

// termination is how a container that does not run has ended; nil where it runs, or never did.
func termination(s *v1.ContainerStatus) *v1.ContainerStateTerminated {
	switch {
	case s.State.Terminated != nil:
		return s.State.Terminated
	case s.State.Waiting != nil:
		return s.LastTerminationState.Terminated
	}
	return nil
}

// lose tells of containers that were to run, and of which nothing is known now that the pod has ended, that they are lost.
// (kubelet: pkg/kubelet/status, TerminatePod)
func lose(s *v1.PodStatus, initialized bool) {
	lost := func(statuses []v1.ContainerStatus) {
		for i := range statuses {
			if statuses[i].State.Terminated == nil {
				statuses[i].State = v1.ContainerState{Terminated: &v1.ContainerStateTerminated{
					Reason: "ContainerStatusUnknown", Message: "The container could not be located when the pod was terminated", ExitCode: 137,
				}}
			}
		}
	}
	inits := s.InitContainerStatuses
	begun := len(inits)
	for begun > 1 && inits[begun-1].State.Waiting != nil && inits[begun-1].LastTerminationState.Terminated == nil {
		begun--
	}
	if len(inits) == 0 || hasBegun(s) || initialized {
		lost(s.ContainerStatuses)
	}
	lost(inits[:begun])
}

// setConditions sets those of a pod whose containers are in these states, in the order of its spec, after those of others.
// concluded is its phase as far as the conditions are concerned. (kubelet: pkg/kubelet/status/generate.go)
func setConditions(pod *v1.Pod, s *v1.PodStatus, stage Stage, concluded v1.PodPhase, wasInitialized bool) {
	s.Conditions = make([]v1.PodCondition, 0, max(5, len(pod.Status.Conditions)))
	for _, c := range pod.Status.Conditions {
		if !IsKubelets(c.Type) {
			s.Conditions = append(s.Conditions, c)
		}
	}
	add := func(kind v1.PodConditionType, met bool, reason, message string) {
		c := v1.PodCondition{Type: kind, Status: v1.ConditionTrue, Reason: reason, Message: message, ObservedGeneration: pod.Generation}
		if !met {
			c.Status = v1.ConditionFalse
		}
		s.Conditions = append(s.Conditions, c)
	}

	if stage == Ended {
		add(v1.PodReadyToStartContainers, false, "PodSandboxNotReady", "pod sandbox is not ready")
	} else {
		add(v1.PodReadyToStartContainers, true, "", "")
	}

	incomplete := func(yield func(string) bool) {
		for i := range s.InitContainerStatuses {
			status := &s.InitContainerStatuses[i]
			done := status.Ready
			if isSidecar(&pod.Spec.InitContainers[i]) {
				done = *status.Started
			}
			if !done && !yield(status.Name) {
				return
			}
		}
	}
	anyMainRan := slices.ContainsFunc(s.ContainerStatuses, func(c v1.ContainerStatus) bool { return c.State.Waiting == nil })
	if concluded == v1.PodSucceeded {
		add(v1.PodInitialized, true, "PodCompleted", "")
	} else if names := slices.Collect(incomplete); len(names) > 0 && !anyMainRan && !wasInitialized {
		add(v1.PodInitialized, false, "ContainersNotInitialized", fmt.Sprintf("containers with incomplete status: %v", names))
	} else {
		add(v1.PodInitialized, true, "", "")
	}

	ready, reason, message := readiness(pod, s, concluded)
	if !ready {
		add(v1.PodReady, false, reason, message)
	} else if message := closedGates(pod, s.Conditions); message != "" {
		add(v1.PodReady, false, "ReadinessGatesNotReady", message)
	} else {
		add(v1.PodReady, true, "", "")
	}
	add(v1.ContainersReady, ready, reason, message)
	add(v1.PodScheduled, true, "", "")
	if restartsAll(pod) {
		reason := map[v1.PodPhase]string{v1.PodSucceeded: "PodCompleted", v1.PodFailed: "PodFailed"}[concluded]
		s.Conditions = append(s.Conditions, v1.PodCondition{Type: v1.AllContainersRestarting, Status: v1.ConditionFalse, Reason: reason})
	}
}

// IsKubelets says whether a condition is made by a kubelet alone. (kubelet: pkg/kubelet/types, PodConditionByKubelet)
func IsKubelets(condition v1.PodConditionType) bool {
	return slices.Contains(conditionsOfKubelet, condition)
}

var conditionsOfKubelet = []v1.PodConditionType{
	v1.PodReadyToStartContainers, v1.PodInitialized, v1.PodReady, v1.ContainersReady, v1.PodScheduled,
	v1.PodResizeInProgress, v1.PodResizePending, v1.AllContainersRestarting,
}

// readiness is that of all containers.
func readiness(pod *v1.Pod, s *v1.PodStatus, concluded v1.PodPhase) (ready bool, reason, message string) {
	switch concluded {
	case v1.PodSucceeded:
		return false, "PodCompleted", ""
	case v1.PodFailed:
		return false, "PodFailed", ""
	}
	var unready []string
	for i := range s.InitContainerStatuses {
		if status := &s.InitContainerStatuses[i]; isSidecar(&pod.Spec.InitContainers[i]) && !status.Ready {
			unready = append(unready, status.Name)
		}
	}
	for i := range s.ContainerStatuses {
		if status := &s.ContainerStatuses[i]; !status.Ready {
			unready = append(unready, status.Name)
		}
	}
	if len(unready) > 0 {
		return false, "ContainersNotReady", fmt.Sprintf("containers with unready status: %v", unready)
	}
	return true, "", ""
}

// closedGates tells which of the pod's readiness gates are not open; empty where all are.
func closedGates(pod *v1.Pod, conditions []v1.PodCondition) string {
	var closed []string
	for _, gate := range pod.Spec.ReadinessGates {
		i := slices.IndexFunc(conditions, func(c v1.PodCondition) bool { return c.Type == gate.ConditionType })
		if i < 0 {
			closed = append(closed, fmt.Sprintf("corresponding condition of pod readiness gate %q does not exist.", gate.ConditionType))
		} else if status := conditions[i].Status; status != v1.ConditionTrue {
			closed = append(closed, fmt.Sprintf("the status of pod readiness gate %q is not \"True\", but %v", gate.ConditionType, status))
		}
	}
	return strings.Join(closed, ", ")
}

// restartsAll says whether a container's end may restart all of them.
func restartsAll(pod *v1.Pod) bool {
	for _, c := range Containers(pod) {
		for _, rule := range c.RestartPolicyRules {
			if rule.Action == v1.ContainerRestartRuleActionRestartAllContainers {
				return true
			}
		}
	}
	return false
}

// setResources sets those of the pod as a whole. While it runs a kubelet reads them from its cgroup, which has the two
// alone. (kubelet: pkg/kubelet/kubelet_pods.go, convertToAPIPodLevelResourcesStatus)
func setResources(pod *v1.Pod, s *v1.PodStatus) {
	requests, limits := resource.PodRequests(pod, resource.PodResourcesOptions{}), resource.PodLimits(pod, resource.PodResourcesOptions{})
	s.AllocatedResources = requests
	s.Resources = &v1.ResourceRequirements{Requests: requests, Limits: limits}
	if pod.Spec.Resources != nil {
		s.Resources.Claims = pod.Spec.Resources.Claims
	}
	if s.Phase == v1.PodRunning {
		s.Resources.Requests, s.Resources.Limits = cpuAndMemory(requests), cpuAndMemory(limits)
	}
}

func cpuAndMemory(list v1.ResourceList) v1.ResourceList {
	others := 0
	for name := range list {
		if name != v1.ResourceCPU && name != v1.ResourceMemory {
			others++
		}
	}
	if others == 0 {
		return list
	}
	two := v1.ResourceList{}
	for _, name := range []v1.ResourceName{v1.ResourceCPU, v1.ResourceMemory} {
		if amount, there := list[name]; there {
			two[name] = amount
		}
	}
	return two
}
