package stage

import (
	"context"
	"fmt"
	"strings"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	v1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
)

const (
	// tokenLife is how long a token of an account of the run is good for, unless the account is removed before.
	tokenLife = time.Hour
	// inForce is how long an apiserver may take to learn of a binding.
	inForce = 30 * time.Second
)

// CreateAccount makes a service account in the run's namespace, which may do nothing.
func (o *Run) CreateAccount(ctx context.Context, name string) error {
	_, err := create(ctx, &v1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: o.labels()}}, o.client.CoreV1().ServiceAccounts(o.Name()).Create)
	return err
}

// User is as whom an account is known.
func (o *Run) User(account string) string { return "system:serviceaccount:" + o.Name() + ":" + account }

// Token is a new token of an account.
func (o *Run) Token(ctx context.Context, account string) (string, error) {
	answer, err := o.client.CoreV1().ServiceAccounts(o.Name()).CreateToken(ctx, account, &authenticationv1.TokenRequest{
		Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: ptr.To(int64(tokenLife / time.Second))},
	}, metav1.CreateOptions{})
	if err != nil {
		return "", err
	}
	return answer.Status.Token, nil
}

// Grant lets an account get a subresource of one Node of the run, and of no other. It returns when that is in force. The
// program must have Rights.
func (o *Run) Grant(ctx context.Context, account, node, subresource string) error {
	if !strings.HasPrefix(node, o.Name()+"-") {
		return fmt.Errorf("%s is no Node of this run", node)
	}
	meta := metav1.ObjectMeta{Name: node + "-" + account + "-" + subresource, Labels: o.labels()}
	_, err := create(ctx, &rbacv1.ClusterRole{ObjectMeta: meta, Rules: []rbacv1.PolicyRule{{
		APIGroups: []string{""}, Resources: []string{"nodes/" + subresource}, ResourceNames: []string{node}, Verbs: []string{"get"},
	}}}, o.client.RbacV1().ClusterRoles().Create)
	if err != nil {
		return err
	}
	_, err = create(ctx, &rbacv1.ClusterRoleBinding{
		ObjectMeta: meta,
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: meta.Name},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: o.Name(), Name: account}},
	}, o.client.RbacV1().ClusterRoleBindings().Create)
	if err != nil {
		return err
	}
	deadline := time.Now().Add(inForce)
	for {
		allowed, err := o.May(ctx, o.User(account), nil, node, subresource)
		switch {
		case err != nil || allowed:
			return err
		case time.Now().After(deadline):
			return fmt.Errorf("clusterrolebinding %s is not in force after %v", meta.Name, inForce)
		}
		select {
		case <-time.After(looking):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// May asks the apiserver whether somebody may get a subresource of a Node, as a kubelet would.
func (o *Run) May(ctx context.Context, user string, groups []string, node, subresource string) (bool, error) {
	answer, err := o.client.AuthorizationV1().SubjectAccessReviews().Create(ctx, &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
		User: user, Groups: groups,
		ResourceAttributes: &authorizationv1.ResourceAttributes{Verb: "get", Version: "v1", Resource: "nodes", Subresource: subresource, Name: node},
	}}, metav1.CreateOptions{})
	if err != nil {
		return false, err
	}
	return answer.Status.Allowed, nil
}
