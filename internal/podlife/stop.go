package podlife

import (
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"
)

// stop describes how and when a pod stops.
type stop struct {
	// Containers get SIGTERM at the time "since". Containers that still run at the time "kill" get SIGKILL.
	since, kill time.Time
	// outcome is the phase in which the pod ends regardless of its containers, with reason and message. It is empty
	// if the exit codes of the containers determine the phase.
	outcome         v1.PodPhase
	reason, message string
	deleted         bool // whether the pod stops because of its deletionTimestamp
	// generation is the pod's generation when the stop began. The kubelet does not observe a newer generation until
	// all containers have stopped. (kubelet: SyncTerminatingPod)
	generation  int64
	initialized bool // whether all init containers were done when the stop began
}

// minGracePeriod is the least time between SIGTERM and SIGKILL. (kubelet: minimumGracePeriodInSeconds)
const minGracePeriod = 2 * time.Second

// gracePeriod returns the pod's terminationGracePeriodSeconds, or the API server's default.
func (l *Life) gracePeriod() time.Duration {
	return time.Duration(ptr.Deref(l.pod.Spec.TerminationGracePeriodSeconds, 30)) * time.Second
}

// beginStop stops the pod: its containers get SIGTERM.
func (l *Life) beginStop(at time.Time, grace time.Duration, s stop) {
	at = inSeconds(at)
	s.since, s.kill, s.initialized = at, at.Add(grace), l.mainMayRun()
	s.generation = l.pod.Generation
	if observed := l.pod.Status.ObservedGeneration; l.pod.DeletionTimestamp != nil && !s.deleted && observed > 0 {
		s.generation = observed // the deletion came after this stop, and has increased the generation
	}
	l.stop, l.stage = s, stopping
	// In a deleted pod, the containers that wait in a back-off become terminated, because they will not run again. In a
	// pod that ends for a different reason, containers in a back-off continue to wait. When the pod has ended, they are
	// terminated with the reason ContainerStatusUnknown. (kubelet: pkg/kubelet/container, ShouldContainerBeRestarted)
	for i := range l.containers {
		if c := &l.containers[i]; s.deleted && c.run.hasEnded() {
			c.waiting, c.backOff = "", 0
		}
	}
}

// followStop begins the stop that the pod's current version requires, if any. A pod must stop if it has a
// deletionTimestamp or if its phase in the API server is terminal.
func (l *Life) followStop(now time.Time) {
	since, grace, s := now, l.gracePeriod(), stop{}
	switch deleted := l.pod.DeletionTimestamp; {
	case deleted != nil:
		if seconds := l.pod.DeletionGracePeriodSeconds; seconds != nil {
			grace = time.Duration(*seconds) * time.Second
		}
		if began := deleted.Add(-grace); began.Before(now) { // began > now only if the API server's clock is ahead
			since = began
		}
		s.deleted = true
	case isTerminal(l.pod.Status.Phase):
		s.outcome = l.pod.Status.Phase
	default:
		return
	}
	if l.hasBegun() {
		l.advance(since)
	}
	if l.stage == living {
		l.beginStop(since, grace, s)
	}
}

// follow applies the changes that a new version of the pod requires, and then all changes that are due.
func (l *Life) follow(now time.Time) {
	if l.stage == living {
		l.followStop(now)
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

// follow starts a new ephemeral container, and restarts a container whose image has changed. A container in a back-off
// starts at once with a new image. Only an init container that runs keeps its image until it ends.
// (kubelet: pkg/kubelet/kuberuntime, computePodActions and GetBackoffKey)
func (c *container) follow(now time.Time) {
	if c.kind == EphemeralContainer && !c.hasStarted() && c.turn.IsZero() {
		c.turn = now
	}
	switch {
	case c.isFixed() || c.run.image == c.spec.Image:
	case c.run.isRunning() && c.kind != InitContainer:
		c.end(c.run.stopped(c.described.Stops, inSeconds(now), false))
		c.start(now)
	case c.waiting == crashLoop:
		c.waiting, c.backOff = "", 0
	}
}

// hasBegun reports whether any container has started or may start.
func (l *Life) hasBegun() bool {
	return slices.ContainsFunc(l.containers, func(c container) bool { return c.hasStarted() || !c.turn.IsZero() })
}

// stopAll returns the time at which all containers will have stopped. For every running container it calls the function
// "each" with the container and with a copy of its run as it will be after the container has stopped. Sidecars get
// SIGTERM in reverse order, after all main containers have stopped. They do not wait for init containers and ephemeral
// containers. (kubelet: pkg/kubelet/kuberuntime, killContainer and terminationOrdering)
func (l *Life) stopAll(each func(*container, run)) time.Time {
	turn, last := l.stop.since, l.stop.since
	for i := range l.containers {
		if c := &l.containers[i]; c.kind != Sidecar && c.run.isRunning() {
			r, at := c.stops(l.stop.since, l.stop)
			each(c, r)
			last = later(last, at)
			if c.kind == MainContainer {
				turn = later(turn, at)
			}
		}
	}
	for i := len(l.containers) - 1; i >= 0; i-- {
		if c := &l.containers[i]; c.kind == Sidecar && c.run.isRunning() {
			r, at := c.stops(turn, l.stop)
			each(c, r)
			turn = later(turn, at)
		}
	}
	return later(last, turn)
}

// The method "stops" returns how the current run of a container in a stopping pod ends, and the time of that end. The
// argument "turn" is the earliest time of SIGTERM. The preStop hook runs before, from the beginning of the stop.
func (c *container) stops(turn time.Time, s stop) (run, time.Time) {
	sigterm, kill := later(turn, s.since.Add(c.preStop())), s.kill
	if sigterm.After(kill) {
		sigterm = kill
	}
	if earliest := sigterm.Add(minGracePeriod); kill.Before(earliest) && s.kill.After(s.since) {
		kill = earliest
	}
	at := sigterm.Add(c.described.Stops.After.Duration)
	killed := at.After(kill)
	if killed {
		at = kill
	}
	at = later(at, c.run.started) // the container may have started after the stop began
	return c.run.stopped(c.described.Stops, inSeconds(at), killed), at
}

// preStop returns how long the container's preStop hook takes. Only hooks that sleep take time.
func (c *container) preStop() time.Duration {
	if h := c.spec.Lifecycle; h != nil && h.PreStop != nil && h.PreStop.Sleep != nil {
		return time.Duration(h.PreStop.Sleep.Seconds) * time.Second
	}
	return 0
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
