package leastprivilege

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"

	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/authentication/serviceaccount"
	"k8s.io/apiserver/pkg/authentication/user"

	"fauxlet/authchain"
	"fauxlet/config"
	"fauxlet/internal/color"
	"fauxlet/internal/reviewapi"
)

// Grant is what a subject of RBAC manifests may do at kubelets.
type Grant struct {
	Kind     string   `json:"kind"` // User, Group or ServiceAccount
	Name     string   `json:"name"` // of a ServiceAccount, the user name: system:serviceaccount:NAMESPACE:NAME
	Access   []Access `json:"access"`
	Cautions []string `json:"cautions,omitempty"`
	// MissingRoles are ClusterRoles that are bound to the subject, but not in the manifests. Their rights are not
	// known.
	MissingRoles []string `json:"missingRoles,omitempty"`

	user authorizationv1.SubjectAccessReviewSpec // the user and the groups of the subject
}

// Access is a right with the requests that a kubelet allows because of it.
type Access struct {
	Verb        string `json:"verb"`
	Subresource string `json:"subresource"` // of nodes
	// Nodes are the nodes for which the subject has the right, from the field resourceNames of rules. Empty: all nodes.
	Nodes    []string `json:"nodes,omitempty"`
	Requests []string `json:"requests"` // method and path
	From     string   `json:"from"`     // the first version in which the right allows the requests, such as 1.33
	To       string   `json:"to"`       // the last one
}

// served lists the requests that a kubelet serves.
var served = []Request{
	{"GET", "/pods"}, {"GET", "/runningpods/"}, {"GET", "/allocatedPods"}, {"GET", "/healthz"}, {"GET", "/configz"},
	{"GET", "/flagz"}, {"GET", "/statusz"}, {"GET", "/metrics"}, {"GET", "/metrics/cadvisor"},
	{"GET", "/metrics/probes"}, {"GET", "/metrics/resource"}, {"GET", "/metrics/slis"}, {"GET", "/stats/summary"}, {"GET", "/logs/…"},
	{"GET", "/containerLogs/…"}, {"GET", "/exec/…"}, {"GET", "/attach/…"}, {"GET", "/portForward/…"},
	{"GET", "/debug/pprof/…"}, {"POST", "/exec/…"}, {"POST", "/attach/…"}, {"POST", "/portForward/…"},
	{"POST", "/run/…"}, {"POST", "/checkpoint/…"}, {"PUT", "/debug/flags/v"},
}

// isServed reports whether the kubelet of version v can serve a request, with the right feature gates.
func isServed(r Request, v config.Version) bool {
	return Kubelets{v, func(string) bool { return true }}.serves(r.Path)
}

// Grants returns what the subjects of ClusterRoleBindings may do at kubelets of the given versions, in the order of the
// bindings. Subjects that may do nothing there are left out, unless a role that is bound to them is missing.
func Grants(policy *reviewapi.Policy, objects []runtime.Object, versions []config.Version) Subjects {
	var grants Subjects
	for _, object := range objects {
		binding, ok := object.(*rbacv1.ClusterRoleBinding)
		if !ok {
			continue // a RoleBinding cannot give access to nodes
		}
		for _, s := range binding.Subjects {
			g := newGrant(s)
			known := func(other Grant) bool { return other.Kind == g.Kind && other.Name == g.Name }
			if slices.ContainsFunc(grants, known) {
				continue
			}
			if g.find(policy, versions); len(g.Access)+len(g.MissingRoles) > 0 {
				grants = append(grants, g)
			}
		}
	}
	return grants
}

// MissingRoles returns a warning for each ClusterRoleBinding whose role is not among the objects, and is no default
// role of a cluster with known rights. What such a binding grants is unknown.
func MissingRoles(objects []runtime.Object) (warnings []string) {
	for _, object := range objects {
		binding, ok := object.(*rbacv1.ClusterRoleBinding)
		isRole := func(o runtime.Object) bool {
			role, ok := o.(*rbacv1.ClusterRole)
			return ok && role.Name == binding.RoleRef.Name
		}
		if ok && !reviewapi.IsDefaultRole(binding.RoleRef.Name) && !slices.ContainsFunc(objects, isRole) {
			warnings = append(warnings, fmt.Sprintf("ClusterRoleBinding %q: ClusterRole %q is not in the "+
				"manifests, so its rights are not shown; add it with another --filename", binding.Name, binding.RoleRef.Name))
		}
	}
	return warnings
}

func newGrant(s rbacv1.Subject) Grant {
	g := Grant{Kind: s.Kind, Name: s.Name, Access: []Access{}}
	switch s.Kind {
	case rbacv1.GroupKind:
		g.user.Groups = []string{s.Name}
	case rbacv1.ServiceAccountKind:
		g.Name = serviceaccount.MakeUsername(s.Namespace, s.Name)
		g.user.User = g.Name
		g.user.Groups = append(serviceaccount.MakeGroupNames(s.Namespace), user.AllAuthenticated)
	default:
		g.user.User = s.Name
		g.user.Groups = []string{user.AllAuthenticated}
	}
	return g
}

// may reports whether a subject has a right at the kubelet of a node, or of a node that no rule names.
type may func(verb, subresource string) bool

// mayAt returns the rights of the subject at a node. It remembers the answers of the policy.
func (g *Grant) mayAt(policy *reviewapi.Policy, node string) may {
	known := map[permission]bool{}
	return func(verb, subresource string) bool {
		right := permission{subresource, verb}
		allowed, ok := known[right]
		if !ok {
			spec := g.user
			spec.ResourceAttributes = &authorizationv1.ResourceAttributes{Verb: verb, Version: "v1", Resource: "nodes",
				Subresource: subresource, Name: node}
			allowed = policy.Authorize(spec).Allowed
			known[right] = allowed
		}
		return allowed
	}
}

// The method "find" sets the access, the cautions and the missing roles of a grant. It looks at a node that no rule
// names, and then at each node that a rule names.
func (g *Grant) find(policy *reviewapi.Policy, versions []config.Version) {
	g.MissingRoles = policy.MissingClusterRoles(g.user.User, g.user.Groups)
	const unnamed = "any node" // not a valid name of a node
	everywhere := g.mayAt(policy, unnamed)
	g.addServed(versions, nil, everywhere, func(string, string) bool { return false })
	all := []may{everywhere}
	for _, node := range nodesIn(policy.ClusterRules(g.user.User, g.user.Groups)) {
		there := g.mayAt(policy, node)
		g.addServed(versions, []string{node}, there, everywhere)
		all = append(all, there)
	}
	g.merge()
	g.Cautions = cautions(func(verb, subresource string) bool {
		return slices.ContainsFunc(all, func(may may) bool { return may(verb, subresource) })
	})
	var narrowed []string
	for _, may := range all {
		if may("get", "proxy") {
			narrowed = append(narrowed, narrower(may)...)
		}
	}
	if narrowed = unique(narrowed); len(narrowed) > 0 {
		g.Cautions = append(g.Cautions, "if it uses nodes/proxy only for these paths, narrower rights are "+
			"enough since 1.33: "+strings.Join(narrowed, ", "))
	}
}

// unique returns the texts without repetitions, in their order.
func unique(texts []string) (all []string) {
	for _, text := range texts {
		if !slices.Contains(all, text) {
			all = append(all, text)
		}
	}
	return all
}

// addServed adds the requests that a subject may send to the kubelets of some nodes, or of all nodes if there are none.
// It leaves out the requests that the subject may also send because of other rights.
func (g *Grant) addServed(versions []config.Version, nodes []string, may, other may) {
	for _, r := range served {
		verb := authchain.Verb(r.Method)
		for _, v := range versions {
			subresources := Default(v).Subresources(r.Path)
			i := slices.IndexFunc(subresources, func(s string) bool { return may(verb, s) })
			if i < 0 || !isServed(r, v) || slices.ContainsFunc(subresources, func(s string) bool { return other(verb, s) }) {
				continue
			}
			g.add(Access{Verb: verb, Subresource: subresources[i], Nodes: nodes, Requests: []string{r.Method + " " + r.Path},
				From: v.String(), To: v.String()})
		}
	}
}

// cautions returns the dangers of the rights to nodes/proxy.
func cautions(may may) []string {
	switch {
	case may("get", "proxy"):
		return []string{"get nodes/proxy lets it run commands in every container of a node, by WebSocket at the " +
			"kubelet's port, and read all logs"}
	case may("create", "proxy"):
		return []string{"create nodes/proxy lets it run commands in every container of a node"}
	}
	return nil
}

// narrower returns the requests that a subject may send only because of get nodes/proxy, although newer kubelets check
// a narrower right first, each with this right. Only the paths that kubelets serve since 1.33 are meant.
func narrower(may may) (rights []string) {
	for _, r := range served {
		subresources := Default(since133).Subresources(r.Path)
		if r.Method == "GET" && len(subresources) > 1 && isServed(r, since133) && !may("get", subresources[0]) {
			rights = append(rights, "nodes/"+subresources[0]+" for "+r.Path)
		}
	}
	return rights
}

// since133 is the first version that checks narrower rights by default.
var since133 = func() config.Version {
	v, _ := config.ParseVersion("1.33")
	return v
}()

// add adds the access to one request in one version. Calls for the same request are in the order of the versions.
func (g *Grant) add(added Access) {
	i := slices.IndexFunc(g.Access, func(a Access) bool {
		return a.Verb == added.Verb && a.Subresource == added.Subresource && slices.Equal(a.Nodes, added.Nodes) &&
			a.Requests[0] == added.Requests[0]
	})
	if i >= 0 {
		g.Access[i].To = added.To
		return
	}
	g.Access = append(g.Access, added)
}

// merge joins entries with the same right, the same versions and the same nodes, and then entries that differ only in
// their nodes.
func (g *Grant) merge() {
	same := func(a, b *Access) bool {
		return a.Verb == b.Verb && a.Subresource == b.Subresource && a.From == b.From && a.To == b.To
	}
	var merged []Access
	for _, a := range g.Access {
		i := slices.IndexFunc(merged, func(m Access) bool { return same(&m, &a) && slices.Equal(m.Nodes, a.Nodes) })
		if i < 0 {
			merged = append(merged, a)
		} else {
			merged[i].Requests = append(merged[i].Requests, a.Requests...)
		}
	}
	g.Access = []Access{}
	for _, a := range merged {
		i := slices.IndexFunc(g.Access, func(m Access) bool {
			return same(&m, &a) && len(m.Nodes) > 0 && len(a.Nodes) > 0 && slices.Equal(m.Requests, a.Requests)
		})
		if i < 0 {
			g.Access = append(g.Access, a)
		} else {
			g.Access[i].Nodes = append(g.Access[i].Nodes, a.Nodes...)
		}
	}
	slices.SortStableFunc(g.Access, func(a, b Access) int {
		return cmp.Or(strings.Compare(a.Subresource, b.Subresource), strings.Compare(a.Verb, b.Verb))
	})
}

// Subjects are subjects of RBAC manifests.
type Subjects []Grant

// Write writes what the subjects may do as text, wrapped at the given width.
func (grants Subjects) Write(w io.Writer, width int) {
	if len(grants) == 0 {
		fmt.Fprintln(w, "No subject in these manifests may do anything at a kubelet.")
	}
	for i, g := range grants {
		if i > 0 {
			fmt.Fprintln(w)
		}
		fmt.Fprintf(w, "%s %s\n", g.Kind, color.Printable(g.Name))
		for _, a := range g.Access {
			right := fmt.Sprintf("%s nodes/%s%s, in %s:", a.Verb, a.Subresource, ofNodes(a.Nodes), versions(a.From, a.To))
			for i, line := range color.Wrap(color.Printable(right), width-4) {
				fmt.Fprintf(w, "%s%s\n", strings.Repeat(" ", 2+4*min(i, 1)), line)
			}
			for _, line := range color.Wrap(byMethod(a.Requests), width-4) {
				fmt.Fprintf(w, "    %s\n", line)
			}
		}
		var notes []string
		for _, role := range g.MissingRoles {
			notes = append(notes, "not known: "+unknownRights(role))
		}
		for _, caution := range g.Cautions {
			notes = append(notes, "caution: "+caution)
		}
		for _, note := range notes {
			for i, line := range color.Wrap(color.Printable(note), width-4) {
				fmt.Fprintf(w, "%s%s\n", strings.Repeat(" ", 2+2*min(i, 1)), line)
			}
		}
	}
}

// unknownRights describes the rights of a ClusterRole that is not in the manifests.
func unknownRights(role string) string {
	return fmt.Sprintf("the rights of ClusterRole %q, which is not in the manifests", role)
}

// byMethod joins requests, and names each method once, as in "GET /pods, /metrics; POST /run/…".
func byMethod(requests []string) string {
	var b strings.Builder
	last := ""
	for i, r := range requests {
		method, path, _ := strings.Cut(r, " ")
		switch {
		case method == last:
			b.WriteString(", " + path)
		case i > 0:
			b.WriteString("; " + r)
		default:
			b.WriteString(r)
		}
		last = method
	}
	return b.String()
}
