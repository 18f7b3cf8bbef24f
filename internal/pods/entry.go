package pods

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	v1 "k8s.io/api/core/v1"

	"fauxlet/internal/podlife"
	"fauxlet/internal/shell"
	"fauxlet/scenario"
)

// entry is a pod with what is made up of it. A pod that changes has another.
type entry struct {
	pod        *v1.Pod
	containers []*container
	// connections is how many have been made to its ports.
	connections *atomic.Int64
}

// container is one of a pod, with the run that its log is of and the one before.
type container struct {
	name string
	is   *scenario.Container
	*run
	// previous is nil where there was none.
	previous *run
}

// run is a container from its start to its end.
type run struct {
	// id is that of the container in its runtime.
	id  string
	log source
	// system is what commands find, made when the first is run: most containers are never asked for one.
	once   sync.Once
	system *shell.Container
	err    error
	// over is closed when the run has ended, and never where nobody will tell; ended is set before.
	over  chan struct{}
	ended time.Time
}

// of finds a container; nil where there is none.
func (e *entry) of(name string) *container {
	for _, c := range e.containers {
		if c.name == name {
			return c
		}
	}
	return nil
}

// newEntry makes what a pod whose status was given or made up needs: its logs end by what the scenario says, whatever
// time its status tells.
func newEntry(pod *v1.Pod, containers map[string]scenario.Container, made time.Time) (*entry, error) {
	e := &entry{pod: pod, connections: new(atomic.Int64)}
	return e, e.each(containers, func(c *container) error {
		log := c.is.Log
		if !isRunning(podlife.ContainerStatus(pod, c.name)) {
			log = ended(log)
		}
		current, err := newSource(log, pod, c.name, made)
		if err != nil {
			return fmt.Errorf("log: %w", err)
		}
		c.run = &run{log: current}
		if len(c.is.Files) > 0 { // which may not fit together
			if _, err := e.systemOf(c); err != nil {
				return err
			}
		}
		if c.is.Log.Previous == nil {
			return nil
		}
		before, err := newSource(ended(*c.is.Log.Previous), pod, c.name, current.time(0))
		if err != nil {
			return fmt.Errorf("log: previous: %w", err)
		}
		c.previous = &run{log: before}
		return nil
	})
}

// each makes the containers of a pod, and has fill do the rest of each.
func (e *entry) each(described map[string]scenario.Container, fill func(*container) error) error {
	names := podlife.ContainerNames(e.pod)
	for name := range described {
		if !slices.Contains(names, name) {
			return fmt.Errorf("pod %s/%s: it has no container %q; it has %s", e.pod.Namespace, e.pod.Name, name, strings.Join(names, ", "))
		}
	}
	e.containers = make([]*container, 0, len(names))
	for _, name := range names {
		c := &container{name: name, is: &nothing}
		if is, there := described[name]; there {
			c.is = &is
		}
		err := c.is.Validate(podlife.ContainerSpec(e.pod, name).Resources.Limits)
		if err == nil {
			err = fill(c)
		}
		if err != nil {
			return fmt.Errorf("container %s of pod %s/%s: %w", name, e.pod.Namespace, e.pod.Name, err)
		}
		e.containers = append(e.containers, c)
	}
	return nil
}

// nothing is what is made up of a container that nothing is said of.
var nothing scenario.Container

// next is the entry of a pod that lives, after e, which is nil where the pod is new. Runs that go on are the same, so that
// what commands have written stays; those that do not are ended, once nothing can fail.
func (e *entry) next(spec scenario.Pod) (*entry, error) {
	n := &entry{pod: spec.Pod, connections: new(atomic.Int64)}
	goesOn := e != nil && e.pod.UID == spec.Pod.UID
	if goesOn {
		n.connections = e.connections
	}
	err := n.each(spec.Containers, func(c *container) error {
		status := podlife.ContainerStatus(spec.Pod, c.name)
		if status == nil {
			c.run = &run{}
			return nil
		}
		var known []*run
		if goesOn {
			if before := e.of(c.name); before != nil {
				known = []*run{before.run, before.previous}
			}
		}
		current, last := runsOf(status)
		var err error
		if c.run, err = n.run(c, current, c.is.Log, known); err != nil {
			return err
		}
		log := c.is.Log
		if log.Previous != nil {
			log = *log.Previous
		}
		if last.id != "" {
			c.previous, err = n.run(c, last, log, known)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	if e != nil {
		for _, c := range n.containers {
			if status := podlife.ContainerStatus(spec.Pod, c.name); status != nil {
				current, last := runsOf(status)
				c.run.endAt(current.ended)
				c.previous.endAt(last.ended)
			}
		}
		e.endAllBut(n)
	}
	return n, nil
}

// times is when a run of a container began and ended, as its status tells it. ended is zero while it runs.
type times struct {
	id           string
	began, ended time.Time
}

// runsOf tells the run that the log of a container is of, and the one before. A container that waits for its next run has
// the log of the last. (kubelet: validateContainerLogStatus)
func runsOf(status *v1.ContainerStatus) (current, previous times) {
	if t := status.LastTerminationState.Terminated; t != nil {
		previous = times{t.ContainerID, t.StartedAt.Time, t.FinishedAt.Time}
	}
	switch {
	case status.State.Running != nil:
		current = times{id: status.ContainerID, began: status.State.Running.StartedAt.Time}
	case status.State.Terminated != nil:
		t := status.State.Terminated
		current = times{t.ContainerID, t.StartedAt.Time, t.FinishedAt.Time}
	default:
		current = previous
	}
	return current, previous
}

// run finds the run among those known, or makes it.
func (e *entry) run(c *container, at times, log scenario.Log, known []*run) (*run, error) {
	for _, r := range known {
		if r != nil && r.id == at.id {
			return r, nil
		}
	}
	source, err := newSource(since(log, at.began), e.pod, c.name, at.began)
	if err != nil {
		return nil, fmt.Errorf("log: %w", err)
	}
	r := &run{id: at.id, log: source, over: make(chan struct{})}
	if at.id == "" {
		r.endAt(at.began) // it has not begun, and has no log
	}
	r.endAt(at.ended)
	return r, nil
}

// endAt tells all who look on that the run has ended, if it has and they have not been told.
func (r *run) endAt(when time.Time) {
	if r == nil || r.over == nil || when.IsZero() || r.isOver() {
		return
	}
	r.ended = when
	close(r.over)
}

func (r *run) isOver() bool {
	select {
	case <-r.over:
		return true
	default:
		return false
	}
}

// written is how many lines there were at that time.
func (r *run) written(now time.Time) int64 {
	if r.isOver() && r.ended.Before(now) {
		now = r.ended
	}
	return r.log.written(now)
}

// whileIn is ctx until the run ends.
func (r *run) whileIn(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	if r.over == nil {
		return ctx, cancel
	}
	go func() {
		select {
		case <-r.over:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}

// end ends what still runs.
func (e *entry) end(when time.Time) {
	for _, c := range e.containers {
		c.run.endAt(when)
	}
}

// endAllBut ends what runs no more in the entry that comes after.
func (e *entry) endAllBut(n *entry) {
	now := time.Now()
	for _, c := range e.containers {
		if after := n.of(c.name); after == nil || after.run != c.run && after.previous != c.run {
			c.run.endAt(now)
		}
	}
}
