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
	// name restricts the permission to one object; empty means all objects.
	name string
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

// checkRequirements returns an error that lists the missing permissions of the credential.
func checkRequirements(ctx context.Context, client *kubernetes.Clientset, all []requirement) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallelism)
	lacked := make([][]string, len(all))
	for i, a := range all {
		group.Go(func() error {
			for _, verb := range a.verbs {
				resource, sub, _ := strings.Cut(a.resource, "/")
				logResponse, err := client.AuthorizationV1().SelfSubjectAccessReviews().
					Create(ctx, &authorizationv1.SelfSubjectAccessReview{
						Spec: authorizationv1.SelfSubjectAccessReviewSpec{
							ResourceAttributes: &authorizationv1.ResourceAttributes{
								Verb: verb, Group: a.group, Resource: resource, Subresource: sub, Name: a.name,
							},
						},
					}, metav1.CreateOptions{})
				if err != nil {
					return fmt.Errorf("cannot check the permissions of the credential in --kubeconfig: %w", err)
				}
				if !logResponse.Status.Allowed {
					lacked[i] = append(lacked[i], verb)
				}
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	var missing []string
	for i, verbs := range lacked {
		if len(verbs) == 0 {
			continue
		}
		what := all[i].resource
		if all[i].group != "" {
			what += "." + all[i].group
		}
		if all[i].name != "" {
			what += " " + all[i].name
		}
		missing = append(missing, strings.Join(verbs, "/")+" "+what)
	}
	if missing != nil {
		return errors.New(
			"the credential in --kubeconfig lacks permissions; use an administrator's, or allow it to " + strings.Join(
				missing,
				", ",
			),
		)
	}
	return nil
}
