package leastprivilege

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"fauxlet/authchain"
	"fauxlet/internal/color"
)

// Comparison compares the rights at kubelets that a user has with the rights that its requests need, for the kubelets
// of some versions.
type Comparison struct {
	Span
	Rights []Right `json:"rights"` // first the used ones, then the unused ones, then the missing ones
	// Cautions name the dangers of the rights that the user has.
	Cautions []string `json:"cautions,omitempty"`
}

// Right is a right at kubelets that a user has or lacks.
type Right struct {
	Use      Use    `json:"use"`
	Verb     string `json:"verb"`     // as in the rule: a verb or *
	Resource string `json:"resource"` // as in the rule: a subresource such as nodes/pods, or a pattern such as *
	// Nodes are the nodes for which the user has the right, from the field resourceNames of the rule. Empty: all nodes.
	Nodes []string `json:"nodes,omitempty"`
	// Requests are the requests that need the right, as method and path. An ellipsis replaces the names of pods.
	Requests []string `json:"requests,omitempty"`
	// Note says what would be enough instead, or why the right has no effect.
	Note string `json:"note,omitempty"`
}

// Use is how a right is used.
type Use string

// The values of Use.
const (
	Used    Use = "used"     // a kubelet allows a request because of the right
	Unused  Use = "not used" // no request needs the right
	Missing Use = "missing"  // a request needs the right, and the user lacks it
)

// allows reports whether the right is enough for an authorization check, at the nodes for which the user has it.
func (r *Right) allows(verb, subresource string) bool {
	return (r.Verb == "*" || r.Verb == verb) &&
		slices.Contains([]string{"*", "*/" + subresource, "nodes/" + subresource}, r.Resource)
}

// String returns the right, as in "get nodes/pods".
func (r *Right) String() string {
	return r.Verb + " " + r.Resource + ofNodes(r.Nodes)
}

// ofNodes names the nodes of a right, as in " of the nodes node-1, node-2". No nodes stand for all nodes, and need no
// words.
func ofNodes(nodes []string) string {
	if len(nodes) == 0 {
		return ""
	}
	return " of the nodes " + strings.Join(nodes, ", ")
}

// nodeNames returns the names of nodes in the field resourceNames of a rule, sorted. Other names are for the proxy of
// kube-apiserver, such as http:node-1:10255. No kubelet has them.
func nodeNames(rule rbacv1.PolicyRule) (names []string) {
	for _, name := range rule.ResourceNames {
		if len(validation.IsDNS1123Subdomain(name)) == 0 {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// nodesIn returns the sorted names of the nodes for which rules give rights at the kubelet.
func nodesIn(rules []rbacv1.PolicyRule) (names []string) {
	for _, right := range rightsIn(rules) {
		names = append(names, right.Nodes...)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// compare orders rights for all nodes before rights for some nodes, among these specific before general rights, and
// equally general rights by resource and verb.
func (r Right) compare(other Right) int {
	general := func(r Right) (level int) {
		subresource := strings.HasPrefix(r.Resource, "*/")
		for i, is := range []bool{r.Verb == "*", subresource, r.Resource == "*", len(r.Nodes) > 0} {
			if is {
				level += 1 << i
			}
		}
		return level
	}
	return cmp.Or(cmp.Compare(general(r), general(other)), strings.Compare(r.Resource, other.Resource),
		strings.Compare(r.Verb, other.Verb), slices.Compare(r.Nodes, other.Nodes))
}

// rightsIn returns the rights at kubelets in the rules of a user, as unused rights, without duplicates, the specific
// ones first. The right to nodes/status is left out, because only kube-apiserver has this subresource.
func rightsIn(rules []rbacv1.PolicyRule) (rights []Right) {
	for _, rule := range rules {
		if !slices.Contains(rule.APIGroups, "") && !slices.Contains(rule.APIGroups, "*") {
			continue
		}
		nodes := nodeNames(rule)
		if len(rule.ResourceNames) > 0 && len(nodes) == 0 {
			continue // for no node
		}
		for _, resource := range rule.Resources {
			parent, subresource, _ := strings.Cut(resource, "/")
			if parent != "*" && (parent != "nodes" || subresource == "") || subresource == "status" {
				continue
			}
			for _, verb := range rule.Verbs {
				rights = append(rights, Right{Use: Unused, Verb: verb, Resource: resource, Nodes: nodes})
			}
		}
	}
	slices.SortFunc(rights, Right.compare)
	return slices.CompactFunc(rights, func(a, b Right) bool { return a.compare(b) == 0 })
}

// Compare compares the rules of a user with its requests, for the kubelets of each version. Neighbouring versions with
// the same result share one entry. The feature gates are as in [Roles].
//
// A request uses the most specific right that allows it, in the order in which a kubelet checks its subresources. So a
// right is unused if its removal would deny none of the requests. Rights that are only for some nodes count as if the
// requests had been sent to these nodes.
func Compare(rules []rbacv1.PolicyRule, requests []Request, own *Kubelets) []Comparison {
	return perVersion(own, func(k Kubelets) Comparison { return compareFor(k, rules, requests) }, (*Comparison).same,
		func(c *Comparison) *Span { return &c.Span })
}

// same reports whether two comparisons have the same content, apart from the versions and the feature gates.
func (c *Comparison) same(other *Comparison) bool {
	return slices.Equal(c.Cautions, other.Cautions) && slices.EqualFunc(c.Rights, other.Rights, func(a, b Right) bool {
		return a.Use == b.Use && a.compare(b) == 0 && a.Note == b.Note && slices.Equal(a.Requests, b.Requests)
	})
}

func compareFor(kubelets Kubelets, rules []rbacv1.PolicyRule, requests []Request) Comparison {
	c := Comparison{Span: spanOf(kubelets), Rights: rightsIn(rules)}
	using := make([][]Request, len(c.Rights))
	var denied []Request
	for _, r := range requests {
		if !kubelets.serves(r.Path) {
			continue
		}
		if i := c.allowing(authchain.Verb(r.Method), kubelets.Subresources(r.Path)); i >= 0 {
			using[i] = append(using[i], r)
		} else {
			denied = append(denied, r)
		}
	}
	c.Cautions = cautions(func(verb, subresource string) bool { return c.allowing(verb, []string{subresource}) >= 0 })
	for i := range c.Rights {
		right := &c.Rights[i]
		if len(using[i]) == 0 {
			right.Note = kubelets.noEffect(right)
			continue
		}
		right.Use, right.Requests = Used, shortenAll(using[i])
		enough := For(kubelets, using[i]).rights()
		switch {
		case slices.Contains(enough, right.Verb+" "+right.Resource):
		case len(enough) == 1:
			right.Note = enough[0] + " is enough"
		case len(enough) > 1:
			right.Note = strings.Join(enough, ", ") + " are enough"
		}
	}
	slices.SortStableFunc(c.Rights, func(a, b Right) int { return strings.Compare(string(b.Use), string(a.Use)) })
	return c.addMissing(kubelets, denied)
}

// allowing returns the index of the right that allows a request, or -1. Kubelets check the subresources in their order.
func (c *Comparison) allowing(verb string, subresources []string) int {
	for _, subresource := range subresources {
		i := slices.IndexFunc(c.Rights, func(r Right) bool { return r.allows(verb, subresource) })
		if i >= 0 {
			return i
		}
	}
	return -1
}

// addMissing adds the smallest rights that allow the denied requests.
func (c Comparison) addMissing(kubelets Kubelets, denied []Request) Comparison {
	add := func(verb, subresource string, r Request, note string) {
		missing := Right{Use: Missing, Verb: verb, Resource: "nodes/" + subresource, Note: note}
		i := slices.IndexFunc(c.Rights, func(r Right) bool { return r.Use == Missing && r.compare(missing) == 0 })
		if i < 0 {
			c.Rights = append(c.Rights, missing)
			i = len(c.Rights) - 1
		}
		if text := shorten(r); !slices.Contains(c.Rights[i].Requests, text) {
			c.Rights[i].Requests = append(c.Rights[i].Requests, text)
		}
	}
	needed := For(kubelets, denied).rights()
	for _, r := range slices.SortedFunc(slices.Values(denied), Request.Compare) {
		verb, subresources := authchain.Verb(r.Method), kubelets.Subresources(r.Path)
		if verb == "" {
			add("*", subresources[0], r, "kubelets check an empty verb for "+r.Method+", which only * allows")
			continue
		}
		i := slices.IndexFunc(subresources, func(s string) bool { return slices.Contains(needed, verb+" nodes/"+s) })
		add(verb, subresources[i], r, "")
	}
	return c
}

// rights returns the rights of the role, as in "get nodes/pods".
func (r Role) rights() (rights []string) {
	for _, rule := range r.Rules {
		for _, verb := range rule.Verbs {
			rights = append(rights, verb+" nodes/"+rule.Subresource)
		}
	}
	return rights
}

// noEffect returns the reason why no kubelet checks a right, or "" if a kubelet can check it.
func (k Kubelets) noEffect(r *Right) string {
	subresource, isNode := strings.CutPrefix(r.Resource, "nodes/")
	switch {
	case !slices.Contains([]string{"get", "create", "update", "patch", "delete", "*"}, r.Verb):
		return "no kubelet checks the verb " + r.Verb
	case isNode && !slices.ContainsFunc(served, func(served Request) bool {
		return k.serves(served.Path) && slices.Contains(k.Subresources(served.Path), subresource)
	}):
		return "these kubelets do not check " + r.Resource
	}
	return ""
}

func shortenAll(requests []Request) []string {
	all := map[string]bool{}
	for _, r := range requests {
		all[shorten(r)] = true
	}
	return slices.Sorted(maps.Keys(all))
}

// Report is the comparison of the rights that manifests grant to a user with the user's requests.
type Report struct {
	User        string       `json:"user"`
	Decisions   int          `json:"decisions"` // the number of Decisions about the user's requests
	Comparisons []Comparison `json:"comparisons"`
	// MissingRoles are ClusterRoles that are bound to the user, but not in the manifests. The user may have rights that
	// the comparisons report as missing.
	MissingRoles []string `json:"missingRoles,omitempty"`
}

// CountRequests returns a number of requests as text, as in "2 requests".
func CountRequests(n int) string {
	if n == 1 {
		return "1 request"
	}
	return fmt.Sprintf("%d requests", n)
}

// Write writes the report as text, wrapped at the given width.
func (r *Report) Write(w io.Writer, width int) {
	fmt.Fprintf(w, "%s: %s, compared with the manifests\n", color.Printable(r.User), CountRequests(r.Decisions))
	line := func(head, text string) {
		for i, part := range color.Wrap(text, width-14) {
			fmt.Fprintf(w, "  %-10s%s%s\n", map[bool]string{true: head}[i == 0], strings.Repeat("  ", min(i, 1)), part)
		}
	}
	for _, role := range r.MissingRoles {
		line("not known", color.Printable(unknownRights(role)))
	}
	for _, c := range r.Comparisons {
		fmt.Fprintf(w, "\nKubernetes %s", versions(c.From, c.To))
		for _, gate := range c.Gates {
			fmt.Fprintf(w, ", with %s, as this stand-in has it", gate)
		}
		fmt.Fprintln(w, ":")
		if len(c.Rights) == 0 {
			fmt.Fprintln(w, "  The user needs no right at the kubelet, and has none.")
		}
		for _, right := range c.Rights {
			text := color.Printable(right.String())
			if len(right.Requests) > 0 {
				text += ": " + color.Printable(byMethod(right.Requests))
			}
			if right.Note != "" {
				text += " (" + color.Printable(right.Note) + ")"
			}
			line(string(right.Use), text)
		}
		for _, caution := range c.Cautions {
			line("caution", caution)
		}
	}
}

// versions returns a range of versions, as in "1.30 to 1.32".
func versions(from, to string) string {
	if from == to {
		return from
	}
	return from + " to " + to
}
