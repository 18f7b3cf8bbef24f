package same

import (
	"slices"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// The method "invalid" returns a generated object with up to two mistakes.
func (g *rbacGenerator) invalid() runtime.Object {
	var rules []rbacv1.PolicyRule
	var meta metav1.ObjectMeta
	var object runtime.Object
	meta.Name = g.name("spoiled")
	meta.Labels = g.labels()
	for range 1 + g.random.IntN(2) {
		g.spoilMeta(&meta)
	}
	namespaced := g.chance(50)
	if g.chance(50) {
		rules = append(g.rulesOf(namespaced), g.rule(namespaced))
		for range 1 + g.random.IntN(2) {
			g.spoilRule(&rules[g.random.IntN(len(rules))])
		}
		if namespaced {
			meta.Namespace = "default"
			object = &rbacv1.Role{ObjectMeta: meta, Rules: rules}
		} else {
			role := &rbacv1.ClusterRole{ObjectMeta: meta, Rules: rules}
			if g.chance(40) {
				role.AggregationRule = g.aggregation()
				g.spoilAggregation(role.AggregationRule)
			}
			object = role
		}
		return object
	}
	kind := "ClusterRole"
	if namespaced {
		kind = g.one([]string{"ClusterRole", "Role"})
	}
	ref := rbacv1.RoleRef{APIGroup: g.one([]string{rbacv1.GroupName, ""}), Kind: kind, Name: "role-001"}
	subjects := g.subjects(namespaced)
	for range 1 + g.random.IntN(2) {
		g.spoilBinding(&ref, &subjects[g.random.IntN(len(subjects))])
	}
	if namespaced {
		meta.Namespace = "default"
		return &rbacv1.RoleBinding{ObjectMeta: meta, RoleRef: ref, Subjects: subjects}
	}
	return &rbacv1.ClusterRoleBinding{ObjectMeta: meta, RoleRef: ref, Subjects: subjects}
}

func (g *rbacGenerator) spoilMeta(meta *metav1.ObjectMeta) {
	switch g.random.IntN(24) {
	case 0:
		meta.Name = ""
	case 1:
		meta.Name = g.one([]string{"a/b", "..", ".", "a%b", "A B", "a:b", strings.Repeat("n", 300)})
	case 2:
		meta.Labels = map[string]string{g.one([]string{"a b", "", "/x", "a/b/c", strings.Repeat("l", 64)}): "c"}
	case 3:
		meta.Labels = map[string]string{"a": g.one([]string{"b c", "-", strings.Repeat("v", 64)})}
	case 4:
		meta.Annotations = map[string]string{g.one([]string{"a b", "A/b", ""}): "x"}
	case 6:
		meta.OwnerReferences = []metav1.OwnerReference{{APIVersion: g.one([]string{"", "v1"}),
			Kind: g.one([]string{"", "Pod", "Event"}), Name: g.one([]string{"", "p"}), UID: "u"}}
	}
}

func (g *rbacGenerator) spoilRule(rule *rbacv1.PolicyRule) {
	switch g.random.IntN(8) {
	case 0:
		rule.Verbs = nil
	case 1:
		rule.APIGroups = nil
	case 2:
		rule.Resources = nil
	case 3:
		rule.NonResourceURLs = append(rule.NonResourceURLs, "/x")
	case 4:
		rule.ResourceNames = append(rule.ResourceNames, "n")
	case 5:
		rule.NonResourceURLs = nil
	case 6:
		*rule = rbacv1.PolicyRule{}
	}
}

func (g *rbacGenerator) spoilAggregation(rule *rbacv1.AggregationRule) {
	selector := &rule.ClusterRoleSelectors[0]
	switch g.random.IntN(6) {
	case 0:
		rule.ClusterRoleSelectors = nil
	case 1:
		selector.MatchExpressions = []metav1.LabelSelectorRequirement{{Key: "a",
			Operator: metav1.LabelSelectorOperator(g.one([]string{"In", "Exists", "Odd"})),
			Values:   slices.Clone(g.some([]string{"b", "b c"}))}}
	case 2:
		selector.MatchExpressions = []metav1.LabelSelectorRequirement{{Key: g.one([]string{"a b", "", "a"}),
			Operator: "In"}}
	case 3:
		selector.MatchLabels = map[string]string{g.one([]string{"a b", "a"}): "b c"}
	}
}

func (g *rbacGenerator) spoilBinding(ref *rbacv1.RoleRef, subject *rbacv1.Subject) {
	switch g.random.IntN(10) {
	case 0:
		ref.Kind = g.one([]string{"Role", "", "clusterrole", "User"})
	case 1:
		ref.Name = g.one([]string{"", "a/b", "..", "a b"})
	case 2:
		ref.APIGroup = "x.io"
	case 3:
		subject.Kind = g.one([]string{"Robot", "", "user"})
	case 4:
		subject.Name = g.one([]string{"", "A B", "a/b"})
	case 5:
		subject.Namespace = ""
	case 6:
		subject.APIGroup = g.one([]string{"x.io", "", rbacv1.GroupName})
	case 7:
		subject.Namespace = g.one([]string{"a b", "team-a"})
	}
}
