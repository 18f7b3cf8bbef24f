package check

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"
	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"fauxlet/conformance"
)

func rightsChecks() []Check {
	return []Check{
		{
			ID: "rights.sufficient", Title: "its user has the permissions for all kubelet requests",
			Flag: "ClusterRoleBinding to system:kubelet-api-admin",
			Proves: "By SubjectAccessReviews in the cluster, the user and groups of the client certificate may " +
				"get and create nodes/proxy, and get nodes/log, stats, metrics, pods, healthz and configz. For " +
				"the last three nodes/proxy suffices, as in a kubelet.",
			Needs: []string{"client.subject"},
			run:   checkSufficient,
		},
		{
			ID: "rights.excess", Title: "its user has no administrator's permissions", Flag: clientCertificate,
			Proves: "The user is not in system:masters and cannot become an administrator: it may not read " +
				"secrets, create pods, bind or escalate roles, or impersonate.",
			Needs: []string{"client.subject"},
			run:   checkExcess,
		},
	}
}

// permission is a verb on a resource.
type permission struct {
	verb, group, resource, sub string
	// use describes the purpose of the permission.
	use string
}

func (p permission) String() string {
	text := p.verb + " " + p.resource
	if p.sub != "" {
		text += "/" + p.sub
	}
	if p.group != "" {
		text += "." + p.group
	}
	return text
}

// checkPermissions sends a SubjectAccessReview for each permission, as a kubelet does. The results are in the order
// of the permissions.
func (r *run) checkPermissions(
	ctx context.Context,
	user string,
	groups []string,
	node string,
	questions []permission,
) ([]bool, error) {
	answers := make([]bool, len(questions))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallelism)
	for i, p := range questions {
		group.Go(func() error {
			attributes := &authorizationv1.ResourceAttributes{
				Verb:        p.verb,
				Group:       p.group,
				Version:     "v1",
				Resource:    p.resource,
				Subresource: p.sub,
			}
			if p.resource == "nodes" {
				attributes.Name = node
			}
			logResponse, err := r.client.AuthorizationV1().SubjectAccessReviews().
				Create(ctx, &authorizationv1.SubjectAccessReview{
					Spec: authorizationv1.SubjectAccessReviewSpec{
						User:               user,
						Groups:             groups,
						ResourceAttributes: attributes,
					},
				}, metav1.CreateOptions{})
			if err != nil {
				return err
			}
			answers[i] = logResponse.Status.Allowed
			return nil
		})
	}
	return answers, group.Wait()
}

// clientIdentity returns the user and groups of the kube-apiserver's client certificate.
func (r *run) clientIdentity() (string, []string, error) {
	chain, err := r.presented()
	if err != nil {
		return "", nil, err
	}
	subject := chain[0].Subject
	return subject.CommonName, append(slices.Clone(subject.Organization), "system:authenticated"), nil
}

// kubeletAPI are the permissions that kubelets check. (k8s.io/kubernetes: pkg/kubelet/server/auth.go)
var kubeletAPI = []permission{
	{"get", "", "nodes", "proxy", "logs, exec, attach and port-forward by WebSocket, /pods"},
	{"create", "", "nodes", "proxy", "exec, attach and port-forward by SPDY, run"},
	{"get", "", "nodes", "log", "the node's own logs, /logs/"},
	{"get", "", "nodes", "stats", "/stats/summary"},
	{"get", "", "nodes", "metrics", "/metrics and below"},
	{"get", "", "nodes", "pods", "/pods"},
	{"get", "", "nodes", "healthz", "/healthz"},
	{"get", "", "nodes", "configz", "/configz"},
}

// proxyFallback are the subresources for which a kubelet also accepts nodes/proxy.
var proxyFallback = []string{"pods", "healthz", "configz"}

func checkSufficient(ctx context.Context, r *run) (conformance.Result, error) {
	user, groups, err := r.clientIdentity()
	if err != nil {
		return conformance.Result{}, err
	}
	answers, err := r.checkPermissions(ctx, user, groups, r.objects.Name(), kubeletAPI)
	if err != nil {
		return conformance.Result{}, err
	}
	var evidence, missing []string
	for i, p := range kubeletAPI {
		word := "may"
		switch {
		case answers[i]:
		case slices.Contains(proxyFallback, p.sub) && answers[0]:
			word = "may, with nodes/proxy,"
		default:
			word = "may not"
			missing = append(missing, p.String())
		}
		evidence = append(evidence, fmt.Sprintf("%s %s %s: %s", user, word, p, p.use))
	}
	if missing != nil {
		return fail(
			fmt.Sprintf("kubelets answer Forbidden to user %q, which may not %s", user, strings.Join(missing, ", ")),
			"kubectl create clusterrolebinding kubelet-client --clusterrole=system:kubelet-api-admin --user="+quote(
				user,
			),
			evidence...), nil
	}
	return pass(evidence...), nil
}

// adminPermissions are permissions with which a user can become an administrator.
var adminPermissions = []permission{
	{"get", "", "secrets", "", "read all secrets"},
	{"create", "", "pods", "", "run anything anywhere"},
	{"create", "", "serviceaccounts", "token", "act as any service account"},
	{"impersonate", "", "users", "", "act as any user"},
	{"create", "rbac.authorization.k8s.io", "clusterrolebindings", "", "bind roles"},
	{"escalate", "rbac.authorization.k8s.io", "clusterroles", "", "create roles with more permissions than its own"},
	{"*", "*", "*", "", "do anything"},
}

func checkExcess(ctx context.Context, r *run) (conformance.Result, error) {
	user, groups, err := r.clientIdentity()
	if err != nil {
		return conformance.Result{}, err
	}
	answers, err := r.checkPermissions(ctx, user, groups, "", adminPermissions)
	if err != nil {
		return conformance.Result{}, err
	}
	var found []string
	for i, p := range adminPermissions {
		if answers[i] {
			found = append(found, fmt.Sprintf("%s may %s: it can %s", user, p, p.use))
		}
	}
	masters := slices.Contains(groups, "system:masters")
	if masters {
		found = append(
			[]string{"its certificate has the group system:masters, which may do everything regardless of RBAC"},
			found...)
	}
	if found == nil {
		return pass(
			fmt.Sprintf(
				"%s, in groups %q, has none of these permissions: %s",
				user,
				groups,
				permissionsText(adminPermissions),
			),
		), nil
	}
	remedy := "kubectl get clusterrolebindings,rolebindings --all-namespaces -o wide | grep -F -- " + quote(
		user,
	) + " # remove all its bindings, and those of its groups, except system:kubelet-api-admin"
	if masters {
		remedy = newClientCertificate + " # with a new certificate whose subject has no organization, as in -subj " +
			quote("/CN="+user) +
			"\nkubectl create clusterrolebinding kubelet-client --clusterrole=system:kubelet-api-admin --user=" + quote(
			user,
		)
	}
	return warn(
		fmt.Sprintf(
			"user %q may do more than use kubelets: anyone who gets the key of that certificate controls the cluster",
			user,
		),
		remedy,
		found...), nil
}

func permissionsText(all []permission) string {
	texts := make([]string, len(all))
	for i, p := range all {
		texts[i] = p.String()
	}
	return strings.Join(texts, ", ")
}

// quote quotes a shell argument if necessary.
func quote(s string) string {
	const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.:/@=+,%"
	if s != "" && strings.Trim(s, plain) == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
