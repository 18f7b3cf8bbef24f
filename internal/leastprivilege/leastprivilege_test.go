package leastprivilege

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"

	"fauxlet/authchain"
	"fauxlet/config"
	"fauxlet/internal/reviewapi"
)

var (
	methods = []string{"GET", "GET", "GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"}
	paths   = []string{"/pods", "/pods/", "/runningpods/", "/healthz", "/healthz/ping", "/configz", "/stats/summary",
		"/metrics", "/metrics/cadvisor", "/metrics/resource", "/logs/", "/logs/syslog", "/checkpoint/a/b/c", "/statusz",
		"/flagz", "/allocatedPods", "/containerLogs/default/nginx/nginx", "/exec/default/nginx/nginx", "/run/a/b/c",
		"/debug/pprof/heap", "/"}
)

const agent = "system:serviceaccount:monitoring:agent"

// objects returns the objects of a manifest.
func objects(t *testing.T, manifest string) (*rbacv1.ClusterRole, *rbacv1.ClusterRoleBinding) {
	t.Helper()
	first, second, found := strings.Cut(manifest, "\n---\n")
	role, binding := &rbacv1.ClusterRole{}, &rbacv1.ClusterRoleBinding{}
	if !found {
		t.Fatalf("no binding in\n%s", manifest)
	}
	for text, into := range map[string]runtime.Object{first: role, second: binding} {
		if err := yaml.UnmarshalStrict([]byte(text), into); err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
	}
	return role, binding
}

// allows evaluates a request as the kubelet of version v does, with the review API.
func allows(t *testing.T, v config.Version, r Request, role *rbacv1.ClusterRole,
	binding *rbacv1.ClusterRoleBinding) bool {
	t.Helper()
	return allowsAt(t, v, r, "node-1", role, binding)
}

// allowsAt is like the function allows, for the kubelet of a node.
func allowsAt(t *testing.T, v config.Version, r Request, node string, role *rbacv1.ClusterRole,
	binding *rbacv1.ClusterRoleBinding) bool {
	t.Helper()
	policy, err := reviewapi.NewPolicy(role, binding)
	if err != nil {
		t.Fatal(err)
	}
	return slices.ContainsFunc(Default(v).Subresources(r.Path), func(subresource string) bool {
		spec := authorizationv1.SubjectAccessReviewSpec{User: agent}
		spec.ResourceAttributes = &authorizationv1.ResourceAttributes{Verb: authchain.Verb(r.Method), Version: "v1",
			Resource: "nodes", Subresource: subresource, Name: node}
		return policy.Authorize(spec).Allowed
	})
}

// TestRolesAreSufficientAndMinimal generates sets of requests. For each version, the role must allow all of them, and
// without any one of its verbs, one of the requests must be denied.
func TestRolesAreSufficientAndMinimal(t *testing.T) {
	for seed := range uint64(40) {
		random := rand.New(rand.NewPCG(seed, 0))
		var requests []Request
		for range 1 + random.IntN(8) {
			requests = append(requests, Request{methods[random.IntN(len(methods))], paths[random.IntN(len(paths))]})
		}
		for _, v := range config.Versions() {
			made := For(Default(v), requests)
			possible := slices.DeleteFunc(slices.Clone(requests), func(r Request) bool {
				return authchain.Verb(r.Method) == "" || !Default(v).serves(r.Path)
			})
			if all := len(possible) == len(requests); all != (len(made.Impossible)+len(made.NotServed) == 0) {
				t.Errorf("%s, %v: impossible are %q, not served %q", v, requests, made.Impossible, made.NotServed)
			}
			role, binding := objects(t, made.Manifest(agent))
			denied := func(role *rbacv1.ClusterRole) bool {
				return slices.ContainsFunc(possible, func(r Request) bool { return !allows(t, v, r, role, binding) })
			}
			if denied(role) {
				t.Errorf("%s: the role does not allow all of %v:\n%s", v, possible, made.Manifest(agent))
			}
			for i, rule := range role.Rules {
				for j, verb := range rule.Verbs {
					less := role.DeepCopy()
					less.Rules[i].Verbs = slices.Delete(less.Rules[i].Verbs, j, j+1)
					less.Rules = slices.DeleteFunc(less.Rules,
						func(r rbacv1.PolicyRule) bool { return len(r.Verbs) == 0 })
					if !denied(less) {
						t.Errorf("%s: %v are allowed without %s %s:\n%s", v, possible, verb, rule.Resources,
							made.Manifest(agent))
					}
				}
			}
		}
	}
}

// TestRoles checks the roles of an agent that reads pods and metrics.
func TestRoles(t *testing.T) {
	var got []string
	for _, r := range Roles([]Request{{"GET", "/pods"}, {"GET", "/metrics/resource"}, {"GET", "/pods"}}, nil) {
		var rules []string
		for _, rule := range r.Rules {
			rules = append(rules, fmt.Sprintf("%s %q for %s", rule.Subresource, rule.Verbs,
				strings.Join(rule.Requests, ", ")))
		}
		got = append(got, r.From+" to "+r.To+": "+strings.Join(rules, "; "))
	}
	want := []string{
		`1.30 to 1.32: metrics ["get"] for GET /metrics/resource; proxy ["get"] for GET /pods`,
		`1.33 to 1.37: metrics ["get"] for GET /metrics/resource; pods ["get"] for GET /pods`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	// A client that needs nodes/proxy anyway needs no other right for /pods.
	all := Roles([]Request{{"GET", "/pods"}, {"GET", "/containerLogs/a/b/c"}}, nil)
	if len(all) != 2 || len(all[0].Rules) != 1 || all[0].Rules[0].Subresource != "proxy" ||
		!slices.Equal(all[1].Rules[0].AlsoAllows, []string{"GET /pods"}) || len(all[1].Rules) != 1 {
		t.Errorf("got %+v, want nodes/proxy only", all)
	}
	// The kubelets before 1.36 do not serve /statusz by default, so the client needs no right for it.
	statusz := Roles([]Request{{"GET", "/statusz"}}, nil)
	if len(statusz) != 2 || statusz[0].To != "1.35" || len(statusz[0].Rules) != 0 ||
		!slices.Equal(statusz[0].NotServed, []string{"GET /statusz"}) || statusz[1].Rules[0].Subresource != "statusz" {
		t.Errorf("for /statusz: %+v", statusz)
	}
	names := map[string]string{}
	for _, user := range []string{"a-b", "a_b", "A-b", "system:serviceaccount:a:b", "system:serviceaccount:a-b",
		"a:b", "",
		strings.Repeat("x", 41), strings.Repeat("x", 42)} {
		name := objectName(user)
		if other, taken := names[name]; taken || name == "" {
			t.Errorf("%q and %q have the object name %q", user, other, name)
		}
		names[name] = user
	}
}

// TestManifestsOfOddUsers checks that names and paths cannot break a manifest.
func TestManifestsOfOddUsers(t *testing.T) {
	odd := "a\nb: [c] # d\x1b\u202e\"'é"
	role := For(Default(config.Version{}), []Request{{"GET", "/pods\nrules: [{verbs: ['*']}]"},
		{"GET", "/metrics/\x1b[2J"}, {"HEAD", "/x\ny"}})
	for _, user := range []string{odd, "", strings.Repeat("x", 300), "system:serviceaccount:a", "UPPER"} {
		manifest := role.Manifest(user)
		made, binding := objects(t, manifest)
		if binding.Subjects[0].Name != user {
			t.Errorf("the subject of %q is %q", user, binding.Subjects[0].Name)
		}
		if len(made.Rules) != 2 || made.Name != binding.RoleRef.Name || strings.ContainsAny(manifest, "\x1b\u202e") {
			t.Errorf("%q: unexpected manifest\n%s", user, manifest)
		}
	}
}
