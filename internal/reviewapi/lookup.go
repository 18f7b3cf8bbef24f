package reviewapi

import (
	"maps"
	"slices"

	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Taken reports whether a ClusterRole or a ClusterRoleBinding of this name exists, so that kubectl create would fail.
func (p *Policy) Taken(name string) bool {
	_, role := p.roles[types.NamespacedName{Name: name}]
	return role || defaultRoles[name] != nil ||
		slices.ContainsFunc(p.bindings[""], func(b *rbacv1.RoleBinding) bool { return b.Name == name })
}

// IneffectiveRoleBindings returns the RoleBindings, as namespace/name, that would allow a request for a cluster-scoped
// resource such as nodes if they were ClusterRoleBindings. A RoleBinding grants nothing outside its namespace.
func (p *Policy) IneffectiveRoleBindings(spec authorizationv1.SubjectAccessReviewSpec) []string {
	var names []string
	for _, namespace := range slices.Sorted(maps.Keys(p.bindings)) {
		if namespace == "" || spec.ResourceAttributes == nil {
			continue
		}
		for _, b := range p.bindings[namespace] {
			rules, _ := p.rulesOf(b)
			matches := func(s rbacv1.Subject) bool { return subjectMatches(s, &spec, namespace) }
			allows := func(r rbacv1.PolicyRule) bool { return ruleAllows(&r, &spec) }
			if slices.ContainsFunc(b.Subjects, matches) && slices.ContainsFunc(rules, allows) {
				names = append(names, namespace+"/"+b.Name)
			}
		}
	}
	return names
}

// defaultRoles has the ClusterRoles which every kube-apiserver creates and which grant access to kubelets. A binding
// may refer to them although the manifests do not contain them. (k8s.io/kubernetes:
// plugin/pkg/auth/authorizer/rbac/bootstrappolicy/policy.go)
var defaultRoles = map[string][]rbacv1.PolicyRule{
	"cluster-admin": {
		{Verbs: []string{"*"}, APIGroups: []string{"*"}, Resources: []string{"*"}},
		{Verbs: []string{"*"}, NonResourceURLs: []string{"*"}},
	},
	"system:kubelet-api-admin": {
		{Verbs: []string{"get", "list", "watch", "proxy"}, APIGroups: []string{""}, Resources: []string{"nodes"}},
		{Verbs: []string{"*"}, APIGroups: []string{""}, Resources: []string{"nodes/proxy", "nodes/metrics",
			"nodes/stats", "nodes/log", "nodes/pods", "nodes/healthz", "nodes/configz"}},
	},
}

// IsDefaultRole reports whether every kube-apiserver creates a ClusterRole of this name, with rights at kubelets.
func IsDefaultRole(name string) bool { return defaultRoles[name] != nil }
