package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	v1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/kubernetes/pkg/controller/clusterroleaggregation"
	"sigs.k8s.io/yaml"

	"fauxlet/authchain/review"
)

// TestSameRBAC gives the same generated roles and bindings to a real kube-apiserver, beside which the controller-manager's
// own aggregation controller runs, and to package review, beside the roles that an apiserver comes with. Both are asked
// the same questions over their APIs: what may whom do, whose token is this, and is that a role at all.
func TestSameRBAC(t *testing.T) {
	const questions, refusals = 3000, 400
	seed := rbacSeed(t)
	p, err := certificates()
	must(t, err)
	tokens := filepath.Join(p.dir, "rbac-tokens.csv")
	must(t, os.WriteFile(tokens, []byte(rbacTokens), 0o600))
	plane := newControlPlane(t, []string{"--token-auth-file=" + filepath.Base(tokens)})
	t.Cleanup(func() {
		plane.apiserver.tell(t, 0)
		must(t, plane.apiserver.stop())
	})
	ctx, stop := context.WithCancel(context.Background())
	defer stop()

	g := newRBACGenerator(seed)
	defaults := rbacObjects(t, plane.client)
	generated := g.objects()
	for _, name := range rbacNamespaces[1:] {
		_, err := plane.client.CoreV1().Namespaces().Create(ctx, &v1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
		must(t, err)
	}
	factory := informers.NewSharedInformerFactory(plane.client, 0)
	aggregation := clusterroleaggregation.NewClusterRoleAggregation(factory.Rbac().V1().ClusterRoles(), plane.client.RbacV1())
	factory.Start(ctx.Done())
	go aggregation.Run(ctx, 2)
	for _, object := range generated {
		must(t, createRBAC(plane.client, object))
	}

	w := &rbacWorld{real: plane.client, objects: append(defaults, generated...)}
	file := writeRBAC(t, w.objects)
	w.serve(t, file, tokens)
	w.split(t)
	w.awaitAggregation(t)
	for _, object := range rbacSentinels() { // the last of each kind, so that all others are known when they are
		must(t, createRBAC(plane.client, object))
	}
	w.awaitSentinels(t)

	t.Run("access", func(t *testing.T) {
		differing, allowed := 0, 0
		for range questions {
			spec := g.question()
			real, ours := w.ask(spec)
			if ours.status.Allowed {
				allowed++
			}
			if w.difference(spec, real, ours) == "" {
				continue
			}
			spec = w.shrink(spec)
			real, ours = w.ask(spec)
			t.Errorf("%s\n%s", w.difference(spec, real, ours), w.explain(spec, real, ours))
			if differing++; differing == 5 {
				t.Fatal("there may be more")
			}
		}
		t.Logf("seed %d: %d questions compared, of which %d are allowed, about %d objects", seed, questions, allowed, len(w.objects))
		if allowed < questions/5 || allowed > questions*4/5 {
			t.Errorf("%d of %d questions are allowed: they prove little", allowed, questions)
		}
	})
	t.Run("tokens", func(t *testing.T) { sameTokens(t, plane.client, w.ours) })
	t.Run("objects", func(t *testing.T) {
		refused, differing := 0, 0
		for range refusals {
			object := g.spoiled()
			real, ours := realFaults(createRBAC(plane.client, object, metav1.DryRunAll)), ourFaults(review.NewPolicy(object))
			if len(real) > 0 {
				refused++
			}
			if !slices.Equal(real, ours) {
				text, err := yaml.Marshal(object)
				must(t, err)
				t.Errorf("kube-apiserver finds %q\nfauxlet        finds %q\nof\n%s", real, ours, text)
				if differing++; differing == 5 {
					t.Fatal("there may be more")
				}
			}
		}
		t.Logf("%d objects compared, of which %d are refused", refusals, refused)
		if refused < refusals/2 {
			t.Errorf("only %d of %d objects are refused", refused, refusals)
		}
	})
}

// realFaults are the fields that an apiserver refuses, each with the kind of fault.
func realFaults(err error) (faults []string) {
	if err == nil {
		return nil
	}
	var status apierrors.APIStatus
	if !errors.As(err, &status) || status.Status().Details == nil {
		return []string{err.Error()}
	}
	for _, cause := range status.Status().Details.Causes {
		faults = append(faults, cause.Field+": "+string(cause.Type))
	}
	return tidied(faults)
}

// ourFaults are the same of a policy: its words are for the author of a file, and so are its own.
func ourFaults(_ *review.Policy, err error) (faults []string) {
	if err == nil {
		return nil
	}
	var list utilerrors.Aggregate
	if !errors.As(err, &list) {
		return []string{err.Error()}
	}
	for _, one := range list.Errors() {
		var fault *field.Error
		if !errors.As(one, &fault) {
			return []string{err.Error()}
		}
		faults = append(faults, fault.Field+": "+string(fault.Type))
	}
	return tidied(faults)
}

// tidied are faults in order, without those that an apiserver tells of a selector and of its parts once more.
func tidied(faults []string) []string {
	slices.Sort(faults)
	return slices.DeleteFunc(slices.Compact(faults), func(fault string) bool {
		whole, of := strings.CutSuffix(fault, "]: FieldValueInvalid")
		return of && strings.HasPrefix(whole, "aggregationRule.clusterRoleSelectors[") &&
			slices.ContainsFunc(faults, func(other string) bool { return strings.HasPrefix(other, whole+"].") })
	})
}

// rbacWorld is what both are asked about.
type rbacWorld struct {
	real, ours *kubernetes.Clientset
	objects    []runtime.Object
	policy     *review.Policy
	// alone are policies with one binding each.
	alone []oneBinding
}

type oneBinding struct {
	binding   runtime.Object
	namespace string
	policy    *review.Policy
}

// serve serves package review's answers.
func (w *rbacWorld) serve(t *testing.T, rbac, tokens string) {
	t.Helper()
	server, err := review.New(review.Options{RBAC: []string{rbac}, Tokens: tokens})
	must(t, err)
	w.policy = server.Policy()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- server.Serve(ctx, listener) }()
	t.Cleanup(func() { stop(); must(t, <-ended) })
	config := server.RESTConfig(listener.Addr().String())
	config.QPS = -1
	w.ours, err = kubernetes.NewForConfig(config)
	must(t, err)
}

// split makes a policy of each binding.
func (w *rbacWorld) split(t *testing.T) {
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
		one.policy, err = review.NewPolicy(append(slices.Clone(roles), object)...)
		must(t, err)
		w.alone = append(w.alone, one)
	}
}

// awaitAggregation waits until the aggregated roles have the same rules.
func (w *rbacWorld) awaitAggregation(t *testing.T) {
	t.Helper()
	rules := func(of []rbacv1.PolicyRule) (words []string) {
		for _, rule := range of {
			text, err := json.Marshal(rule)
			must(t, err)
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
		probe, err := review.NewPolicy(append(w.clusterRoles(), &rbacv1.ClusterRoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: "probe"}, RoleRef: rbacv1.RoleRef{Kind: "ClusterRole", Name: role.Name}, Subjects: []rbacv1.Subject{userNamed("probe")},
		})...)
		must(t, err)
		grants, err := probe.Grants("probe", nil, "")
		must(t, err)
		var own []rbacv1.PolicyRule
		for _, grant := range grants {
			own = append(own, grant.Rule)
		}
		eventually(t, 30*time.Second, "the rules of "+role.Name, func() string {
			stored, err := w.real.RbacV1().ClusterRoles().Get(context.Background(), role.Name, metav1.GetOptions{})
			if err != nil {
				return err.Error()
			}
			return cmp.Diff(rules(stored.Rules), rules(own))
		})
	}
}

func (w *rbacWorld) clusterRoles() (roles []runtime.Object) {
	for _, object := range w.objects {
		if _, ok := object.(*rbacv1.ClusterRole); ok {
			roles = append(roles, object)
		}
	}
	return roles
}

// rbacSentinels let the user sentinel read /sentinel, and the configmap sentinel in a namespace.
func rbacSentinels() []runtime.Object {
	meta := metav1.ObjectMeta{Namespace: "default", Name: "sentinel"}
	everywhere := metav1.ObjectMeta{Name: "sentinel"}
	subjects := []rbacv1.Subject{userNamed("sentinel")}
	return []runtime.Object{
		&rbacv1.ClusterRole{ObjectMeta: everywhere, Rules: []rbacv1.PolicyRule{{Verbs: []string{"get"}, NonResourceURLs: []string{"/sentinel"}}}},
		&rbacv1.Role{ObjectMeta: meta, Rules: []rbacv1.PolicyRule{{Verbs: []string{"get"}, APIGroups: []string{""}, Resources: []string{"configmaps"}}}},
		&rbacv1.ClusterRoleBinding{ObjectMeta: everywhere, RoleRef: rbacv1.RoleRef{Kind: "ClusterRole", Name: "sentinel"}, Subjects: subjects},
		&rbacv1.RoleBinding{ObjectMeta: meta, RoleRef: rbacv1.RoleRef{Kind: "Role", Name: "sentinel"}, Subjects: subjects},
	}
}

func (w *rbacWorld) awaitSentinels(t *testing.T) {
	t.Helper()
	for _, spec := range []authorizationv1.SubjectAccessReviewSpec{
		{User: "sentinel", NonResourceAttributes: &authorizationv1.NonResourceAttributes{Verb: "get", Path: "/sentinel"}},
		{User: "sentinel", ResourceAttributes: &authorizationv1.ResourceAttributes{Verb: "get", Resource: "configmaps", Namespace: "default"}},
	} {
		eventually(t, 30*time.Second, "the apiserver acts on all that it was given", func() string {
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
	answer, err := client.AuthorizationV1().SubjectAccessReviews().Create(context.Background(), &authorizationv1.SubjectAccessReview{Spec: spec}, metav1.CreateOptions{})
	if err != nil {
		return accessAnswer{err: err.Error()}
	}
	return accessAnswer{status: answer.Status}
}

func (w *rbacWorld) ask(spec authorizationv1.SubjectAccessReviewSpec) (real, ours accessAnswer) {
	return askAccess(w.real, spec), askAccess(w.ours, spec)
}

// difference says in which words the two differ, if they do. Where several bindings allow the same, or name roles that do
// not exist, an apiserver tells them in no order.
func (w *rbacWorld) difference(spec authorizationv1.SubjectAccessReviewSpec, real, ours accessAnswer) string {
	told := cmp.Diff(fmt.Sprintf("%+v", real), fmt.Sprintf("%+v", ours))
	if told == "" {
		return ""
	}
	told = fmt.Sprintf("kube-apiserver says %+v\nfauxlet        says %+v", real, ours)
	r, o := real, ours
	r.status.Reason, o.status.Reason = "", ""
	if r != o {
		return told
	}
	if ours.status.Allowed {
		if slices.Contains(w.reasons(spec), real.status.Reason) {
			return ""
		}
		return told
	}
	if slices.Equal(missingRoles(real.status.Reason), missingRoles(ours.status.Reason)) {
		return ""
	}
	return told
}

// reasons are those that an apiserver can give: a ClusterRoleBinding's before a RoleBinding's.
func (w *rbacWorld) reasons(spec authorizationv1.SubjectAccessReviewSpec) (reasons []string) {
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

// missingRoles are the parts of a denial's reason, sorted.
func missingRoles(reason string) []string {
	list, ok := strings.CutPrefix(reason, "rbac: RBAC: ")
	if !ok {
		return []string{"not of RBAC: " + reason}
	}
	parts := strings.Split(strings.Trim(list, "[]"), ", ")
	slices.Sort(parts)
	return parts
}

// shrink makes a question about which the two differ as short as it can be.
func (w *rbacWorld) shrink(spec authorizationv1.SubjectAccessReviewSpec) authorizationv1.SubjectAccessReviewSpec {
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

// explain prints a question with the bindings and roles that matter to it.
func (w *rbacWorld) explain(spec authorizationv1.SubjectAccessReviewSpec, real, ours accessAnswer) string {
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

// rbacTokens is the file of both.
const rbacTokens = `token-1,alice,1001,"devs,ops"
token-2,system:serviceaccount:team-a:sa-1,1002
token-3,bob,,""
"token 4",carol,1004,devs
`

func sameTokens(t *testing.T, real, ours *kubernetes.Clientset) {
	const ourAudience = "https://kubernetes.default.svc"
	for _, token := range []string{"token-1", "token-2", "token-3", "token 4", "token", "token-1 ", " token-1", "\ttoken-1", "TOKEN-1", "", "unknown", "a b c", "Bearer token-1", strings.Repeat("x", 5000), "\u00fc"} {
		for _, audiences := range [][]string{nil, {ourAudience}, {"other"}, {"other", ourAudience}, {""}} {
			ask := func(client *kubernetes.Clientset) (authenticationv1.TokenReviewStatus, string) {
				review := &authenticationv1.TokenReview{Spec: authenticationv1.TokenReviewSpec{Token: token, Audiences: audiences}}
				answer, err := client.AuthenticationV1().TokenReviews().Create(context.Background(), review, metav1.CreateOptions{})
				if err != nil {
					return authenticationv1.TokenReviewStatus{}, err.Error()
				}
				return answer.Status, ""
			}
			wantStatus, wantErr := ask(real)
			gotStatus, gotErr := ask(ours)
			if diff := cmp.Diff(wantStatus, gotStatus); diff != "" || wantErr != gotErr {
				t.Errorf("token %.20q for %q: (-kube-apiserver +fauxlet)\n%s%s", token, audiences, diff, cmp.Diff(wantErr, gotErr))
			}
		}
	}
}

// rbacObjects are all that an apiserver has.
func rbacObjects(t *testing.T, client *kubernetes.Clientset) (all []runtime.Object) {
	t.Helper()
	ctx := context.Background()
	clusterRoles, err := client.RbacV1().ClusterRoles().List(ctx, metav1.ListOptions{})
	must(t, err)
	roles, err := client.RbacV1().Roles("").List(ctx, metav1.ListOptions{})
	must(t, err)
	clusterBindings, err := client.RbacV1().ClusterRoleBindings().List(ctx, metav1.ListOptions{})
	must(t, err)
	bindings, err := client.RbacV1().RoleBindings("").List(ctx, metav1.ListOptions{})
	must(t, err)
	for i := range clusterRoles.Items {
		all = append(all, &clusterRoles.Items[i])
	}
	for i := range roles.Items {
		all = append(all, &roles.Items[i])
	}
	for i := range clusterBindings.Items {
		all = append(all, &clusterBindings.Items[i])
	}
	for i := range bindings.Items {
		all = append(all, &bindings.Items[i])
	}
	if len(clusterRoles.Items) < 50 || len(clusterBindings.Items) < 10 {
		t.Fatalf("the apiserver has only %d objects of its own", len(all))
	}
	return all
}

func createRBAC(client *kubernetes.Clientset, object runtime.Object, dryRun ...string) error {
	ctx, options := context.Background(), metav1.CreateOptions{DryRun: dryRun}
	var err error
	switch o := object.(type) {
	case *rbacv1.ClusterRole:
		_, err = client.RbacV1().ClusterRoles().Create(ctx, o, options)
	case *rbacv1.Role:
		_, err = client.RbacV1().Roles(o.Namespace).Create(ctx, o, options)
	case *rbacv1.ClusterRoleBinding:
		_, err = client.RbacV1().ClusterRoleBindings().Create(ctx, o, options)
	case *rbacv1.RoleBinding:
		_, err = client.RbacV1().RoleBindings(o.Namespace).Create(ctx, o, options)
	default:
		return fmt.Errorf("%T", object)
	}
	var status apierrors.APIStatus
	if err != nil && !errors.As(err, &status) {
		return fmt.Errorf("not an answer: %w", err)
	}
	return err
}

// writeRBAC writes manifests, as kubectl would print them.
func writeRBAC(t *testing.T, objects []runtime.Object) string {
	t.Helper()
	var b strings.Builder
	for _, object := range objects {
		object = object.DeepCopyObject()
		kind := strings.TrimPrefix(fmt.Sprintf("%T", object), "*v1.")
		object.GetObjectKind().SetGroupVersionKind(rbacv1.SchemeGroupVersion.WithKind(kind))
		text, err := yaml.Marshal(object)
		must(t, err)
		fmt.Fprintf(&b, "---\n%s", text)
	}
	path := filepath.Join(t.TempDir(), "rbac.yaml")
	must(t, os.WriteFile(path, []byte(b.String()), 0o644))
	return path
}

// rbacSeed is 1, or FAUXLET_E2E_SEED, so that one can look further.
func rbacSeed(t *testing.T) uint64 {
	t.Helper()
	text := os.Getenv("FAUXLET_E2E_SEED")
	if text == "" {
		return 1
	}
	seed, err := strconv.ParseUint(text, 10, 64)
	must(t, err)
	return seed
}

func newRBACGenerator(seed uint64) *rbacGenerator {
	return &rbacGenerator{random: rand.New(rand.NewPCG(seed, seed))}
}
