package podlife

import (
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"

	"fauxlet/internal/pods"
)

// ours are the conditions whose times are kept; a pod is scheduled once.
var ours = [...]v1.PodConditionType{v1.PodReadyToStartContainers, v1.PodInitialized, v1.PodReady, v1.ContainersReady}

type condition struct {
	met   bool
	since time.Time // zero: not told yet
}

func numberOf(kind v1.PodConditionType) int { return slices.Index(ours[:], kind) }

func conditionOf(s *v1.PodStatus, kind v1.PodConditionType) *v1.PodCondition {
	for i := range s.Conditions {
		if s.Conditions[i].Type == kind {
			return &s.Conditions[i]
		}
	}
	return nil
}

// What may happen next, beside to one of the parts.
const (
	nothingHappens = -1 - iota
	deadlineExceeded
	allStopped
)

// advance does all that is due up to now.
func (l *Life) advance(now time.Time) {
	for {
		at, what := l.next()
		if what == nothingHappens || at.After(now) {
			break
		}
		l.now = at
		switch what {
		case deadlineExceeded:
			l.tell(at, l.grace(), stop{
				outcome: v1.PodFailed, reason: "DeadlineExceeded", message: "Pod was active on the node longer than the specified deadline",
			})
		case allStopped:
			l.allStop((*part).end)
			l.stage = pods.Ended
		default:
			if p := &l.parts[what]; l.stage == pods.Stopping {
				p.probe(at)
			} else {
				p.step(at, l.longest())
			}
		}
		l.arrange()
	}
	if now.After(l.now) {
		l.now = now
	}
}

// waitNoMore has containers be as they ended that wait for another run: there is none in a pod that is to be deleted. In one
// that ends for another reason they go on waiting, and are lost.
// (kubelet: pkg/kubelet/container, ShouldContainerBeRestarted)
func (l *Life) waitNoMore() {
	for i := range l.parts {
		if p := &l.parts[i]; p.Run.Over() {
			p.Waiting, p.BackOff = "", 0
		}
	}
}

// next is when the status changes by itself, and what happens then: to the nth part, where it is not negative.
func (l *Life) next() (at time.Time, what int) {
	what = nothingHappens
	consider := func(t time.Time, n int) {
		if !t.IsZero() && (what == nothingHappens || t.Before(at)) {
			at, what = t, n
		}
	}
	switch l.stage {
	case pods.Living:
		for i := range l.parts {
			p := &l.parts[i]
			consider(p.due(l.restarts(p)), i)
		}
		if seconds := l.pod.Spec.ActiveDeadlineSeconds; seconds != nil {
			consider(l.began.Add(time.Duration(*seconds)*time.Second), deadlineExceeded)
		}
	case pods.Stopping:
		for i := range l.parts {
			consider(l.parts[i].dueWhileStopping(), i)
		}
		consider(l.allStop(func(*part, pods.Run) {}), allStopped)
	}
	if what != nothingHappens && at.Before(l.now) {
		at = l.now
	}
	return at, what
}

// restarts says whether a part that has ended is started again.
func (l *Life) restarts(p *part) bool {
	return p.Run.Over() && pods.Restarts(l.pod, p.kind, p.spec, p.Run.Code)
}

func (l *Life) longest() time.Duration {
	if l.settings.MaxBackOff > 0 {
		return l.settings.MaxBackOff
	}
	return defaultBackOff
}

// arrange does what follows at once from what has happened: whose turn it is, whether the pod has ended, and its
// conditions.
func (l *Life) arrange() {
	if l.stage == pods.Living {
		l.takeTurns()
		if l.isDone() {
			l.tell(l.now, l.grace(), stop{})
		}
	}
	l.note()
}

// takeTurns lets the next init container run, or, once all have, the main ones. Sidecars have theirs between. What has had
// another begin after it was done then, and a sidecar that has ended since holds up nobody.
// (kubelet: pkg/kubelet/kuberuntime, computeInitContainerActions)
func (l *Life) takeTurns() {
	turn, passed := l.began, l.lastBegun()
	for i := range l.parts {
		p := &l.parts[i]
		if p.kind == pods.EphemeralContainer {
			continue // has had it since it was seen
		}
		p.turn = turn
		switch {
		case p.kind == pods.MainContainer:
		case i < passed && !p.isInitialized():
		case !p.isInitialized():
			turn = time.Time{} // which nobody's is then
		case !turn.IsZero() && p.initializedAt().After(turn):
			turn = p.initializedAt()
		}
	}
}

// lastBegun is the last part, but for ephemeral ones, that has ever run; -1 for none.
func (l *Life) lastBegun() int {
	last := -1
	for i := range l.parts {
		if p := &l.parts[i]; p.kind != pods.EphemeralContainer && p.hasRun() {
			last = i
		}
	}
	return last
}

// mainMayRun says whether the last of the init containers and sidecars is done, which those before it were before it began.
// (kubelet: pkg/kubelet/status, hasPodInitialized)
func (l *Life) mainMayRun() bool {
	last := len(l.pod.Spec.InitContainers) - 1
	return last < 0 || l.lastBegun() > last || l.parts[last].isInitialized()
}

// isInitialized says whether all init containers and sidecars are done now.
func (l *Life) isInitialized() bool {
	return !slices.ContainsFunc(l.parts, func(p part) bool {
		return (p.kind == pods.InitContainer || p.kind == pods.Sidecar) && !p.isInitialized()
	})
}

// isDone says whether the pod has ended by itself: all of its main containers have for good, or an init container has
// failed.
func (l *Life) isDone() bool {
	done := true
	for i := range l.parts {
		p := &l.parts[i]
		over := p.Run.Over() && !l.restarts(p)
		switch p.kind {
		case pods.InitContainer:
			if over && p.Run.Code != 0 {
				return true
			}
		case pods.MainContainer:
			done = done && over
		}
	}
	return done
}

// anyRuns, and anyCreated, say it of the containers. One whose image is not there has none.
func (l *Life) anyRuns() bool {
	return slices.ContainsFunc(l.parts, func(p part) bool { return p.Run.Runs() })
}

func (l *Life) anyCreated() bool {
	return slices.ContainsFunc(l.parts, func(p part) bool {
		return p.hasRun() || p.Waiting != "" && p.Waiting != "ContainerCreating" && p.Waiting != "PodInitializing"
	})
}

// wasInitialized says whether the pod has been told to be, which is not taken back.
func (l *Life) wasInitialized() bool { return l.conditions[numberOf(v1.PodInitialized)].met }

// note keeps since when each condition has been as it is. It says the same as pods.Status does, and is not asked for
// reasons.
func (l *Life) note() {
	begun, ready := false, l.stage != pods.Ended && l.stop.outcome == ""
	for i := range l.parts {
		p := &l.parts[i]
		switch p.kind {
		case pods.Sidecar:
			ready = ready && p.Run.Runs() && p.Ready
		case pods.MainContainer:
			begun = begun || p.hasRun() && p.Waiting == ""
			ready = ready && p.Run.Runs() && p.Ready
		}
	}
	gates := ready
	for _, gate := range l.pod.Spec.ReadinessGates {
		c := conditionOf(&l.pod.Status, gate.ConditionType)
		gates = gates && c != nil && c.Status == v1.ConditionTrue
	}
	initialized := l.wasInitialized() || begun || l.isInitialized() || l.stop.outcome == v1.PodSucceeded
	for i, met := range [len(ours)]bool{l.stage != pods.Ended, initialized, gates, ready} {
		if c := &l.conditions[i]; c.met != met || c.since.IsZero() {
			*c = condition{met, inSeconds(l.now)}
		}
	}
}
