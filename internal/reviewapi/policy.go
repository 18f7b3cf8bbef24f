package reviewapi

import (
	"cmp"
	"fmt"
	"slices"

	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"
	"k8s.io/apiserver/pkg/authentication/serviceaccount"
	"k8s.io/apiserver/pkg/authentication/user"
)

// Policy evaluates RBAC manifests. It is immutable and safe for concurrent use.
//
// It looks at ClusterRoleBindings first, then at the RoleBindings of the request's namespace, in the order of the
// manifests. A kube-apiserver has no fixed order among bindings of one kind, so its reason may name another binding.
type Policy struct {
	// The field "roles" has the rules of each Role and ClusterRole. The field "bindings" has the RoleBindings of each
	// namespace. A ClusterRole has an empty namespace. A ClusterRoleBinding is stored as a RoleBinding under the empty
	// namespace.
	roles    map[types.NamespacedName][]rbacv1.PolicyRule
	bindings map[string][]*rbacv1.RoleBinding
	others   otherKinds // the objects in the files that do not belong to RBAC
}

// ClusterRole returns the rules of a ClusterRole. For an aggregated ClusterRole, they include the rules of the roles
// that it selects. The caller must not change the returned rules.
func (p *Policy) ClusterRole(name string) []rbacv1.PolicyRule {
	return p.roles[types.NamespacedName{Name: name}]
}

// Authorize evaluates a SubjectAccessReview like a kube-apiserver with --authorization-mode RBAC. Members of
// system:masters are allowed everything. Other users are allowed a request if a binding matches the user, and its role
// has a rule that allows the request. If a request is denied, and the role of a matching binding does not exist, the
// reason names this role. (k8s.io/kubernetes: plugin/pkg/auth/authorizer/rbac, pkg/registry/rbac/validation)
//
// A spec must have either resource or non-resource attributes. For any other spec, the result does not allow the
// request, and its EvaluationError is set. A Server rejects such a spec with HTTP status 422.
func (p *Policy) Authorize(spec authorizationv1.SubjectAccessReviewSpec) authorizationv1.SubjectAccessReviewStatus {
	var status authorizationv1.SubjectAccessReviewStatus
	if (spec.ResourceAttributes == nil) == (spec.NonResourceAttributes == nil) {
		status.EvaluationError = exactlyOneAttributes
		return status
	}
	bindings := p.bindings[""]
	if asked := spec.ResourceAttributes; asked != nil {
		status.EvaluationError = selectorErrors(asked)
		if asked.Namespace != "" {
			bindings = slices.Concat(bindings, p.bindings[asked.Namespace])
		}
	}
	if slices.Contains(spec.Groups, user.SystemPrivilegedGroup) {
		status.Allowed = true
		return status
	}
	var missing []error
	for _, b := range bindings {
		i := slices.IndexFunc(b.Subjects, func(s rbacv1.Subject) bool { return subjectMatches(s, &spec, b.Namespace) })
		if i < 0 {
			continue
		}
		rules, err := p.rulesOf(b)
		if err != nil {
			missing = append(missing, err)
		}
		if slices.ContainsFunc(rules, func(r rbacv1.PolicyRule) bool { return ruleAllows(&r, &spec) }) {
			status.Allowed, status.Reason = true, "RBAC: allowed by "+describe(b, b.Subjects[i])
			return status
		}
	}
	if len(missing) > 0 {
		// An apiserver adds the authorizer's name, here "rbac: ". (k8s.io/apiserver: pkg/authorization/union)
		status.Reason = fmt.Sprintf("rbac: RBAC: %v", utilerrors.NewAggregate(missing))
	}
	return status
}

// ClusterRules returns the rules of the roles that ClusterRoleBindings bind to a user, as in the field User of a spec,
// or to its groups. A binding whose role does not exist has no rules; see [Policy.MissingClusterRoles]. The caller must
// not change the returned rules.
func (p *Policy) ClusterRules(name string, groups []string) []rbacv1.PolicyRule {
	if slices.Contains(groups, user.SystemPrivilegedGroup) {
		return []rbacv1.PolicyRule{{APIGroups: []string{"*"}, Resources: []string{"*"}, Verbs: []string{"*"}}}
	}
	rules, _ := p.clusterRules(name, groups)
	return rules
}

// MissingClusterRoles returns the sorted names of the ClusterRoles that ClusterRoleBindings bind to a user or to its
// groups, but that do not exist. So the rights of the user are not known. Members of system:masters may do everything,
// and have no missing roles.
func (p *Policy) MissingClusterRoles(name string, groups []string) []string {
	if slices.Contains(groups, user.SystemPrivilegedGroup) {
		return nil
	}
	_, missing := p.clusterRules(name, groups)
	slices.Sort(missing)
	return slices.Compact(missing)
}

// clusterRules returns the rules of the roles that are bound to a user, and the names of the roles that do not exist.
func (p *Policy) clusterRules(name string, groups []string) (rules []rbacv1.PolicyRule, missing []string) {
	spec := authorizationv1.SubjectAccessReviewSpec{User: name, Groups: groups}
	for _, b := range p.bindings[""] {
		if slices.ContainsFunc(b.Subjects, func(s rbacv1.Subject) bool { return subjectMatches(s, &spec, "") }) {
			bound, err := p.rulesOf(b)
			if err != nil {
				missing = append(missing, b.RoleRef.Name)
			}
			rules = append(rules, bound...)
		}
	}
	return rules, missing
}

// describe describes a binding and its subject as in kube-apiserver's reason: `ClusterRoleBinding "b" of ClusterRole
// "r" to User "u"`. Names with a namespace have the form name/namespace.
func describe(b *rbacv1.RoleBinding, subject rbacv1.Subject) string {
	kind, name, to := "ClusterRoleBinding", b.Name, subject.Name
	if b.Namespace != "" {
		kind, name = "RoleBinding", b.Name+"/"+b.Namespace
	}
	if subject.Kind == rbacv1.ServiceAccountKind {
		to += "/" + cmp.Or(subject.Namespace, b.Namespace)
	}
	return fmt.Sprintf("%s %q of %s %q to %s %q", kind, name, b.RoleRef.Kind, b.RoleRef.Name, subject.Kind, to)
}

func subjectMatches(subject rbacv1.Subject, spec *authorizationv1.SubjectAccessReviewSpec, namespace string) bool {
	switch subject.Kind {
	case rbacv1.UserKind:
		return subject.Name == spec.User
	case rbacv1.GroupKind:
		return slices.Contains(spec.Groups, subject.Name)
	case rbacv1.ServiceAccountKind:
		namespace = cmp.Or(subject.Namespace, namespace)
		return namespace != "" && serviceaccount.MatchesUsername(namespace, subject.Name, spec.User)
	}
	return false
}

// rulesOf returns the rules of the role in a binding's roleRef, or the apiserver's error if the role does not exist. A
// default role exists even if no manifest has it.
func (p *Policy) rulesOf(b *rbacv1.RoleBinding) ([]rbacv1.PolicyRule, error) {
	name, resource := types.NamespacedName{Name: b.RoleRef.Name}, "clusterrole"
	if b.RoleRef.Kind == "Role" {
		name.Namespace, resource = b.Namespace, "role"
	}
	rules, found := p.roles[name]
	if !found && name.Namespace == "" && defaultRoles[name.Name] != nil {
		return defaultRoles[name.Name], nil
	}
	if !found {
		return nil, apierrors.NewNotFound(rbacv1.Resource(resource), name.Name)
	}
	return rules, nil
}
