// Package leastprivilege derives the smallest ClusterRole that allows the requests that a client has sent to kubelets,
// for each version of Kubernetes.
package leastprivilege

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"

	"fauxlet/authchain"
	"fauxlet/config"
	"fauxlet/server"
)

// Request is a request to a kubelet. Only its verb and its path matter to authorization.
type Request struct {
	Method string `json:"method"`
	Path   string `json:"path"`
}

// Compare orders requests by path, then by method.
func (r Request) Compare(other Request) int {
	return cmp.Or(strings.Compare(r.Path, other.Path), strings.Compare(r.Method, other.Method))
}

// Rule is a rule of a role for one subresource of nodes, with the requests that need it.
type Rule struct {
	Subresource string   `json:"subresource"` // for example metrics, as in nodes/metrics
	Verbs       []string `json:"verbs"`       // sorted
	// Requests are the requests that need the rule, as method and path, with an ellipsis in place of the names of pods.
	Requests []string `json:"requests"`
	// AlsoAllows are requests that another, narrower right would allow, too. The role lacks this right, because the
	// rule is needed anyway.
	AlsoAllows []string `json:"alsoAllows,omitempty"`
}

// Kubelets are kubelets of one version with the same feature gates.
type Kubelets struct {
	Version config.Version
	// Enabled reports whether a feature gate is on.
	Enabled func(gate string) bool
}

// Default returns the kubelets of version v with their default feature gates.
func Default(v config.Version) Kubelets { return Kubelets{v, v.EnabledByDefault} }

// Like returns the kubelets with the version and the feature gates of a configuration.
func Like(c *config.Config) Kubelets { return Kubelets{c.Version, c.Enabled} }

// authorizationGates are the feature gates that decide which right a request needs.
var authorizationGates = []string{fineGrained, "ComponentStatusz", "ComponentFlagz", "KubeletAllocatedPodsEndpoint"}

const fineGrained = "KubeletFineGrainedAuthz"

// Gates returns the feature gates that matter to authorization and that do not have the default of the version, as in
// NAME=false.
func (k Kubelets) Gates() (changed []string) {
	for _, gate := range authorizationGates {
		if on := k.Enabled(gate); on != k.Version.EnabledByDefault(gate) {
			changed = append(changed, fmt.Sprintf("%s=%t", gate, on))
		}
	}
	return changed
}

// WithGates returns the kubelets of a version, such as v1.35.4, with changed feature gates as [Kubelets.Gates] returns
// them. The other gates have their default.
func WithGates(version string, changed []string) (Kubelets, error) {
	v, err := config.ParseVersion(version)
	return Kubelets{v, func(gate string) bool {
		return slices.Contains(changed, gate+"=true") ||
			v.EnabledByDefault(gate) && !slices.Contains(changed, gate+"=false")
	}}, err
}

// Subresources returns the node's subresources that the kubelets check for a request with the given path, in the order
// of the checks. A client needs the right to one of them.
func (k Kubelets) Subresources(path string) []string {
	return server.Subresources(path, k.Version, k.Enabled(fineGrained))
}

// gated has the paths that need a feature gate, by their first segment, and since which version kubelets can serve
// them.
var gated = map[string]struct {
	gate  string
	since config.Behavior
}{
	"statusz":       {"ComponentStatusz", config.ZPages},
	"flagz":         {"ComponentFlagz", config.ZPages},
	"allocatedPods": {"KubeletAllocatedPodsEndpoint", config.AllocatedPods},
}

// serves reports whether the kubelets serve a path, as far as that depends on the version and the feature gates. A
// kubelet answers other paths with 404, without authentication.
func (k Kubelets) serves(path string) bool {
	root, _, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	g, ok := gated[root]
	return !ok || k.Version.Has(g.since) && k.Enabled(g.gate)
}

// Span says to which kubelets a result applies.
type Span struct {
	From string `json:"from"` // the first minor version, such as 1.33
	To   string `json:"to"`   // the last one
	// Gates are the feature gates of the kubelets, as [Kubelets.Gates] returns them.
	Gates []string `json:"gates,omitempty"`
}

func spanOf(k Kubelets) Span { return Span{k.Version.String(), k.Version.String(), k.Gates()} }

// perVersion finds a result for each version, with the default feature gates. Neighbouring versions with the same
// result share one. If "own" is not nil, the result for its version is for its feature gates.
func perVersion[T any](own *Kubelets, find func(Kubelets) T, same func(a, b *T) bool, span func(*T) *Span) (all []T) {
	for _, v := range config.Versions() {
		result := find(Default(v))
		if own != nil && own.Version.String() == v.String() {
			if changed := find(*own); !same(&changed, &result) {
				result = changed
			}
		}
		last := len(all) - 1
		if last >= 0 && same(&all[last], &result) && slices.Equal(span(&all[last]).Gates, span(&result).Gates) {
			span(&all[last]).To = span(&result).To
			continue
		}
		all = append(all, result)
	}
	return all
}

// Role is the smallest role for the kubelets of some versions.
type Role struct {
	Span
	Rules []Rule `json:"rules"`
	// Impossible are requests that only the verb "*" would allow: for a method such as HEAD, a kubelet checks an empty
	// verb. No rule allows them.
	Impossible []string `json:"impossible,omitempty"`
	// NotServed are requests that the kubelets do not serve with these feature gates. They need no right.
	NotServed []string `json:"notServed,omitempty"`
}

// Roles returns the smallest role for each version. Neighbouring versions with the same role share one entry. The
// feature gates are the defaults of each version. If "own" is not nil, the role for its version is for its feature
// gates.
func Roles(requests []Request, own *Kubelets) []Role {
	return perVersion(own, func(k Kubelets) Role { return For(k, requests) }, (*Role).same,
		func(r *Role) *Span { return &r.Span })
}

// same reports whether two roles have the same content, apart from the versions and the feature gates.
func (r *Role) same(other *Role) bool {
	return slices.EqualFunc(r.Rules, other.Rules, sameRule) && slices.Equal(r.NotServed, other.NotServed)
}

func sameRule(a, b Rule) bool {
	return a.Subresource == b.Subresource && slices.Equal(a.Verbs, b.Verbs) && slices.Equal(a.Requests, b.Requests) &&
		slices.Equal(a.AlsoAllows, b.AlsoAllows)
}

type permission struct{ subresource, verb string }

// For returns the smallest role for kubelets. A request that several subresources allow gets the right to the first
// one, which is the narrowest, unless another request needs one of them anyway.
func For(kubelets Kubelets, requests []Request) Role {
	role := Role{Span: spanOf(kubelets)}
	needed, also := map[permission]map[string]bool{}, map[permission]map[string]bool{}
	add := func(to map[permission]map[string]bool, p permission, r Request) {
		if to[p] == nil {
			to[p] = map[string]bool{}
		}
		to[p][shorten(r)] = true
	}
	impossible, notServed := map[string]bool{}, map[string]bool{}
	var choices []Request
	for _, r := range requests {
		verb, subresources := authchain.Verb(r.Method), kubelets.Subresources(r.Path)
		switch {
		case !kubelets.serves(r.Path):
			notServed[shorten(r)] = true
		case verb == "":
			impossible[shorten(r)] = true
		case len(subresources) == 1:
			add(needed, permission{subresources[0], verb}, r)
		default:
			choices = append(choices, r)
		}
	}
	for p := range needed { // the rights of requests without a choice
		also[p] = map[string]bool{}
	}
	for _, r := range choices {
		verb, subresources := authchain.Verb(r.Method), kubelets.Subresources(r.Path)
		i := slices.IndexFunc(subresources, func(s string) bool { return also[permission{s, verb}] != nil })
		switch {
		case i > 0:
			add(also, permission{subresources[i], verb}, r)
		default:
			add(needed, permission{subresources[0], verb}, r)
		}
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
		rule.AlsoAllows = append(rule.AlsoAllows, slices.Collect(maps.Keys(also[p]))...)
	}
	for _, name := range slices.Sorted(maps.Keys(rules)) {
		rule := rules[name]
		slices.Sort(rule.Verbs)
		slices.Sort(rule.Requests)
		slices.Sort(rule.AlsoAllows)
		role.Rules = append(role.Rules, *rule)
	}
	role.Impossible, role.NotServed = slices.Sorted(maps.Keys(impossible)), slices.Sorted(maps.Keys(notServed))
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

// Manifest returns the role and its binding to a user as YAML, with a comment for each rule: which requests need it,
// and what is dangerous about it. The names of both objects are derived from the name of the user and, if the role is
// not for all versions, from the versions.
func (r *Role) Manifest(user string) string {
	var b strings.Builder
	name, versions := "kubelet-access-"+objectName(user), r.From
	if r.To != r.From {
		versions += " to " + r.To
	}
	if all := config.Versions(); r.From != all[0].String() || r.To != all[len(all)-1].String() {
		name += "-" + strings.ReplaceAll(versions, " ", "-")
	}
	comment := func(format string, requests []string) {
		for _, request := range requests {
			fmt.Fprintf(&b, "# "+format+"\n", oneLine(request))
		}
	}
	fmt.Fprintf(&b, "# Kubernetes %s: what %s needs at the kubelet\n", versions, oneLine(user))
	comment("with the feature gate %s, as this stand-in has it", r.Gates)
	comment("%s needs no right: with "+map[bool]string{true: "their default", false: "these"}[len(r.Gates) == 0]+
		" feature gates, these kubelets do not serve it", r.NotServed)
	comment("%s is not allowed: the kubelet checks an empty verb, which only \"*\" allows", r.Impossible)
	fmt.Fprintf(&b, "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: %s}\nrules:%s\n",
		name,
		map[bool]string{true: " []"}[len(r.Rules) == 0])
	for _, rule := range r.Rules {
		comment("needed by %s", rule.Requests)
		comment("also allows %s, for which a narrower right would be enough", rule.AlsoAllows)
		switch {
		case rule.Subresource != "proxy":
		case slices.Contains(rule.Verbs, "get"):
			b.WriteString("# Caution: with this right, the client can run commands in every container of a " +
				"node, because " +
				"exec by\n# WebSocket is a GET, and it can read all logs.\n")
		case slices.Contains(rule.Verbs, "create"):
			b.WriteString("# Caution: with this right, the client can run commands in every container of a node.\n")
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

var (
	plainUser      = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,50}$`)
	serviceAccount = regexp.MustCompile(`^system:serviceaccount:([a-z0-9-]{1,30}):([a-z0-9][a-z0-9.-]{0,30})$`)
	other          = regexp.MustCompile(`[^a-z0-9]+`)
)

// objectName turns a user name into a part of an object's name. Different users get different names: for a service
// account NAMESPACE.NAME, and for a user with other characters than a-z, 0-9 and dashes, or with a long name, a hash is
// added.
func objectName(user string) string {
	if m := serviceAccount.FindStringSubmatch(user); m != nil {
		return m[1] + "." + m[2]
	}
	if plainUser.MatchString(user) {
		return user
	}
	name := other.ReplaceAllString(user, "-")
	return fmt.Sprintf("%s-%.8x", strings.Trim("user-"+name[:min(len(name), 30)], "-"), sha256.Sum256([]byte(user)))
}

// oneLine quotes a text with characters that could end a comment.
func oneLine(text string) string {
	if quoted := fmt.Sprintf("%+q", text); quoted[1:len(quoted)-1] != strings.ReplaceAll(text, "…", `\u2026`) {
		return quoted
	}
	return text
}
