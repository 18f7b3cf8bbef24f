package podlife

import (
	"time"

	v1 "k8s.io/api/core/v1"

	"fauxlet/scenario"
)

// FixedStatus returns the status of a pod that never changes, as on a node that is not in a cluster. According to the
// status, the pod has been in this state since its creationTimestamp. If pod.Status already contains the status of a
// container, FixedStatus keeps it.
func FixedStatus(pod *v1.Pod, described map[string]scenario.Container) v1.PodStatus {
	l := &Life{pod: pod, described: described, began: pod.CreationTimestamp.Time, now: pod.CreationTimestamp.Time}
	l.rebind()
	initWaits := false
	for i := range l.containers {
		c := &l.containers[i]
		if c.described.State != "" || c.kind != MainContainer || !initWaits {
			c.moment = fixedMoment(c.described, c.kind, l.began)
		}
		initWaits = initWaits || c.kind == InitContainer && c.run.reason != completed ||
			c.kind == Sidecar && !c.run.isRunning()
	}
	if s := l.containerStatuses(); isTerminal(phase(pod, &s, living)) {
		l.stage = ended
	}
	l.updateConditions()
	status := l.makeStatus()
	for _, made := range [][]v1.ContainerStatus{status.InitContainerStatuses, status.ContainerStatuses,
		status.EphemeralContainerStatuses} {
		for i := range made {
			if given := ContainerStatus(pod, made[i].Name); given != nil {
				made[i] = *given
			}
		}
	}
	return status
}

// fixedMoment returns the state of a container that has not changed since the given time. It is used for containers
// whose description has a State, and for all containers of a pod with a [FixedStatus].
func fixedMoment(c *scenario.Container, kind ContainerType, since time.Time) moment {
	since = since.Truncate(time.Second)
	state := c.State
	if state == "" && kind == InitContainer {
		state = completed
	}
	endedBy := func(reason string) run {
		return run{started: since, finished: since, reason: reason, code: exitCodes[reason]}
	}
	_, terminated := exitCodes[state]
	var m moment
	switch {
	case state == "" || state == scenario.StateRunning:
		m = moment{run: run{started: since}, started: true, ready: true}
	case terminated:
		m.run = endedBy(state)
	case state == crashLoop:
		m = moment{waiting: state, backOff: defaultBackOff, run: endedBy("Error")}
		m.run.number = crashes
		return m
	default:
		m.waiting = state
		return m
	}
	if c.Log.Previous != nil {
		m.run.number, m.last = 1, endedBy("Error")
	}
	return m
}

// crashes is the number of restarts after which the back-off has its longest value.
const crashes = 7
