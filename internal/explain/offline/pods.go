package offline

import (
	"cmp"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"fauxlet/scenario"
	"fauxlet/server"
)

// makePod adds the pod and the container that a path names. If Options.Pods is set, it adds nothing. Offline requests
// are sent to examine authentication and authorization, and a 404 for a missing pod would hide their result.
func (k *Kubelet) makePod(path string) error {
	namespace, name, uid, container := server.PathTarget(path)
	if k.made == nil || name == "" {
		return nil
	}
	container = cmp.Or(container, "main")
	spec := scenario.Pod{Pod: &v1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name,
		UID: types.UID(uid)}}}
	spec.Pod.Spec.Containers = []v1.Container{{Name: container, Image: container}}
	spec.Pod.Status = v1.PodStatus{Phase: v1.PodRunning, ContainerStatuses: []v1.ContainerStatus{{
		Name: container, ContainerID: "fauxlet://" + container,
		State: v1.ContainerState{Running: &v1.ContainerStateRunning{StartedAt: metav1.Now()}},
	}}}
	return k.made.Put(spec)
}
