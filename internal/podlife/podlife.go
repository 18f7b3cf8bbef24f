// Package podlife reports what a kubelet would report of a pod that does not run, at any moment: its status as a function of
// time, of the pod, and of what a scenario says of its containers. There is no I/O here, no goroutine and no clock.
//
// Whatever a life depends on is in the status that it tells, in whole seconds. So a process that is killed and started
// again goes on where the apiserver says that it was, and what has happened since is worked out, as if it had been there.
package podlife

import (
	"fmt"
	"maps"
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"fauxlet/internal/pods"
	"fauxlet/scenario"
)

// Settings are what the node gives its pods.
type Settings struct {
	// HostIPs are the node's, the main one first; those of a pod with hostNetwork too.
	HostIPs []string
	// PodIPs are this pod's, one or one of each family. It has them from when its first container is created.
	PodIPs []string
	// MaxBackOff is the longest wait before a container that ends again and again is started again; 0: five minutes.
	// (KubeletConfiguration: crashLoopBackOff.maxContainerRestartPeriod)
	MaxBackOff time.Duration
}

// Life is that of one pod. It is not safe for concurrent use.
type Life struct {
	pod        *v1.Pod
	containers map[string]scenario.Container
	settings   Settings
	began      time.Time
	// now is the moment that all of the following is of. It never goes back.
	now        time.Time
	parts      []part // as pods.Containers has them
	conditions [len(ours)]condition
	stage      pods.Stage
	stop       stop
	// settled is a pod that had ended before this life began: its status is what it is.
	settled bool
}

// New begins the life of a pod that is bound to the node, or goes on with that of a pod whose status says how far it is.
// The pod is only read, and must not be changed; containers are by name, and one that is missing is the zero Container.
// Errors are the scenario's: they name the container and the field.
func New(pod *v1.Pod, containers map[string]scenario.Container, s Settings, now time.Time) (*Life, error) {
	for _, name := range slices.Sorted(maps.Keys(containers)) {
		c := containers[name]
		if err := c.Validate(nil); err != nil {
			return nil, fmt.Errorf("container %s of pod %s/%s: %w", name, pod.Namespace, pod.Name, err)
		}
	}
	l := &Life{pod: pod, containers: containers, settings: s, began: inSeconds(now)}
	fresh := pod.Status.StartTime == nil
	if !fresh {
		l.began = pod.Status.StartTime.Time
	}
	l.now = l.began
	l.adopt()
	if isTerminal(pod.Status.Phase) && !l.anyRuns() {
		l.settled, l.stage = true, pods.Ended
		return l, nil
	}
	if !fresh || pod.DeletionTimestamp == nil { // nothing of a pod that is to be deleted begins
		l.arrange()
	}
	l.follow(now)
	return l, nil
}

// Update tells of a newer version of the same pod.
func (l *Life) Update(pod *v1.Pod, now time.Time) {
	l.advance(now)
	l.pod = pod
	if !l.settled {
		l.rebind()
		l.follow(now)
	}
}

// At is the status at a time, or at the latest one that was asked for; when it changes next by itself, zero for never; and
// whether nothing is left of a pod that is to be deleted: once the status has been reported, the pod may be.
//
// The status shares what does not change with the pod, and must not be changed.
func (l *Life) At(now time.Time) (status v1.PodStatus, next time.Time, gone bool) {
	l.advance(now)
	next, _ = l.next()
	return l.status(), next, l.stage == pods.Ended && l.pod.DeletionTimestamp != nil
}

// status is that of now.
func (l *Life) status() v1.PodStatus {
	before := &l.pod.Status
	if l.settled {
		return *before
	}
	pod := l.pod
	if l.stage == pods.Stopping && pod.Generation != l.stop.generation {
		seen := *pod
		seen.Generation = l.stop.generation
		pod = &seen
	}
	s := pods.Status(pod, func(n int) *pods.Moment { return &l.parts[n].Moment }, pods.Course{
		Stage: l.stage, Outcome: l.stop.outcome, Initialized: l.stop.initialized, WasInitialized: l.wasInitialized(),
	})
	s.StartTime = ptr.To(metav1.NewTime(l.began))
	for i := range s.Conditions {
		c := &s.Conditions[i]
		switch n := numberOf(c.Type); {
		case n >= 0:
			c.LastTransitionTime = metav1.NewTime(l.conditions[n].since)
		case c.Type == v1.PodScheduled, c.Type == v1.AllContainersRestarting:
			c.LastTransitionTime = metav1.NewTime(l.began)
			if old := conditionOf(before, c.Type); old != nil && old.Status == c.Status {
				c.LastTransitionTime = old.LastTransitionTime
			}
		}
	}
	if isTerminal(before.Phase) { // from which no pod returns
		s.Phase = before.Phase
	}
	switch {
	case s.Phase == l.stop.outcome && l.stop.reason != "":
		s.Reason, s.Message = l.stop.reason, l.stop.message
	case s.Phase == before.Phase: // to which they belong
		s.Reason, s.Message = before.Reason, before.Message
	}
	l.address(&s)
	// Not a kubelet's affair. (kubelet: pkg/kubelet/status, mergePodStatus)
	s.ResourceClaimStatuses, s.ExtendedResourceClaimStatus = before.ResourceClaimStatuses, before.ExtendedResourceClaimStatus
	s.NodeAllocatableResourceClaimStatuses, s.VolumeHealth = before.NodeAllocatableResourceClaimStatuses, before.VolumeHealth
	return s
}

// address gives the pod its addresses: those of the host at once, its own when its sandbox has been seen.
func (l *Life) address(s *v1.PodStatus) {
	if len(l.settings.HostIPs) > 0 {
		s.HostIP = l.settings.HostIPs[0]
		s.HostIPs = make([]v1.HostIP, len(l.settings.HostIPs))
		for i, ip := range l.settings.HostIPs {
			s.HostIPs[i].IP = ip
		}
	}
	ips := l.settings.PodIPs
	if l.pod.Spec.HostNetwork {
		ips = l.settings.HostIPs
	} else if !l.anyCreated() {
		return
	}
	if len(ips) > 0 {
		s.PodIP = ips[0]
		s.PodIPs = make([]v1.PodIP, len(ips))
		for i, ip := range ips {
			s.PodIPs[i].IP = ip
		}
	}
}

func isTerminal(phase v1.PodPhase) bool { return phase == v1.PodSucceeded || phase == v1.PodFailed }
