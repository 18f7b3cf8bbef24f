package kubelettest

import (
	"slices"
	"strings"
	"testing"

	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apiserver/pkg/authentication/user"

	"fauxlet/authchain"
	"fauxlet/internal/leastprivilege"
	"fauxlet/internal/reviewapi"
)

// Role returns the smallest ClusterRole that allows the requests that a user has sent to the kubelet so far, whether
// they were allowed or not. The role is for the version of the kubelet (see [WithVersion]): for GET /pods, the right to
// nodes/proxy is needed before 1.33, and nodes/pods is enough from 1.33 on. The feature gates are those of the kubelet
// (see [WithConfig]). The role does not allow requests with a method such as HEAD, for which a kubelet checks an empty
// verb. The name of the role is kubelet-access. Role fails the test if the user has sent no request.
func (k *Kubelet) Role(user string) *rbacv1.ClusterRole {
	requests, _ := k.requestsOf(user)
	if len(requests) == 0 {
		k.test.Fatalf("Role: user %s has sent no request", user)
	}
	role := leastprivilege.For(leastprivilege.Like(k.config), requests)
	return role.ClusterRole("kubelet-access")
}

// AssertGranted fails the test if the manifests do not grant a right that a request of the user needed. The manifests
// are YAML documents with ClusterRoles and ClusterRoleBindings, as for [WithRBAC]; objects of other kinds are skipped.
// A subject in them must be the user, or one of the user's groups. So a test can run an agent that is allowed
// everything ([User.Allow] "* *"), and find out whether the manifests that are published with the agent are sufficient.
// The version and the feature gates are those of the kubelet. AssertGranted also fails the test if the user has sent no
// request.
func (k *Kubelet) AssertGranted(t testing.TB, user, manifests string) {
	t.Helper()
	objects, err := reviewapi.ParseManifests("manifests", []byte(manifests))
	if err != nil {
		t.Fatalf("AssertGranted: %v", err)
	}
	policy, err := reviewapi.NewPolicy(objects...)
	if err != nil {
		t.Fatalf("AssertGranted: %v", err)
	}
	requests, info := k.requestsOf(user)
	if len(requests) == 0 {
		t.Fatalf("AssertGranted: user %s has sent no request", user)
	}
	for _, r := range requests {
		subresources := leastprivilege.Like(k.config).Subresources(r.Path)
		if !slices.ContainsFunc(subresources, func(subresource string) bool {
			return policy.Authorize(authorizationv1.SubjectAccessReviewSpec{User: user, Groups: info.GetGroups(),
				ResourceAttributes: &authorizationv1.ResourceAttributes{Verb: authchain.Verb(r.Method), Version: "v1",
					Resource: "nodes", Subresource: subresource, Name: k.NodeName}}).Allowed
		}) {
			t.Errorf("%s %s of user %s: the manifests do not grant the verb %q on nodes/%s", r.Method, r.Path, user,
				authchain.Verb(r.Method), strings.Join(subresources, " or nodes/"))
		}
	}
}

// requestsOf returns the different requests of a user, in the order in which they were sent, and the user.
func (k *Kubelet) requestsOf(name string) (requests []leastprivilege.Request, info user.Info) {
	for _, d := range k.Decisions() {
		r := leastprivilege.Request{Method: d.Method, Path: d.Path}
		if d.User != nil && d.User.GetName() == name && d.Method != "" && !slices.Contains(requests, r) {
			requests, info = append(requests, r), d.User
		}
	}
	return requests, info
}
