package reviewapi

import (
	"cmp"
	"fmt"
	"slices"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/validate/content"
	"k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// validate sets the defaults of an RBAC object, such as the API group of roleRef and subjects. It returns the errors
// for which an apiserver would reject the object. Like kubectl, it removes the namespace of a cluster-scoped object.
// (k8s.io/kubernetes: pkg/apis/rbac/v1/defaults.go, pkg/apis/rbac/validation)
func validate(object runtime.Object) (meta metav1.ObjectMeta, kind string, errs field.ErrorList) {
	switch o := object.(type) {
	case *rbacv1.ClusterRole:
		o.Namespace = ""
		errs = append(validateMeta(&o.ObjectMeta, false), validateRules(o.Rules, false)...)
		return o.ObjectMeta, "ClusterRole", append(errs, validateAggregation(o.AggregationRule)...)
	case *rbacv1.Role:
		return o.ObjectMeta, "Role", append(validateMeta(&o.ObjectMeta, true), validateRules(o.Rules, true)...)
	case *rbacv1.ClusterRoleBinding:
		o.Namespace = ""
		errs = append(validateMeta(&o.ObjectMeta, false), validateRoleRef(&o.RoleRef, "ClusterRole")...)
		return o.ObjectMeta, "ClusterRoleBinding", append(errs, validateSubjects(o.Subjects, false)...)
	case *rbacv1.RoleBinding:
		errs = append(validateMeta(&o.ObjectMeta, true), validateRoleRef(&o.RoleRef, "Role", "ClusterRole")...)
		return o.ObjectMeta, "RoleBinding", append(errs, validateSubjects(o.Subjects, true)...)
	default:
		return meta, fmt.Sprintf("%T", object),
			field.ErrorList{field.NotSupported(field.NewPath("kind"), fmt.Sprintf("%T", object),
				[]string{"ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"})}
	}
}

func validateMeta(meta *metav1.ObjectMeta, namespaced bool) field.ErrorList {
	pathSegment := func(name string, _ bool) []string { return content.IsPathSegmentName(name) }
	return validation.ValidateObjectMeta(meta, namespaced, pathSegment, field.NewPath("metadata"))
}

func validateRules(rules []rbacv1.PolicyRule, namespaced bool) (errs field.ErrorList) {
	for i, rule := range rules {
		path := field.NewPath("rules").Index(i)
		if len(rule.Verbs) == 0 {
			errs = append(errs, field.Required(path.Child("verbs"), "verbs must contain at least one value"))
		}
		if len(rule.NonResourceURLs) == 0 {
			if len(rule.APIGroups) == 0 {
				errs = append(errs, field.Required(path.Child("apiGroups"),
					`resource rules must supply at least one api group: "" is the core group`))
			}
			if len(rule.Resources) == 0 {
				errs = append(errs, field.Required(path.Child("resources"),
					"resource rules must supply at least one resource"))
			}
			continue
		}
		if namespaced {
			errs = append(errs, field.Invalid(path.Child("nonResourceURLs"), rule.NonResourceURLs,
				"namespaced rules cannot apply to non-resource URLs"))
		}
		if len(rule.APIGroups)+len(rule.Resources)+len(rule.ResourceNames) > 0 {
			errs = append(errs, field.Invalid(path.Child("nonResourceURLs"), rule.NonResourceURLs,
				"rules cannot apply to both regular resources and non-resource URLs"))
		}
	}
	return errs
}

func validateAggregation(rule *rbacv1.AggregationRule) (errs field.ErrorList) {
	if rule == nil {
		return nil
	}
	path := field.NewPath("aggregationRule", "clusterRoleSelectors")
	if len(rule.ClusterRoleSelectors) == 0 {
		errs = append(errs, field.Required(path,
			"at least one clusterRoleSelector required if aggregationRule is non-nil"))
	}
	for i := range rule.ClusterRoleSelectors {
		errs = append(errs, metav1validation.ValidateLabelSelector(&rule.ClusterRoleSelectors[i],
			metav1validation.LabelSelectorValidationOptions{}, path.Index(i))...)
	}
	return errs
}

func validateRoleRef(ref *rbacv1.RoleRef, kinds ...string) (errs field.ErrorList) {
	path := field.NewPath("roleRef")
	ref.APIGroup = cmp.Or(ref.APIGroup, rbacv1.GroupName)
	if ref.APIGroup != rbacv1.GroupName {
		errs = append(errs, field.NotSupported(path.Child("apiGroup"), ref.APIGroup, []string{rbacv1.GroupName}))
	}
	if !slices.Contains(kinds, ref.Kind) {
		errs = append(errs, field.NotSupported(path.Child("kind"), ref.Kind, kinds))
	}
	if ref.Name == "" {
		return append(errs, field.Required(path.Child("name"), ""))
	}
	return append(errs, invalid(path.Child("name"), ref.Name, content.IsPathSegmentName(ref.Name))...)
}

func validateSubjects(subjects []rbacv1.Subject, namespaced bool) (errs field.ErrorList) {
	for i := range subjects {
		subject, path := &subjects[i], field.NewPath("subjects").Index(i)
		if subject.Name == "" {
			errs = append(errs, field.Required(path.Child("name"), ""))
		}
		group := rbacv1.GroupName
		switch subject.Kind {
		case rbacv1.UserKind, rbacv1.GroupKind:
			subject.APIGroup = cmp.Or(subject.APIGroup, group)
		case rbacv1.ServiceAccountKind:
			group = ""
			if subject.Name != "" {
				errs = append(errs, invalid(path.Child("name"), subject.Name,
					validation.ValidateServiceAccountName(subject.Name, false))...)
			}
			if !namespaced && subject.Namespace == "" {
				errs = append(errs, field.Required(path.Child("namespace"), ""))
			}
		default:
			errs = append(errs, field.NotSupported(path.Child("kind"), subject.Kind,
				[]string{rbacv1.ServiceAccountKind, rbacv1.UserKind, rbacv1.GroupKind}))
			continue
		}
		if subject.APIGroup != group {
			errs = append(errs, field.NotSupported(path.Child("apiGroup"), subject.APIGroup, []string{group}))
		}
	}
	return errs
}

func invalid(path *field.Path, value string, messages []string) (errs field.ErrorList) {
	for _, message := range messages {
		errs = append(errs, field.Invalid(path, value, message))
	}
	return errs
}
