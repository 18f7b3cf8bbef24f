package reviewapi

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/authentication/user"
)

// newInMemory returns a Server that reads no files.
func newInMemory(t testing.TB, options Options) *Server {
	t.Helper()
	server, err := New(options)
	if err != nil {
		t.Fatal(err)
	}
	return server
}

// post sends a review to the server's handler, with the bearer token of the server's kubeconfig.
func post(server *Server, w http.ResponseWriter, path, body string) {
	request := httptest.NewRequest(http.MethodPost, path, strings.NewReader(body))
	request.Header.Set("Authorization", "Bearer "+server.options.CallerToken)
	request.Header.Set("Content-Type", "application/json")
	server.Handler().ServeHTTP(w, request)
}

const (
	tokenPath  = "/apis/authentication.k8s.io/v1/tokenreviews"
	accessPath = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
	access     = `{"spec":{"user":"alice","resourceAttributes":` +
		`{"verb":"get","resource":"nodes","subresource":"proxy"}}}`
)

func TestSetPolicyAndSetTokensTakeEffectAtOnce(t *testing.T) {
	server := newInMemory(t, Options{})
	asked := func(path, body string) string {
		t.Helper()
		w := httptest.NewRecorder()
		post(server, w, path, body)
		return w.Body.String()
	}
	const token = `{"spec":{"token":"secret"}}`
	if got := asked(tokenPath, token); !strings.Contains(got, `"error":"invalid bearer token"`) {
		t.Errorf("before the change: %s", got)
	}
	server.SetTokens(NewTokens(map[string]*user.DefaultInfo{"secret": {Name: "alice"}}))
	if got := asked(tokenPath, token); !strings.Contains(got, `"authenticated":true,"user":{"username":"alice"`) {
		t.Errorf("after SetTokens: %s", got)
	}
	if got, want := server.Summary(), "1 token"; !strings.HasSuffix(got, want) {
		t.Errorf("summary %q, want one that ends with %q", got, want)
	}

	if got := asked(accessPath, access); !strings.Contains(got, `"allowed":false`) {
		t.Errorf("before the change: %s", got)
	}
	objects, err := ParseManifests("rbac", []byte(`
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: nodes}
rules: [{apiGroups: [""], resources: [nodes/proxy], verbs: [get]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: nodes}
roleRef: {kind: ClusterRole, name: nodes}
subjects: [{kind: User, name: alice}]
`))
	if err != nil {
		t.Fatal(err)
	}
	policy, err := NewPolicy(objects...)
	if err != nil {
		t.Fatal(err)
	}
	server.SetPolicy(policy)
	if got := asked(accessPath, access); !strings.Contains(got, `"allowed":true`) {
		t.Errorf("after SetPolicy: %s", got)
	}

	if _, err := ParseManifests("rbac", []byte("kind: Pod\napiVersion: v1")); err == nil ||
		!strings.HasPrefix(err.Error(), "rbac: no role and no binding; ") {
		t.Errorf("error %v, want one that names rbac and the missing objects", err)
	}
}

func TestAuthorizeReplacesRBAC(t *testing.T) {
	server := newInMemory(t, Options{
		Authorize: func(_ context.Context, review *authorizationv1.SubjectAccessReview, _ metav1.CreateOptions) (
			*authorizationv1.SubjectAccessReview, error) {
			answer := review.DeepCopy()
			answer.Status = authorizationv1.SubjectAccessReviewStatus{Denied: true,
				Reason: review.Spec.User + " is not welcome"}
			return answer, nil
		},
	})
	w := httptest.NewRecorder()
	post(server, w, accessPath, access)
	if got, want := w.Body.String(),
		`"status":{"allowed":false,"denied":true,"reason":"alice is not welcome"}`; !strings.Contains(got, want) {
		t.Errorf("answer %s, want one with %s", got, want)
	}
	reviews := server.Reviews()
	if len(reviews) != 1 || reviews[0].Access.User != "alice" || !reviews[0].AccessStatus.Denied {
		t.Errorf("reviews %+v", reviews)
	}
}

// recordsAtAnswer is a ResponseWriter that counts the recorded reviews when the first byte of the response is
// written.
type recordsAtAnswer struct {
	*httptest.ResponseRecorder
	server *Server
	seen   int
}

func (r *recordsAtAnswer) WriteHeader(code int) {
	r.seen = len(r.server.Reviews())
	r.ResponseRecorder.WriteHeader(code)
}

// TestReviewsAreRecordedBeforeTheirAnswer checks that the review is already recorded when the response is written.
func TestReviewsAreRecordedBeforeTheirAnswer(t *testing.T) {
	for body, code := range map[string]int{access: 201, `{"spec":{}}`: 422} {
		server := newInMemory(t, Options{})
		w := &recordsAtAnswer{httptest.NewRecorder(), server, 0}
		post(server, w, accessPath, body)
		reviews := server.Reviews()
		if w.seen != 1 || len(reviews) != 1 || reviews[0].Code != code || w.Code != code {
			t.Errorf("%s: %d reviews recorded at the response %d; then %+v", body, w.seen, w.Code, reviews)
		}
	}
}
