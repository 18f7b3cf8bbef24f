package reviewapi

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
)

// ParseManifests decodes the contents of a manifest file into objects for [NewPolicy]. It skips objects that do not
// belong to RBAC. The parameter "name" is the name of the file. It is used only in errors, which begin with it.
func ParseManifests(name string, data []byte) ([]runtime.Object, error) {
	manifests, _, err := parseManifests([]file{{name: name, data: data}})
	if err != nil {
		return nil, err
	}
	objects := make([]runtime.Object, len(manifests))
	for i, m := range manifests {
		objects[i] = m.object
	}
	return objects, nil
}

// NewPolicy returns the policy that ClusterRoles, ClusterRoleBindings, Roles and RoleBindings define. Like an
// apiserver, it sets defaults and validates the objects. It works on copies, so the caller's objects do not change.
func NewPolicy(objects ...runtime.Object) (*Policy, error) {
	manifests := make([]manifest, len(objects))
	for i, object := range objects {
		manifests[i].object = object.DeepCopyObject()
	}
	return newPolicy(manifests)
}

// parsePolicy returns the policy in manifest files. Without files the policy allows only system:masters. Unknown
// fields, and objects that an apiserver rejects, are errors. Objects that do not belong to RBAC are skipped. The
// returned error lists all mistakes, each with its file, document and field.
func parsePolicy(files []file) (*Policy, error) {
	manifests, others, err := parseManifests(files)
	if err != nil {
		return nil, err
	}
	p, err := newPolicy(manifests)
	if err == nil {
		p.others = others
	}
	return p, err
}

func newPolicy(manifests []manifest) (*Policy, error) {
	p := &Policy{roles: map[types.NamespacedName][]rbacv1.PolicyRule{}, bindings: map[string][]*rbacv1.RoleBinding{}}
	var problems []error
	var clusterRoles []*rbacv1.ClusterRole
	seen := map[string]manifest{}
	for _, m := range manifests {
		meta, kind, errs := validate(m.object)
		if err := errs.ToAggregate(); err != nil {
			problems = append(problems, fmt.Errorf("%s%s %q: %w", m.place(), kind, meta.Name, err))
			continue
		}
		name := types.NamespacedName{Namespace: meta.Namespace, Name: meta.Name}
		id := fmt.Sprintf("%s %q", kind, meta.Name)
		if meta.Namespace != "" {
			id = fmt.Sprintf("%s %q", kind, name)
		}
		if first, twice := seen[id]; twice {
			problems = append(problems, fmt.Errorf("%s%s: duplicate of %s (%s, document %d); remove one of them",
				m.place(), id, id, first.file, first.document))
			continue
		}
		seen[id] = m
		switch object := m.object.(type) {
		case *rbacv1.ClusterRole:
			p.roles[name] = object.Rules
			clusterRoles = append(clusterRoles, object)
		case *rbacv1.Role:
			p.roles[name] = object.Rules
		case *rbacv1.ClusterRoleBinding:
			p.bindings[""] = append(p.bindings[""], &rbacv1.RoleBinding{ObjectMeta: object.ObjectMeta,
				RoleRef: object.RoleRef, Subjects: object.Subjects})
		case *rbacv1.RoleBinding:
			p.bindings[meta.Namespace] = append(p.bindings[meta.Namespace], object)
		}
	}
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	p.aggregate(clusterRoles)
	return p, nil
}

func (m manifest) place() string {
	if m.file == "" {
		return ""
	}
	return fmt.Sprintf("%s: document %d: ", m.file, m.document)
}

// aggregate sets the rules of aggregated roles as the clusterrole-aggregation-controller does. Each selector adds the
// rules of the other roles that it selects, in the order of the roles' names and without duplicates. The controller
// overwrites the rules in the manifest of an aggregated role, so they are ignored. An aggregated role may select
// another aggregated role, so aggregate repeats until no rule is added.
func (p *Policy) aggregate(clusterRoles []*rbacv1.ClusterRole) {
	slices.SortFunc(clusterRoles, func(a, b *rbacv1.ClusterRole) int { return cmp.Compare(a.Name, b.Name) })
	selectors := map[types.NamespacedName][]labels.Selector{}
	for _, role := range clusterRoles {
		if role.AggregationRule == nil {
			continue
		}
		name := types.NamespacedName{Name: role.Name}
		p.roles[name], selectors[name] = nil, nil
		for i := range role.AggregationRule.ClusterRoleSelectors {
			// The function validate has checked the selector, so err is nil.
			selector, err := metav1.LabelSelectorAsSelector(&role.AggregationRule.ClusterRoleSelectors[i])
			if err == nil {
				selectors[name] = append(selectors[name], selector)
			}
		}
	}
	for changed := true; changed; {
		changed = false
		for name, selectors := range selectors {
			var rules []rbacv1.PolicyRule
			for _, selector := range selectors {
				for _, role := range clusterRoles {
					if role.Name != name.Name && selector.Matches(labels.Set(role.Labels)) {
						rules = appendNew(rules, p.ClusterRole(role.Name))
					}
				}
			}
			if len(rules) != len(p.roles[name]) {
				p.roles[name], changed = rules, true
			}
		}
	}
}

func appendNew(rules, more []rbacv1.PolicyRule) []rbacv1.PolicyRule {
	for _, rule := range more {
		if !slices.ContainsFunc(rules, func(r rbacv1.PolicyRule) bool { return equality.Semantic.DeepEqual(r, rule) }) {
			rules = append(rules, rule)
		}
	}
	return rules
}

// summary returns the number of roles and the number of bindings as a text such as `2 roles, 1 binding`, and the kinds
// of the objects that were skipped.
func (p *Policy) summary() string {
	bindings := 0
	for _, some := range p.bindings {
		bindings += len(some)
	}
	counts := fmt.Sprintf("%s, %s", count(len(p.roles), "role"), count(bindings, "binding"))
	if len(p.others) > 0 {
		counts += "; " + p.others.String()
	}
	return counts
}

func count(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}
