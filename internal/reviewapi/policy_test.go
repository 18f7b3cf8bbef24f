package reviewapi

import (
	"fmt"
	"strings"
	"testing"

	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// question is a short form of a SubjectAccessReview. It has a user, a verb, and either `[group:]resource[/subresource]`
// with an optional resource name, or a path.
type question struct {
	user, groups, verb, what, name, namespace string
}

func (q question) spec() authorizationv1.SubjectAccessReviewSpec {
	spec := authorizationv1.SubjectAccessReviewSpec{User: q.user}
	if q.groups != "" {
		spec.Groups = strings.Split(q.groups, ",")
	}
	if strings.HasPrefix(q.what, "/") {
		spec.NonResourceAttributes = &authorizationv1.NonResourceAttributes{Verb: q.verb, Path: q.what}
		return spec
	}
	group, what, found := strings.Cut(q.what, ":")
	if !found {
		group, what = "", q.what
	}
	resource, subresource, _ := strings.Cut(what, "/")
	spec.ResourceAttributes = &authorizationv1.ResourceAttributes{
		Verb: q.verb, Group: group, Version: "v1", Resource: resource, Subresource: subresource, Name: q.name,
		Namespace: q.namespace,
	}
	return spec
}

// answered is a question with the recorded answer of kube-apiserver v1.37.2 with --authorization-mode RBAC.
type answered struct {
	question
	allowed bool
	reason  string
}

// The function "answers" returns questions with their answers, which were recorded from a kube-apiserver that had the
// manifests in testdata/rbac.yaml.
func answers() map[string]answered {
	const (
		yes     = true
		no      = false
		byAdmin = `RBAC: allowed by ClusterRoleBinding "kubelet-client" of ClusterRole ` +
			`"system:kubelet-api-admin" to User "kubelet-client"`
		byGroup   = `RBAC: allowed by ClusterRoleBinding "scrapers" of ClusterRole "one-node" to Group "monitoring"`
		byAccount = `RBAC: allowed by ClusterRoleBinding "scrapers" of ClusterRole "one-node" to ` +
			`ServiceAccount "prometheus/observe"`
		byPaths    = `RBAC: allowed by ClusterRoleBinding "paths" of ClusterRole "paths" to User "walker"`
		byWild     = `RBAC: allowed by ClusterRoleBinding "wild" of ClusterRole "wild" to User "wilder"`
		byView     = `RBAC: allowed by ClusterRoleBinding "viewer" of ClusterRole "view-all" to User "viewer"`
		byReaders  = `RBAC: allowed by RoleBinding "readers/team" of Role "reader" to ServiceAccount "builder/team"`
		byTeam     = `RBAC: allowed by RoleBinding "pods/team" of ClusterRole "view-pods" to Group "team"`
		missing    = `rbac: RBAC: clusterrole.rbac.authorization.k8s.io "gone" not found`
		missingTwo = `rbac: RBAC: [clusterrole.rbac.authorization.k8s.io "gone" not found, ` +
			`role.rbac.authorization.k8s.io "gone-too" not found]`
		account      = "system:serviceaccount:observe:prometheus"
		builder      = "system:serviceaccount:team:builder"
		orphanReader = `RBAC: allowed by RoleBinding "readers/team" of Role "reader" to User "orphan"`
	)
	return map[string]answered{
		"resource": {question{user: "kubelet-client", verb: "get", what: "nodes", name: "a"},
			yes, byAdmin},
		"verb proxy on nodes": {question{user: "kubelet-client", verb: "proxy", what: "nodes", name: "a"},
			yes, byAdmin},
		"nodes/proxy": {question{user: "kubelet-client", verb: "get", what: "nodes/proxy",
			name: "a"}, yes, byAdmin},
		"nodes/proxy, any verb": {question{user: "kubelet-client", verb: "create", what: "nodes/proxy",
			name: "a"}, yes, byAdmin},
		"nodes/proxy, empty verb of HEAD": {question{user: "kubelet-client", verb: "", what: "nodes/proxy", name: "a"},
			yes, byAdmin},
		"fine-grained subresource": {question{user: "kubelet-client", verb: "get", what: "nodes/configz",
			name: "a"}, yes, byAdmin},
		"subresource not listed": {question{user: "kubelet-client", verb: "get", what: "nodes/checkpoint",
			name: "a"}, no, ""},
		"resource gives no subresource": {question{user: "kubelet-client", verb: "watch", what: "nodes/status",
			name: "a"}, no, ""},
		"verb not listed": {question{user: "kubelet-client", verb: "delete", what: "nodes", name: "a"},
			no, ""},
		"other API group": {question{user: "kubelet-client", verb: "get", what: "apps:nodes",
			name: "a"}, no, ""},
		"other user": {question{user: "Kubelet-client", verb: "get", what: "nodes/proxy",
			name: "a"}, no, ""},
		"user name as a group": {question{user: "x", groups: "kubelet-client", verb: "get",
			what: "nodes/proxy"}, no, ""},
		"no rule is about paths": {question{user: "kubelet-client", verb: "get", what: "/healthz"}, no, ""},

		"resourceNames, listed": {question{user: "x", groups: "a,monitoring", verb: "get",
			what: "nodes/metrics", name: "node-b"}, yes, byGroup},
		"resourceNames, not listed": {question{user: "x", groups: "monitoring", verb: "get", what: "nodes/metrics",
			name: "node-c"}, no, ""},
		"resourceNames, no name": {question{user: "x", groups: "monitoring", verb: "get", what: "nodes/metrics"},
			no, ""},
		"service account": {question{user: account, verb: "get", what: "nodes/metrics", name: "node-a"},
			yes, byAccount},
		"service account, other space": {question{user: "system:serviceaccount:default:prometheus", verb: "get",
			what: "nodes/metrics", name: "node-a"}, no, ""},
		"service account, longer name": {question{user: account + "2", verb: "get", what: "nodes/metrics",
			name: "node-a"}, no, ""},
		"service account, bare name": {question{user: "prometheus", verb: "get", what: "nodes/metrics",
			name: "node-a"}, no, ""},
		"service account, first in row": {question{user: account, groups: "monitoring", verb: "get",
			what: "nodes/metrics", name: "node-a"}, yes, byGroup},

		"path":         {question{user: "walker", verb: "get", what: "/healthz"}, yes, byPaths},
		"path, longer": {question{user: "walker", verb: "get", what: "/healthz/ping"}, no, ""},
		"path, star": {question{user: "walker", verb: "get", what: "/metrics/cadvisor"}, yes,
			byPaths},
		"path, star matches nothing":     {question{user: "walker", verb: "get", what: "/metrics/"}, yes, byPaths},
		"path, star needs what is there": {question{user: "walker", verb: "get", what: "/metrics"}, no, ""},
		"path, two stars are one":        {question{user: "walker", verb: "get", what: "/logs/x"}, yes, byPaths},
		"path, other verb":               {question{user: "walker", verb: "post", what: "/healthz"}, no, ""},
		"path rules give no resource":    {question{user: "walker", verb: "get", what: "healthz"}, no, ""},

		"*/status of any resource": {question{user: "wilder", verb: "get", what: "apps:deployments/status"},
			yes, byWild},
		"*/status is no resource": {question{user: "wilder", verb: "get", what: "apps:deployments"}, no,
			""},
		"*/status of other groups": {question{user: "wilder", verb: "get", what: "batch:jobs/status"}, no,
			""},
		"*/status not */xstatus": {question{user: "wilder", verb: "get", what: "apps:deployments/xstatus"},
			no, ""},
		"nodes/* matches no subresource": {question{user: "wilder", verb: "get", what: "nodes/log"}, no, ""},
		"a verb has no prefix star":      {question{user: "wilder", verb: "update", what: "nodes/status"}, no, ""},
		"stars match everything": {question{user: "wilder", verb: "watch", what: "x.io:things/sub",
			name: "n", namespace: "s"}, yes, byWild},
		"resource star is no path":            {question{user: "wilder", verb: "watch", what: "/healthz"}, no, ""},
		"asking for * needs a * in the rule":  {question{user: "wilder", verb: "*", what: "pods"}, no, ""},
		"asking for resource * matches the *": {question{user: "wilder", verb: "watch", what: "*:*"}, yes, byWild},

		"aggregated twice": {question{user: "viewer", verb: "get", what: "pods/log", name: "p",
			namespace: "any"}, yes, byView},
		"aggregated role's own rules gone": {question{user: "viewer", verb: "get", what: "secrets", namespace: "any"},
			no, missing},

		"missing role": {question{user: "orphan", verb: "get", what: "pods"}, no, missing},
		"missing roles, both": {question{user: "orphan", verb: "get", what: "pods", namespace: "team"},
			no, missingTwo},
		"missing role, another rule allows": {question{user: "orphan", verb: "get", what: "configmaps",
			namespace: "team"}, yes, orphanReader},

		"RoleBinding, its own namespace's account": {question{user: builder, verb: "list", what: "configmaps",
			namespace: "team"}, yes, byReaders},
		"RoleBinding, another namespace": {question{user: builder, verb: "list", what: "configmaps",
			namespace: "default"}, no, ""},
		"RoleBinding, cluster-wide": {question{user: builder, verb: "list", what: "configmaps"}, no, ""},
		"RoleBinding of a ClusterRole": {question{user: "x", groups: "team", verb: "get", what: "pods",
			name: "p", namespace: "team"}, yes, byTeam},

		"system:masters, anything": {question{user: "root", groups: "system:masters", verb: "smash",
			what: "x.io:windows"}, yes, ""},
		"system:masters, any path": {question{user: "root", groups: "a,system:masters", verb: "get", what: "/x"},
			yes, ""},
		"system:masters is no username": {question{user: "system:masters", verb: "get", what: "pods"}, no, ""},
		"unknown user":                  {question{user: "eve", verb: "get", what: "pods"}, no, ""},
	}
}

func TestAuthorize(t *testing.T) {
	policy, err := loadPolicy("testdata/rbac.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range answers() {
		t.Run(name, func(t *testing.T) {
			status := policy.Authorize(test.spec())
			if status.Allowed != test.allowed || status.Reason != test.reason || status.EvaluationError != "" {
				t.Errorf("allowed %v, reason %q, error %q\nwant    %v, reason %q", status.Allowed, status.Reason,
					status.EvaluationError, test.allowed, test.reason)
			}
		})
	}
}

func TestAggregationInACircleEnds(t *testing.T) {
	policy, err := parsePolicy([]file{{name: "circle.yaml", data: []byte(`
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: a, labels: {in: "b"}}
aggregationRule: {clusterRoleSelectors: [{matchLabels: {in: a}}]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: b, labels: {in: a}}
aggregationRule: {clusterRoleSelectors: [{matchLabels: {in: "b"}}]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: leaf, labels: {in: "b"}}
rules: [{apiGroups: [""], resources: [pods], verbs: [get]}, {apiGroups: [""], resources: [pods], verbs: [get]}]
`)}})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a", "b"} {
		if rules := policy.ClusterRole(name); len(rules) != 1 {
			t.Errorf("%s has %d rules, want each rule of the leaf role once", name, len(rules))
		}
	}
}

func TestSelectorErrors(t *testing.T) {
	field := func(raw string, requirements ...metav1.FieldSelectorRequirement) *authorizationv1.ResourceAttributes {
		return &authorizationv1.ResourceAttributes{
			FieldSelector: &authorizationv1.FieldSelectorAttributes{RawSelector: raw, Requirements: requirements}}
	}
	label := func(raw string, requirements ...metav1.LabelSelectorRequirement) *authorizationv1.ResourceAttributes {
		return &authorizationv1.ResourceAttributes{
			LabelSelector: &authorizationv1.LabelSelectorAttributes{RawSelector: raw, Requirements: requirements}}
	}
	const ignored, partially = " ignored due to parse error", " partially ignored due to parse error"
	for name, test := range map[string]struct {
		asked *authorizationv1.ResourceAttributes
		want  string
	}{
		"no selector":   {&authorizationv1.ResourceAttributes{}, ""},
		"field raw":     {field("spec.nodeName=a"), ""},
		"field raw bad": {field("x"), "fieldSelector" + ignored},
		"field good": {field("",
			metav1.FieldSelectorRequirement{Key: "a", Operator: "In", Values: []string{"b"}}), ""},
		"field Exists": {field("", metav1.FieldSelectorRequirement{Key: "a", Operator: "Exists"}),
			"fieldSelector" + ignored},
		"field two values": {field("",
			metav1.FieldSelectorRequirement{Key: "a", Operator: "In", Values: []string{"b", "c"}}),
			"fieldSelector" + ignored},
		"label raw":     {label("a=b,c!=d"), ""},
		"label raw bad": {label("a=b,,"), "labelSelector" + ignored},
		"label one of two": {label("", metav1.LabelSelectorRequirement{Key: "a", Operator: "Exists"},
			metav1.LabelSelectorRequirement{Key: "a", Operator: "Near"}), "labelSelector" + partially},
		"label unknown only": {label("", metav1.LabelSelectorRequirement{Key: "a", Operator: "Near"}),
			"labelSelector" + ignored},
	} {
		t.Run(name, func(t *testing.T) {
			want := test.want
			if want != "" {
				want = "spec.resourceAttributes." + want
			}
			if got := selectorErrors(test.asked); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}

func BenchmarkAuthorize(b *testing.B) {
	policy, err := loadPolicy("testdata/rbac.yaml")
	if err != nil {
		b.Fatal(err)
	}
	spec := question{user: "kubelet-client", groups: "system:authenticated", verb: "get", what: "nodes/proxy",
		name: "a"}.spec()
	b.ReportAllocs()
	for b.Loop() {
		if !policy.Authorize(spec).Allowed {
			b.Fatal("not allowed")
		}
	}
}

// TestClusterRules checks which rules a user has because of its name, its groups and its service account.
func TestClusterRules(t *testing.T) {
	objects, err := ParseManifests("rbac.yaml", []byte(`
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: metrics}
rules: [{apiGroups: [""], resources: [nodes/metrics], verbs: [get]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: metrics}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: metrics}
subjects:
- {apiGroup: rbac.authorization.k8s.io, kind: User, name: alice}
- {apiGroup: rbac.authorization.k8s.io, kind: Group, name: scrapers}
- {kind: ServiceAccount, namespace: monitoring, name: agent}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: admin}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: "system:kubelet-api-admin"}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: alice}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: missing}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: missing}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: bob}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: metrics, namespace: default}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: metrics}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: bob}]
`))
	if err != nil {
		t.Fatal(err)
	}
	policy, err := NewPolicy(objects...)
	if err != nil {
		t.Fatal(err)
	}
	admin := len(defaultRoles["system:kubelet-api-admin"])
	for _, test := range []struct {
		user  string
		group string
		want  int // number of rules
	}{
		{"alice", "", 1 + admin}, {"bob", "", 0}, {"bob", "scrapers", 1},
		{"system:serviceaccount:monitoring:agent", "", 1}, {"system:serviceaccount:other:agent", "", 0},
	} {
		if got := policy.ClusterRules(test.user, []string{test.group}); len(got) != test.want {
			t.Errorf("%s in group %q has the rules %v, want %d", test.user, test.group, got, test.want)
		}
	}
	if got := policy.ClusterRules("bob", []string{"system:masters"}); len(got) != 1 || got[0].Verbs[0] != "*" {
		t.Errorf("a member of system:masters has the rules %v", got)
	}
	for user, want := range map[string]string{"alice": "[]", "bob": "[missing]"} {
		if got := fmt.Sprint(policy.MissingClusterRoles(user, nil)); got != want {
			t.Errorf("the missing roles of %s are %s, want %s", user, got, want)
		}
	}
	if got := policy.MissingClusterRoles("bob", []string{"system:masters"}); len(got) > 0 {
		t.Errorf("a member of system:masters has the missing roles %v", got)
	}
}
