// Package sample has pods with logs, and writes them to files in the formats that fauxlet and the program "reference"
// can read.
package sample

import (
	"fmt"
	"strconv"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Pod is a pod with the logs of its containers.
type Pod struct {
	Namespace, Name string
	Containers      []Container
}

// Container is a container with its log.
type Container struct {
	Name          string
	Log, Previous []Line
	LogEnd        string // written after Log, in the format of the CRI
	Grows         bool   // a line is added to the log every 100 ms
	Init          bool   // an init container, which has ended
	Crashes       bool   // in CrashLoopBackOff
	Creating      bool   // in ContainerCreating
}

type Line struct {
	At   time.Time
	Text string
}

// Nginx is the pod default/nginx with two lines of log. Most tests use it.
func Nginx() Pod {
	at := time.Now().Add(-time.Minute)
	return Pod{"default", "nginx", []Container{{Name: "nginx",
		Log: []Line{{at, "GET / 200"}, {at.Add(time.Second), "GET /favicon.ico 404"}}}}}
}

const NginxLog = "GET / 200\nGET /favicon.ico 404\n"

func (p Pod) Object() *v1.Pod {
	began := metav1.NewTime(time.Date(2026, 1, 2, 3, 0, 0, 0, time.UTC)) // fixed, so that both kubelets report it
	object := &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: p.Namespace, Name: p.Name,
			UID: types.UID("8a5a2b1c-0000-4000-8000-" + fmt.Sprintf("%012x", len(p.Name))), CreationTimestamp: began},
		Spec:   v1.PodSpec{RestartPolicy: v1.RestartPolicyAlways},
		Status: v1.PodStatus{Phase: v1.PodRunning, StartTime: &began},
	}
	for i, c := range p.Containers {
		status := v1.ContainerStatus{Name: c.Name, Image: c.Name + ":1", ContainerID: "containerd://" + strconv.Itoa(i),
			Ready: !c.Crashes && !c.Creating}
		ended := func(code int32, id string) *v1.ContainerStateTerminated {
			return &v1.ContainerStateTerminated{ExitCode: code, ContainerID: id, StartedAt: began, FinishedAt: began}
		}
		switch {
		case c.Init:
			status.State.Terminated = ended(0, status.ContainerID)
		case c.Crashes:
			status.State.Waiting = &v1.ContainerStateWaiting{Reason: "CrashLoopBackOff"}
			status.RestartCount, status.LastTerminationState.Terminated = 2, ended(1, status.ContainerID)
		case c.Creating:
			status.ContainerID, status.State.Waiting = "", &v1.ContainerStateWaiting{Reason: "ContainerCreating"}
		default:
			status.State.Running = &v1.ContainerStateRunning{StartedAt: began}
		}
		if c.Previous != nil && !c.Crashes {
			status.RestartCount, status.LastTerminationState.Terminated = 1, ended(1, status.ContainerID+"-previous")
		}
		spec := v1.Container{Name: c.Name, Image: status.Image}
		if c.Init {
			object.Spec.InitContainers = append(object.Spec.InitContainers, spec)
			object.Status.InitContainerStatuses = append(object.Status.InitContainerStatuses, status)
		} else {
			object.Spec.Containers = append(object.Spec.Containers, spec)
			object.Status.ContainerStatuses = append(object.Status.ContainerStatuses, status)
		}
	}
	return object
}
