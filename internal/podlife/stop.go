package podlife

import (
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"
)

// stop is the end of a pod.
type stop struct {
	// since is when the containers get SIGTERM, and kill when those that still run get SIGKILL.
	since, kill time.Time
	// outcome is the phase in which the pod ends whatever its containers do, with reason and message. It is empty if
	// the containers decide.
	outcome         v1.PodPhase
	reason, message string
	// deleted is set if the pod stops because it is to be deleted.
	deleted bool
	// generation is the generation of the pod that stops. The kubelet does not observe newer ones until all containers
	// have stopped. (kubelet: SyncTerminatingPod)
	generation int64
	// initialized reports whether all init containers were done when the stop began.
	initialized bool
}

// minGracePeriod is the least time that each container gets. (kubelet: minimumGracePeriodInSeconds)
const minGracePeriod = 2 * time.Second

// defaultGracePeriod is the API server's default of terminationGracePeriodSeconds.
const defaultGracePeriod = 30 * time.Second

func (l *Life) gracePeriod() time.Duration {
	if seconds := l.pod.Spec.TerminationGracePeriodSeconds; seconds != nil {
		return time.Duration(*seconds) * time.Second
	}
	return defaultGracePeriod
}

// beginStop sends the containers SIGTERM.
func (l *Life) beginStop(at time.Time, grace time.Duration, s stop) {
	at = inSeconds(at)
	s.since, s.kill, s.initialized = at, at.Add(grace), l.mainMayRun()
	s.generation = l.pod.Generation
	if observed := l.pod.Status.ObservedGeneration; l.pod.DeletionTimestamp != nil && !s.deleted && observed > 0 {
		s.generation = observed // the deletion has raised the generation, and came later
	}
	l.stop, l.stage = s, stopping
	if s.deleted {
		l.waitNoMore()
	}
}

// waitNoMore ends the back-off of containers: they are terminated for good, as there is no next run in a pod that is
// to be deleted. In a pod that ends for another reason they keep waiting, and count as lost. (kubelet:
// pkg/kubelet/container, ShouldContainerBeRestarted)
func (l *Life) waitNoMore() {
	for i := range l.containers {
		if c := &l.containers[i]; c.run.hasEnded() {
			c.waiting, c.backOff = "", 0
		}
	}
}

// requestedStop returns the stop that the pod's current version requires, if any: it is to be deleted, or its phase in
// the API server is terminal.
func (l *Life) requestedStop(now time.Time) (since time.Time, grace time.Duration, s stop, requested bool) {
	switch deleted := l.pod.DeletionTimestamp; {
	case deleted != nil:
		grace = l.gracePeriod()
		if seconds := l.pod.DeletionGracePeriodSeconds; seconds != nil {
			grace = time.Duration(*seconds) * time.Second
		}
		if since = deleted.Add(-grace); since.After(now) { // the API server's clock is ahead
			since = now
		}
		return since, grace, stop{deleted: true}, true
	case isTerminal(l.pod.Status.Phase):
		return now, l.gracePeriod(), stop{outcome: l.pod.Status.Phase}, true
	}
	return since, grace, s, false
}

// follow makes the changes that a new version of the pod requires, and then those that are due.
func (l *Life) follow(now time.Time) {
	since, grace, s, requested := l.requestedStop(now)
	if requested && l.stage == living {
		if l.hasBegun() {
			l.advance(since)
		}
		if l.stage == living {
			l.beginStop(since, grace, s)
		}
	}
	l.advance(now)
	if l.stage == living {
		for i := range l.containers {
			l.containers[i].follow(now)
		}
	}
	l.arrange()
	l.advance(now)
}

// follow starts a new ephemeral container, and restarts a container whose image has changed.
func (c *container) follow(now time.Time) {
	if c.kind == EphemeralContainer && !c.hasStarted() && c.turn.IsZero() {
		c.turn = now
	}
	if c.run.isRunning() && c.run.image != c.spec.Image && !c.isFixed() {
		c.end(c.run.stopped(c.described.Stops, inSeconds(now), false))
		c.start(now)
	}
}

// hasBegun reports whether a container has started or has its turn.
func (l *Life) hasBegun() bool {
	return slices.ContainsFunc(l.containers, func(c container) bool { return c.hasStarted() || !c.turn.IsZero() })
}

// stopAll returns when all containers will have stopped, and calls each with every container that runs and its run
// after the end. Main containers stop first, then sidecars, in reverse order. (kubelet: pkg/kubelet/kuberuntime,
// killContainer and terminationOrdering)
func (l *Life) stopAll(each func(*container, run)) time.Time {
	last := l.stop.since
	for i := range l.containers {
		if c := &l.containers[i]; c.kind != Sidecar && c.run.isRunning() {
			r, at := c.stops(l.stop.since, l.stop)
			each(c, r)
			if at.After(last) {
				last = at
			}
		}
	}
	for i := len(l.containers) - 1; i >= 0; i-- {
		if c := &l.containers[i]; c.kind == Sidecar && c.run.isRunning() {
			r, at := c.stops(last, l.stop)
			each(c, r)
			last = at
		}
	}
	return last
}

// stops returns the run after the end of a container whose turn to stop has come, and the time of its end.
func (c *container) stops(turn time.Time, s stop) (run, time.Time) {
	sigterm := turn.Add(c.preStop())
	if sigterm.After(s.kill) {
		sigterm = s.kill
	}
	kill := s.kill
	if earliest := sigterm.Add(minGracePeriod); kill.Before(earliest) && s.kill.After(s.since) {
		kill = earliest
	}
	at := sigterm.Add(c.described.Stops.After.Duration)
	killed := at.After(kill)
	if killed {
		at = kill
	}
	if at.Before(c.run.started) { // it started after the stop began
		at = c.run.started
	}
	return c.run.stopped(c.described.Stops, inSeconds(at), killed), at
}

// preStop returns how long the container's preStop hook takes. Hooks that run a command or send a request take no
// time.
func (c *container) preStop() time.Duration {
	if h := c.spec.Lifecycle; h != nil && h.PreStop != nil && h.PreStop.Sleep != nil {
		return time.Duration(h.PreStop.Sleep.Seconds) * time.Second
	}
	return 0
}
