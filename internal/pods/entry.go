package pods

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"fauxlet/internal/podlife"
	"fauxlet/internal/podlog"
	"fauxlet/scenario"
)

// entry is one version of a pod in a Store. An entry is immutable: Put creates a new one.
type entry struct {
	pod        *v1.Pod
	described  map[string]scenario.Container
	containers []*container
	// state belongs to all versions of the pod.
	state *PodState
}

// container is a container of a pod, with its current run and its previous run.
type container struct {
	name      string
	described *scenario.Container
	*run
	// previous is the run before the current run, or nil if there was none.
	previous *run
}

// run is one run of a container. When Put replaces a pod by a new version, and a container has not been restarted, the
// new version has the same run. So the log and the files that commands have written stay.
type run struct {
	id  string      // the container ID in the status
	log *podlog.Log // ends when the run ends; nil for a container without a status
	// exit is the exit code of the command that a client was attached to. It is nil while the container runs.
	exit atomic.Pointer[int32]

	// environment is created for the first command, because most containers never get a command.
	once        sync.Once
	environment Environment
	err         error

	// variables are the environment variables. They stay the same once all objects to which they refer could be read.
	variables atomic.Pointer[variables]
}

func (e *entry) container(name string) *container {
	if i := slices.IndexFunc(e.containers, func(c *container) bool { return c.name == name }); i >= 0 {
		return e.containers[i]
	}
	return nil
}

// newEntry makes the entry of a pod that never changes. Only the descriptions of the logs determine where the logs
// end; the times in the status are ignored.
func (s *Store) newEntry(pod scenario.Pod, made time.Time) (*entry, error) {
	return makeEntry(pod, func(e *entry, c *container) error {
		if err := c.described.Validate(podlife.ContainerSpec(e.pod, c.name).Resources.Limits); err != nil {
			return err
		}
		described := c.described.Log
		if !isRunning(podlife.ContainerStatus(pod.Pod, c.name)) {
			described = podlog.Finished(described)
		}
		var err error
		if c.run, err = e.makeRun(c, "", described, made); err != nil {
			return err
		}
		if len(c.described.Files) > 0 {
			// Report invalid files now. The environment of the commands is made later, because it needs the resources
			// of the node.
			if _, err := s.executor.NewEnvironment(s.config(e, c)); err != nil {
				return err
			}
		}
		if previous := c.described.Log.Previous; previous != nil {
			if c.previous, err = e.makeRun(c, "", podlog.Finished(*previous), c.log.Began()); err != nil {
				return fmt.Errorf("previous %w", err)
			}
		}
		return nil
	})
}

// makeRun makes a run of a container. If the description of the log has no start time, the log starts or ends relative
// to the time in the argument "made"; see podlog.New. If a container has stdin and no description of its log, its log
// is empty. The reason is that kubectl run prints the log before it attaches to the container, and a user who starts a
// shell would be surprised by the generated log of a web server.
func (e *entry) makeRun(c *container, id string, described scenario.Log, made time.Time) (*run, error) {
	if podlife.ContainerSpec(e.pod, c.name).Stdin && c.described.Log == (scenario.Log{}) {
		return &run{id: id, log: podlog.Empty(made)}, nil
	}
	log, err := podlog.New(described, e.pod.Namespace+"/"+e.pod.Name+"/"+c.name, made)
	if err != nil {
		return nil, fmt.Errorf("log: %w", err)
	}
	return &run{id: id, log: log}, nil
}

// makeEntry makes an entry for a pod. For each container it calls the function "complete", which must validate the
// description and set the runs.
func makeEntry(pod scenario.Pod, complete func(*entry, *container) error) (*entry, error) {
	e := &entry{pod: pod.Pod, described: pod.Containers, state: &PodState{}}
	at := e.pod.Namespace + "/" + e.pod.Name
	names := podlife.ContainerNames(e.pod)
	for name := range e.described {
		if !slices.Contains(names, name) {
			return nil, fmt.Errorf("pod %s: no container %q; the containers of the pod are %s", at, name,
				strings.Join(names, ", "))
		}
	}
	for _, name := range names {
		c := &container{name: name, described: &undescribed}
		if described, found := e.described[name]; found {
			c.described = &described
		}
		if err := complete(e, c); err != nil {
			return nil, fmt.Errorf("container %s of pod %s: %w", name, at, err)
		}
		e.containers = append(e.containers, c)
	}
	return e, nil
}

// undescribed is the description of all containers that the scenario does not describe.
var undescribed scenario.Container

// updateEntry returns the entry for a new version of a pod. The argument "before" is the earlier version, or nil for a
// new pod. Containers that continue to run keep their log and files. updateEntry ends all other earlier runs.
func updateEntry(before *entry, pod scenario.Pod) (*entry, error) {
	if before == nil {
		before = &entry{pod: &v1.Pod{}}
	}
	samePod := before.pod.UID == pod.Pod.UID
	e, err := makeEntry(pod, func(e *entry, c *container) error {
		// The limits do not matter here: an entry of a scenario can match many pods of a cluster, with different
		// limits.
		if err := c.described.Validate(nil); err != nil {
			return err
		}
		c.run = &run{}
		status := podlife.ContainerStatus(pod.Pod, c.name)
		if status == nil {
			return nil
		}
		var earlier []*run
		if old := before.container(c.name); old != nil && samePod {
			earlier = []*run{old.run, old.previous}
		}
		current, last := runsOf(status)
		var err error
		if c.run, err = e.findOrMakeRun(c, current, c.described.Log, earlier); err != nil || last.id == "" {
			return err
		}
		log := c.described.Log
		slices.Reverse(earlier) // while a container waits to restart, its runs have the same ID; see runsOf
		if log.Previous != nil && len(earlier) > 0 {
			earlier = earlier[:1] // the log of the run while it was the current run is a different one
		}
		if c.previous, err = e.findOrMakeRun(c, last, *cmp.Or(log.Previous, &log), earlier); err != nil {
			return fmt.Errorf("previous %w", err)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, c := range e.containers { // end runs only now, because an error must not change the earlier version
		if status := podlife.ContainerStatus(pod.Pod, c.name); status != nil {
			current, last := runsOf(status)
			c.endRun(e.pod, c.run, current, false)
			c.endRun(e.pod, c.previous, last, c.described.Log.Previous != nil)
			if old := before.container(c.name); old != nil && samePod && old.run.id == last.id {
				c.endRun(e.pod, old.run, last, false)
			}
		}
	}
	if samePod {
		e.state = before.state
	}
	before.endAllBut(e)
	return e, nil
}

// runTimes is a run in a container status. ended is zero while the container runs. The number is how many runs the
// container had before this run.
type runTimes struct {
	id           string
	number       int32
	began, ended time.Time
}

// runsOf returns the run whose log a kubelet serves, and the run before it. For a container that waits to restart, and
// for a container whose last run the kubelet has lost, the result "current" is the last run that has ended. (kubelet:
// validateContainerLogStatus)
func runsOf(status *v1.ContainerStatus) (current, previous runTimes) {
	if t := status.LastTerminationState.Terminated; t != nil {
		previous = endedRun(t, status.RestartCount-1)
	}
	switch t := status.State.Terminated; {
	case status.State.Running != nil:
		current = runTimes{id: status.ContainerID, number: status.RestartCount,
			began: status.State.Running.StartedAt.Time}
	case t != nil && t.ContainerID != "":
		current = endedRun(t, status.RestartCount)
	case t != nil:
		current = previous
	default:
		previous.number = status.RestartCount
		current = previous
	}
	return current, previous
}

func endedRun(t *v1.ContainerStateTerminated, number int32) runTimes {
	return runTimes{id: t.ContainerID, number: number, began: t.StartedAt.Time, ended: t.FinishedAt.Time}
}

// findOrMakeRun returns the run among "earlier" whose container ID is at.id. If there is none, it makes a new run.
func (e *entry) findOrMakeRun(c *container, at runTimes, described scenario.Log, earlier []*run) (*run, error) {
	if i := slices.IndexFunc(earlier, func(r *run) bool { return r != nil && r.id == at.id }); i >= 0 {
		return earlier[i], nil
	}
	if described.Start == nil {
		described.Start = &metav1.Time{Time: at.began}
	}
	r, err := e.makeRun(c, at.id, described, at.began)
	if err != nil {
		return nil, err
	}
	if at.id == "" {
		r.log.End(at.began) // the container has never started, and has no log
	}
	return r, nil
}

// endRun ends a run of the container if the times in the status have an end. It does nothing if the run is nil. If the
// container has ended by itself, or if the log is "whole", the log has all its lines. If the container was stopped, the
// log has the lines until then.
func (c *container) endRun(pod *v1.Pod, r *run, times runTimes, whole bool) {
	if r == nil || times.ended.IsZero() {
		return
	}
	if whole || podlife.EndedByItself(pod, c.name, c.described, times.number, times.began, times.ended) {
		r.log.Complete(times.ended)
	} else {
		r.log.End(times.ended)
	}
}

// untilEnd returns a context that is done when ctx is done or when the run has ended.
func (r *run) untilEnd(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		select {
		case <-r.log.Ended():
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}

// endAllBut ends all runs except the runs that the next version of the pod contains too.
func (e *entry) endAllBut(next *entry) {
	now := time.Now()
	for _, c := range e.containers {
		if after := next.container(c.name); after == nil || after.run != c.run && after.previous != c.run {
			c.log.End(now)
		}
	}
}
