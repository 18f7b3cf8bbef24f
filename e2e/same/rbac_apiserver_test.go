package same

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/yaml"

	"fauxlet/e2e/internal/controlplane"
	"fauxlet/e2e/internal/expect"
	"fauxlet/internal/reviewapi"
)

// rbacComparison compares how a real kube-apiserver (field "real") and package reviewapi (field "ours") evaluate the
// same policy.
type rbacComparison struct {
	real, ours *kubernetes.Clientset
	objects    []runtime.Object
	// The field "alone" contains a separate policy for each binding. Each policy consists of its binding and of all
	// roles.
	alone []oneBinding
}

type oneBinding struct {
	binding   runtime.Object
	namespace string
	policy    *reviewapi.Policy
}

// serve starts a server of package reviewapi that evaluates the policy.
func (w *rbacComparison) serve(t *testing.T, rbac, tokens string) {
	t.Helper()
	server, err := reviewapi.New(reviewapi.Options{RBAC: []string{rbac}, Tokens: tokens})
	expect.NoError(t, err)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	expect.NoError(t, err)
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- server.Serve(ctx, listener) }()
	t.Cleanup(func() { stop(); expect.NoError(t, <-ended) })
	config := server.RESTConfig(listener.Addr().String())
	config.QPS = -1
	w.ours, err = kubernetes.NewForConfig(config)
	expect.NoError(t, err)
}

// split makes a separate policy for each binding, and stores these policies in the field "alone".
func (w *rbacComparison) split(t *testing.T) {
	t.Helper()
	var roles []runtime.Object
	for _, object := range w.objects {
		switch object.(type) {
		case *rbacv1.ClusterRole, *rbacv1.Role:
			roles = append(roles, object)
		}
	}
	for _, object := range w.objects {
		one := oneBinding{binding: object}
		switch binding := object.(type) {
		case *rbacv1.ClusterRoleBinding:
		case *rbacv1.RoleBinding:
			one.namespace = binding.Namespace
		default:
			continue
		}
		var err error
		one.policy, err = reviewapi.NewPolicy(append(slices.Clone(roles), object)...)
		expect.NoError(t, err)
		w.alone = append(w.alone, one)
	}
}

// awaitAggregation waits until the aggregated roles have the same rules in kube-apiserver as in package reviewapi.
func (w *rbacComparison) awaitAggregation(t *testing.T) {
	t.Helper()
	rules := func(of []rbacv1.PolicyRule) (words []string) {
		for _, rule := range of {
			text, err := json.Marshal(rule)
			expect.NoError(t, err)
			words = append(words, string(text))
		}
		slices.Sort(words)
		return words
	}
	for _, object := range w.objects {
		role, ok := object.(*rbacv1.ClusterRole)
		if !ok || role.AggregationRule == nil {
			continue
		}
		policy, err := reviewapi.NewPolicy(w.clusterRoles()...)
		expect.NoError(t, err)
		own := policy.ClusterRole(role.Name)
		expect.Eventually(t, time.Minute, "the rules of "+role.Name, func() string {
			stored, err := w.real.RbacV1().ClusterRoles().Get(context.Background(), role.Name, metav1.GetOptions{})
			if err != nil {
				return err.Error()
			}
			return cmp.Diff(rules(stored.Rules), rules(own))
		})
	}
}

func (w *rbacComparison) clusterRoles() (roles []runtime.Object) {
	for _, object := range w.objects {
		if _, ok := object.(*rbacv1.ClusterRole); ok {
			roles = append(roles, object)
		}
	}
	return roles
}

// rbacSentinels returns roles and bindings for the user "sentinel". They allow this user to get the path /sentinel, and
// to get ConfigMaps in the namespace default.
func rbacSentinels() []runtime.Object {
	meta := metav1.ObjectMeta{Namespace: "default", Name: "sentinel"}
	everywhere := metav1.ObjectMeta{Name: "sentinel"}
	subjects := []rbacv1.Subject{controlplane.User("sentinel")}
	return []runtime.Object{
		&rbacv1.ClusterRole{ObjectMeta: everywhere,
			Rules: []rbacv1.PolicyRule{{Verbs: []string{"get"}, NonResourceURLs: []string{"/sentinel"}}}},
		&rbacv1.Role{ObjectMeta: meta, Rules: []rbacv1.PolicyRule{{Verbs: []string{"get"}, APIGroups: []string{""},
			Resources: []string{"configmaps"}}}},
		&rbacv1.ClusterRoleBinding{ObjectMeta: everywhere,
			RoleRef:  rbacv1.RoleRef{Kind: "ClusterRole", Name: "sentinel"},
			Subjects: subjects},
		&rbacv1.RoleBinding{ObjectMeta: meta, RoleRef: rbacv1.RoleRef{Kind: "Role", Name: "sentinel"},
			Subjects: subjects},
	}
}

func (w *rbacComparison) awaitSentinels(t *testing.T) {
	t.Helper()
	for _, spec := range []authorizationv1.SubjectAccessReviewSpec{
		{User: "sentinel", NonResourceAttributes: &authorizationv1.NonResourceAttributes{Verb: "get",
			Path: "/sentinel"}},
		{User: "sentinel", ResourceAttributes: &authorizationv1.ResourceAttributes{Verb: "get", Resource: "configmaps",
			Namespace: "default"}},
	} {
		expect.Eventually(t, time.Minute, "kube-apiserver has read all roles and bindings", func() string {
			if got := askAccess(w.real, spec); !got.status.Allowed {
				return fmt.Sprintf("%+v", got)
			}
			return ""
		})
	}
}

// accessAnswer is the answer to a SubjectAccessReview.
type accessAnswer struct {
	status authorizationv1.SubjectAccessReviewStatus
	err    string
}

func askAccess(client *kubernetes.Clientset, spec authorizationv1.SubjectAccessReviewSpec) accessAnswer {
	answer, err := client.AuthorizationV1().SubjectAccessReviews().Create(context.Background(),
		&authorizationv1.SubjectAccessReview{Spec: spec}, metav1.CreateOptions{})
	if err != nil {
		return accessAnswer{err: err.Error()}
	}
	return accessAnswer{status: answer.Status}
}

func (w *rbacComparison) ask(spec authorizationv1.SubjectAccessReviewSpec) (real, ours accessAnswer) {
	return askAccess(w.real, spec), askAccess(w.ours, spec)
}

// difference describes how two answers to a review differ, or returns an empty string if they do not differ. If several
// bindings allow a request, the reason may name any of them. If several roles are missing, the reason may list them in
// any order. The function ignores these two differences, because kube-apiserver evaluates bindings in random order.
func (w *rbacComparison) difference(spec authorizationv1.SubjectAccessReviewSpec, real, ours accessAnswer) string {
	diff := cmp.Diff(fmt.Sprintf("%+v", real), fmt.Sprintf("%+v", ours))
	if diff == "" {
		return ""
	}
	diff = fmt.Sprintf("kube-apiserver says %+v\nfauxlet        says %+v", real, ours)
	r, o := real, ours
	r.status.Reason, o.status.Reason = "", ""
	if r != o {
		return diff
	}
	if ours.status.Allowed {
		if slices.Contains(w.reasons(spec), real.status.Reason) {
			return ""
		}
		return diff
	}
	if slices.Equal(missingRoles(real.status.Reason), missingRoles(ours.status.Reason)) {
		return ""
	}
	return diff
}

// reasons returns all texts that kube-apiserver may give as its reason for allowing a request: the text for each
// ClusterRoleBinding that allows the request or, if there is none, the text for each RoleBinding that allows it.
// kube-apiserver evaluates RoleBindings only if no ClusterRoleBinding allows the request.
func (w *rbacComparison) reasons(spec authorizationv1.SubjectAccessReviewSpec) (reasons []string) {
	for _, namespaced := range []bool{false, true} {
		for _, one := range w.alone {
			if (one.namespace != "") == namespaced {
				if verdict := one.policy.Authorize(spec); verdict.Allowed {
					reasons = append(reasons, verdict.Reason)
				}
			}
		}
		if len(reasons) > 0 {
			return reasons
		}
	}
	return nil
}

// missingRoles splits the reason for a denial, which lists the missing roles, into one text for each missing role. It
// sorts these texts.
func missingRoles(reason string) []string {
	list, ok := strings.CutPrefix(reason, "rbac: RBAC: ")
	if !ok {
		return []string{"not of RBAC: " + reason}
	}
	parts := strings.Split(strings.Trim(list, "[]"), ", ")
	slices.Sort(parts)
	return parts
}

// shrink removes fields from a review, one after the other, as long as the answers of kube-apiserver and of package
// reviewapi still differ. It returns the smallest review for which they differ.
func (w *rbacComparison) shrink(spec authorizationv1.SubjectAccessReviewSpec) authorizationv1.SubjectAccessReviewSpec {
	for shorter := true; shorter; {
		shorter = false
		var tries []authorizationv1.SubjectAccessReviewSpec
		try := func(change func(*authorizationv1.SubjectAccessReviewSpec)) {
			changed := *spec.DeepCopy()
			change(&changed)
			if !cmp.Equal(changed, spec) {
				tries = append(tries, changed)
			}
		}
		for i := range spec.Groups {
			try(func(s *authorizationv1.SubjectAccessReviewSpec) { s.Groups = slices.Delete(s.Groups, i, i+1) })
		}
		try(func(s *authorizationv1.SubjectAccessReviewSpec) { s.User = "" })
		if spec.ResourceAttributes != nil {
			try(func(s *authorizationv1.SubjectAccessReviewSpec) {
				s.ResourceAttributes.FieldSelector, s.ResourceAttributes.LabelSelector = nil, nil
			})
			for _, field := range []func(*authorizationv1.ResourceAttributes) *string{
				func(a *authorizationv1.ResourceAttributes) *string { return &a.Name },
				func(a *authorizationv1.ResourceAttributes) *string { return &a.Namespace },
				func(a *authorizationv1.ResourceAttributes) *string { return &a.Group },
				func(a *authorizationv1.ResourceAttributes) *string { return &a.Subresource },
			} {
				try(func(s *authorizationv1.SubjectAccessReviewSpec) { *field(s.ResourceAttributes) = "" })
			}
		}
		for _, candidate := range tries {
			real, ours := w.ask(candidate)
			if w.difference(candidate, real, ours) != "" {
				spec, shorter = candidate, true
				break
			}
		}
	}
	return spec
}

// explain describes a review together with the bindings and roles that affect its result.
func (w *rbacComparison) explain(spec authorizationv1.SubjectAccessReviewSpec, real, ours accessAnswer) string {
	var b strings.Builder
	print := func(object any) {
		text, err := yaml.Marshal(object)
		if err != nil {
			text = []byte(err.Error())
		}
		fmt.Fprintf(&b, "---\n%s", text)
	}
	print(spec)
	words := real.status.Reason + " " + ours.status.Reason
	for _, reason := range w.reasons(spec) {
		words += " " + reason
	}
	for _, object := range w.objects {
		meta := object.(metav1.Object)
		name := meta.GetName()
		if meta.GetNamespace() != "" {
			name += "/" + meta.GetNamespace()
		}
		_, isRole := object.(*rbacv1.Role)
		if strings.Contains(words, `"`+name+`"`) || isRole && strings.Contains(words, `"`+meta.GetName()+`"`) {
			print(object)
		}
	}
	return b.String()
}
