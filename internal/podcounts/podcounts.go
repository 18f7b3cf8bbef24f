// Package podcounts counts what happens to the pods of a node, for the kubelet's own metrics in /metrics: pods and
// containers that start and end, operations of the container runtime, volumes that are mounted.
//
// Begin with [Counts]. The store of pods reports each change of a pod to it, and [Counts.Write] writes the metrics. A
// change of a pod stands for the operations that a kubelet carries out for it. Their duration is the time that the
// store took for the change. Nothing is counted that happened before the Counts was made.
package podcounts

import (
	"maps"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"fauxlet/internal/metric"
	"fauxlet/internal/podlife"
	"fauxlet/internal/podvolumes"
)

// Counts has the counters of one node. Their number depends on the kinds of events, but not on how many there were. It
// is safe for concurrent use.
type Counts struct {
	mu   sync.Mutex
	made time.Time
	// starting has the pods that this process starts, with the time at which each was added. A pod is deleted from it
	// when all its containers run.
	starting map[types.UID]time.Time

	workers          [works]metric.Histogram
	runtime          [operations]metric.Histogram
	runtimeErrors    [operations]uint64
	cgroups          [cgroupWorks]metric.Histogram
	containersPerPod metric.Histogram
	// start, startSLI and startTotal are the three durations of the start of a pod that a kubelet measures.
	start, startSLI, startTotal metric.Histogram

	relisted                       time.Time // the time of the last relist that was counted
	relistDuration, relistInterval metric.Histogram

	startedPods       uint64
	startedContainers map[string]uint64 // by type of container
	terminated        map[terminationKey]uint64
	storage           map[storageKey]metric.Histogram
}

// New makes a Counts of a node without pods.
func New() *Counts {
	now := time.Now()
	return &Counts{made: now, relisted: now, starting: map[types.UID]time.Time{},
		startedContainers: map[string]uint64{}, terminated: map[terminationKey]uint64{},
		storage: map[storageKey]metric.Histogram{}}
}

// Changed counts that a pod was added or changed, after the change. The argument "before" is the earlier version of the
// pod, or nil for a new pod. The argument "took" is the duration of the change.
func (c *Counts) Changed(before, after *v1.Pod, took time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if before != nil && before.UID != after.UID {
		c.removed(before, took)
		before = nil
	}
	now := time.Now()
	if before == nil {
		before = c.added(after, now, took)
	} else {
		c.workers[workOf(before, after)].Observe(defaultBounds, took.Seconds(), 1)
	}
	seen, starts := c.starting[after.UID]
	if starts && before.Status.Phase == v1.PodPending && after.Status.Phase == v1.PodRunning {
		c.start.Observe(startBounds, now.Sub(seen).Seconds(), 1)
	}
	if hasSandbox(after) && !hasSandbox(before) {
		c.sandboxStarted(after, took)
	}
	c.containers(before, after, took)
	if isTerminal(after) && !isTerminal(before) && hasSandbox(after) {
		c.sandboxStopped(after, took)
	}
	switch {
	case isTerminal(after):
		delete(c.starting, after.UID)
	case starts && allRun(after):
		c.started(after, now)
	}
}

// Removed counts that a pod was removed.
func (c *Counts) Removed(pod *v1.Pod, took time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.removed(pod, took)
}

// Operation counts an operation of the container runtime that is not part of a change of a pod. err is its result.
func (c *Counts) Operation(operation Operation, took time.Duration, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.operation(operation, took, 1)
	if err != nil {
		c.runtimeErrors[operation]++
	}
}

// added counts a new pod. It returns the state from which the pod goes on: the pod itself if its status is older than
// this process, or else a pod without a status.
func (c *Counts) added(pod *v1.Pod, now time.Time, took time.Duration) *v1.Pod {
	c.workers[workCreate].Observe(defaultBounds, took.Seconds(), 1)
	c.containersPerPod.Observe(containerBounds, float64(len(pod.Spec.Containers)), 1)
	if isTerminal(pod) {
		return pod
	}
	// A kubelet observes each pod twice: at its first synchronization, when it has no status, and when the pod runs.
	// (kubelet: SyncPod, before SetPodStatus)
	c.start.Observe(startBounds, took.Seconds(), 1)
	if started := pod.Status.StartTime; started != nil && started.Time.Before(c.made.Truncate(time.Second)) {
		return pod
	}
	c.starting[pod.UID] = now
	return &v1.Pod{}
}

// started counts that all containers of a pod run for the first time. (kubelet: pkg/kubelet/util,
// PodStartupLatencyTracker)
func (c *Counts) started(pod *v1.Pod, now time.Time) {
	delete(c.starting, pod.UID)
	took := now.Sub(pod.CreationTimestamp.Time)
	c.startTotal.Observe(startBounds, took.Seconds(), 1)
	if isStateful(pod) {
		return
	}
	for _, status := range pod.Status.InitContainerStatuses {
		if t := status.State.Terminated; t != nil {
			took -= max(0, t.FinishedAt.Sub(t.StartedAt.Time))
		}
	}
	c.startSLI.Observe(startBounds, took.Seconds(), 1)
}

func (c *Counts) sandboxStarted(pod *v1.Pod, took time.Duration) {
	c.startedPods++
	c.operation(runPodSandbox, took, 1)
	c.operation(podSandboxStatus, took, 1)
	// A new pod changes the shares of the cgroups of the three quality of service classes. (kubelet: UpdateQOSCgroups)
	c.cgroups[cgroupUpdate].Observe(defaultBounds, took.Seconds(), 3)
	c.cgroups[cgroupCreate].Observe(defaultBounds, took.Seconds(), 1)
	for volume := range podvolumes.Mounted(pod) {
		for _, operation := range []string{volumeAttached, volumeMount, volumeOverall} {
			c.storageOperation(volume, operation, took)
		}
	}
}

func (c *Counts) sandboxStopped(pod *v1.Pod, took time.Duration) {
	c.operation(stopPodSandbox, took, 1)
	c.cgroups[cgroupDestroy].Observe(defaultBounds, took.Seconds(), 1)
	for volume := range podvolumes.Mounted(pod) {
		c.storageOperation(volume, volumeUnmount, took)
	}
}

// containers counts the containers that have started or ended.
func (c *Counts) containers(before, after *v1.Pod, took time.Duration) {
	for kind, spec := range podlife.Containers(after) {
		then, now := podlife.ContainerStatus(before, spec.Name), podlife.ContainerStatus(after, spec.Name)
		if now == nil {
			continue
		}
		if started := runs(now) - runs(then); started > 0 {
			c.startedContainers[typeNames[kind]] += uint64(started)
			for _, operation := range []Operation{createContainer, startContainer, containerStatus} {
				c.operation(operation, took, uint64(started))
			}
		}
		if t := now.State.Terminated; t != nil && (then == nil || then.State.Terminated == nil) {
			c.terminated[terminationKey{typeNames[kind], t.Reason, t.ExitCode}]++
			c.operation(containerStatus, took, 1)
			if after.DeletionTimestamp != nil {
				c.operation(stopContainer, took, 1)
			}
		}
	}
}

func (c *Counts) removed(pod *v1.Pod, took time.Duration) {
	delete(c.starting, pod.UID)
	c.workers[workTerminated].Observe(defaultBounds, took.Seconds(), 1)
	if !hasSandbox(pod) {
		return
	}
	for _, spec := range podlife.Containers(pod) {
		status := podlife.ContainerStatus(pod, spec.Name)
		if runs(status) == 0 {
			continue
		}
		if status.State.Running != nil {
			c.operation(stopContainer, took, 1)
		}
		c.operation(removeContainer, took, 1)
	}
	if !isTerminal(pod) {
		c.sandboxStopped(pod, took)
	}
	c.operation(removePodSandbox, took, 1)
}

func (c *Counts) operation(operation Operation, took time.Duration, n uint64) {
	c.runtime[operation].Observe(runtimeBounds, took.Seconds(), n)
}

func (c *Counts) storageOperation(volume *v1.Volume, operation string, took time.Duration) {
	key := storageKey{podvolumes.Plugin(volume), operation}
	histogram := c.storage[key]
	histogram.Observe(storageBounds, took.Seconds(), 1)
	c.storage[key] = histogram
}

// workOf returns why a kubelet's pod worker synchronizes the new version of a pod: because the pod in the API has
// changed, or because its containers have.
func workOf(before, after *v1.Pod) work {
	if before.Generation != after.Generation || !before.DeletionTimestamp.Equal(after.DeletionTimestamp) ||
		!maps.Equal(before.Labels, after.Labels) || !maps.Equal(before.Annotations, after.Annotations) {
		return workUpdate
	}
	return workSync
}

// runs returns how often a container has started. The status may be nil.
func runs(status *v1.ContainerStatus) int32 {
	if status == nil {
		return 0
	}
	started := status.RestartCount
	if status.State.Running != nil || status.State.Terminated != nil || status.LastTerminationState.Terminated != nil {
		started++
	}
	return started
}

// hasSandbox reports whether a container runtime would have a sandbox of the pod, which may have stopped.
func hasSandbox(pod *v1.Pod) bool {
	for _, condition := range pod.Status.Conditions {
		if condition.Type == v1.PodReadyToStartContainers && condition.Status == v1.ConditionTrue {
			return true
		}
	}
	for _, statuses := range [][]v1.ContainerStatus{pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses,
		pod.Status.EphemeralContainerStatuses} {
		for i := range statuses {
			if runs(&statuses[i]) > 0 {
				return true
			}
		}
	}
	return false
}

func isTerminal(pod *v1.Pod) bool {
	return pod.Status.Phase == v1.PodSucceeded || pod.Status.Phase == v1.PodFailed
}

// allRun reports whether all main containers of the pod run.
func allRun(pod *v1.Pod) bool {
	for _, status := range pod.Status.ContainerStatuses {
		if status.State.Running == nil {
			return false
		}
	}
	return len(pod.Status.ContainerStatuses) > 0
}

// isStateful reports whether the pod has a volume that may keep data. The start of such a pod may take any time, so it
// does not count for the objective of the startup latency. (kubelet: pkg/kubelet/util, isStatefulPod)
func isStateful(pod *v1.Pod) bool {
	for _, v := range pod.Spec.Volumes {
		if v.Secret == nil && v.ConfigMap == nil && v.DownwardAPI == nil && v.EmptyDir == nil && v.Projected == nil {
			return true
		}
	}
	return false
}
