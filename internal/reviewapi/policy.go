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

// Policy is what RBAC manifests allow. It does not change once made and is safe for concurrent use.
//
// Bindings are looked at in the order of the manifests: ClusterRoleBindings first, then the RoleBindings of the
// namespace asked about. A kube-apiserver looks in the same two steps, but in no order within each, so that of two
// bindings that both allow a request it may name either.
type Policy struct {
	clusterRoles    map[string]*role
	roles           map[types.NamespacedName]*role
	clusterBindings []*binding
	bindings        map[string][]*binding
}

// Reference says which object a part of an answer comes from, and where it was read.
type Reference struct {
	Kind, Namespace, Name string
	// File and Document (counted from 1) are empty and 0 for an object that came from no file.
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

// Grant is one rule that a subject has, and how it came by it.
type Grant struct {
	Binding Reference
	// Subject is the one of the binding's subjects that applies: the first.
	Subject rbacv1.Subject
	// Role is the one that the binding names. Source is the role that Rule is written in: another one where Role is
	// aggregated. Index is the rule's place in Source, counted from 0.
	Role   Reference
	Source Reference
	Index  int
	Rule   rbacv1.PolicyRule
}

// String describes the grant in the words of RBAC's reasons: `ClusterRoleBinding "b" of ClusterRole "r" to User "u"`. A
// namespaced name is told as name/namespace, as upstream does.
func (g Grant) String() string {
	return fmt.Sprintf("%s of %s %q to %s", describeBinding(g.Binding), g.Role.Kind, g.Role.Name, describeSubject(g.Subject, g.Binding.Namespace))
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
	// Reason and EvaluationError are those of the review's status. A binding to a role that does not exist is told in
	// Reason, and only when nothing else allows the request.
	Reason          string
	EvaluationError string
	// Grant is what allowed the request. It is nil for a denial, and for a member of system:masters, whom no rule need
	// allow anything.
	Grant *Grant
}

// Authorize answers as a kube-apiserver with `--authorization-mode RBAC` does: members of system:masters may do
// anything, others what a rule of a binding that applies to them allows. RBAC never denies for good, it only fails to
// allow. (k8s.io/kubernetes: plugin/pkg/auth/authorizer/rbac, pkg/registry/rbac/validation)
//
// A spec with neither or both kinds of attributes is not allowed and says so in EvaluationError; a Server answers it
// with 422.
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
	for b, subject := range p.applying(spec.User, spec.Groups, namespaceOf(spec)) {
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
		// The apiserver's union of authorizers puts the name of the one that had no opinion before its reason.
		// (k8s.io/apiserver: pkg/authorization/union)
		verdict.Reason = fmt.Sprintf("rbac: RBAC: %v", utilerrors.NewAggregate(missing))
	}
	return verdict
}

// Grants tells all the rules that a user has: cluster-wide and, where namespace is not empty, in that namespace. The
// error names the missing roles of bindings that apply, in RBAC's words; the grants are right all the same.
func (p *Policy) Grants(username string, groups []string, namespace string) ([]Grant, error) {
	var grants []Grant
	var missing []error
	for b, subject := range p.applying(username, groups, namespace) {
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

// role is a Role or ClusterRole, its aggregation resolved.
type role struct {
	Reference
	rules []rule
}

type rule struct {
	rbacv1.PolicyRule
	source Reference
	index  int
}

// binding is a RoleBinding or ClusterRoleBinding; the latter has no namespace.
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

// applying gives each binding that applies to the user, with the first of its subjects that does.
func (p *Policy) applying(username string, groups []string, namespace string) iter.Seq2[*binding, *rbacv1.Subject] {
	return func(yield func(*binding, *rbacv1.Subject) bool) {
		scopes := [2][]*binding{p.clusterBindings, p.bindings[namespace]}
		for _, scope := range scopes {
			for _, b := range scope {
				for i := range b.subjects {
					if subjectIs(&b.subjects[i], username, groups, b.Namespace) {
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

func subjectIs(subject *rbacv1.Subject, username string, groups []string, bindingNamespace string) bool {
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

// roleOf finds the role that a binding names. The error is worded as an apiserver's lister words it.
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
