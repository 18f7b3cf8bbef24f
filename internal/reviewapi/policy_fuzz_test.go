package reviewapi

import (
	"os"
	"slices"
	"strings"
	"testing"

	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
)

// FuzzManifests checks that each manifest either results in an error, or in a policy that answers as the
// documentation of RBAC requires.
func FuzzManifests(f *testing.F) {
	manifest, err := os.ReadFile("testdata/rbac.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, q := range answers() {
		f.Add(manifest, q.user, q.groups, q.verb, q.what, q.name, q.namespace)
	}
	for _, document := range strings.Split(string(manifest), "\n---\n") {
		f.Add([]byte(document), "viewer", "", "get", "pods/log", "", "team")
	}
	f.Add([]byte(`{"apiVersion":"v1","kind":"List","items":[`+
		`{"apiVersion":"rbac.authorization.k8s.io/v1","kind":"ClusterRole","metadata":{"name":"a"},`+
		`"rules":[{"verbs":["get"],`+
		`"nonResourceURLs":["/*"]}]},`+
		`{"apiVersion":"rbac.authorization.k8s.io/v1","kind":"ClusterRoleBinding",`+
		`"metadata":{"name":"a"},`+
		`"roleRef":{"kind":"ClusterRole","name":"a"},"subjects":[{"kind":"User","name":"u"}]}]}`),
		"u", "", "get", "/x", "", "")
	f.Add([]byte("apiVersion: v1\nkind: List\nitems: [{kind: List, apiVersion: v1, items: [null]}]\n"), "", "", "", "",
		"", "")
	f.Fuzz(func(t *testing.T, manifest []byte, user, groups, verb, what, name, namespace string) {
		manifests, _, err := parseManifests([]file{{name: "fuzz.yaml", data: manifest}})
		if err != nil {
			return
		}
		var written objects
		for _, m := range manifests {
			written = append(written, m.object)
		}
		policy, err := NewPolicy(written...) // NewPolicy copies the objects
		if err != nil {
			return
		}
		q := question{user, groups, verb, what, name, namespace}
		written.check(t, policy, q.spec())
	})
}

// FuzzPolicy makes roles, bindings and requests from its input, so that each input results in a valid policy. It
// compares the policy's answers with the answers that the documentation of RBAC requires.
func FuzzPolicy(f *testing.F) {
	for seed := range 64 {
		drawn := make([]byte, 160)
		for i := range drawn { // the bytes are arbitrary, but each seed must have different bytes
			drawn[i] = byte((i*i*31 + i*seed*17 + seed*seed*7) >> 2)
		}
		f.Add(drawn)
	}
	f.Fuzz(func(t *testing.T, drawn []byte) {
		d := &drawer{drawn}
		written := d.objects()
		policy, err := NewPolicy(written...)
		if err != nil {
			t.Fatalf("%v\n%v", err, written)
		}
		for range 8 {
			written.check(t, policy, d.question())
		}
	})
}

// The type "objects" is a list of RBAC objects. Its methods are a second, slow implementation of RBAC, which follows
// the text of the RBAC documentation.
type objects []runtime.Object

// check compares the policy's answer to a request with the answer of the method "allow".
func (o objects) check(t *testing.T, policy *Policy, spec authorizationv1.SubjectAccessReviewSpec) {
	t.Helper()
	status, want := policy.Authorize(spec), o.allow(spec)
	if status.Allowed != want {
		t.Fatalf("allowed is %v, want %v\nspec %+v\nattributes %+v %+v\nstatus %+v", status.Allowed, want, spec,
			spec.ResourceAttributes, spec.NonResourceAttributes, status)
	}
	byRule := status.Allowed && !slices.Contains(spec.Groups, "system:masters")
	if byRule != strings.HasPrefix(status.Reason, "RBAC: allowed by ") {
		t.Fatalf("allowed is %v, the reason %q", status.Allowed, status.Reason)
	}
}

// allow reports whether the objects allow a request. A ClusterRoleBinding grants rights in all namespaces. A
// RoleBinding grants rights in its own namespace.
func (o objects) allow(spec authorizationv1.SubjectAccessReviewSpec) bool {
	if (spec.ResourceAttributes == nil) == (spec.NonResourceAttributes == nil) {
		return false
	}
	if slices.Contains(spec.Groups, "system:masters") {
		return true
	}
	for _, object := range o {
		var ref rbacv1.RoleRef
		var subjects []rbacv1.Subject
		var namespace string
		switch binding := object.(type) {
		case *rbacv1.ClusterRoleBinding:
			ref, subjects = binding.RoleRef, binding.Subjects
		case *rbacv1.RoleBinding:
			ref, subjects, namespace = binding.RoleRef, binding.Subjects, binding.Namespace
			if spec.ResourceAttributes == nil || spec.ResourceAttributes.Namespace != namespace {
				continue
			}
		default:
			continue
		}
		isSubject := slices.ContainsFunc(subjects, func(s rbacv1.Subject) bool {
			switch s.Kind {
			case "User":
				return s.Name == spec.User
			case "Group":
				return slices.Contains(spec.Groups, s.Name)
			}
			if s.Namespace == "" {
				s.Namespace = namespace
			}
			return s.Namespace != "" && spec.User == "system:serviceaccount:"+s.Namespace+":"+s.Name
		})
		if isSubject && slices.ContainsFunc(o.rules(ref.Kind, namespace, ref.Name, map[string]bool{}),
			func(rule rbacv1.PolicyRule) bool { return matches(rule, spec) }) {
			return true
		}
	}
	return false
}

// The method "rules" returns the rules of a role. For an aggregated role, it returns the rules of all roles that the
// role's selectors reach.
func (o objects) rules(kind, namespace, name string, seen map[string]bool) (rules []rbacv1.PolicyRule) {
	for _, object := range o {
		switch role := object.(type) {
		case *rbacv1.Role:
			if kind == "Role" && role.Namespace == namespace && role.Name == name {
				return role.Rules
			}
		case *rbacv1.ClusterRole:
			if kind != "ClusterRole" || role.Name != name || seen[name] {
				continue
			}
			if role.AggregationRule == nil {
				return role.Rules
			}
			seen[name] = true
			for _, other := range o {
				part, ok := other.(*rbacv1.ClusterRole)
				if ok && slices.ContainsFunc(role.AggregationRule.ClusterRoleSelectors,
					func(s metav1.LabelSelector) bool {
						selector, err := metav1.LabelSelectorAsSelector(&s)
						return err == nil && selector.Matches(labels.Set(part.Labels))
					}) {
					rules = append(rules, o.rules(kind, namespace, part.Name, seen)...)
				}
			}
		}
	}
	return rules
}

// matches reports whether one rule allows a request.
func matches(rule rbacv1.PolicyRule, spec authorizationv1.SubjectAccessReviewSpec) bool {
	has := func(values []string, wanted ...string) bool {
		return slices.ContainsFunc(wanted, func(w string) bool { return slices.Contains(values, w) })
	}
	if asked := spec.NonResourceAttributes; asked != nil {
		return has(rule.Verbs, "*", asked.Verb) && slices.ContainsFunc(rule.NonResourceURLs, func(url string) bool {
			if url == asked.Path {
				return true
			}
			prefix := url
			for strings.HasSuffix(prefix, "*") {
				prefix = prefix[:len(prefix)-1]
			}
			return prefix != url && strings.HasPrefix(asked.Path, prefix)
		})
	}
	asked := spec.ResourceAttributes
	resources := []string{"*", asked.Resource}
	if asked.Subresource != "" {
		resources = []string{"*", asked.Resource + "/" + asked.Subresource, "*/" + asked.Subresource}
	}
	return has(rule.Verbs, "*", asked.Verb) && has(rule.APIGroups, "*", asked.Group) &&
		has(rule.Resources, resources...) &&
		(len(rule.ResourceNames) == 0 || has(rule.ResourceNames, asked.Name))
}

// drawer makes choices from the fuzzer's input. Each choice uses one byte of the input. When no bytes are left, drawer
// always makes the first choice.
type drawer struct{ rest []byte }

func (d *drawer) number(below int) int {
	if len(d.rest) == 0 {
		return 0
	}
	n := int(d.rest[0]) % below
	d.rest = d.rest[1:]
	return n
}

func (d *drawer) one(of ...string) string { return of[d.number(len(of))] }

// The method "some" returns one or two of the values. The fuzzer's input determines which.
func (d *drawer) some(of ...string) []string {
	all := []string{d.one(of...)}
	if d.number(3) == 0 {
		all = append(all, d.one(of...))
	}
	return all
}

var (
	drawnVerbs     = []string{"get", "create", "*", "ge", ""}
	drawnGroups    = []string{"", "apps", "*"}
	drawnResources = []string{"nodes", "nodes/proxy", "nodes/log", "nodes/*", "*", "*/log", "*/*", "pods", "pods/log",
		"nodes/", "/log", "*/", "nodes/proxy/log"}
	drawnNames = []string{"a", "b", "*", ""}
	drawnPaths = []string{"/a", "/a*", "/a/*", "*", "/*", "/a/b", "**", "/a/**", "/", "/a*b", ""}
	drawnUsers = []string{"u", "v", "system:serviceaccount:s:a", "system:serviceaccount:t:a",
		"system:serviceaccount:s:a:b", ""}
	drawnUserGroups = []string{"g", "h", "u", "system:masters"}
	drawnNamespaces = []string{"s", "t"}
	drawnRoles      = []string{"a", "b", "c", "gone"}
)

func (d *drawer) rule(namespaced bool) rbacv1.PolicyRule {
	if !namespaced && d.number(3) == 0 {
		return rbacv1.PolicyRule{Verbs: d.some(drawnVerbs...), NonResourceURLs: d.some(drawnPaths...)}
	}
	rule := rbacv1.PolicyRule{Verbs: d.some(drawnVerbs...), APIGroups: d.some(drawnGroups...),
		Resources: d.some(drawnResources...)}
	if d.number(3) == 0 {
		rule.ResourceNames = d.some(drawnNames...)
	}
	return rule
}

// The method "objects" returns random RBAC objects: four ClusterRoles, of which two may be aggregated, a Role in each
// namespace, and six bindings.
func (d *drawer) objects() (all objects) {
	for i, name := range []string{"a", "b", "c", "d"} {
		role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: name,
			Labels: map[string]string{"l": d.one("1", "2", "3")}}, Rules: []rbacv1.PolicyRule{d.rule(false)}}
		if i < 2 && d.number(2) == 0 {
			selector := metav1.LabelSelector{MatchLabels: map[string]string{"l": d.one("1", "2", "3")}}
			role.AggregationRule = &rbacv1.AggregationRule{ClusterRoleSelectors: []metav1.LabelSelector{selector}}
		}
		all = append(all, role)
	}
	for _, namespace := range drawnNamespaces {
		all = append(all, &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "a"},
			Rules: []rbacv1.PolicyRule{d.rule(true)}})
	}
	for _, name := range []string{"1", "2", "3", "4", "5", "6"} {
		if name < "4" {
			all = append(all, &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: name},
				Subjects: []rbacv1.Subject{d.subject(false)},
				RoleRef:  rbacv1.RoleRef{Kind: "ClusterRole", Name: d.one(drawnRoles...)}})
			continue
		}
		all = append(all, &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Namespace: d.one(drawnNamespaces...),
			Name: name}, Subjects: []rbacv1.Subject{d.subject(true), d.subject(true)},
			RoleRef: rbacv1.RoleRef{Kind: d.one("ClusterRole", "Role"), Name: d.one(drawnRoles...)}})
	}
	return all
}

func (d *drawer) subject(namespaced bool) rbacv1.Subject {
	switch d.number(3) {
	case 0:
		return rbacv1.Subject{Kind: "User", Name: d.one(drawnUsers[:len(drawnUsers)-1]...)}
	case 1:
		return rbacv1.Subject{Kind: "Group", Name: d.one(drawnUserGroups...)}
	}
	subject := rbacv1.Subject{Kind: "ServiceAccount", Namespace: d.one(drawnNamespaces...), Name: d.one("a", "b")}
	if namespaced && d.number(2) == 0 {
		subject.Namespace = ""
	}
	return subject
}

func (d *drawer) question() authorizationv1.SubjectAccessReviewSpec {
	spec := authorizationv1.SubjectAccessReviewSpec{User: d.one(drawnUsers...)}
	if d.number(2) == 0 {
		spec.Groups = d.some(drawnUserGroups...)
	}
	if d.number(3) == 0 {
		spec.NonResourceAttributes = &authorizationv1.NonResourceAttributes{Verb: d.one(drawnVerbs...),
			Path: d.one(drawnPaths...)}
		return spec
	}
	resource, subresource, _ := strings.Cut(d.one(drawnResources...), "/")
	spec.ResourceAttributes = &authorizationv1.ResourceAttributes{Verb: d.one(drawnVerbs...),
		Group: d.one(drawnGroups...), Version: "v1", Resource: resource,
		Subresource: subresource, Name: d.one(drawnNames...), Namespace: d.one("", "s", "t")}
	return spec
}
