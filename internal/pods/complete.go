package pods

import (
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"fauxlet/scenario"
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
// the status that it came with, as does a container that comes with one.
func complete(given *v1.Pod, containers map[string]scenario.Container, made time.Time) *v1.Pod {
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

	moments := make([]Moment, 0, len(pod.Spec.InitContainers)+len(pod.Spec.Containers)+len(pod.Spec.EphemeralContainers))
	waits := false // for an init container
	for kind, spec := range Containers(pod) {
		c := containers[spec.Name]
		m := FixedMoment(&c, kind, pod.CreationTimestamp.Time)
		if c.State == "" && kind == MainContainer && waits {
			m = Moment{}
		}
		waits = waits || kind == InitContainer && m.Run.Reason != completed || kind == Sidecar && !m.Run.Runs()
		moments = append(moments, m)
	}
	came := pod.Status
	pod.Status = Status(pod, func(n int) *Moment { return &moments[n] }, Course{})
	keep(pod.Status.InitContainerStatuses, came.InitContainerStatuses)
	keep(pod.Status.ContainerStatuses, came.ContainerStatuses)
	keep(pod.Status.EphemeralContainerStatuses, came.EphemeralContainerStatuses)
	started := pod.CreationTimestamp
	pod.Status.StartTime = &started
	for i := range pod.Status.Conditions {
		pod.Status.Conditions[i].LastTransitionTime = started
	}
	return pod
}

// keep has those that came in place of those that were made up.
func keep(made, came []v1.ContainerStatus) {
	for i := range made {
		if at := slices.IndexFunc(came, func(s v1.ContainerStatus) bool { return s.Name == made[i].Name }); at >= 0 {
			made[i] = came[at]
		}
	}
}

// containerNames are those of the spec, of any kind.
func containerNames(pod *v1.Pod) []string {
	var names []string
	for _, c := range Containers(pod) {
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
