package reviewapi

import (
	"fmt"
	"iter"
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
// manifests. A kube-apiserver has no fixed order among ClusterRoleBindings, or among RoleBindings. If two bindings
// allow a request, the reason in kube-apiserver's answer may name either of them.
type Policy struct {
	clusterRoles    map[string]*role
	roles           map[types.NamespacedName]*role
	clusterBindings []*binding
	bindings        map[string][]*binding
}

// Reference names an RBAC object and the file that it comes from.
type Reference struct {
	Kind, Namespace, Name string
	// File and Document, counted from 1, are empty for an object that does not come from a file.
	File     string
	Document int
}

func (r Reference) String() string {
	name := r.Name
	if r.Namespace != "" {
		name = r.Namespace + "/" + name
	}
	if r.File == "" {
		return fmt.Sprintf("%s %q", r.Kind, name)
	}
	return fmt.Sprintf("%s %q (%s, document %d)", r.Kind, name, r.File, r.Document)
}

// Grant is one rule that applies to a user, with the binding and role that grant it.
type Grant struct {
	Binding Reference
	// Subject is the first subject of the binding that matches the user.
	Subject rbacv1.Subject
	// Role is the role in the binding's roleRef. Source is the role whose manifest contains Rule. If Role is
	// aggregated, Source is one of the roles that it aggregates. Index is the index of the rule in Source.
	Role   Reference
	Source Reference
	Index  int
	Rule   rbacv1.PolicyRule
}

// String describes the grant with the words of kube-apiserver's reason: `ClusterRoleBinding "b" of ClusterRole "r"
// to User "u"`. A namespaced name is written name/namespace.
func (g Grant) String() string {
	return fmt.Sprintf("%s of %s %q to %s", describeBinding(g.Binding), g.Role.Kind, g.Role.Name,
		describeSubject(g.Subject, g.Binding.Namespace))
}

func describeBinding(b Reference) string {
	if b.Namespace == "" {
		return fmt.Sprintf("%s %q", b.Kind, b.Name)
	}
	return fmt.Sprintf("%s %q", b.Kind, b.Name+"/"+b.Namespace)
}

func describeSubject(s rbacv1.Subject, bindingNamespace string) string {
	if s.Kind != rbacv1.ServiceAccountKind {
		return fmt.Sprintf("%s %q", s.Kind, s.Name)
	}
	namespace := s.Namespace
	if namespace == "" {
		namespace = bindingNamespace
	}
	return fmt.Sprintf("%s %q", s.Kind, s.Name+"/"+namespace)
}

// Verdict is the answer to one SubjectAccessReview.
type Verdict struct {
	Allowed bool
	// Reason and EvaluationError are fields of the review's status. If the request is denied, Reason names roles that a
	// matching binding refers to and that do not exist.
	Reason          string
	EvaluationError string
	// Grant is the grant that allowed the request. It is nil if the request is denied, and also for members of
	// system:masters, because they are allowed everything without a rule.
	Grant *Grant
}

// Authorize evaluates a SubjectAccessReview like a kube-apiserver with --authorization-mode RBAC. Members of
// system:masters are allowed everything. Other users are allowed a request if a binding that matches the user refers
// to a role with a rule that allows the request. RBAC has no rules that deny. (k8s.io/kubernetes:
// plugin/pkg/auth/authorizer/rbac, pkg/registry/rbac/validation)
//
// A spec must have either resource or non-resource attributes. Otherwise it is not allowed and has an
// EvaluationError; a Server answers it with 422.
func (p *Policy) Authorize(spec authorizationv1.SubjectAccessReviewSpec) Verdict {
	if (spec.ResourceAttributes == nil) == (spec.NonResourceAttributes == nil) {
		return Verdict{EvaluationError: exactlyOneAttributes}
	}
	verdict := Verdict{EvaluationError: selectorErrors(spec.ResourceAttributes)}
	if slices.Contains(spec.Groups, user.SystemPrivilegedGroup) {
		verdict.Allowed = true
		return verdict
	}
	var missing []error
	for b, subject := range p.matching(spec.User, spec.Groups, namespaceOf(spec)) {
		role, err := p.roleOf(b)
		if err != nil {
			missing = append(missing, err)
			continue
		}
		for _, rule := range role.rules {
			if ruleAllows(&rule.PolicyRule, &spec) {
				grant := newGrant(b, subject, role, rule)
				verdict.Allowed, verdict.Reason, verdict.Grant = true, "RBAC: allowed by "+grant.String(), &grant
				return verdict
			}
		}
	}
	if len(missing) > 0 {
		// The apiserver's union of authorizers prefixes the reason with the name of the authorizer.
		// (k8s.io/apiserver: pkg/authorization/union)
		verdict.Reason = fmt.Sprintf("rbac: RBAC: %v", utilerrors.NewAggregate(missing))
	}
	return verdict
}

// Grants returns all rules that apply to a user, cluster-wide and, unless namespace is empty, in that namespace. The
// error names missing roles of matching bindings. The returned grants are valid even if there is an error.
func (p *Policy) Grants(username string, groups []string, namespace string) ([]Grant, error) {
	var grants []Grant
	var missing []error
	for b, subject := range p.matching(username, groups, namespace) {
		role, err := p.roleOf(b)
		if err != nil {
			missing = append(missing, err)
			continue
		}
		for _, rule := range role.rules {
			grants = append(grants, newGrant(b, subject, role, rule))
		}
	}
	return grants, utilerrors.NewAggregate(missing)
}

// role is a Role or ClusterRole, with its aggregation resolved.
type role struct {
	Reference
	rules []rule
}

type rule struct {
	rbacv1.PolicyRule
	source Reference
	index  int
}

// binding is a RoleBinding, or a ClusterRoleBinding, which has no namespace.
type binding struct {
	Reference
	roleRef  rbacv1.RoleRef
	subjects []rbacv1.Subject
}

func newGrant(b *binding, subject *rbacv1.Subject, role *role, rule rule) Grant {
	return Grant{
		Binding: b.Reference, Subject: *subject,
		Role: role.Reference, Source: rule.source, Index: rule.index, Rule: rule.PolicyRule,
	}
}

// matching iterates over the bindings that match the user, each with its first matching subject.
func (p *Policy) matching(username string, groups []string, namespace string) iter.Seq2[*binding, *rbacv1.Subject] {
	return func(yield func(*binding, *rbacv1.Subject) bool) {
		scopes := [2][]*binding{p.clusterBindings, p.bindings[namespace]}
		for _, scope := range scopes {
			for _, b := range scope {
				for i := range b.subjects {
					if subjectMatches(&b.subjects[i], username, groups, b.Namespace) {
						if !yield(b, &b.subjects[i]) {
							return
						}
						break
					}
				}
			}
		}
	}
}

func subjectMatches(subject *rbacv1.Subject, username string, groups []string, bindingNamespace string) bool {
	switch subject.Kind {
	case rbacv1.UserKind:
		return subject.Name == username
	case rbacv1.GroupKind:
		return slices.Contains(groups, subject.Name)
	case rbacv1.ServiceAccountKind:
		namespace := subject.Namespace
		if namespace == "" {
			namespace = bindingNamespace
		}
		return namespace != "" && serviceaccount.MatchesUsername(namespace, subject.Name, username)
	default:
		return false
	}
}

// roleOf returns the role in a binding's roleRef. If the role does not exist, the error has the text of an
// apiserver's error.
func (p *Policy) roleOf(b *binding) (*role, error) {
	if b.roleRef.Kind == "Role" {
		if found := p.roles[types.NamespacedName{Namespace: b.Namespace, Name: b.roleRef.Name}]; found != nil {
			return found, nil
		}
		return nil, apierrors.NewNotFound(rbacv1.Resource("role"), b.roleRef.Name)
	}
	if found := p.clusterRoles[b.roleRef.Name]; found != nil {
		return found, nil
	}
	return nil, apierrors.NewNotFound(rbacv1.Resource("clusterrole"), b.roleRef.Name)
}

func namespaceOf(spec authorizationv1.SubjectAccessReviewSpec) string {
	if spec.ResourceAttributes == nil {
		return ""
	}
	return spec.ResourceAttributes.Namespace
}
