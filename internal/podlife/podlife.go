// Package podlife computes the status that a kubelet would report for a pod. The status is a function of the time, of
// the pod, and of a scenario's description of the pod's containers. The package has no I/O, no goroutines and no clock.
//
// Begin with [Life], which simulates one pod. The reported status contains everything that the simulation depends on,
// with times in whole seconds. When a process is killed and started again, it can therefore continue from the status in
// the API server. It computes the changes that were due while it was not running as if it had not stopped.
//
// [FixedStatus] is the status of a pod that never changes, on a node that is not in a cluster.
package podlife

import (
	"fmt"
	"maps"
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"

	"fauxlet/scenario"
)

// Settings are the properties of the node that the status of a pod depends on.
type Settings struct {
	// HostIPs are the addresses of the node, the main one first. A pod with hostNetwork has the same addresses.
	HostIPs []string
	// PodIPs are the addresses of this pod: one address, or one per IP family. The status contains them as soon as
	// the pod's first container has been created.
	PodIPs []string
	// MaxBackOff is the longest time that a container waits in CrashLoopBackOff; 0 means five minutes.
	// (KubeletConfiguration: crashLoopBackOff.maxContainerRestartPeriod)
	MaxBackOff time.Duration
}

// Life simulates one pod on a node: when its containers start, become ready, end and restart, and how the pod ends. It
// is not safe for concurrent use.
type Life struct {
	pod       *v1.Pod
	described map[string]scenario.Container
	settings  Settings
	began     time.Time
	// now is the time for which the following fields are valid. It never goes back.
	now        time.Time
	containers []container // in the order of the function Containers
	conditions [len(timedConditions)]condition
	stage      stage
	stop       stop
	// settled is true if the pod had already ended when the Life was made. The status of the pod then never changes.
	settled bool
}

// New makes the Life of a pod that is bound to the node. If the pod has a status from an earlier Life, the new Life
// continues from that status. The argument "described" has the descriptions of the containers, by container name. A
// container without a description behaves like the zero scenario.Container. New only reads the pod, which must not
// change later. It returns an error if a description is invalid. The error names the container and the field.
func New(pod *v1.Pod, described map[string]scenario.Container, s Settings, now time.Time) (*Life, error) {
	for _, name := range slices.Sorted(maps.Keys(described)) {
		c := described[name]
		if err := c.Validate(nil); err != nil {
			return nil, fmt.Errorf("container %s of pod %s/%s: %w", name, pod.Namespace, pod.Name, err)
		}
	}
	l := &Life{pod: pod, described: described, settings: s, began: inSeconds(now)}
	isNew := pod.Status.StartTime == nil
	if !isNew {
		l.began = pod.Status.StartTime.Time
	}
	l.now = l.began
	l.adopt()
	if isTerminal(pod.Status.Phase) && !l.anyRuns() {
		l.settled, l.stage = true, ended
		return l, nil
	}
	if !isNew || pod.DeletionTimestamp == nil { // containers of a new pod that is being deleted never start
		l.arrange()
	}
	l.follow(now)
	return l, nil
}

// Update gives the Life a newer version of the same pod, for example a version with a deletionTimestamp. The argument
// "described" is used only for containers that the pod did not have before.
func (l *Life) Update(pod *v1.Pod, described map[string]scenario.Container, now time.Time) {
	l.advance(now)
	l.pod, l.described = pod, described
	if !l.settled {
		l.rebind()
		l.follow(now)
	}
}

// At returns the status at a time. If an earlier call had a later time, At returns the status at that later time. The
// result "next" is the time at which the status next changes without an update, or zero for never. The result "gone" is
// true if the pod has a deletionTimestamp and no container runs. The caller may delete such a pod after a last report.
//
// The status shares unchanged parts with the pod, and must not be changed.
func (l *Life) At(now time.Time) (status v1.PodStatus, next time.Time, gone bool) {
	l.advance(now)
	next, _ = l.next()
	return l.status(), next, l.stage == ended && l.pod.DeletionTimestamp != nil
}

// Exit simulates that the process of a container exits at the time "now" with an exit code. The argument "id" is the
// container ID of the current run. If the run with this ID has already ended, Exit does nothing.
func (l *Life) Exit(id string, code int32, now time.Time) {
	l.advance(now)
	for i := range l.containers {
		c := &l.containers[i]
		if c.run.isRunning() && !c.isFixed() && containerID(l.pod, c.spec.Name, c.run.number) == id {
			c.end(c.run.exited(&scenario.Exit{Code: code}, inSeconds(l.now)))
		}
	}
	l.arrange()
}

// status returns the pod's status at the time l.now.
func (l *Life) status() v1.PodStatus {
	before := &l.pod.Status
	if l.settled {
		return *before
	}
	s := l.makeStatus()
	if isTerminal(before.Phase) { // a pod never leaves a terminal phase
		s.Phase = before.Phase
	}
	switch {
	case s.Phase == l.stop.outcome && l.stop.reason != "":
		s.Reason, s.Message = l.stop.reason, l.stop.message
	case s.Phase == before.Phase: // the phase has not changed, so its earlier reason and message still apply
		s.Reason, s.Message = before.Reason, before.Message
	}
	l.setAddresses(&s)
	// Components other than the kubelet set the following fields. (kubelet: pkg/kubelet/status, mergePodStatus)
	s.ResourceClaimStatuses, s.ExtendedResourceClaimStatus = before.ResourceClaimStatuses,
		before.ExtendedResourceClaimStatus
	s.NodeAllocatableResourceClaimStatuses, s.VolumeHealth = before.NodeAllocatableResourceClaimStatuses,
		before.VolumeHealth
	return s
}

// setAddresses sets the addresses of the host and, once the pod's sandbox exists, the addresses of the pod.
func (l *Life) setAddresses(s *v1.PodStatus) {
	for _, ip := range l.settings.HostIPs {
		s.HostIPs = append(s.HostIPs, v1.HostIP{IP: ip})
		s.HostIP = s.HostIPs[0].IP
	}
	ips := l.settings.PodIPs
	if l.pod.Spec.HostNetwork {
		ips = l.settings.HostIPs
	} else if !l.anyCreated() {
		return
	}
	for _, ip := range ips {
		s.PodIPs = append(s.PodIPs, v1.PodIP{IP: ip})
		s.PodIP = s.PodIPs[0].IP
	}
}

// inSeconds truncates a time to whole seconds, as times in the API are.
func inSeconds(t time.Time) time.Time { return t.Truncate(time.Second) }
