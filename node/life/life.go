// Package life tells what a kubelet would report of a pod that does not run, at any moment: its status as a function of
// time, of the pod, and of what a scenario says of its containers. There is no I/O here, no goroutine and no clock.
package life

import (
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"fauxlet/pods"
)

// Settings are what the node gives its pods.
type Settings struct {
	// HostIPs are the node's, the first of them its main one; pods with hostNetwork have these.
	HostIPs []string
	// PodIPs are those of this pod, one or one of each family.
	PodIPs []string
	// MaxBackOff is the longest wait before a container that ends again and again is started; 0: five minutes.
	MaxBackOff time.Duration
}

// Life is that of one pod. It is not safe for concurrent use.
type Life struct {
	pod      *v1.Pod
	settings Settings
	began    metav1.Time
}

// New begins the life of a pod that is bound to the node, or goes on with that of a pod whose status tells how far it is.
func New(pod *v1.Pod, containers map[string]pods.Container, s Settings, now time.Time) (*Life, error) {
	l := &Life{pod: pod, settings: s, began: metav1.NewTime(now.Truncate(time.Second))}
	if pod.Status.StartTime != nil {
		l.began = *pod.Status.StartTime
	}
	return l, nil
}

// Update tells of a newer version of the pod.
func (l *Life) Update(pod *v1.Pod, now time.Time) { l.pod = pod }

// At is the status at a time, which must not be changed; when it changes next by itself, zero for never; and whether all
// has ended and the pod may be deleted, once that status has been reported.
func (l *Life) At(now time.Time) (status v1.PodStatus, next time.Time, gone bool) {
	yes := true
	status = v1.PodStatus{Phase: v1.PodRunning, StartTime: &l.began, ObservedGeneration: l.pod.Generation}
	for _, ip := range l.settings.PodIPs {
		status.PodIPs = append(status.PodIPs, v1.PodIP{IP: ip})
		status.PodIP = status.PodIPs[0].IP
	}
	for _, ip := range l.settings.HostIPs {
		status.HostIPs = append(status.HostIPs, v1.HostIP{IP: ip})
		status.HostIP = status.HostIPs[0].IP
	}
	for _, kind := range []v1.PodConditionType{v1.PodReadyToStartContainers, v1.PodInitialized, v1.PodReady, v1.ContainersReady, v1.PodScheduled} {
		status.Conditions = append(status.Conditions, v1.PodCondition{Type: kind, Status: v1.ConditionTrue, LastTransitionTime: l.began})
	}
	for _, c := range l.pod.Spec.Containers {
		status.ContainerStatuses = append(status.ContainerStatuses, v1.ContainerStatus{
			Name: c.Name, Image: c.Image, Ready: true, Started: &yes,
			ContainerID: "fauxlet://" + string(l.pod.UID) + c.Name,
			State:       v1.ContainerState{Running: &v1.ContainerStateRunning{StartedAt: l.began}},
		})
	}
	return status, time.Time{}, l.pod.DeletionTimestamp != nil
}
