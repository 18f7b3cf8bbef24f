package faulty_test

import (
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"fauxlet/internal/faults"
	"fauxlet/internal/reviewapi"
)

const reviewerRBAC = `
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: all}
rules: [{apiGroups: [""], resources: ["*"], verbs: ["*"]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: all}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: all}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: admin}]
`

// reviewerTest is a client that sends reviews to a review API through the round tripper of node-1. The user admin is
// allowed everything, and viewer nothing. The token of each user is the user name.
type reviewerTest struct {
	client *kubernetes.Clientset
	set    *faults.Set
}

func newReviewerTest(t *testing.T, contentType string) *reviewerTest {
	t.Helper()
	objects, err := reviewapi.ParseManifests("rbac", []byte(reviewerRBAC))
	if err != nil {
		t.Fatal(err)
	}
	policy, err := reviewapi.NewPolicy(objects...)
	if err != nil {
		t.Fatal(err)
	}
	server, err := reviewapi.New(reviewapi.Options{})
	if err != nil {
		t.Fatal(err)
	}
	server.SetPolicy(policy)
	server.SetTokens(reviewapi.NewTokens(map[string]*userInfo{"admin": {Name: "admin"}, "viewer": {Name: "viewer"}}))
	config := serveReviews(t, server)
	config.ContentType = contentType
	http, err := rest.HTTPClientFor(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { utilnet.CloseIdleConnectionsFor(http.Transport) })
	n, set := node()
	http.Transport = n.RoundTripper(http.Transport)
	client, err := kubernetes.NewForConfigAndClient(config, http)
	if err != nil {
		t.Fatal(err)
	}
	return &reviewerTest{client, set}
}

// token sends a TokenReview and returns the user of the token. If the token is refused, the user has no name.
func (r *reviewerTest) token(t *testing.T, token string) (authenticationv1.UserInfo, error) {
	t.Helper()
	review := &authenticationv1.TokenReview{Spec: authenticationv1.TokenReviewSpec{Token: token}}
	answer, err := r.client.AuthenticationV1().TokenReviews().Create(t.Context(), review, metav1.CreateOptions{})
	if err != nil {
		return authenticationv1.UserInfo{}, err
	}
	return answer.Status.User, nil
}

// allowed sends a SubjectAccessReview and returns whether the user is allowed to get nodes/proxy.
func (r *reviewerTest) allowed(t *testing.T, user authenticationv1.UserInfo) (bool, error) {
	t.Helper()
	review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
		User: user.Username, Groups: user.Groups, Extra: map[string]authorizationv1.ExtraValue{},
		ResourceAttributes: &authorizationv1.ResourceAttributes{Verb: "get", Resource: "nodes", Subresource: "proxy",
			Name: "node-1"},
	}}
	for key, value := range user.Extra {
		review.Spec.Extra[key] = authorizationv1.ExtraValue(value)
	}
	answer, err := r.client.AuthorizationV1().SubjectAccessReviews().Create(t.Context(), review, metav1.CreateOptions{})
	if err != nil {
		return false, err
	}
	return answer.Status.Allowed, nil
}

func TestRoundTripperFailsReviews(t *testing.T) {
	for _, contentType := range []string{"application/json", "application/vnd.kubernetes.protobuf"} {
		t.Run(contentType, func(t *testing.T) {
			r := newReviewerTest(t, contentType)
			admin := authenticationv1.UserInfo{Username: "admin"}
			if user, err := r.token(t, "admin"); err != nil || user.Username != "admin" {
				t.Fatalf("without faults: user %q, %v", user.Username, err)
			}
			add(t, r.set, `{"kind": "reviewer-down", "review": "TokenReview"}`)
			if _, err := r.token(t, "admin"); !errors.Is(err, syscall.ECONNREFUSED) {
				t.Errorf("reviewer-down: %v", err)
			}
			if allowed, err := r.allowed(t, admin); err != nil || !allowed {
				t.Errorf("reviewer-down for TokenReviews: access %v, %v", allowed, err)
			}
			r.set.Clear()
			add(t, r.set, `{"kind": "reviewer-error", "status": 403}`)
			if _, err := r.token(t, "admin"); !apierrors.IsForbidden(err) {
				t.Errorf("reviewer-error with status 403: %v", err)
			}
			r.set.Clear()
			add(t, r.set, `{"kind": "reviewer-error"}`)
			if allowed, err := r.allowed(t, admin); err == nil || allowed {
				t.Errorf("reviewer-error without a status: access %v, %v", allowed, err)
			}
			r.set.Clear()
			add(t, r.set, `{"kind": "reviewer-wrong"}`)
			if user, err := r.token(t, "admin"); err != nil || user.Username != "" {
				t.Errorf("reviewer-wrong: user %q, %v", user.Username, err)
			}
			if allowed, err := r.allowed(t, admin); err != nil || allowed {
				t.Errorf("reviewer-wrong: access %v, %v", allowed, err)
			}
			r.set.Clear()
			add(t, r.set, `{"kind": "reviewer-revoking"}`)
			first, _ := r.allowed(t, admin)
			second, _ := r.allowed(t, admin)
			if !first || second {
				t.Errorf("reviewer-revoking: allowed %v, then %v", first, second)
			}
			r.set.Clear()
			if allowed, err := r.allowed(t, admin); err != nil || !allowed {
				t.Errorf("after the faults: access %v, %v", allowed, err)
			}
		})
	}
}

// TestReplacedUserNeedsTheRightsOfBothUsers checks that a client without rights gains none when a fault replaces it by
// an administrator, and that an administrator loses its rights when a fault replaces it by a user without rights.
func TestReplacedUserNeedsTheRightsOfBothUsers(t *testing.T) {
	r := newReviewerTest(t, "application/vnd.kubernetes.protobuf")
	for _, test := range []struct {
		token, as string
		allowed   bool
	}{
		{token: "viewer", as: "admin", allowed: false},
		{token: "admin", as: "viewer", allowed: false},
		{token: "admin", as: "admin", allowed: true},
	} {
		add(t, r.set, `{"kind": "reviewer-wrong", "answer": "other-user", "as": "`+test.as+`"}`)
		user, err := r.token(t, test.token)
		if err != nil || user.Username != test.as {
			t.Errorf("token %s: user %q, %v", test.token, user.Username, err)
		}
		// The kubelet caches the user in the answer to the TokenReview, and may use that user after the fault has
		// ended. Even then, access must need the rights of both users.
		for _, when := range []string{"during", "after"} {
			if allowed, err := r.allowed(t, user); err != nil || allowed != test.allowed {
				t.Errorf("%s the fault, %s as %s: allowed %v, %v", when, test.token, test.as, allowed, err)
			}
			r.set.Clear()
		}
	}
}

// TestNoFaultOfReviewersGrantsAccess activates each kind of reviewer fault. During the fault it sends reviews of a
// token and of a user that are refused without faults. Both must still be refused.
func TestNoFaultOfReviewersGrantsAccess(t *testing.T) {
	r := newReviewerTest(t, "application/json")
	for _, kind := range faults.Kinds() {
		if !strings.HasPrefix(kind.Name, "reviewer-") {
			continue
		}
		for _, text := range []string{
			`{"kind": "` + kind.Name + `"}`, `{"kind": "` + kind.Name + `", "delay": "1ms"}`,
			`{"kind": "` + kind.Name + `", "answer": "other-user", "as": "admin"}`,
		} {
			fault, err := faults.Parse([]byte(text))
			if err != nil {
				continue // this kind of fault does not have these fields
			}
			if _, err := r.set.Add(fault); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				if user, _ := r.token(t, "unknown"); user.Username != "" {
					t.Errorf("%s: an unknown token is authenticated as %q", text, user.Username)
				}
				viewer, _ := r.token(t, "viewer")
				if allowed, _ := r.allowed(t, viewer); allowed {
					t.Errorf("%s: viewer, replaced by %q, is allowed", text, viewer.Username)
				}
			}
			r.set.Clear()
		}
	}
}

func TestRoundTripperPassesOtherRequests(t *testing.T) {
	n, set := node()
	add(t, set, `{"kind": "reviewer-down"}`)
	var mu sync.Mutex
	var sent []string
	transport := n.RoundTripper(roundTripper(func(r *http.Request) (*http.Response, error) {
		mu.Lock()
		defer mu.Unlock()
		sent = append(sent, r.Method)
		return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody}, nil
	}))
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		request, err := http.NewRequestWithContext(t.Context(), method, "http://apiserver/api/v1/nodes",
			strings.NewReader(`{"kind": "Node", "apiVersion": "v1"}`))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := transport.RoundTrip(request); err != nil {
			t.Error(err)
		}
	}
	if len(sent) != 2 {
		t.Errorf("the transport sent %q", sent)
	}
}

// TestSlowReviewEndsWhenTheNodeStops checks that a delay ends when the node's listener is closed.
func TestSlowReviewEndsWhenTheNodeStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, set := node()
		add(t, set, `{"kind": "reviewer-slow", "delay": "1h"}`)
		const review = `{"kind": "TokenReview", "apiVersion": "authentication.k8s.io/v1"}`
		transport := n.RoundTripper(roundTripper(func(*http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: http.StatusCreated, Header: http.Header{},
				Body: io.NopCloser(strings.NewReader(review))}, nil
		}))
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost,
			"http://apiserver/apis/authentication.k8s.io/v1/tokenreviews", strings.NewReader(review))
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		sent := make(chan error, 1)
		go func() {
			_, err := transport.RoundTrip(request)
			sent <- err
		}()
		synctest.Wait()
		if len(sent) != 0 {
			t.Fatalf("the review was not delayed: %v", <-sent)
		}
		inner, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		n.Listener(inner, true).Close()
		if err := <-sent; err != nil || time.Since(began) != 0 {
			t.Errorf("the review ended after %v with the error %v", time.Since(began), err)
		}
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
