package offline

import (
	"strings"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"fauxlet/scenario"
)

// makePod adds the pod and the container that a path names, unless Options.Pods is set: offline requests are about
// authentication and authorization, so the pod's absence should not hide their result.
func (k *Kubelet) makePod(path string) error {
	parts := strings.Split(strings.Trim(path, "/"), "/")
	if k.made == nil || len(parts) < 3 {
		return nil
	}
	spec := scenario.Pod{Pod: &v1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: parts[1], Name: parts[2]}}}
	container := "main"
	switch parts[0] {
	case "containerLogs", "run", "exec", "attach", "checkpoint":
		if len(parts) < 4 {
			return nil
		}
		if container = parts[3]; len(parts) > 4 {
			spec.Pod.UID, container = types.UID(parts[3]), parts[4]
		}
	case "portForward", "allocatedPods":
	default:
		return nil
	}
	spec.Pod.Spec.Containers = []v1.Container{{Name: container, Image: container}}
	spec.Pod.Status = v1.PodStatus{Phase: v1.PodRunning, ContainerStatuses: []v1.ContainerStatus{{
		Name: container, ContainerID: "fauxlet://" + container,
		State: v1.ContainerState{Running: &v1.ContainerStateRunning{StartedAt: metav1.Now()}},
	}}}
	return k.made.Put(spec)
}
