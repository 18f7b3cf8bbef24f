package cluster

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"fauxlet/authchain"
	"fauxlet/config"
	"fauxlet/e2e/internal/controlplane"
	"fauxlet/e2e/internal/expect"
	"fauxlet/internal/leastprivilege"
)

// TestSmallestRoles applies the smallest roles for generated sets of requests to a real kube-apiserver. It must allow
// exactly the rights of each role, and these must be enough for all requests of the set. Without any one verb of a
// role, it must deny one of the requests.
func TestSmallestRoles(t *testing.T) {
	t.Parallel()
	plane := controlplane.Shared(t, controlplane.NoKubeletFlags)
	var sets []requestSet
	var manifests []string
	for seed := range uint64(10) {
		s := newRequestSet(seed)
		sets = append(sets, s)
		manifests = append(manifests, s.role.Manifest(s.user()))
		for i := range s.rights {
			less := leastprivilege.Role{Span: s.role.Span}
			for _, kept := range slices.Delete(slices.Clone(s.rights), i, i+1) {
				less.Rules = append(less.Rules, leastprivilege.Rule{Subresource: kept.subresource,
					Verbs: []string{kept.verb}})
			}
			manifests = append(manifests, less.Manifest(s.userWithout(i)))
		}
	}
	plane.Apply(t, strings.Join(manifests, "---\n"))
	// As soon as kube-apiserver knows the last role and binding, it also knows the ones before.
	last := leastprivilege.For(leastprivilege.Default(config.Version{}),
		[]leastprivilege.Request{{Method: "GET", Path: "/run"}}) // needs get nodes/proxy
	plane.Apply(t, last.Manifest("smallest-role-last"))
	plane.AwaitAccess(t, controlplane.User("smallest-role-last"), true)

	objects := plane.Kubectl(t, "get", "clusterroles,clusterrolebindings", "-o", "yaml")
	for _, s := range sets {
		s.uses(t, objects.Stdout)
		for _, verb := range []string{"get", "create", "update", "patch", "delete", "list", "*"} {
			for _, subresource := range []string{"", "proxy", "pods", "healthz", "configz", "stats", "metrics", "log",
				"checkpoint", "statusz", "status"} {
				asked := nodeRight{verb, subresource}
				if got := asked.allowed(t, plane, s.user()); got != slices.Contains(s.rights, asked) {
					t.Errorf("%s: kube-apiserver allows %v: %v", s, asked, got)
				}
			}
		}
		if denied := s.denied(t, plane, s.user()); len(denied) > 0 {
			t.Errorf("%s: kube-apiserver denies %v", s, denied)
		}
		for i, right := range s.rights {
			if len(s.denied(t, plane, s.userWithout(i))) == 0 {
				t.Errorf("%s: kube-apiserver allows all requests without %v", s, right)
			}
		}
	}
}

// nodeRight is a verb on a subresource of nodes.
type nodeRight struct{ verb, subresource string }

// allowed reports whether kube-apiserver grants a right to a user.
func (r nodeRight) allowed(t testing.TB, plane *controlplane.Plane, user string) bool {
	t.Helper()
	review, err := plane.Client.AuthorizationV1().SubjectAccessReviews().Create(context.Background(),
		&authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{User: user,
			ResourceAttributes: &authorizationv1.ResourceAttributes{Verb: r.verb, Version: "v1", Resource: "nodes",
				Subresource: r.subresource, Name: "node-1"}}}, metav1.CreateOptions{})
	expect.NoError(t, err)
	return review.Status.Allowed
}

// requestSet is a generated set of requests to the kubelets of one version, with the smallest role for them.
type requestSet struct {
	seed     uint64
	kubelets leastprivilege.Kubelets
	requests []leastprivilege.Request
	role     leastprivilege.Role
	rights   []nodeRight // of the role
}

func newRequestSet(seed uint64) requestSet {
	random := rand.New(rand.NewPCG(seed, 0))
	versions := config.Versions()
	s := requestSet{seed: seed, kubelets: leastprivilege.Default(versions[int(seed)%len(versions)])}
	methods := []string{"GET", "GET", "GET", "POST", "PUT", "PATCH", "DELETE"}
	paths := []string{"/pods", "/runningpods/", "/healthz", "/healthz/ping", "/configz", "/stats/summary", "/metrics",
		"/metrics/cadvisor", "/logs/", "/checkpoint/a/b/c", "/containerLogs/default/nginx/nginx", "/run/a/b/c"}
	for range 2 + random.IntN(6) {
		s.requests = append(s.requests, leastprivilege.Request{Method: methods[random.IntN(len(methods))],
			Path: paths[random.IntN(len(paths))]})
	}
	s.role = leastprivilege.For(s.kubelets, s.requests)
	for _, rule := range s.role.Rules {
		for _, verb := range rule.Verbs {
			s.rights = append(s.rights, nodeRight{verb, rule.Subresource})
		}
	}
	return s
}

func (s requestSet) String() string {
	return fmt.Sprintf("set %d, Kubernetes %s, %v with the rights %v", s.seed, s.kubelets.Version, s.requests, s.rights)
}

// uses compares the requests of the set with the objects of the cluster. The user must have all rights of the role, and
// use them.
func (s requestSet) uses(t testing.TB, objects string) {
	t.Helper()
	report, _, err := leastprivilege.ReadAndCompare(strings.NewReader(objects), []string{"-"}, s.user(), nil,
		s.requests, nil)
	expect.NoError(t, err)
	v := s.kubelets.Version.String()
	for _, c := range report.Comparisons {
		if v < c.From || v > c.To {
			continue
		}
		var got []nodeRight
		for _, r := range c.Rights {
			if r.Use != leastprivilege.Used || r.Note != "" {
				t.Errorf("%s: with the objects of the cluster, %s is %s %s", s, r.String(), r.Use, r.Note)
			}
			got = append(got, nodeRight{r.Verb, strings.TrimPrefix(r.Resource, "nodes/")})
		}
		if len(got) != len(s.rights) {
			t.Errorf("%s: with the objects of the cluster, the rights are %v", s, got)
		}
	}
}

// user returns the user with the set's role.
func (s requestSet) user() string { return fmt.Sprintf("smallest-role-%d", s.seed) }

// userWithout returns the user with all rights of the set's role but one.
func (s requestSet) userWithout(right int) string {
	return fmt.Sprintf("%s-without-%d", s.user(), right)
}

// denied returns the requests of the set that a kubelet would deny to a user, because kube-apiserver grants none of the
// rights that the kubelet checks.
func (s requestSet) denied(t testing.TB, plane *controlplane.Plane, user string) (denied []leastprivilege.Request) {
	t.Helper()
	for _, r := range s.requests {
		if !slices.ContainsFunc(s.kubelets.Subresources(r.Path), func(subresource string) bool {
			return nodeRight{authchain.Verb(r.Method), subresource}.allowed(t, plane, user)
		}) {
			denied = append(denied, r)
		}
	}
	return denied
}
