package reviewapi

import (
	"slices"
	"strings"

	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
)

// ruleAllows reports whether one rule allows a request. A rule has either resources or non-resource URLs. It matches
// only requests for resources, or only requests for URLs. (k8s.io/kubernetes:
// plugin/pkg/auth/authorizer/rbac/rbac.go, RuleAllows)
func ruleAllows(rule *rbacv1.PolicyRule, spec *authorizationv1.SubjectAccessReviewSpec) bool {
	if asked := spec.ResourceAttributes; asked != nil {
		return includes(rule.Verbs, asked.Verb) && includes(rule.APIGroups, asked.Group) &&
			resourceMatches(rule.Resources, asked.Resource, asked.Subresource) &&
			(len(rule.ResourceNames) == 0 || slices.Contains(rule.ResourceNames, asked.Name))
	}
	asked := spec.NonResourceAttributes
	return includes(rule.Verbs, asked.Verb) && pathMatches(rule.NonResourceURLs, asked.Path)
}

// includes reports whether a rule's values contain a verb or an API group. The value `*` matches every verb and
// group.
func includes(values []string, asked string) bool {
	return slices.ContainsFunc(values, func(value string) bool { return value == "*" || value == asked })
}

// resourceMatches matches `*` (every resource and subresource), exact values such as `nodes` or `nodes/proxy`, and
// `*/proxy` (that subresource of every resource). `nodes/*` is not a pattern: it does not match `nodes/log`.
func resourceMatches(values []string, resource, subresource string) bool {
	return slices.ContainsFunc(values, func(value string) bool {
		if value == "*" {
			return true
		}
		if subresource == "" {
			return value == resource
		}
		if rest, ok := strings.CutPrefix(value, "*/"); ok && rest == subresource {
			return true
		}
		rest, ok := strings.CutPrefix(value, resource)
		return ok && len(rest) == len(subresource)+1 && rest[0] == '/' && rest[1:] == subresource
	})
}

// pathMatches matches exact paths, and prefixes that end in `*`.
func pathMatches(values []string, path string) bool {
	return slices.ContainsFunc(values, func(value string) bool {
		return value == path || strings.HasSuffix(value, "*") && strings.HasPrefix(path, strings.TrimRight(value, "*"))
	})
}
