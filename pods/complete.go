package pods

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// validatePod checks what the rest relies on: names, and that they are no container's twice.
func validatePod(pod *v1.Pod, path *field.Path) field.ErrorList {
	if pod == nil {
		return field.ErrorList{field.Required(path, "a core/v1 Pod")}
	}
	var errs field.ErrorList
	metadata := path.Child("metadata")
	if pod.Name == "" {
		errs = append(errs, field.Required(metadata.Child("name"), "the name of the pod"))
	} else {
		for _, message := range validation.IsDNS1123Subdomain(pod.Name) {
			errs = append(errs, field.Invalid(metadata.Child("name"), pod.Name, message))
		}
	}
	if pod.Namespace != "" {
		for _, message := range validation.IsDNS1123Label(pod.Namespace) {
			errs = append(errs, field.Invalid(metadata.Child("namespace"), pod.Namespace, message))
		}
	}
	spec := path.Child("spec")
	if len(pod.Spec.Containers) == 0 {
		errs = append(errs, field.Required(spec.Child("containers"), "a pod has at least one container"))
	}
	seen := map[string]bool{}
	check := func(path *field.Path, name string) {
		switch {
		case name == "":
			errs = append(errs, field.Required(path.Child("name"), "the name of the container"))
		case seen[name]:
			errs = append(errs, field.Duplicate(path.Child("name"), name))
		default:
			for _, message := range validation.IsDNS1123Label(name) {
				errs = append(errs, field.Invalid(path.Child("name"), name, message))
			}
		}
		seen[name] = true
	}
	for i, c := range pod.Spec.InitContainers {
		check(spec.Child("initContainers").Index(i), c.Name)
	}
	for i, c := range pod.Spec.Containers {
		check(spec.Child("containers").Index(i), c.Name)
	}
	for i, c := range pod.Spec.EphemeralContainers {
		check(spec.Child("ephemeralContainers").Index(i), c.Name)
	}
	return errs
}

// complete fills in what an apiserver and a kubelet would have, where it is missing. A pod that comes with a phase keeps
// the status that it came with.
func complete(given *v1.Pod, logs map[string]Log, made time.Time) *v1.Pod {
	pod := given.DeepCopy()
	pod.TypeMeta = metav1.TypeMeta{}
	if pod.Namespace == "" {
		pod.Namespace = metav1.NamespaceDefault
	}
	if pod.UID == "" {
		pod.UID = madeUID(pod.Namespace, pod.Name)
	}
	if pod.CreationTimestamp.IsZero() {
		pod.CreationTimestamp = metav1.NewTime(made.Add(-age).Truncate(time.Second))
	}
	if pod.Spec.RestartPolicy == "" {
		pod.Spec.RestartPolicy = v1.RestartPolicyAlways
	}
	if pod.Status.Phase != "" {
		return pod
	}

	started := pod.CreationTimestamp
	pod.Status.Phase = v1.PodRunning
	pod.Status.StartTime = &started
	for _, kind := range []v1.PodConditionType{v1.PodReadyToStartContainers, v1.PodInitialized, v1.PodReady, v1.ContainersReady, v1.PodScheduled} {
		pod.Status.Conditions = append(pod.Status.Conditions, v1.PodCondition{Type: kind, Status: v1.ConditionTrue, LastTransitionTime: started})
	}
	status := func(name, image string, finished bool) v1.ContainerStatus {
		s := v1.ContainerStatus{
			Name:        name,
			Image:       image,
			ImageID:     fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(image))),
			ContainerID: containerID(pod, name, ""),
			Ready:       true,
		}
		if finished {
			s.State.Terminated = &v1.ContainerStateTerminated{
				Reason: "Completed", StartedAt: started, FinishedAt: started, ContainerID: s.ContainerID,
			}
		} else {
			yes := true
			s.Started = &yes
			s.State.Running = &v1.ContainerStateRunning{StartedAt: started}
		}
		if logs[name].Previous != nil {
			s.RestartCount = 1
			s.LastTerminationState.Terminated = &v1.ContainerStateTerminated{
				ExitCode: 1, Reason: "Error", StartedAt: started, FinishedAt: started, ContainerID: containerID(pod, name, "previous"),
			}
		}
		return s
	}
	for _, c := range pod.Spec.InitContainers {
		sidecar := c.RestartPolicy != nil && *c.RestartPolicy == v1.ContainerRestartPolicyAlways
		pod.Status.InitContainerStatuses = append(pod.Status.InitContainerStatuses, status(c.Name, c.Image, !sidecar))
	}
	for _, c := range pod.Spec.Containers {
		pod.Status.ContainerStatuses = append(pod.Status.ContainerStatuses, status(c.Name, c.Image, false))
	}
	for _, c := range pod.Spec.EphemeralContainers {
		pod.Status.EphemeralContainerStatuses = append(pod.Status.EphemeralContainerStatuses, status(c.Name, c.Image, false))
	}
	return pod
}

func containerID(pod *v1.Pod, container, attempt string) string {
	return fmt.Sprintf("fauxlet://%x", sha256.Sum256([]byte(string(pod.UID)+"/"+container+"/"+attempt)))
}

// containerNames are those of the spec, of any kind.
func containerNames(pod *v1.Pod) []string {
	var names []string
	for _, c := range pod.Spec.InitContainers {
		names = append(names, c.Name)
	}
	for _, c := range pod.Spec.Containers {
		names = append(names, c.Name)
	}
	for _, c := range pod.Spec.EphemeralContainers {
		names = append(names, c.Name)
	}
	return names
}

// HasContainer says whether the pod has a container of that name, of any kind.
func HasContainer(pod *v1.Pod, name string) bool { return slices.Contains(containerNames(pod), name) }

// containerStatus finds the status of a container of any kind; nil where there is none.
func containerStatus(pod *v1.Pod, name string) *v1.ContainerStatus {
	for _, statuses := range [][]v1.ContainerStatus{
		pod.Status.ContainerStatuses, pod.Status.InitContainerStatuses, pod.Status.EphemeralContainerStatuses,
	} {
		for i := range statuses {
			if statuses[i].Name == name {
				return &statuses[i]
			}
		}
	}
	return nil
}
