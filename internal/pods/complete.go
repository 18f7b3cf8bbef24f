package pods

import (
	"cmp"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
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
	check := func(path *field.Path, name, what string, validate func(string) []string) {
		if name == "" {
			errs = append(errs, field.Required(path, what))
			return
		}
		for _, message := range validate(name) {
			errs = append(errs, field.Invalid(path, name, message))
		}
	}
	metadata, spec := path.Child("metadata"), path.Child("spec")
	check(metadata.Child("name"), pod.Name, "the name of the pod", validation.IsDNS1123Subdomain)
	check(metadata.Child("namespace"), cmp.Or(pod.Namespace, metav1.NamespaceDefault), "", validation.IsDNS1123Label)
	if len(pod.Spec.Containers) == 0 {
		errs = append(errs, field.Required(spec.Child("containers"), "a pod has at least one container"))
	}
	seen := sets.New[string]()
	container := func(kind string, i int, name string) {
		path := spec.Child(kind).Index(i).Child("name")
		if name != "" && seen.Has(name) {
			errs = append(errs, field.Duplicate(path, name))
			return
		}
		check(path, name, "the name of the container", validation.IsDNS1123Label)
		seen.Insert(name)
	}
	for i, c := range pod.Spec.InitContainers {
		container("initContainers", i, c.Name)
	}
	for i, c := range pod.Spec.Containers {
		container("containers", i, c.Name)
	}
	for i, c := range pod.Spec.EphemeralContainers {
		container("ephemeralContainers", i, c.Name)
	}
	return errs
}

// complete returns a copy of the pod with the fields that an API server and a kubelet would have set. If the status has
// a phase, complete keeps the whole status. Otherwise it keeps only the container statuses.
func complete(given *v1.Pod, described map[string]scenario.Container, made time.Time) *v1.Pod {
	pod := given.DeepCopy()
	pod.TypeMeta = metav1.TypeMeta{}
	pod.Namespace = cmp.Or(pod.Namespace, metav1.NamespaceDefault)
	pod.UID = cmp.Or(pod.UID, types.UID(stableid.UUID("pod "+pod.Namespace+"/"+pod.Name)))
	if pod.CreationTimestamp.IsZero() {
		pod.CreationTimestamp = metav1.NewTime(made.Add(-podlog.Age).Truncate(time.Second))
	}
	pod.Spec.RestartPolicy = cmp.Or(pod.Spec.RestartPolicy, v1.RestartPolicyAlways)
	if pod.Status.Phase == "" {
		pod.Status = podlife.FixedStatus(pod, described)
	}
	return pod
}
