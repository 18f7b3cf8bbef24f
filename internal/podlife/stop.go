package podlife

import (
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"

	"fauxlet/internal/pods"
)

// stop is how a pod comes to its end.
type stop struct {
	// since is when its containers were told to stop, kill when those that still run are killed.
	since, kill time.Time
	// outcome is the phase that it ends with whatever its containers say, for this reason. Empty: what they say.
	outcome         v1.PodPhase
	reason, message string
	// deleted is whether the pod was told to because it is to be deleted.
	deleted bool
	// generation is that of the pod which was told to. What the apiserver says later is not heard before all has stopped: it
	// takes no less time for it. (kubelet: SyncTerminatingPod, whose context nobody cancels)
	generation int64
	// initialized is whether all init containers were done then.
	initialized bool
}

// leastGrace is given to each container. (kubelet: minimumGracePeriodInSeconds)
const leastGrace = 2 * time.Second

// defaultGrace is that of a pod that says none, as the apiserver would have filled in.
const defaultGrace = 30 * time.Second

func (l *Life) grace() time.Duration {
	if seconds := l.pod.Spec.TerminationGracePeriodSeconds; seconds != nil {
		return time.Duration(*seconds) * time.Second
	}
	return defaultGrace
}

// tell tells the containers to stop.
func (l *Life) tell(at time.Time, grace time.Duration, how stop) {
	at = inSeconds(at)
	how.since, how.kill, how.initialized = at, at.Add(grace), l.mainMayRun()
	how.generation = l.pod.Generation
	if observed := l.pod.Status.ObservedGeneration; l.pod.DeletionTimestamp != nil && !how.deleted && observed > 0 {
		how.generation = observed // as it was before that
	}
	l.stop, l.stage = how, pods.Stopping
	if how.deleted {
		l.waitNoMore()
	}
}

// toldByAPI is since when the pod is to be deleted, or since when it is told to have ended, and how.
func (l *Life) toldByAPI(now time.Time) (since time.Time, grace time.Duration, how stop, told bool) {
	switch deleted := l.pod.DeletionTimestamp; {
	case deleted != nil:
		grace = l.grace()
		if seconds := l.pod.DeletionGracePeriodSeconds; seconds != nil {
			grace = time.Duration(*seconds) * time.Second
		}
		if since = deleted.Add(-grace); since.After(now) { // by another clock
			since = now
		}
		return since, grace, stop{deleted: true}, true
	case isTerminal(l.pod.Status.Phase):
		return now, l.grace(), stop{outcome: l.pod.Status.Phase}, true
	}
	return since, grace, how, false
}

// follow does what a version of the pod asks for that is new to this life, and then what is due.
func (l *Life) follow(now time.Time) {
	since, grace, how, told := l.toldByAPI(now)
	if told && l.stage == pods.Living {
		if l.hasBegun() {
			l.advance(since)
		}
		if l.stage == pods.Living {
			l.tell(since, grace, how)
		}
	}
	l.advance(now)
	if l.stage == pods.Living {
		for i := range l.parts {
			l.parts[i].follow(now)
		}
	}
	l.arrange()
	l.advance(now)
}

// follow begins an ephemeral container that has come, and begins one again whose image is another.
func (p *part) follow(now time.Time) {
	if p.kind == pods.EphemeralContainer && !p.hasRun() && p.turn.IsZero() {
		p.turn = now
	}
	if p.Run.Runs() && p.Run.Image != p.spec.Image && !p.isFixed() {
		p.end(pods.Stopped(p.Run, p.is.Stops, inSeconds(now), false))
		p.start(now)
	}
}

// hasBegun says whether anything of the pod has, or is to.
func (l *Life) hasBegun() bool {
	return slices.ContainsFunc(l.parts, func(p part) bool { return p.hasRun() || !p.turn.IsZero() })
}

// allStop is when all containers will have stopped. Main containers stop at once, sidecars after them, the last first.
// each is given how the run of each ends. (kubelet: pkg/kubelet/kuberuntime, killContainer and terminationOrdering)
func (l *Life) allStop(each func(*part, pods.Run)) time.Time {
	last := l.stop.since
	for i := range l.parts {
		if p := &l.parts[i]; p.kind != pods.Sidecar && p.Run.Runs() {
			r, at := p.stops(l.stop.since, l.stop)
			each(p, r)
			if at.After(last) {
				last = at
			}
		}
	}
	for i := len(l.parts) - 1; i >= 0; i-- {
		if p := &l.parts[i]; p.kind == pods.Sidecar && p.Run.Runs() {
			r, at := p.stops(last, l.stop)
			each(p, r)
			last = at
		}
	}
	return last
}

// stops is how a run ends that is told to when its turn has come, and when.
func (p *part) stops(turn time.Time, s stop) (pods.Run, time.Time) {
	told := turn.Add(p.preStop())
	if told.After(s.kill) {
		told = s.kill
	}
	kill := s.kill
	if least := told.Add(leastGrace); kill.Before(least) && s.kill.After(s.since) {
		kill = least
	}
	at := told.Add(p.is.Stops.After.Duration)
	killed := at.After(kill)
	if killed {
		at = kill
	}
	if at.Before(p.Run.Started) { // which was after it should have been told
		at = p.Run.Started
	}
	return pods.Stopped(p.Run, p.is.Stops, inSeconds(at), killed), at
}

// preStop is how long the container's hook takes; those that run a command or ask are done at once.
func (p *part) preStop() time.Duration {
	if h := p.spec.Lifecycle; h != nil && h.PreStop != nil && h.PreStop.Sleep != nil {
		return time.Duration(h.PreStop.Sleep.Seconds) * time.Second
	}
	return 0
}
