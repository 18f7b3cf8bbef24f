package podlife

import (
	"time"

	v1 "k8s.io/api/core/v1"

	"fauxlet/internal/pods"
	"fauxlet/scenario"
)

// part is a container of the pod.
type part struct {
	pods.Moment
	kind pods.ContainerType
	spec *v1.Container
	is   *scenario.Container
	// turn is since when it may run for the first time; zero before.
	turn time.Time
}

var nothing scenario.Container

// relist is how often a kubelet looks at its containers: what has ended is seen to have ended for that long at least,
// before it is started again. (kubelet: genericPlegRelistPeriod)
const relist = time.Second

// The kubelet's back-off. (kubelet: pkg/kubelet/kubelet.go, newCrashLoopBackOff)
const (
	firstBackOff    = 10 * time.Second
	defaultBackOff  = 5 * time.Minute
	backOffForgives = 10 * time.Minute // a run as long as this
)

// isFixed says whether the container never changes.
func (p *part) isFixed() bool { return p.is.State != "" && p.is.State != "Running" }

func (p *part) hasRun() bool { return !p.Run.Started.IsZero() }

// isInitialized says whether the containers after it may start, as far as it is concerned.
func (p *part) isInitialized() bool {
	if p.kind == pods.Sidecar {
		return p.Run.Runs() && p.Started
	}
	return p.Run.Over() && p.Run.Code == 0 && p.Waiting == ""
}

// initializedAt is since when it has been. It is told from the run alone, so that it is the same after an adoption.
func (p *part) initializedAt() time.Time {
	if p.kind == pods.Sidecar {
		started, _ := p.probed()
		return started
	}
	return p.Run.Finished
}

// probed is when the container's startup probe succeeds in this run, and when its readiness probe does.
func (p *part) probed() (started, ready time.Time) {
	start, wait := afterProbe(p.spec.StartupProbe), afterProbe(p.spec.ReadinessProbe)
	if p.is.ReadyAfter != nil {
		wait = p.is.ReadyAfter.Duration
		start = min(start, wait)
	}
	return p.Run.Started.Add(start), p.Run.Started.Add(max(start, wait))
}

// afterProbe is how long after the start of a container a probe succeeds that always does.
func afterProbe(p *v1.Probe) time.Duration {
	if p == nil {
		return 0
	}
	return time.Duration(p.InitialDelaySeconds)*time.Second + time.Duration(max(0, p.SuccessThreshold-1)*max(1, p.PeriodSeconds))*time.Second
}

// exits is how this run ends by itself; nil if it does not.
func (p *part) exits() *scenario.Exit {
	exit := p.is.Exits
	if p.kind != pods.InitContainer {
		if exit == nil || exit.Times > 0 && p.Run.Number >= exit.Times {
			return nil
		}
		return exit
	}
	switch {
	case p.is.State != "":
		return nil
	case exit == nil:
		return &scenario.Exit{}
	case exit.Times > 0 && p.Run.Number >= exit.Times:
		return &scenario.Exit{After: exit.After}
	}
	return exit
}

// due is when the container changes next by itself; zero for never. restarts is whether it is started after it has ended.
func (p *part) due(restarts bool) time.Time {
	switch {
	case p.isFixed():
		return time.Time{}
	case !p.hasRun():
		if p.turn.IsZero() {
			return time.Time{}
		}
		return p.turn.Add(p.is.StartAfter.Duration)
	case p.Run.Over() && !restarts:
		return time.Time{}
	case p.Run.Over() && p.Waiting == "":
		return p.Run.Finished.Add(relist)
	case p.Run.Over():
		return p.Run.Finished.Add(p.BackOff)
	}
	var next time.Time
	earliest := func(t time.Time) {
		if next.IsZero() || t.Before(next) {
			next = t
		}
	}
	if exit := p.exits(); exit != nil {
		earliest(p.Run.Started.Add(exit.After.Duration))
	}
	if p.kind == pods.MainContainer || p.kind == pods.Sidecar {
		started, ready := p.probed()
		if !p.Started {
			earliest(started)
		} else if !p.Ready {
			earliest(ready)
		}
	}
	return next
}

// dueWhileStopping is when a container that is told to stop becomes Ready; zero for never. Its startup probe is made no
// more then, and its readiness probe is. (kubelet: pkg/kubelet/kubelet.go, SyncTerminatingPod)
func (p *part) dueWhileStopping() time.Time {
	if p.isFixed() || !p.Run.Runs() || !p.Started || p.Ready || p.kind != pods.MainContainer && p.kind != pods.Sidecar {
		return time.Time{}
	}
	_, ready := p.probed()
	return ready
}

// step does what is due.
func (p *part) step(now time.Time, longest time.Duration) {
	if !p.Run.Runs() {
		if wait := p.backOff(longest); p.Run.Over() && p.Waiting == "" && wait > relist {
			p.Waiting, p.BackOff = "CrashLoopBackOff", wait
			return
		}
		p.start(now)
		return
	}
	if exit := p.exits(); exit != nil && !now.Before(p.Run.Started.Add(exit.After.Duration)) {
		p.end(pods.Exited(p.Run, exit, inSeconds(now)))
		return
	}
	p.probe(now)
}

func (p *part) start(now time.Time) {
	number := int32(0)
	if p.hasRun() {
		number = p.Run.Number + 1
		p.Last = p.Run
	}
	p.Waiting, p.BackOff = "", 0
	p.Run = pods.Run{Number: number, Image: p.spec.Image, Started: inSeconds(now)}
	p.probe(p.Run.Started)
}

func (p *part) probe(now time.Time) {
	started, ready := p.probed()
	p.Started, p.Ready = !now.Before(started), !now.Before(ready)
}

// end ends the run so.
func (p *part) end(r pods.Run) { p.Run, p.Started, p.Ready = r, false, false }

// backOff is how long a container waits after a run before it is started again: not at all after its first, and after one
// that lasted. (kubelet: pkg/kubelet/kuberuntime, doBackOff)
func (p *part) backOff(longest time.Duration) time.Duration {
	if p.Run.Number == 0 || p.Run.Finished.Sub(p.Run.Started) > backOffForgives {
		return 0
	}
	wait := min(firstBackOff, longest)
	for range p.Run.Number - 1 {
		if wait *= 2; wait >= longest {
			return longest
		}
	}
	return wait
}

// inSeconds is a time as the API has it.
func inSeconds(t time.Time) time.Time { return t.Truncate(time.Second) }
