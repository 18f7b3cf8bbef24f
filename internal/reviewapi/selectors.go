package reviewapi

import (
	"strings"

	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
)

// selectorErrors returns an apiserver's status.evaluationError for selectors that it cannot parse. RBAC ignores
// selectors, so they never change the answer. (k8s.io/kubernetes: pkg/registry/authorization/util)
func selectorErrors(asked *authorizationv1.ResourceAttributes) string {
	if asked == nil {
		return ""
	}
	var problems []string
	if s := asked.FieldSelector; s != nil {
		problems = appendProblem(problems, "fieldSelector", len(s.Requirements), readableFields(s), func() error {
			_, err := fields.ParseSelector(s.RawSelector)
			return err
		})
	}
	if s := asked.LabelSelector; s != nil {
		problems = appendProblem(problems, "labelSelector", len(s.Requirements), readableLabels(s), func() error {
			_, err := labels.Parse(s.RawSelector)
			return err
		})
	}
	return strings.Join(problems, "; ")
}

// appendProblem appends the errors of one selector. It checks the requirements, or, if there are none, the raw form.
func appendProblem(problems []string, name string, requirements, readable int, parseRaw func() error) []string {
	switch {
	case requirements == 0 && parseRaw() == nil, requirements > 0 && readable == requirements:
		return problems
	case readable > 0:
		return append(problems, "spec.resourceAttributes."+name+" partially ignored due to parse error")
	default:
		return append(problems, "spec.resourceAttributes."+name+" ignored due to parse error")
	}
}

var labelOperators = map[metav1.LabelSelectorOperator]selection.Operator{
	metav1.LabelSelectorOpIn:           selection.In,
	metav1.LabelSelectorOpNotIn:        selection.NotIn,
	metav1.LabelSelectorOpExists:       selection.Exists,
	metav1.LabelSelectorOpDoesNotExist: selection.DoesNotExist,
}

func readableLabels(s *authorizationv1.LabelSelectorAttributes) (readable int) {
	for _, requirement := range s.Requirements {
		operator, ok := labelOperators[requirement.Operator]
		if !ok {
			continue
		}
		if _, err := labels.NewRequirement(requirement.Key, operator, requirement.Values); err == nil {
			readable++
		}
	}
	return readable
}

func readableFields(s *authorizationv1.FieldSelectorAttributes) (readable int) {
	for _, requirement := range s.Requirements {
		known := requirement.Operator == metav1.FieldSelectorOpIn || requirement.Operator == metav1.FieldSelectorOpNotIn
		if known && len(requirement.Values) == 1 {
			readable++
		}
	}
	return readable
}
