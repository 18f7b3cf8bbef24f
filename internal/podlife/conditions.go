package podlife

import (
	"fmt"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
)

// IsKubeletCondition reports whether only a kubelet sets conditions of this type.
// (kubelet: pkg/kubelet/types, PodConditionByKubelet)
func IsKubeletCondition(condition v1.PodConditionType) bool {
	return slices.Contains(kubeletConditions, condition)
}

var kubeletConditions = []v1.PodConditionType{
	v1.PodReadyToStartContainers, v1.PodInitialized, v1.PodReady, v1.ContainersReady, v1.PodScheduled,
	v1.PodResizeInProgress, v1.PodResizePending, v1.AllContainersRestarting,
}

// setConditions appends the kubelet's conditions to the conditions that other programs have set. The container
// statuses must still be in the order of the spec. concluded is the phase from which the conditions are derived.
// (kubelet: pkg/kubelet/status/generate.go)
func setConditions(pod *v1.Pod, s *v1.PodStatus, stage stage, concluded v1.PodPhase, wasInitialized bool) {
	s.Conditions = make([]v1.PodCondition, 0, max(5, len(pod.Status.Conditions)))
	for _, c := range pod.Status.Conditions {
		if !IsKubeletCondition(c.Type) {
			s.Conditions = append(s.Conditions, c)
		}
	}
	add := func(kind v1.PodConditionType, met bool, reason, message string) {
		c := v1.PodCondition{
			Type: kind, Status: v1.ConditionTrue, Reason: reason, Message: message, ObservedGeneration: pod.Generation,
		}
		if !met {
			c.Status = v1.ConditionFalse
		}
		s.Conditions = append(s.Conditions, c)
	}

	if stage == ended {
		add(v1.PodReadyToStartContainers, false, "PodSandboxNotReady", "pod sandbox is not ready")
	} else {
		add(v1.PodReadyToStartContainers, true, "", "")
	}

	mainStarted := slices.ContainsFunc(s.ContainerStatuses,
		func(c v1.ContainerStatus) bool { return c.State.Waiting == nil })
	if concluded == v1.PodSucceeded {
		add(v1.PodInitialized, true, "PodCompleted", "")
	} else if names := incompleteInit(pod, s); len(names) > 0 && !mainStarted && !wasInitialized {
		add(v1.PodInitialized, false, "ContainersNotInitialized",
			fmt.Sprintf("containers with incomplete status: %v", names))
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
	if restartsAllContainers(pod) {
		reason := map[v1.PodPhase]string{v1.PodSucceeded: "PodCompleted", v1.PodFailed: "PodFailed"}[concluded]
		s.Conditions = append(s.Conditions,
			v1.PodCondition{Type: v1.AllContainersRestarting, Status: v1.ConditionFalse, Reason: reason})
	}
}

// incompleteInit returns the init containers that have not completed and the sidecars that have not started.
func incompleteInit(pod *v1.Pod, s *v1.PodStatus) []string {
	var names []string
	for i := range s.InitContainerStatuses {
		status := &s.InitContainerStatuses[i]
		done := status.Ready
		if isSidecar(&pod.Spec.InitContainers[i]) {
			done = *status.Started
		}
		if !done {
			names = append(names, status.Name)
		}
	}
	return names
}

// readiness reports whether all containers are ready, with the reason and message of the condition ContainersReady.
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

// closedGates returns the kubelet's message about readiness gates whose condition is not True. The message is empty
// if all gates are True.
func closedGates(pod *v1.Pod, conditions []v1.PodCondition) string {
	var closed []string
	for _, gate := range pod.Spec.ReadinessGates {
		i := slices.IndexFunc(conditions, func(c v1.PodCondition) bool { return c.Type == gate.ConditionType })
		if i < 0 {
			closed = append(closed, fmt.Sprintf("corresponding condition of pod readiness gate %q does not exist.",
				gate.ConditionType))
		} else if status := conditions[i].Status; status != v1.ConditionTrue {
			closed = append(closed, fmt.Sprintf("the status of pod readiness gate %q is not \"True\", but %v",
				gate.ConditionType, status))
		}
	}
	return strings.Join(closed, ", ")
}

// restartsAllContainers reports whether the pod has a restart rule that restarts all its containers when one
// container ends.
func restartsAllContainers(pod *v1.Pod) bool {
	for _, c := range Containers(pod) {
		for _, rule := range c.RestartPolicyRules {
			if rule.Action == v1.ContainerRestartRuleActionRestartAllContainers {
				return true
			}
		}
	}
	return false
}
