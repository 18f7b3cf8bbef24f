// Package leastprivilege derives the smallest ClusterRole that allows the requests that a client has sent to kubelets,
// for each version of Kubernetes.
package leastprivilege

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"

	"fauxlet/authchain"
	"fauxlet/config"
	"fauxlet/server"
)

// Request is a request to a kubelet. Only its verb and its path matter to authorization.
type Request struct{ Method, Path string }

// Rule is a rule of a role for one subresource of nodes, with the requests that need it.
type Rule struct {
	Subresource string   `json:"subresource"` // for example metrics, as in nodes/metrics
	Verbs       []string `json:"verbs"`       // sorted
	// Requests are the requests that need the rule, as method and path, with an ellipsis in place of the names of pods.
	Requests []string `json:"requests"`
}

// Role is the smallest role for the kubelets of some versions.
type Role struct {
	From  string `json:"from"` // the first minor version for which this is the smallest role, such as 1.33
	To    string `json:"to"`   // the last one
	Rules []Rule `json:"rules"`
	// Impossible are requests that only the verb "*" would allow, because their method has no verb, such as HEAD. No
	// rule allows them.
	Impossible []string `json:"impossible,omitempty"`
}

// Roles returns the smallest role for each version. Neighbouring versions with the same role share one entry.
func Roles(requests []Request) []Role {
	var roles []Role
	for _, v := range config.Versions() {
		role := For(v, requests)
		if last := len(roles) - 1; last >= 0 && slices.EqualFunc(roles[last].Rules, role.Rules, sameRule) {
			roles[last].To = role.To
			continue
		}
		roles = append(roles, role)
	}
	return roles
}

func sameRule(a, b Rule) bool {
	return a.Subresource == b.Subresource && slices.Equal(a.Verbs, b.Verbs) && slices.Equal(a.Requests, b.Requests)
}

type permission struct{ subresource, verb string }

// For returns the smallest role for the kubelets of one version, with their default feature gates. A request that
// several subresources allow gets the right to the first one, which is the narrowest, unless another request needs one
// of the others anyway.
func For(v config.Version, requests []Request) Role {
	role := Role{From: v.String(), To: v.String()}
	needed := map[permission]map[string]bool{}
	impossible := map[string]bool{}
	add := func(p permission, r Request) {
		if needed[p] == nil {
			needed[p] = map[string]bool{}
		}
		needed[p][shorten(r)] = true
	}
	var choices []Request
	for _, r := range requests {
		verb, subresources := authchain.Verb(r.Method), server.Subresources(r.Path, v)
		switch {
		case verb == "":
			impossible[shorten(r)] = true
		case len(subresources) == 1:
			add(permission{subresources[0], verb}, r)
		default:
			choices = append(choices, r)
		}
	}
	for _, r := range choices {
		verb, subresources := authchain.Verb(r.Method), server.Subresources(r.Path, v)
		chosen := subresources[0]
		for _, other := range subresources[1:] {
			if needed[permission{other, verb}] != nil {
				chosen = other
			}
		}
		add(permission{chosen, verb}, r)
	}
	rules := map[string]*Rule{}
	for p, from := range needed {
		rule := rules[p.subresource]
		if rule == nil {
			rule = &Rule{Subresource: p.subresource}
			rules[p.subresource] = rule
		}
		rule.Verbs = append(rule.Verbs, p.verb)
		rule.Requests = append(rule.Requests, slices.Collect(maps.Keys(from))...)
	}
	for _, name := range slices.Sorted(maps.Keys(rules)) {
		rule := rules[name]
		slices.Sort(rule.Verbs)
		slices.Sort(rule.Requests)
		role.Rules = append(role.Rules, *rule)
	}
	role.Impossible = slices.Sorted(maps.Keys(impossible))
	return role
}

// shorten returns the method and the path of a request, without the names of namespaces, pods, containers and files.
func shorten(r Request) string {
	root, rest, _ := strings.Cut(strings.TrimPrefix(r.Path, "/"), "/")
	path := "/" + root
	switch {
	case slices.Contains([]string{"metrics", "stats", "healthz", "debug"}, root):
		path = r.Path
	case rest != "":
		path += "/…"
	}
	return r.Method + " " + path
}

// ClusterRole returns the role as an object of the API.
func (r *Role) ClusterRole(name string) *rbacv1.ClusterRole {
	role := &rbacv1.ClusterRole{}
	role.APIVersion, role.Kind, role.Name = rbacv1.SchemeGroupVersion.String(), "ClusterRole", name
	role.Rules = []rbacv1.PolicyRule{}
	for _, rule := range r.Rules {
		role.Rules = append(role.Rules, rbacv1.PolicyRule{APIGroups: []string{""},
			Resources: []string{"nodes/" + rule.Subresource}, Verbs: rule.Verbs})
	}
	return role
}

// Manifest returns the role and its binding to a user as YAML, with a comment for each rule: which requests need it, and
// what it allows beyond them. The names of both objects are derived from the name of the user.
func (r *Role) Manifest(user string) string {
	var b strings.Builder
	name := "kubelet-" + objectName(user)
	versions := "Kubernetes " + r.From
	if r.To != r.From {
		versions += " to " + r.To
	}
	fmt.Fprintf(&b, "# %s: what %s needs at the kubelet\n", versions, oneLine(user))
	for _, request := range r.Impossible {
		fmt.Fprintf(&b, "# not allowed: %s, because its method has no verb; only the verb \"*\" would allow it\n",
			oneLine(request))
	}
	fmt.Fprintf(&b, "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: %s}\nrules:%s\n", name,
		map[bool]string{true: " []"}[len(r.Rules) == 0])
	for _, rule := range r.Rules {
		for _, request := range rule.Requests {
			fmt.Fprintf(&b, "# needed by %s\n", oneLine(request))
		}
		if rule.Subresource == "proxy" {
			fmt.Fprintf(&b, "# Caution: nodes/proxy also allows all other paths of the kubelet with these verbs. With the "+
				"verb get, this\n# client can run commands in every container of the node, by WebSocket.\n")
		}
		fmt.Fprintf(&b, "- {apiGroups: [\"\"], resources: [nodes/%s], verbs: [%s]}\n", rule.Subresource,
			strings.Join(rule.Verbs, ", "))
	}
	fmt.Fprintf(&b, "---\napiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRoleBinding\nmetadata: {name: %s}\n"+
		"roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: %s}\nsubjects: [%s]\n", name, name,
		subject(user))
	return b.String()
}

// subject returns the subject of a binding for a user, as YAML.
func subject(user string) string {
	if account, ok := strings.CutPrefix(user, "system:serviceaccount:"); ok {
		if namespace, name, ok := strings.Cut(account, ":"); ok {
			return fmt.Sprintf("{kind: ServiceAccount, namespace: %q, name: %q}", namespace, name)
		}
	}
	return fmt.Sprintf("{apiGroup: rbac.authorization.k8s.io, kind: User, name: %q}", user)
}

// objectName turns a user name into a part of an object's name: lower-case letters, digits and dashes.
func objectName(user string) string {
	name := strings.Map(func(c rune) rune {
		if c >= 'a' && c <= 'z' || c >= '0' && c <= '9' {
			return c
		}
		return '-'
	}, strings.ToLower(strings.TrimPrefix(user, "system:serviceaccount:")))
	return cmp.Or(strings.Trim(name[:min(len(name), 40)], "-"), "client")
}

// oneLine quotes a text with characters that could end a comment.
func oneLine(text string) string {
	if quoted := fmt.Sprintf("%+q", text); quoted[1:len(quoted)-1] != strings.ReplaceAll(text, "…", `\u2026`) {
		return quoted
	}
	return text
}
