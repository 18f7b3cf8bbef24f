package reviewapi

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
)

// LoadPolicy reads RBAC manifests: files with one or more YAML or JSON documents, and folders of such files. Unknown
// fields, other kinds, and objects that an apiserver rejects are errors. The returned error lists all mistakes, each
// with its file, document and field. Without paths the policy allows system:masters only.
func LoadPolicy(paths ...string) (*Policy, error) {
	files, err := readManifests(paths)
	if err != nil {
		return nil, err
	}
	return parsePolicy(files)
}

// ParseManifests decodes the contents of a manifest file into objects for [NewPolicy]. Errors begin with name.
func ParseManifests(name string, data []byte) ([]runtime.Object, error) {
	manifests, err := parseManifests([]file{{name: name, data: data}})
	if err != nil {
		return nil, err
	}
	objects := make([]runtime.Object, len(manifests))
	for i, m := range manifests {
		objects[i] = m.object
	}
	return objects, nil
}

// NewPolicy returns the policy of ClusterRoles, ClusterRoleBindings, Roles and RoleBindings. It defaults and
// validates them as an apiserver does. It does not change or keep the objects.
func NewPolicy(objects ...runtime.Object) (*Policy, error) {
	manifests := make([]manifest, len(objects))
	for i, object := range objects {
		manifests[i].object = object.DeepCopyObject()
	}
	return newPolicy(manifests)
}

func parsePolicy(files []file) (*Policy, error) {
	manifests, err := parseManifests(files)
	if err != nil {
		return nil, err
	}
	return newPolicy(manifests)
}

// aggregate is a ClusterRole with an aggregationRule.
type aggregate struct {
	role      *role
	selectors []labels.Selector
}

func newPolicy(manifests []manifest) (*Policy, error) {
	p := &Policy{
		clusterRoles: map[string]*role{},
		roles:        map[types.NamespacedName]*role{},
		bindings:     map[string][]*binding{},
	}
	var problems []error
	var aggregates []aggregate
	roleLabels := map[string]labels.Set{}
	seen := map[Reference]Reference{}
	for _, m := range manifests {
		meta, kind, errs := validate(m.object)
		ref := Reference{Kind: kind, Namespace: meta.Namespace, Name: meta.Name, File: m.file, Document: m.document}
		if err := errs.ToAggregate(); err != nil {
			problems = append(problems, fmt.Errorf("%s%s %q: %w", m.place(), kind, meta.Name, err))
			continue
		}
		identity := Reference{Kind: kind, Namespace: meta.Namespace, Name: meta.Name}
		if first, twice := seen[identity]; twice {
			problems = append(problems,
				fmt.Errorf("%s%s: duplicate of %s; remove one of them", m.place(), identity, first))
			continue
		}
		seen[identity] = ref
		switch object := m.object.(type) {
		case *rbacv1.ClusterRole:
			r := &role{Reference: ref}
			p.clusterRoles[meta.Name], roleLabels[meta.Name] = r, meta.Labels
			if object.AggregationRule == nil {
				r.rules = newRules(object.Rules, ref)
			} else {
				aggregates = append(aggregates, newAggregate(r, object.AggregationRule))
			}
		case *rbacv1.Role:
			p.roles[types.NamespacedName{Namespace: meta.Namespace, Name: meta.Name}] = &role{Reference: ref,
				rules: newRules(object.Rules, ref)}
		case *rbacv1.ClusterRoleBinding:
			p.clusterBindings = append(p.clusterBindings,
				&binding{Reference: ref, roleRef: object.RoleRef, subjects: object.Subjects})
		case *rbacv1.RoleBinding:
			p.bindings[meta.Namespace] = append(p.bindings[meta.Namespace],
				&binding{Reference: ref, roleRef: object.RoleRef, subjects: object.Subjects})
		}
	}
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	p.resolve(aggregates, roleLabels)
	return p, nil
}

func (m manifest) place() string {
	if m.file == "" {
		return ""
	}
	return fmt.Sprintf("%s: document %d: ", m.file, m.document)
}

func newRules(written []rbacv1.PolicyRule, source Reference) []rule {
	rules := make([]rule, len(written))
	for i := range written {
		rules[i] = rule{PolicyRule: written[i], source: source, index: i}
	}
	return rules
}

func newAggregate(r *role, written *rbacv1.AggregationRule) aggregate {
	a := aggregate{role: r}
	for i := range written.ClusterRoleSelectors {
		// validate has already parsed the selectors, so parsing cannot fail here.
		if selector, err := metav1.LabelSelectorAsSelector(&written.ClusterRoleSelectors[i]); err == nil {
			a.selectors = append(a.selectors, selector)
		}
	}
	return a
}

// resolve sets the rules of aggregated roles as the clusterrole-aggregation-controller does. Each selector adds the
// rules of the roles that it selects, in the order of their names, without duplicates and without the role itself.
// Rules in the manifest of an aggregated role are ignored, because the controller overwrites them. An aggregated
// role may select another one, so this repeats until nothing changes. The repetition ends because rules are only
// added.
func (p *Policy) resolve(aggregates []aggregate, roleLabels map[string]labels.Set) {
	names := make([]string, 0, len(p.clusterRoles))
	for name := range p.clusterRoles {
		names = append(names, name)
	}
	slices.SortFunc(names, strings.Compare)

	for changed := true; changed; {
		changed = false
		for _, a := range aggregates {
			var rules []rule
			for _, selector := range a.selectors {
				for _, name := range names {
					if name == a.role.Name || !selector.Matches(roleLabels[name]) {
						continue
					}
					for _, candidate := range p.clusterRoles[name].rules {
						if !hasRule(rules, candidate) {
							rules = append(rules, candidate)
						}
					}
				}
			}
			if len(rules) != len(a.role.rules) {
				a.role.rules, changed = rules, true
			}
		}
	}
}

func hasRule(rules []rule, wanted rule) bool {
	return slices.ContainsFunc(rules, func(r rule) bool {
		return equality.Semantic.DeepEqual(r.PolicyRule, wanted.PolicyRule)
	})
}

// Summary returns the numbers of roles and bindings, as in `2 roles, 1 binding`.
func (p *Policy) Summary() string {
	bindings := len(p.clusterBindings)
	for _, namespaced := range p.bindings {
		bindings += len(namespaced)
	}
	return fmt.Sprintf("%s, %s", count(len(p.clusterRoles)+len(p.roles), "role"), count(bindings, "binding"))
}

func count(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}
