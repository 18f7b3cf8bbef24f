package controlplane

import (
	"context"
	"fmt"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	v1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"fauxlet/e2e/internal/expect"
)

// Bind binds a cluster role to a subject until the test ends, and waits until kube-apiserver grants it.
func (c *Plane) Bind(t testing.TB, role string, subject rbacv1.Subject) {
	t.Helper()
	ctx := context.Background()
	binding, err := c.Client.RbacV1().ClusterRoleBindings().Create(ctx, &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "e2e-"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role},
		Subjects:   []rbacv1.Subject{subject},
	}, metav1.CreateOptions{})
	expect.NoError(t, err)
	t.Cleanup(func() {
		expect.NoError(t, c.Client.RbacV1().ClusterRoleBindings().Delete(ctx, binding.Name, metav1.DeleteOptions{}))
		c.AwaitAccess(t, subject, false)
	})
	c.AwaitAccess(t, subject, true)
}

// AwaitAccess waits until kube-apiserver allows a subject to get nodes/proxy. If the parameter "wanted" is false, it
// waits until kube-apiserver denies this.
func (c *Plane) AwaitAccess(t testing.TB, subject rbacv1.Subject, wanted bool) {
	t.Helper()
	spec := authorizationv1.SubjectAccessReviewSpec{
		User: subject.Name,
		ResourceAttributes: &authorizationv1.ResourceAttributes{Verb: "get", Version: "v1", Resource: "nodes",
			Subresource: "proxy", Name: "node-1"},
	}
	switch subject.Kind {
	case rbacv1.GroupKind:
		spec.User, spec.Groups = "a member of "+subject.Name, []string{subject.Name}
	case rbacv1.ServiceAccountKind:
		spec.User = "system:serviceaccount:" + subject.Namespace + ":" + subject.Name
	}
	expect.Eventually(t, time.Minute, fmt.Sprintf("access of %s is %v", spec.User, wanted), func() string {
		answer, err := c.Client.AuthorizationV1().SubjectAccessReviews().Create(context.Background(),
			&authorizationv1.SubjectAccessReview{Spec: spec}, metav1.CreateOptions{})
		if err != nil {
			return err.Error()
		}
		if answer.Status.Allowed != wanted {
			return fmt.Sprintf("allowed is %v", answer.Status.Allowed)
		}
		return ""
	})
}

// KubeletAPIAdmin is a cluster role that every cluster has. It allows all requests to a kubelet.
const KubeletAPIAdmin = "system:kubelet-api-admin"

// User returns a user as the subject of a role binding.
func User(name string) rbacv1.Subject {
	return rbacv1.Subject{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: name}
}

// Group returns a group as the subject of a role binding.
func Group(name string) rbacv1.Subject {
	return rbacv1.Subject{APIGroup: rbacv1.GroupName, Kind: rbacv1.GroupKind, Name: name}
}

// Token creates a service account in the namespace default, and returns a token for it. The service account is deleted
// when the test ends.
func (c *Plane) Token(t testing.TB, name string) (string, rbacv1.Subject) {
	t.Helper()
	ctx, accounts := context.Background(), c.Client.CoreV1().ServiceAccounts("default")
	_, err := accounts.Create(ctx, &v1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: name}},
		metav1.CreateOptions{})
	expect.NoError(t, err)
	t.Cleanup(func() { expect.NoError(t, accounts.Delete(ctx, name, metav1.DeleteOptions{})) })
	request, err := accounts.CreateToken(ctx, name, &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	expect.NoError(t, err)
	return request.Status.Token, rbacv1.Subject{Kind: rbacv1.ServiceAccountKind, Namespace: "default", Name: name}
}

// BindGroup binds a cluster role to a group until the test ends, without waiting for kube-apiserver.
func (c *Plane) BindGroup(t testing.TB, role, group string) {
	t.Helper()
	bindings := c.Client.RbacV1().ClusterRoleBindings()
	binding, err := bindings.Create(context.Background(), &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "e2e-"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role},
		Subjects:   []rbacv1.Subject{Group(group)},
	}, metav1.CreateOptions{})
	expect.NoError(t, err)
	t.Cleanup(func() { expect.NoError(t, bindings.Delete(context.Background(), binding.Name, metav1.DeleteOptions{})) })
}
