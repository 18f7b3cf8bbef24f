package podlife

import (
	"time"

	v1 "k8s.io/api/core/v1"

	"fauxlet/scenario"
)

// container is one container of the pod that a Life simulates.
type container struct {
	moment
	kind      ContainerType
	spec      *v1.Container
	described *scenario.Container
	// turn is the earliest time at which the container may start for the first time. It is zero while the containers
	// before it are not done.
	turn time.Time
}

// relistPeriod is the interval at which a kubelet lists its containers. A container that has ended restarts after
// this time at the earliest. (kubelet: genericPlegRelistPeriod)
const relistPeriod = time.Second

// The kubelet's back-off. (kubelet: pkg/kubelet/kubelet.go, newCrashLoopBackOff)
const (
	firstBackOff   = 10 * time.Second
	defaultBackOff = 5 * time.Minute
	// A run longer than backOffReset resets the back-off.
	backOffReset = 10 * time.Minute
)

// isFixed reports whether the container has a State that never changes.
func (c *container) isFixed() bool {
	return c.described.State != "" && c.described.State != scenario.StateRunning
}

func (c *container) hasStarted() bool { return !c.run.started.IsZero() }

// hasProbes reports whether probes determine when the container is started and ready.
func (c *container) hasProbes() bool { return c.kind == MainContainer || c.kind == Sidecar }

// isInitialized reports whether the container no longer delays the containers after it. An init container must have
// completed, and a sidecar must have started.
func (c *container) isInitialized() bool {
	if c.kind == Sidecar {
		return c.run.isRunning() && c.started
	}
	return c.run.hasEnded() && c.run.code == 0 && c.waiting == ""
}

// initializedAt returns when isInitialized became true. The result depends only on the current run, so it is the same
// for a new Life that is made from the pod's status.
func (c *container) initializedAt() time.Time {
	if c.kind == Sidecar {
		started, _ := c.probeTimes()
		return started
	}
	return c.run.finished
}

// probeTimes returns when the startup probe and the readiness probe succeed in this run.
func (c *container) probeTimes() (started, ready time.Time) {
	start, wait := probeDelay(c.spec.StartupProbe), probeDelay(c.spec.ReadinessProbe)
	if c.described.ReadyAfter != nil {
		wait = c.described.ReadyAfter.Duration
		start = min(start, wait)
	}
	return c.run.started.Add(start), c.run.started.Add(max(start, wait))
}

// probeDelay returns the time from the start of a container to the success of a probe that never fails.
func probeDelay(p *v1.Probe) time.Duration {
	if p == nil {
		return 0
	}
	periods := max(0, p.SuccessThreshold-1) * max(1, p.PeriodSeconds)
	return time.Duration(p.InitialDelaySeconds)*time.Second + time.Duration(periods)*time.Second
}

// The method "exit" returns how the current run ends by itself, or nil if the run continues until it is stopped.
func (c *container) exit() *scenario.Exit {
	exits := c.described.Exits
	over := exits != nil && exits.Times > 0 && c.run.number >= exits.Times
	switch {
	case c.kind != InitContainer && over:
		return nil
	case c.kind != InitContainer:
		return exits
	case c.described.State != "":
		return nil
	case exits == nil:
		return &scenario.Exit{}
	case over:
		return &scenario.Exit{After: exits.After}
	}
	return exits
}

// EndedByItself reports whether a run of a container ended by itself, as its description says. It returns false if the
// run was stopped earlier, for example because the pod was deleted. The argument "number" is how many runs the
// container had before this run.
func EndedByItself(pod *v1.Pod, name string, described *scenario.Container, number int32,
	started, finished time.Time) bool {
	for kind, spec := range Containers(pod) {
		if spec.Name == name {
			c := container{kind: kind, spec: spec, described: described, moment: moment{run: run{number: number}}}
			exit := c.exit()
			return c.isFixed() || exit != nil && !finished.Before(inSeconds(started.Add(exit.After.Duration)))
		}
	}
	return false
}

// due returns the time at which the container next changes by itself, or zero for never. The argument "restarts" is
// true if the container starts again after its latest run.
func (c *container) due(restarts bool) time.Time {
	switch {
	case c.isFixed(), !c.hasStarted() && c.turn.IsZero():
		return time.Time{}
	case !c.hasStarted():
		return c.turn.Add(c.described.StartAfter.Duration)
	case c.run.hasEnded() && !restarts:
		return time.Time{}
	case c.run.hasEnded() && c.waiting == "":
		return c.run.finished.Add(relistPeriod)
	case c.run.hasEnded():
		return c.run.finished.Add(c.backOff)
	}
	var next time.Time
	earliest := func(t time.Time) {
		if next.IsZero() || t.Before(next) {
			next = t
		}
	}
	if exit := c.exit(); exit != nil {
		earliest(c.run.started.Add(exit.After.Duration))
	}
	if c.hasProbes() {
		started, ready := c.probeTimes()
		if !c.started {
			earliest(started)
		} else if !c.ready {
			earliest(ready)
		}
	}
	return next
}

// dueWhileStopping returns when a container of a stopping pod becomes Ready, or zero for never. A kubelet then still
// runs readiness probes, but no startup probes. (kubelet: pkg/kubelet/kubelet.go, SyncTerminatingPod)
func (c *container) dueWhileStopping() time.Time {
	if c.isFixed() || !c.run.isRunning() || !c.started || c.ready || !c.hasProbes() {
		return time.Time{}
	}
	_, ready := c.probeTimes()
	return ready
}

// step applies the change of the container that is due now, such as its start or end.
func (c *container) step(now time.Time, maxBackOff time.Duration) {
	if !c.run.isRunning() {
		if wait := c.nextBackOff(maxBackOff); c.run.hasEnded() && c.waiting == "" && wait > relistPeriod {
			c.waiting, c.backOff = crashLoop, wait
			return
		}
		c.start(now)
		return
	}
	if exit := c.exit(); exit != nil && !now.Before(c.run.started.Add(exit.After.Duration)) {
		c.end(c.run.exited(exit, inSeconds(now)))
		return
	}
	c.probe(now)
}

func (c *container) start(now time.Time) {
	number := int32(0)
	if c.hasStarted() {
		number = c.run.number + 1
		c.last = c.run
	}
	c.waiting, c.backOff = "", 0
	c.run = run{number: number, image: c.spec.Image, started: inSeconds(now)}
	c.probe(c.run.started)
}

func (c *container) probe(now time.Time) {
	started, ready := c.probeTimes()
	c.started, c.ready = !now.Before(started), !now.Before(ready)
}

// The method "end" records that the current run has ended. The argument "r" is the run with its end time and exit code.
func (c *container) end(r run) { c.run, c.started, c.ready = r, false, false }

// nextBackOff returns how long the container waits after its latest run before it starts again. There is no wait
// after the first run, after a run longer than backOffReset, and for a new image. (kubelet:
// pkg/kubelet/kuberuntime, doBackOff and GetBackoffKey)
//
// The length of the wait before the latest run shows how far the back-off has come. Because the status contains this
// length, a new Life continues with the same back-off. A run that began after any other time, because the image
// changed or because there was no wait, begins a new back-off.
func (c *container) nextBackOff(maxBackOff time.Duration) time.Duration {
	waited := c.run.started.Sub(c.last.finished)
	// A kubelet begins a back-off when it restarts a container that has ended. A container that was stopped for a new
	// image before it ever ended has none yet.
	isFirst := c.run.number == 0 || c.run.number == 1 && waited == 0
	if isFirst || c.run.finished.Sub(c.run.started) > backOffReset || c.run.image != c.spec.Image {
		return 0
	}
	first := min(firstBackOff, maxBackOff)
	for wait := first; ; wait = min(2*wait, maxBackOff) {
		if waited == wait.Truncate(time.Second) {
			return min(2*wait, maxBackOff)
		}
		if wait == maxBackOff {
			return first
		}
	}
}
