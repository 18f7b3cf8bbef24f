package reviewapi

import (
	"strings"

	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
)

// selectorErrors returns the status.evaluationError that an apiserver sets for selectors that it cannot parse. RBAC
// ignores selectors, so they never change the answer. (k8s.io/kubernetes: pkg/registry/authorization/util)
func selectorErrors(asked *authorizationv1.ResourceAttributes) string {
	var problems []string
	// check adds an error if a selector cannot be parsed. A selector has either requirements or a rawSelector. The
	// parameter "valid" is the number of requirements that can be parsed. The parameter "rawErr" is the error of the
	// rawSelector.
	check := func(name string, requirements, valid int, rawErr error) {
		switch {
		case requirements == 0 && rawErr == nil, requirements > 0 && valid == requirements:
		case valid > 0:
			problems = append(problems, "spec.resourceAttributes."+name+" partially ignored due to parse error")
		default:
			problems = append(problems, "spec.resourceAttributes."+name+" ignored due to parse error")
		}
	}
	if s := asked.FieldSelector; s != nil {
		valid := 0
		for _, r := range s.Requirements {
			known := r.Operator == metav1.FieldSelectorOpIn || r.Operator == metav1.FieldSelectorOpNotIn
			if known && len(r.Values) == 1 {
				valid++
			}
		}
		_, err := fields.ParseSelector(s.RawSelector)
		check("fieldSelector", len(s.Requirements), valid, err)
	}
	if s := asked.LabelSelector; s != nil {
		valid := 0
		for _, r := range s.Requirements {
			one := &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{r}}
			if _, err := metav1.LabelSelectorAsSelector(one); err == nil {
				valid++
			}
		}
		_, err := labels.Parse(s.RawSelector)
		check("labelSelector", len(s.Requirements), valid, err)
	}
	return strings.Join(problems, "; ")
}
