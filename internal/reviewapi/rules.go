package reviewapi

import (
	"slices"
	"strings"

	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
)

// ruleAllows says whether one rule allows a request. A rule is about resources or about paths, and says nothing of the
// other. (k8s.io/kubernetes: plugin/pkg/auth/authorizer/rbac/rbac.go, RuleAllows)
func ruleAllows(rule *rbacv1.PolicyRule, spec *authorizationv1.SubjectAccessReviewSpec) bool {
	if asked := spec.ResourceAttributes; asked != nil {
		return names(rule.Verbs, asked.Verb) &&
			names(rule.APIGroups, asked.Group) &&
			resourceMatches(rule.Resources, asked.Resource, asked.Subresource) &&
			(len(rule.ResourceNames) == 0 || slices.Contains(rule.ResourceNames, asked.Name))
	}
	asked := spec.NonResourceAttributes
	return names(rule.Verbs, asked.Verb) && pathMatches(rule.NonResourceURLs, asked.Path)
}

// names is for verbs and API groups, where `*` stands for every value.
func names(values []string, asked string) bool {
	return slices.ContainsFunc(values, func(value string) bool { return value == "*" || value == asked })
}

// resourceMatches knows `*` (every resource and subresource), the exact `nodes` or `nodes/proxy`, and `*/proxy` (that
// subresource of every resource). `nodes/*` is none of them and matches only itself: asking for `nodes/log`, it is no.
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

// pathMatches knows exact paths and those that end in `*`, which match every path that begins so.
func pathMatches(values []string, path string) bool {
	return slices.ContainsFunc(values, func(value string) bool {
		return value == path || strings.HasSuffix(value, "*") && strings.HasPrefix(path, strings.TrimRight(value, "*"))
	})
}
