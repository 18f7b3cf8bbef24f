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

	user authorizationv1.SubjectAccessReviewSpec // the user and the groups of the subject
}

// Access is a right with the requests that a kubelet allows because of it.
type Access struct {
	Verb        string   `json:"verb"`
	Subresource string   `json:"subresource"` // of nodes
	Requests    []string `json:"requests"`    // method and path
	From        string   `json:"from"`        // the first version in which the right allows the requests, such as 1.33
	To          string   `json:"to"`          // the last one
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

// Authorizer evaluates SubjectAccessReviews, as the policy of the review API does.
type Authorizer interface {
	Authorize(authorizationv1.SubjectAccessReviewSpec) authorizationv1.SubjectAccessReviewStatus
}

// Grants returns what the subjects of ClusterRoleBindings may do at kubelets of the given versions, in the order of the
// bindings. Subjects that may do nothing there are left out.
func Grants(policy Authorizer, objects []runtime.Object, versions []config.Version) Subjects {
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
			if g.find(policy, versions); len(g.Access) > 0 {
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

// The method "find" sets the access and the cautions of a grant.
func (g *Grant) find(policy Authorizer, versions []config.Version) {
	may := func(verb, subresource string) bool {
		spec := g.user
		spec.ResourceAttributes = &authorizationv1.ResourceAttributes{Verb: verb, Version: "v1", Resource: "nodes",
			Subresource: subresource, Name: "any-node"}
		return policy.Authorize(spec).Allowed
	}
	for _, r := range served {
		verb := authchain.Verb(r.Method)
		for _, v := range versions {
			i := slices.IndexFunc(Default(v).Subresources(r.Path), func(s string) bool { return may(verb, s) })
			if i >= 0 && isServed(r, v) {
				g.add(verb, Default(v).Subresources(r.Path)[i], r, v.String())
			}
		}
	}
	g.merge()
	g.Cautions = cautions(may)
	if narrower := narrower(may); len(narrower) > 0 && may("get", "proxy") {
		g.Cautions = append(g.Cautions, "if it uses nodes/proxy only for these paths, narrower rights are "+
			"enough since 1.33: "+strings.Join(narrower, ", "))
	}
}

// cautions returns the dangers of the rights to nodes/proxy.
func cautions(may func(verb, subresource string) bool) []string {
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
func narrower(may func(verb, subresource string) bool) (rights []string) {
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

func (g *Grant) add(verb, subresource string, r Request, version string) {
	text := r.Method + " " + r.Path
	for i := range g.Access {
		a := &g.Access[i]
		if a.Verb == verb && a.Subresource == subresource && a.Requests[0] == text {
			a.To = version
			return
		}
	}
	g.Access = append(g.Access, Access{verb, subresource, []string{text}, version, version})
}

// merge joins entries with the same right and the same versions.
func (g *Grant) merge() {
	var merged []Access
	for _, a := range g.Access {
		i := slices.IndexFunc(merged, func(m Access) bool {
			return m.Verb == a.Verb && m.Subresource == a.Subresource && m.From == a.From && m.To == a.To
		})
		if i < 0 {
			merged = append(merged, a)
		} else {
			merged[i].Requests = append(merged[i].Requests, a.Requests...)
		}
	}
	slices.SortStableFunc(merged, func(a, b Access) int {
		return cmp.Or(strings.Compare(a.Subresource, b.Subresource), strings.Compare(a.Verb, b.Verb))
	})
	g.Access = merged
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
			fmt.Fprintf(w, "  %s nodes/%s, in %s:\n", a.Verb, a.Subresource, versions(a.From, a.To))
			for _, line := range color.Wrap(byMethod(a.Requests), width-4) {
				fmt.Fprintf(w, "    %s\n", line)
			}
		}
		for _, caution := range g.Cautions {
			for i, line := range color.Wrap("caution: "+caution, width-4) {
				fmt.Fprintf(w, "%s%s\n", strings.Repeat(" ", 2+2*min(i, 1)), line)
			}
		}
	}
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
