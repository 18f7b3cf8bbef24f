package reviewapi

import (
	"slices"
	"strings"

	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
)

// ruleAllows reports whether one rule allows a request. Resources in a rule match only requests for resources, and
// non-resource URLs match only requests for URLs. The value `*` in a rule matches every verb or API group.
// (k8s.io/kubernetes: plugin/pkg/auth/authorizer/rbac/rbac.go, RuleAllows)
func ruleAllows(rule *rbacv1.PolicyRule, spec *authorizationv1.SubjectAccessReviewSpec) bool {
	if asked := spec.ResourceAttributes; asked != nil {
		return containsAny(rule.Verbs, "*", asked.Verb) && containsAny(rule.APIGroups, "*", asked.Group) &&
			resourceMatches(rule.Resources, asked.Resource, asked.Subresource) &&
			(len(rule.ResourceNames) == 0 || slices.Contains(rule.ResourceNames, asked.Name))
	}
	asked := spec.NonResourceAttributes
	return containsAny(rule.Verbs, "*", asked.Verb) && pathMatches(rule.NonResourceURLs, asked.Path)
}

// resourceMatches matches `*` (every resource and subresource), exact values such as `nodes` or `nodes/proxy`, and
// `*/proxy` (the subresource proxy of every resource). `nodes/*` is not a pattern: it does not match `nodes/log`.
func resourceMatches(values []string, resource, subresource string) bool {
	if subresource == "" {
		return containsAny(values, "*", resource)
	}
	return containsAny(values, "*", resource+"/"+subresource, "*/"+subresource)
}

func containsAny(values []string, wanted ...string) bool {
	return slices.ContainsFunc(values, func(value string) bool { return slices.Contains(wanted, value) })
}

// pathMatches matches exact paths, and prefixes that end in `*`.
func pathMatches(values []string, path string) bool {
	return slices.ContainsFunc(values, func(value string) bool {
		return value == path || strings.HasSuffix(value, "*") && strings.HasPrefix(path, strings.TrimRight(value, "*"))
	})
}
