package podlife

import (
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"
)

// timedConditions are the conditions for which a life remembers the time of the last transition.
var timedConditions = [...]v1.PodConditionType{v1.PodReadyToStartContainers, v1.PodInitialized, v1.PodReady,
	v1.ContainersReady}

type condition struct {
	met   bool
	since time.Time // zero before the condition is first set
}

// timedIndex returns the index of a condition in timedConditions, or -1.
func timedIndex(kind v1.PodConditionType) int { return slices.Index(timedConditions[:], kind) }

func conditionOf(s *v1.PodStatus, kind v1.PodConditionType) *v1.PodCondition {
	for i := range s.Conditions {
		if s.Conditions[i].Type == kind {
			return &s.Conditions[i]
		}
	}
	return nil
}

// Events that concern the pod as a whole. An event of one container is a number from 0: the index of the container.
const (
	noEvent = -1 - iota
	deadlineExceeded
	allStopped
)

// advance applies all changes that are due at or before now.
func (l *Life) advance(now time.Time) {
	for {
		at, event := l.next()
		if event == noEvent || at.After(now) {
			break
		}
		l.now = at
		switch event {
		case deadlineExceeded:
			l.beginStop(at, l.gracePeriod(), stop{
				outcome: v1.PodFailed, reason: "DeadlineExceeded",
				message: "Pod was active on the node longer than the specified deadline",
			})
		case allStopped:
			l.stopAll((*container).end)
			l.stage = ended
		default:
			if c := &l.containers[event]; l.stage == stopping {
				c.probe(at)
			} else {
				c.step(at, l.maxBackOff())
			}
		}
		l.arrange()
	}
	if now.After(l.now) {
		l.now = now
	}
}

// next returns the time of the next change and its event.
func (l *Life) next() (at time.Time, event int) {
	event = noEvent
	consider := func(t time.Time, e int) {
		if !t.IsZero() && (event == noEvent || t.Before(at)) {
			at, event = t, e
		}
	}
	switch l.stage {
	case living:
		for i := range l.containers {
			c := &l.containers[i]
			consider(c.due(l.restarts(c)), i)
		}
		if seconds := l.pod.Spec.ActiveDeadlineSeconds; seconds != nil {
			consider(l.began.Add(time.Duration(*seconds)*time.Second), deadlineExceeded)
		}
	case stopping:
		for i := range l.containers {
			consider(l.containers[i].dueWhileStopping(), i)
		}
		consider(l.stopAll(func(*container, run) {}), allStopped)
	}
	if event != noEvent && at.Before(l.now) {
		at = l.now
	}
	return at, event
}

// restarts reports whether a container has ended and will start again.
func (l *Life) restarts(c *container) bool {
	return c.run.hasEnded() && restarts(l.pod, c.kind, c.spec, c.run.code)
}

func (l *Life) maxBackOff() time.Duration {
	if l.settings.MaxBackOff > 0 {
		return l.settings.MaxBackOff
	}
	return defaultBackOff
}

// arrange applies the changes that follow immediately from the latest event: the next container may start, the pod
// ends, or conditions change.
func (l *Life) arrange() {
	if l.stage == living {
		l.takeTurns()
		if l.isDone() {
			l.beginStop(l.now, l.gracePeriod(), stop{})
		}
	}
	l.updateConditions()
}

// takeTurns sets the time from which each container may start: init containers and sidecars one after another, then
// all main containers together. If a container has already started, the containers before it no longer delay the
// start of others. An example is a sidecar that has ended and restarts. (kubelet: pkg/kubelet/kuberuntime,
// computeInitContainerActions)
func (l *Life) takeTurns() {
	turn, lastStarted := l.began, l.lastStarted()
	for i := range l.containers {
		c := &l.containers[i]
		if c.kind == EphemeralContainer {
			continue // an ephemeral container may start as soon as it is added
		}
		c.turn = turn
		switch {
		case c.kind == MainContainer:
		case i < lastStarted && !c.isInitialized():
		case !c.isInitialized():
			turn = time.Time{} // the containers after this one have to wait
		case !turn.IsZero() && c.initializedAt().After(turn):
			turn = c.initializedAt()
		}
	}
}

// lastStarted returns the index of the last container, except ephemeral ones, that has ever started; -1 for none.
func (l *Life) lastStarted() int {
	last := -1
	for i := range l.containers {
		if c := &l.containers[i]; c.kind != EphemeralContainer && c.hasStarted() {
			last = i
		}
	}
	return last
}

// mainMayRun reports whether the last init container has completed or, if it is a sidecar, has started. The earlier
// init containers and sidecars were done before the last one started. (kubelet: pkg/kubelet/status,
// hasPodInitialized)
func (l *Life) mainMayRun() bool {
	last := len(l.pod.Spec.InitContainers) - 1
	return last < 0 || l.lastStarted() > last || l.containers[last].isInitialized()
}

// isInitialized reports whether all init containers have completed and all sidecars have started.
func (l *Life) isInitialized() bool {
	return !slices.ContainsFunc(l.containers, func(c container) bool {
		return (c.kind == InitContainer || c.kind == Sidecar) && !c.isInitialized()
	})
}

// isDone reports whether the pod has ended by itself: either all main containers have ended and will not restart, or
// an init container has failed and will not restart.
func (l *Life) isDone() bool {
	done := true
	for i := range l.containers {
		c := &l.containers[i]
		final := c.run.hasEnded() && !l.restarts(c)
		switch c.kind {
		case InitContainer:
			if final && c.run.code != 0 {
				return true
			}
		case MainContainer:
			done = done && final
		}
	}
	return done
}

// anyRuns reports whether at least one container runs.
func (l *Life) anyRuns() bool {
	return slices.ContainsFunc(l.containers, func(c container) bool { return c.run.isRunning() })
}

// anyCreated reports whether the runtime has created a container, or has tried to. The pod's sandbox then exists.
func (l *Life) anyCreated() bool {
	return slices.ContainsFunc(l.containers, func(c container) bool {
		return c.hasStarted() || c.waiting != "" && c.waiting != "ContainerCreating" && c.waiting != "PodInitializing"
	})
}

// wasInitialized reports whether the condition Initialized has ever been true.
func (l *Life) wasInitialized() bool { return l.conditions[timedIndex(v1.PodInitialized)].met }

// updateConditions records when a condition changes. It applies the same rules as setConditions, but creates no
// reasons and messages.
func (l *Life) updateConditions() {
	started, ready := false, l.stage != ended && l.stop.outcome == ""
	for i := range l.containers {
		c := &l.containers[i]
		switch c.kind {
		case Sidecar:
			ready = ready && c.run.isRunning() && c.ready
		case MainContainer:
			started = started || c.hasStarted() && c.waiting == ""
			ready = ready && c.run.isRunning() && c.ready
		}
	}
	podReady := ready
	for _, gate := range l.pod.Spec.ReadinessGates {
		c := conditionOf(&l.pod.Status, gate.ConditionType)
		podReady = podReady && c != nil && c.Status == v1.ConditionTrue
	}
	initialized := l.wasInitialized() || started || l.isInitialized() || l.stop.outcome == v1.PodSucceeded
	for i, met := range [len(timedConditions)]bool{l.stage != ended, initialized, podReady, ready} {
		if c := &l.conditions[i]; c.met != met || c.since.IsZero() {
			*c = condition{met: met, since: inSeconds(l.now)}
		}
	}
}
