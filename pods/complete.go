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
func complete(given *v1.Pod, containers map[string]Container, made time.Time) *v1.Pod {
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

	status := func(name, image string, ends bool) v1.ContainerStatus {
		c := containers[name]
		return c.status(pod, name, image, ends)
	}
	for _, c := range pod.Spec.InitContainers {
		pod.Status.InitContainerStatuses = append(pod.Status.InitContainerStatuses, status(c.Name, c.Image, !isSidecar(c)))
	}
	initialized := len(unfinished(pod)) == 0
	for _, c := range pod.Spec.Containers {
		s := status(c.Name, c.Image, false)
		if !initialized && containers[c.Name].State == "" {
			waiting := Container{State: "PodInitializing"}
			s = waiting.status(pod, c.Name, c.Image, false)
		}
		pod.Status.ContainerStatuses = append(pod.Status.ContainerStatuses, s)
	}
	for _, c := range pod.Spec.EphemeralContainers {
		pod.Status.EphemeralContainerStatuses = append(pod.Status.EphemeralContainerStatuses, status(c.Name, c.Image, false))
	}

	started := pod.CreationTimestamp
	pod.Status.StartTime = &started
	pod.Status.Phase = phase(pod, initialized)
	ready := pod.Status.Phase == v1.PodRunning && !slices.ContainsFunc(pod.Status.ContainerStatuses, func(s v1.ContainerStatus) bool { return !s.Ready })
	for _, condition := range []struct {
		kind v1.PodConditionType
		met  bool
	}{
		{v1.PodReadyToStartContainers, true}, {v1.PodInitialized, initialized}, {v1.PodReady, ready}, {v1.ContainersReady, ready}, {v1.PodScheduled, true},
	} {
		c := v1.PodCondition{Type: condition.kind, Status: v1.ConditionTrue, LastTransitionTime: started}
		if !condition.met {
			c.Status = v1.ConditionFalse
			c.Reason, c.Message = notMet(pod, condition.kind)
		}
		pod.Status.Conditions = append(pod.Status.Conditions, c)
	}
	return pod
}

func isSidecar(c v1.Container) bool {
	return c.RestartPolicy != nil && *c.RestartPolicy == v1.ContainerRestartPolicyAlways
}

// unfinished are the init containers that the others wait for.
func unfinished(pod *v1.Pod) []string {
	var names []string
	for i, s := range pod.Status.InitContainerStatuses {
		started := isSidecar(pod.Spec.InitContainers[i]) && s.State.Running != nil
		ended := s.State.Terminated != nil && s.State.Terminated.ExitCode == 0
		if !started && !ended {
			names = append(names, s.Name)
		}
	}
	return names
}

// notMet is why a condition is false. (kubelet: pkg/kubelet/status, GeneratePodInitializedCondition …)
func notMet(pod *v1.Pod, kind v1.PodConditionType) (reason, message string) {
	ended := pod.Status.Phase == v1.PodSucceeded
	switch {
	case ended:
		return "PodCompleted", ""
	case pod.Status.Phase == v1.PodFailed:
		return "PodFailed", ""
	case kind == v1.PodInitialized:
		return "ContainersNotInitialized", fmt.Sprintf("containers with incomplete status: %v", unfinished(pod))
	}
	var unready []string
	for _, s := range pod.Status.ContainerStatuses {
		if !s.Ready {
			unready = append(unready, s.Name)
		}
	}
	return "ContainersNotReady", fmt.Sprintf("containers with unready status: %v", unready)
}

// phase is that of a pod whose containers are in these states. (kubelet: pkg/kubelet/kubelet_pods.go, getPhase)
func phase(pod *v1.Pod, initialized bool) v1.PodPhase {
	if !initialized {
		for _, s := range pod.Status.InitContainerStatuses {
			if s.State.Terminated != nil && s.State.Terminated.ExitCode != 0 && pod.Spec.RestartPolicy == v1.RestartPolicyNever {
				return v1.PodFailed
			}
		}
		return v1.PodPending
	}
	var running, waiting, ended, succeeded int
	for _, s := range pod.Status.ContainerStatuses {
		switch {
		case s.State.Running != nil:
			running++
		case s.State.Terminated != nil:
			ended++
			if s.State.Terminated.ExitCode == 0 {
				succeeded++
			}
		case s.LastTerminationState.Terminated != nil:
			ended++
		default:
			waiting++
		}
	}
	switch {
	case waiting > 0:
		return v1.PodPending
	case running > 0, pod.Spec.RestartPolicy == v1.RestartPolicyAlways:
		return v1.PodRunning
	case ended == succeeded:
		return v1.PodSucceeded
	case pod.Spec.RestartPolicy == v1.RestartPolicyNever:
		return v1.PodFailed
	}
	return v1.PodRunning
}

func imageID(image string) string { return fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(image))) }

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
