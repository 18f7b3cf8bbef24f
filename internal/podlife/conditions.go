package podlife

import (
	"fmt"
	"slices"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// IsKubeletCondition reports whether only a kubelet sets this condition. (pkg/kubelet/types, PodConditionByKubelet)
func IsKubeletCondition(condition v1.PodConditionType) bool {
	return slices.Contains(kubeletConditions, condition)
}

var kubeletConditions = []v1.PodConditionType{
	v1.PodReadyToStartContainers, v1.PodInitialized, v1.PodReady, v1.ContainersReady, v1.PodScheduled,
	v1.PodResizeInProgress, v1.PodResizePending, v1.AllContainersRestarting,
}

// The indices of Life.conditions. A Life records the last transition of these conditions.
const (
	startable = iota
	initialized
	podReady
	containersReady
)

var timedConditions = [...]v1.PodConditionType{startable: v1.PodReadyToStartContainers,
	initialized: v1.PodInitialized, podReady: v1.PodReady, containersReady: v1.ContainersReady}

type condition struct {
	met   bool
	since time.Time // zero before the condition is first set
}

func conditionOf(s *v1.PodStatus, kind v1.PodConditionType) *v1.PodCondition {
	if i := slices.IndexFunc(s.Conditions, func(c v1.PodCondition) bool { return c.Type == kind }); i >= 0 {
		return &s.Conditions[i]
	}
	return nil
}

// updateConditions computes the pod's conditions, and records the time if a condition changes.
func (l *Life) updateConditions() {
	started, ready := false, l.stage != ended && l.stop.outcome == ""
	for i := range l.containers {
		c := &l.containers[i]
		if c.hasProbes() {
			ready = ready && c.run.isRunning() && c.ready
		}
		started = started || c.kind == MainContainer && c.hasStarted() && c.waiting == ""
	}
	gatesOpen := true
	for _, gate := range l.pod.Spec.ReadinessGates {
		c := conditionOf(&l.pod.Status, gate.ConditionType)
		gatesOpen = gatesOpen && c != nil && c.Status == v1.ConditionTrue
	}
	for i, met := range [...]bool{
		startable: l.stage != ended,
		initialized: l.conditions[initialized].met || started || l.isInitialized() ||
			l.stop.outcome == v1.PodSucceeded,
		podReady:        ready && gatesOpen,
		containersReady: ready,
	} {
		if c := &l.conditions[i]; c.met != met || c.since.IsZero() {
			*c = condition{met: met, since: inSeconds(l.now)}
		}
	}
}

// setConditions appends the kubelet's conditions to the conditions that other programs have set. The container statuses
// must still be in the order of the spec. The argument "concluded" is the phase that determines the reasons of the
// conditions. (kubelet: pkg/kubelet/status/generate.go)
func (l *Life) setConditions(s *v1.PodStatus, concluded v1.PodPhase) {
	old := &l.pod.Status
	s.Conditions = make([]v1.PodCondition, 0, max(5, len(old.Conditions)))
	for _, c := range old.Conditions {
		if !IsKubeletCondition(c.Type) {
			s.Conditions = append(s.Conditions, c)
		}
	}
	var why [len(timedConditions)]struct{ reason, message string }
	if !l.conditions[startable].met {
		why[startable].reason, why[startable].message = "PodSandboxNotReady", "pod sandbox is not ready"
	}
	if concluded == v1.PodSucceeded {
		why[initialized].reason = "PodCompleted"
	} else if !l.conditions[initialized].met {
		why[initialized].reason = "ContainersNotInitialized"
		why[initialized].message = fmt.Sprintf("containers with incomplete status: %v", incompleteInit(l.pod, s))
	}
	if !l.conditions[containersReady].met {
		why[containersReady].reason, why[containersReady].message = unreadiness(l.pod, s, concluded)
		why[podReady] = why[containersReady]
	} else if !l.conditions[podReady].met {
		why[podReady].reason, why[podReady].message = "ReadinessGatesNotReady", closedGates(l.pod)
	}
	add := func(kind v1.PodConditionType, c condition, reason, message string) {
		status := v1.ConditionFalse
		if c.met {
			status = v1.ConditionTrue
		}
		s.Conditions = append(s.Conditions, v1.PodCondition{Type: kind, Status: status, Reason: reason,
			Message: message, ObservedGeneration: l.generation(), LastTransitionTime: metav1.NewTime(c.since)})
	}
	for i, kind := range timedConditions {
		add(kind, l.conditions[i], why[i].reason, why[i].message)
	}
	// PodScheduled is always True, and AllContainersRestarting always False. An earlier status may have other values.
	since := func(kind v1.PodConditionType, status v1.ConditionStatus) time.Time {
		if c := conditionOf(old, kind); c != nil && c.Status == status {
			return c.LastTransitionTime.Time
		}
		return l.began
	}
	add(v1.PodScheduled, condition{met: true, since: since(v1.PodScheduled, v1.ConditionTrue)}, "", "")
	if kind := v1.AllContainersRestarting; restartsAllContainers(l.pod) {
		reason := map[v1.PodPhase]string{v1.PodSucceeded: "PodCompleted", v1.PodFailed: "PodFailed"}[concluded]
		add(kind, condition{since: since(kind, v1.ConditionFalse)}, reason, "")
		s.Conditions[len(s.Conditions)-1].ObservedGeneration = 0
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

// unreadiness returns the reason and message of the condition ContainersReady if it is not met.
func unreadiness(pod *v1.Pod, s *v1.PodStatus, concluded v1.PodPhase) (reason, message string) {
	switch concluded {
	case v1.PodSucceeded:
		return "PodCompleted", ""
	case v1.PodFailed:
		return "PodFailed", ""
	}
	var unready []string
	for i, status := range slices.Concat(s.InitContainerStatuses, s.ContainerStatuses) {
		if inits := pod.Spec.InitContainers; !status.Ready && (i >= len(inits) || isSidecar(&inits[i])) {
			unready = append(unready, status.Name)
		}
	}
	return "ContainersNotReady", fmt.Sprintf("containers with unready status: %v", unready)
}

// closedGates returns the kubelet's message about readiness gates whose condition is not True.
func closedGates(pod *v1.Pod) string {
	var closed []string
	for _, gate := range pod.Spec.ReadinessGates {
		if c := conditionOf(&pod.Status, gate.ConditionType); c == nil {
			closed = append(closed, fmt.Sprintf("corresponding condition of pod readiness gate %q does not exist.",
				gate.ConditionType))
		} else if c.Status != v1.ConditionTrue {
			closed = append(closed, fmt.Sprintf("the status of pod readiness gate %q is not \"True\", but %v",
				gate.ConditionType, c.Status))
		}
	}
	return strings.Join(closed, ", ")
}

// restartsAllContainers reports whether the end of one container can restart all containers of the pod.
func restartsAllContainers(pod *v1.Pod) bool {
	restartsAll := func(r v1.ContainerRestartRule) bool {
		return r.Action == v1.ContainerRestartRuleActionRestartAllContainers
	}
	for _, c := range Containers(pod) {
		if slices.ContainsFunc(c.RestartPolicyRules, restartsAll) {
			return true
		}
	}
	return false
}
