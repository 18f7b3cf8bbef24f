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
			ID: "rights.sufficient", Title: "its user may do all that a kubelet is asked for", Flag: "ClusterRoleBinding to system:kubelet-api-admin",
			Proves: "The user and groups of the client certificate may get and create nodes/proxy, and get nodes/log, stats, metrics, pods, healthz and configz (the last three by nodes/proxy too, as kubelets ask), by the cluster's own SubjectAccessReview.",
			Needs:  []string{"client.subject"},
			run:    checkSufficient,
		},
		{
			ID: "rights.excess", Title: "its user may do no more than that", Flag: clientCertificate,
			Proves: "The user is not in system:masters, and may not do what makes somebody an admin: read secrets, create pods, bind or escalate roles, impersonate.",
			Needs:  []string{"client.subject"},
			run:    checkExcess,
		},
	}
}

// question is one thing that a user may do or not.
type question struct {
	verb, group, resource, sub string
	// because says what a user cannot do who may not, or can who may.
	because string
}

func (q question) String() string {
	text := q.verb + " " + q.resource
	if q.sub != "" {
		text += "/" + q.sub
	}
	if q.group != "" {
		text += "." + q.group
	}
	return text
}

// ask asks the apiserver what a user may do, as a kubelet would. The answers are in the order of the questions.
func (r *run) ask(ctx context.Context, user string, groups []string, node string, questions []question) ([]bool, error) {
	answers := make([]bool, len(questions))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(together)
	for i, q := range questions {
		group.Go(func() error {
			attributes := &authorizationv1.ResourceAttributes{Verb: q.verb, Group: q.group, Version: "v1", Resource: q.resource, Subresource: q.sub}
			if q.resource == "nodes" {
				attributes.Name = node
			}
			answer, err := r.client.AuthorizationV1().SubjectAccessReviews().Create(ctx, &authorizationv1.SubjectAccessReview{
				Spec: authorizationv1.SubjectAccessReviewSpec{User: user, Groups: groups, ResourceAttributes: attributes},
			}, metav1.CreateOptions{})
			if err != nil {
				return err
			}
			answers[i] = answer.Status.Allowed
			return nil
		})
	}
	return answers, group.Wait()
}

// caller is the user that kubelets take the apiserver for, with the groups.
func (r *run) caller() (string, []string, error) {
	chain, err := r.presented()
	if err != nil {
		return "", nil, err
	}
	subject := chain[0].Subject
	return subject.CommonName, append(slices.Clone(subject.Organization), "system:authenticated"), nil
}

// kubeletAPI is what kubelets ask about who asks them. (kubelet: pkg/kubelet/server/auth.go)
var kubeletAPI = []question{
	{"get", "", "nodes", "proxy", "logs, exec, attach and port-forward by WebSocket, /pods"},
	{"create", "", "nodes", "proxy", "exec, attach and port-forward by SPDY, run"},
	{"get", "", "nodes", "log", "the node's own logs, /logs/"},
	{"get", "", "nodes", "stats", "/stats/summary"},
	{"get", "", "nodes", "metrics", "/metrics and those below it"},
	{"get", "", "nodes", "pods", "/pods"},
	{"get", "", "nodes", "healthz", "/healthz"},
	{"get", "", "nodes", "configz", "/configz"},
}

// fallsBack are the subresources for which a kubelet asks about proxy too, before it refuses.
var fallsBack = []string{"pods", "healthz", "configz"}

func checkSufficient(ctx context.Context, r *run) (conformance.Result, error) {
	user, groups, err := r.caller()
	if err != nil {
		return conformance.Result{}, err
	}
	answers, err := r.ask(ctx, user, groups, r.objects.Name(), kubeletAPI)
	if err != nil {
		return conformance.Result{}, err
	}
	var evidence, missing []string
	for i, q := range kubeletAPI {
		word := "may"
		switch {
		case answers[i]:
		case slices.Contains(fallsBack, q.sub) && answers[0]:
			word = "may, by nodes/proxy,"
		default:
			word = "may not"
			missing = append(missing, q.String())
		}
		evidence = append(evidence, fmt.Sprintf("%s %s %s: %s", user, word, q, q.because))
	}
	if missing != nil {
		return fail(fmt.Sprintf("kubelets answer Forbidden to user %q, who may not %s", user, strings.Join(missing, ", ")),
			"kubectl create clusterrolebinding kubelet-client --clusterrole=system:kubelet-api-admin --user="+quote(user), evidence...), nil
	}
	return pass(evidence...), nil
}

// beyond is what makes its user an admin, one way or another.
var beyond = []question{
	{"get", "", "secrets", "", "read all secrets"},
	{"create", "", "pods", "", "run anything anywhere"},
	{"create", "", "serviceaccounts", "token", "be any service account"},
	{"impersonate", "", "users", "", "be anybody"},
	{"create", "rbac.authorization.k8s.io", "clusterrolebindings", "", "bind roles"},
	{"escalate", "rbac.authorization.k8s.io", "clusterroles", "", "make roles greater than its own"},
	{"*", "*", "*", "", "do anything"},
}

func checkExcess(ctx context.Context, r *run) (conformance.Result, error) {
	user, groups, err := r.caller()
	if err != nil {
		return conformance.Result{}, err
	}
	answers, err := r.ask(ctx, user, groups, "", beyond)
	if err != nil {
		return conformance.Result{}, err
	}
	var found []string
	for i, q := range beyond {
		if answers[i] {
			found = append(found, fmt.Sprintf("%s may %s: it can %s", user, q, q.because))
		}
	}
	masters := slices.Contains(groups, "system:masters")
	if masters {
		found = append([]string{"its certificate has the group system:masters, whose members may do everything, whatever RBAC says"}, found...)
	}
	if found == nil {
		return pass(fmt.Sprintf("%s, of %q, may do none of: %s", user, groups, questionsText(beyond))), nil
	}
	remedy := "kubectl get clusterrolebindings,rolebindings --all-namespaces -o wide | grep -F -- " + quote(user) + " # and of its groups; leave it system:kubelet-api-admin alone"
	if masters {
		remedy = newClientCertificate + " # with a new certificate whose subject has no organization, as in -subj " + quote("/CN="+user) +
			"\nkubectl create clusterrolebinding kubelet-client --clusterrole=system:kubelet-api-admin --user=" + quote(user)
	}
	return warn(fmt.Sprintf("user %q may do more than use kubelets: whoever gets hold of that certificate's key has the cluster", user), remedy, found...), nil
}

func questionsText(all []question) string {
	texts := make([]string, len(all))
	for i, q := range all {
		texts[i] = q.String()
	}
	return strings.Join(texts, ", ")
}

// quote quotes an argument for a shell, where it needs that.
func quote(s string) string {
	const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.:/@=+,%"
	if s != "" && strings.Trim(s, plain) == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
