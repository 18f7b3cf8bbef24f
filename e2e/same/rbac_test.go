package same

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	authenticationv1 "k8s.io/api/authentication/v1"
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

	"fauxlet/e2e/internal/controlplane"
	"fauxlet/e2e/internal/expect"
	"fauxlet/e2e/internal/programs"
	"fauxlet/internal/reviewapi"
)

// TestSameRBAC gives the same generated roles and bindings to a real kube-apiserver and to package reviewapi.
// kube-controller-manager's aggregation controller runs beside kube-apiserver, and package reviewapi also has the
// default roles of kube-apiserver. The test compares how kube-apiserver and package reviewapi answer
// SubjectAccessReviews and TokenReviews. It also compares which invalid objects they refuse, and because of which
// fields.
func TestSameRBAC(t *testing.T) {
	t.Parallel()
	programs.Slow(t)
	const questions, refusals = 3000, 400
	seed := rbacSeed(t)
	p, err := controlplane.Certificates()
	expect.NoError(t, err)
	tokens := filepath.Join(p.Dir, "rbac-tokens.csv")
	expect.NoError(t, os.WriteFile(tokens, []byte(rbacTokens), 0o600))
	plane := controlplane.New(t, []string{"--token-auth-file=" + filepath.Base(tokens)})
	ctx, stop := context.WithCancel(context.Background())
	defer stop()

	g := newRBACGenerator(seed)
	defaults := rbacObjects(t, plane.Client)
	generated := g.objects()
	for _, name := range rbacNamespaces[1:] {
		_, err := plane.Client.CoreV1().Namespaces().Create(ctx,
			&v1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}},
			metav1.CreateOptions{})
		expect.NoError(t, err)
	}
	factory := informers.NewSharedInformerFactory(plane.Client, 0)
	aggregation := clusterroleaggregation.NewClusterRoleAggregation(factory.Rbac().V1().ClusterRoles(),
		plane.Client.RbacV1())
	factory.Start(ctx.Done())
	go aggregation.Run(ctx, 2)
	for _, object := range generated {
		expect.NoError(t, createRBAC(plane.Client, object))
	}

	w := &rbacComparison{real: plane.Client, objects: append(defaults, generated...)}
	file := writeRBAC(t, w.objects)
	w.serve(t, file, tokens)
	w.split(t)
	w.awaitAggregation(t)
	// Create these objects last, and wait until kube-apiserver uses them. It then also uses all other objects, because
	// it receives the objects of each kind in the order of their creation.
	for _, object := range rbacSentinels() {
		expect.NoError(t, createRBAC(plane.Client, object))
	}
	w.awaitSentinels(t)

	t.Run("access", func(t *testing.T) {
		differing, allowed := 0, 0
		for range questions {
			spec := g.review()
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
				t.Fatal("too many differences; the comparison stops here")
			}
		}
		t.Logf("seed %d: %d reviews compared, of which %d are allowed, with %d objects", seed, questions, allowed,
			len(w.objects))
		if allowed < questions/5 || allowed > questions*4/5 {
			t.Errorf("%d of %d reviews are allowed: too few", allowed, questions)
		}
	})
	t.Run("tokens", func(t *testing.T) { sameTokens(t, plane.Client, w.ours) })
	t.Run("objects", func(t *testing.T) {
		refused, differing := 0, 0
		for range refusals {
			object := g.invalid()
			real, ours := realFaults(createRBAC(plane.Client, object, metav1.DryRunAll)),
				ourFaults(reviewapi.NewPolicy(object))
			if len(real) > 0 {
				refused++
			}
			if !slices.Equal(real, ours) {
				text, err := yaml.Marshal(object)
				expect.NoError(t, err)
				t.Errorf("kube-apiserver finds %q\nfauxlet        finds %q\nof\n%s", real, ours, text)
				if differing++; differing == 5 {
					t.Fatal("too many differences; the comparison stops here")
				}
			}
		}
		t.Logf("%d objects compared, of which %d are refused", refusals, refused)
		if refused < refusals/2 {
			t.Errorf("only %d of %d objects are refused", refused, refusals)
		}
	})
}

// realFaults returns the fields for which kube-apiserver refuses an object, each with the type of the error.
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

// ourFaults returns the fields for which package reviewapi refuses an object, in the format of realFaults. It leaves
// out the messages, because package reviewapi words them differently from kube-apiserver.
func ourFaults(_ *reviewapi.Policy, err error) (faults []string) {
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

// tidied sorts errors. If kube-apiserver reports an error both for a whole selector and for a part of that selector,
// tidied keeps only the error for the part.
func tidied(faults []string) []string {
	slices.Sort(faults)
	return slices.DeleteFunc(slices.Compact(faults), func(fault string) bool {
		whole, of := strings.CutSuffix(fault, "]: FieldValueInvalid")
		return of && strings.HasPrefix(whole, "aggregationRule.clusterRoleSelectors[") &&
			slices.ContainsFunc(faults, func(other string) bool { return strings.HasPrefix(other, whole+"].") })
	})
}

// rbacTokens is the content of the token file that kube-apiserver and package reviewapi both read.
const rbacTokens = `token-1,alice,1001,"devs,ops"
token-2,system:serviceaccount:team-a:sa-1,1002
token-3,bob,,""
"token 4",carol,1004,devs
`

func sameTokens(t *testing.T, real, ours *kubernetes.Clientset) {
	const ourAudience = "https://kubernetes.default.svc"
	for _, token := range []string{"token-1", "token-2", "token-3", "token 4", "token", "token-1 ", " token-1",
		"\ttoken-1", "TOKEN-1", "", "unknown", "a b c", "Bearer token-1", strings.Repeat("x", 5000), "\u00fc"} {
		for _, audiences := range [][]string{nil, {ourAudience}, {"other"}, {"other", ourAudience}, {""}} {
			ask := func(client *kubernetes.Clientset) (authenticationv1.TokenReviewStatus, string) {
				review := &authenticationv1.TokenReview{Spec: authenticationv1.TokenReviewSpec{Token: token,
					Audiences: audiences}}
				answer, err := client.AuthenticationV1().TokenReviews().Create(context.Background(), review,
					metav1.CreateOptions{})
				if err != nil {
					return authenticationv1.TokenReviewStatus{}, err.Error()
				}
				return answer.Status, ""
			}
			wantStatus, wantErr := ask(real)
			gotStatus, gotErr := ask(ours)
			if diff := cmp.Diff(wantStatus, gotStatus); diff != "" || wantErr != gotErr {
				t.Errorf("token %.20q for %q: (-kube-apiserver +fauxlet)\n%s%s", token, audiences, diff,
					cmp.Diff(wantErr, gotErr))
			}
		}
	}
}

// rbacObjects returns all RBAC objects in a kube-apiserver.
func rbacObjects(t *testing.T, client *kubernetes.Clientset) (all []runtime.Object) {
	t.Helper()
	ctx := context.Background()
	clusterRoles, err := client.RbacV1().ClusterRoles().List(ctx, metav1.ListOptions{})
	expect.NoError(t, err)
	roles, err := client.RbacV1().Roles("").List(ctx, metav1.ListOptions{})
	expect.NoError(t, err)
	clusterBindings, err := client.RbacV1().ClusterRoleBindings().List(ctx, metav1.ListOptions{})
	expect.NoError(t, err)
	bindings, err := client.RbacV1().RoleBindings("").List(ctx, metav1.ListOptions{})
	expect.NoError(t, err)
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
		t.Fatalf("kube-apiserver has only %d default RBAC objects", len(all))
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
		return fmt.Errorf("the error contains no response of the server: %w", err)
	}
	return err
}

// writeRBAC writes objects as manifests.
func writeRBAC(t *testing.T, objects []runtime.Object) string {
	t.Helper()
	var b strings.Builder
	for _, object := range objects {
		object = object.DeepCopyObject()
		kind := strings.TrimPrefix(fmt.Sprintf("%T", object), "*v1.")
		object.GetObjectKind().SetGroupVersionKind(rbacv1.SchemeGroupVersion.WithKind(kind))
		text, err := yaml.Marshal(object)
		expect.NoError(t, err)
		fmt.Fprintf(&b, "---\n%s", text)
	}
	path := filepath.Join(t.TempDir(), "rbac.yaml")
	expect.NoError(t, os.WriteFile(path, []byte(b.String()), 0o644))
	return path
}

// rbacSeed returns the seed in FAUXLET_E2E_SEED, or 1 if that variable is empty.
func rbacSeed(t *testing.T) uint64 {
	t.Helper()
	text := os.Getenv("FAUXLET_E2E_SEED")
	if text == "" {
		return 1
	}
	seed, err := strconv.ParseUint(text, 10, 64)
	expect.NoError(t, err)
	return seed
}

func newRBACGenerator(seed uint64) *rbacGenerator {
	return &rbacGenerator{random: rand.New(rand.NewPCG(seed, seed))}
}
