package pods

import (
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"fauxlet/internal/podlife"
	"fauxlet/internal/podlog"
	"fauxlet/internal/stableid"
	"fauxlet/scenario"
)

// validatePod checks the assumptions of this package: names are valid, and no two containers have the same name.
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

// complete returns a copy of the pod with the fields that an API server and a kubelet would have set. A status with
// a phase is kept as it is, and so is the status of each container that already has one.
func complete(given *v1.Pod, described map[string]scenario.Container, made time.Time) *v1.Pod {
	pod := given.DeepCopy()
	pod.TypeMeta = metav1.TypeMeta{}
	if pod.Namespace == "" {
		pod.Namespace = metav1.NamespaceDefault
	}
	if pod.UID == "" {
		pod.UID = types.UID(stableid.UUID("pod " + pod.Namespace + "/" + pod.Name))
	}
	if pod.CreationTimestamp.IsZero() {
		pod.CreationTimestamp = metav1.NewTime(made.Add(-podlog.Age).Truncate(time.Second))
	}
	if pod.Spec.RestartPolicy == "" {
		pod.Spec.RestartPolicy = v1.RestartPolicyAlways
	}
	if pod.Status.Phase == "" {
		pod.Status = podlife.FixedStatus(pod, described)
	}
	return pod
}
