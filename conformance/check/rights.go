package check

import (
	"context"
	"slices"
	"strings"

	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"fauxlet/authchain"
	"fauxlet/internal/shellword"
)

func rightsChecks() []Check {
	subject := []string{"client.subject"}
	return []Check{
		{ID: "rights.sufficient", Title: "the client certificate's user may make all kubelet requests",
			Flag: "ClusterRoleBinding to system:kubelet-api-admin",
			Proves: "By SubjectAccessReviews in the cluster, the user and groups of the client certificate may " +
				"get and create nodes/proxy, and get nodes/log, stats, metrics, pods, healthz and configz. For " +
				"the last three nodes/proxy suffices, as in a kubelet.",
			Needs: subject, run: withUser(checkSufficient)},
		{ID: "rights.excess", Title: "the client certificate's user has no administrator's permissions",
			Flag: clientCertificate,
			Proves: "The user is not in system:masters and cannot become an administrator: it may not read " +
				"secrets, create pods, bind or escalate roles, or impersonate.",
			Needs: subject, run: withUser(checkExcess)},
	}
}

// bindRemedy is a command that gives a user the permissions for all kubelet requests. The caller appends the user's
// name.
const bindRemedy = "kubectl create clusterrolebinding kubelet-client --clusterrole=system:kubelet-api-admin --user="

// user is the user of the kube-apiserver's client certificate.
type user struct {
	run           *run
	name          string
	organizations []string // the groups in the certificate
	groups        []string // all groups
}

// withUser returns the run function of a check that examines the user of the client certificate.
func withUser(check func(context.Context, *finding, user) error) runFunc {
	return withHandshake(func(ctx context.Context, r *run, f *finding, first *observed) error {
		subject := first.TLS.PeerCertificates[0].Subject
		groups := append(slices.Clone(subject.Organization), "system:authenticated")
		return check(ctx, f, user{r, subject.CommonName, subject.Organization, groups})
	})
}

// The method "may" asks the API server whether the user has each of the given permissions. It sends
// SubjectAccessReviews, as a kubelet does. The results have the same order as the permissions.
func (u user) may(ctx context.Context, all []attributes) ([]authorizationv1.SubjectAccessReviewStatus, error) {
	return review(ctx, all, func(ctx context.Context, a *attributes) (authorizationv1.SubjectAccessReviewStatus, error) {
		a.Version = "v1"
		if a.Resource == "nodes" {
			a.Name = u.run.objects.Name()
		}
		spec := authorizationv1.SubjectAccessReviewSpec{User: u.name, Groups: u.groups, ResourceAttributes: a}
		review, err := u.run.client.AuthorizationV1().SubjectAccessReviews().
			Create(ctx, &authorizationv1.SubjectAccessReview{Spec: spec}, metav1.CreateOptions{})
		return review.Status, err
	})
}

// kubeletRequests are the requests that a kube-apiserver sends or proxies to kubelets, one for each permission that it
// needs. The path is an example of the paths for which a kubelet checks the permission.
var kubeletRequests = []struct{ verb, path, use string }{
	{"get", "/containerLogs", "logs, exec, attach and port-forward by WebSocket, /pods"},
	{"create", "/exec", "exec, attach and port-forward by SPDY, run"},
	{"get", "/logs", "the node's own logs, /logs/"},
	{"get", "/stats", "/stats/summary"},
	{"get", "/metrics", "/metrics and below"},
	{"get", "/pods", "/pods"},
	{"get", "/healthz", "/healthz"},
	{"get", "/configz", "/configz"},
}

func checkSufficient(ctx context.Context, f *finding, u user) error {
	const fineGrained = true // kubelet v1.37 enables the feature KubeletFineGrainedAuthz
	var all []attributes
	for _, request := range kubeletRequests {
		sub := authchain.Subresources(request.path, fineGrained)[0]
		all = append(all, attributes{Verb: request.verb, Resource: "nodes", Subresource: sub})
	}
	answers, err := u.may(ctx, all)
	if err != nil {
		return err
	}
	var missing []string
	for i, request := range kubeletRequests {
		permission, word := request.verb+" nodes/"+all[i].Subresource, "may"
		switch {
		case answers[i].Allowed:
		// For some paths, a kubelet checks two subresources, of which the second is proxy. Access to one of them is
		// sufficient. The first element of "answers" is the user's access to proxy.
		case len(authchain.Subresources(request.path, fineGrained)) > 1 && answers[0].Allowed:
			word = "may, with nodes/proxy,"
		default:
			word = "may not"
			missing = append(missing, permission)
		}
		f.note("%s %s %s: %s", u.name, word, permission, request.use)
	}
	if missing != nil {
		f.remedy = bindRemedy + shellword.Quote(u.name)
		f.fail("kubelets answer Forbidden to user %q, which may not %s", u.name, strings.Join(missing, ", "))
	}
	return nil
}

// adminPermissions are permissions with which a user can become an administrator.
var adminPermissions = []struct{ verb, group, resource, sub, use string }{
	{"get", "", "secrets", "", "read all secrets"},
	{"create", "", "pods", "", "run anything anywhere"},
	{"create", "", "serviceaccounts", "token", "act as any service account"},
	{"impersonate", "", "users", "", "act as any user"},
	{"create", "rbac.authorization.k8s.io", "clusterrolebindings", "", "bind roles"},
	{"escalate", "rbac.authorization.k8s.io", "clusterroles", "", "create roles with more permissions than its own"},
	{"*", "*", "*", "", "do anything"},
}

func checkExcess(ctx context.Context, f *finding, u user) error {
	var all []attributes
	for _, p := range adminPermissions {
		all = append(all, attributes{Verb: p.verb, Group: p.group, Resource: p.resource, Subresource: p.sub})
	}
	answers, err := u.may(ctx, all)
	if err != nil {
		return err
	}
	if slices.Contains(u.organizations, "system:masters") {
		f.note("its certificate has the group system:masters, which may do everything regardless of RBAC")
	}
	var permissions []string
	for i, p := range adminPermissions {
		text := inGroup(strings.TrimSuffix(p.verb+" "+p.resource+"/"+p.sub, "/"), p.group)
		permissions = append(permissions, text)
		if answers[i].Allowed {
			// The reason of RBAC names the binding and its subject. Another authorizer may give no reason.
			reason := strings.TrimSuffix("; "+answers[i].Reason, "; ")
			f.note("%s may %s: it can %s%s", u.name, text, p.use, reason)
		}
	}
	if len(f.evidence) > 0 {
		f.warn("user %q may do more than use kubelets: anyone who gets the key of that certificate controls "+
			"the cluster", u.name)
		return u.limit(ctx, f, all)
	}
	f.note("%s, in groups %q, has none of these permissions: %s", u.name, u.groups, strings.Join(permissions, ", "))
	return nil
}

// limit sets the remedy for a user that has some of the given permissions. Administrators may have the same groups,
// such as kubeadm:cluster-admins. So the remedy is a certificate without groups, and the groups keep their bindings.
func (u user) limit(ctx context.Context, f *finding, all []attributes) error {
	name := shellword.Quote(u.name)
	unbind := "kubectl get clusterrolebindings,rolebindings --all-namespaces -o wide | grep -F -e " + name +
		" -e system:authenticated # remove the bindings that the evidence names, except to system:kubelet-api-admin"
	if len(u.organizations) == 0 {
		f.remedy = unbind
		return nil
	}
	f.remedy = newClientCertificate + " # with a new certificate whose subject has no organization, as in -subj " +
		shellword.Quote("/CN="+u.name) + "\n" + bindRemedy + name
	u.groups = []string{"system:authenticated"}
	answers, err := u.may(ctx, all)
	isAllowed := func(a authorizationv1.SubjectAccessReviewStatus) bool { return a.Allowed }
	if slices.ContainsFunc(answers, isAllowed) {
		f.note("without the organization, it still has some of these permissions")
		f.remedy += "\n" + unbind
	}
	return err
}
