package podlife

import (
	"cmp"
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"
)

// advance applies all changes that are due at or before now.
func (l *Life) advance(now time.Time) {
	for {
		at, apply := l.next()
		if apply == nil || at.After(now) {
			break
		}
		l.now = at
		apply()
		l.arrange()
	}
	l.now = later(l.now, now)
}

// next returns the time of the next change and a function that applies it, or nil if no change will follow.
func (l *Life) next() (at time.Time, apply func()) {
	consider := func(t time.Time, f func()) {
		if !t.IsZero() && (apply == nil || t.Before(at)) {
			at, apply = t, f
		}
	}
	for i := range l.containers {
		switch c := &l.containers[i]; l.stage {
		case living:
			consider(c.due(l.restarts(c)), func() { c.step(l.now, l.maxBackOff()) })
		case stopping:
			consider(c.dueWhileStopping(), func() { c.probe(l.now) })
		}
	}
	switch seconds := l.pod.Spec.ActiveDeadlineSeconds; {
	case l.stage == stopping:
		consider(l.stopAll(func(*container, run) {}), func() {
			l.stopAll((*container).end)
			l.stage = ended
		})
	case l.stage == living && seconds != nil:
		consider(l.began.Add(time.Duration(*seconds)*time.Second), func() {
			l.beginStop(l.now, l.gracePeriod(), stop{outcome: v1.PodFailed, reason: "DeadlineExceeded",
				message: "Pod was active on the node longer than the specified deadline"})
		})
	}
	if apply != nil {
		at = later(at, l.now)
	}
	return at, apply
}

// restarts reports whether a container has ended and will start again.
func (l *Life) restarts(c *container) bool {
	return c.run.hasEnded() && restarts(l.pod, c.kind, c.spec, c.run.code)
}

func (l *Life) maxBackOff() time.Duration { return cmp.Or(l.settings.MaxBackOff, defaultBackOff) }

// arrange applies the immediate effects of a change: the next container may start, the pod ends, or conditions change.
func (l *Life) arrange() {
	if l.stage == living {
		l.takeTurns()
		if l.isDone() {
			l.beginStop(l.now, l.gracePeriod(), stop{})
		}
	}
	l.updateConditions()
}

// takeTurns sets the time from which each container may start: init containers and sidecars one after another, then all
// main containers together. Once a later container has started, the containers before it delay no other start. So a
// sidecar that restarts does not delay the main containers. (kubelet: pkg/kubelet/kuberuntime,
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
			turn = time.Time{} // later containers have to wait
		case !turn.IsZero() && c.initializedAt().After(turn):
			turn = c.initializedAt()
		}
	}
}

// lastStarted returns the index of the last container, except ephemeral ones, that has ever started, or -1 if none has.
func (l *Life) lastStarted() int {
	last := -1
	for i := range l.containers {
		if c := &l.containers[i]; c.kind != EphemeralContainer && c.hasStarted() {
			last = i
		}
	}
	return last
}

// mainMayRun reports whether the main containers may run: the last init container has completed or, if the last one is
// a sidecar, the sidecar has started. Only the last one matters, because it starts only after all others. The result is
// also true if a main container has started. (pkg/kubelet/status, hasPodInitialized)
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

func (l *Life) anyRuns() bool {
	return slices.ContainsFunc(l.containers, func(c container) bool { return c.run.isRunning() })
}

// anyCreated reports whether the runtime has created a container, or has tried to. The pod's sandbox then exists.
func (l *Life) anyCreated() bool {
	return slices.ContainsFunc(l.containers, func(c container) bool {
		return c.hasStarted() || c.waiting != "" && c.waiting != "ContainerCreating" && c.waiting != "PodInitializing"
	})
}
