package check

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sync/errgroup"
	authorizationv1 "k8s.io/api/authorization/v1"
	certificatesv1 "k8s.io/api/certificates/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// requirement is a permission that the run's credential needs: verbs on a resource, which may have a subresource.
type requirement struct {
	group, resource string
	verbs           []string
	name            string // restricts the permission to one object; empty means all objects
}

// required are the permissions that every run needs.
var required = []requirement{
	{"", "namespaces", []string{"create", "delete", "list"}, ""},
	{"", "namespaces/finalize", []string{"update"}, ""},
	{"", "nodes", []string{"create", "delete", "list"}, ""},
	{"", "nodes/status", []string{"patch"}, ""},
	{"", "nodes/proxy", []string{"get", "create"}, ""},
	{"", "pods", []string{"create", "delete", "list"}, ""},
	{"", "pods/log", []string{"get"}, ""},
	{"", "pods/exec", []string{"get", "create"}, ""},
	{"", "pods/attach", []string{"get", "create"}, ""},
	{"", "pods/portforward", []string{"get", "create"}, ""},
	{"", "serviceaccounts", []string{"create", "list", "deletecollection"}, ""},
	{"", "configmaps", []string{"list"}, ""},
	{"coordination.k8s.io", "leases", []string{"create", "get", "patch", "deletecollection"}, ""},
	{"authorization.k8s.io", "subjectaccessreviews", []string{"create"}, ""},
	{"certificates.k8s.io", "certificatesigningrequests", []string{"list", "delete"}, ""},
}

// requiredToApprove are the additional permissions for --approve-serving-certificate.
var requiredToApprove = []requirement{
	{"certificates.k8s.io", "certificatesigningrequests", []string{"create", "get"}, ""},
	{"certificates.k8s.io", "certificatesigningrequests/approval", []string{"update"}, ""},
	{"certificates.k8s.io", "signers", []string{"approve"}, certificatesv1.KubeletServingSignerName},
}

// attributes identify one permission: a verb on a resource.
type attributes = authorizationv1.ResourceAttributes

// checkRequirements returns an error that lists the missing permissions of the credential.
func checkRequirements(ctx context.Context, client *kubernetes.Clientset, all []requirement) error {
	var permissions []attributes
	for _, a := range all {
		resource, sub, _ := strings.Cut(a.resource, "/")
		for _, verb := range a.verbs {
			permissions = append(permissions,
				attributes{Verb: verb, Group: a.group, Resource: resource, Subresource: sub, Name: a.name})
		}
	}
	allowed, err := review(ctx, permissions, func(ctx context.Context, a *attributes) (bool, error) {
		review := &authorizationv1.SelfSubjectAccessReview{}
		review.Spec.ResourceAttributes = a
		review, err := client.AuthorizationV1().SelfSubjectAccessReviews().Create(ctx, review, metav1.CreateOptions{})
		return review.Status.Allowed, err
	})
	if err != nil {
		return fmt.Errorf("cannot check the permissions of the credential in --kubeconfig: %w", err)
	}
	var missing []string
	for _, a := range all {
		var verbs []string
		for _, verb := range a.verbs {
			if !allowed[0] {
				verbs = append(verbs, verb)
			}
			allowed = allowed[1:]
		}
		if verbs != nil {
			text := strings.Join(verbs, "/") + " " + inGroup(a.resource, a.group) + " " + a.name
			missing = append(missing, strings.TrimSpace(text))
		}
	}
	if missing != nil {
		return errors.New("the credential in --kubeconfig lacks permissions; use an administrator's, or allow it to " +
			strings.Join(missing, ", "))
	}
	return nil
}

// inGroup returns a resource in Kubernetes' notation, for example leases.coordination.k8s.io.
func inGroup(resource, group string) string { return strings.TrimSuffix(resource+"."+group, ".") }

// review calls the given function for each permission, and makes several calls at once. The results have the same order
// as the permissions.
func review[T any](
	ctx context.Context, all []attributes, ask func(context.Context, *attributes) (T, error),
) ([]T, error) {
	answers := make([]T, len(all))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallelism)
	for i := range all {
		group.Go(func() (err error) {
			answers[i], err = ask(ctx, &all[i])
			return err
		})
	}
	return answers, group.Wait()
}
