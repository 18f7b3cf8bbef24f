package authchain

import (
	"crypto/tls"
	stdx509 "crypto/x509"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	authorizationapi "k8s.io/api/authorization/v1"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	authorizationv1 "k8s.io/client-go/kubernetes/typed/authorization/v1"
	"k8s.io/client-go/rest"

	"fauxlet/testcerts"
)

// newReviewer returns a client of an API server that allows reviews of the subresource "proxy" only, and the number of
// reviews that the server has received.
func newReviewer(t testing.TB) (authorizationv1.AuthorizationV1Interface, *atomic.Int64) {
	t.Helper()
	reviews := new(atomic.Int64)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		reviews.Add(1)
		var review authorizationapi.SubjectAccessReview
		if err := json.NewDecoder(r.Body).Decode(&review); err != nil {
			t.Error(err)
		}
		review.Status.Allowed = review.Spec.ResourceAttributes.Subresource == "proxy"
		review.Status.Reason = fmt.Sprintf("the reason for %q", review.Spec.User)
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(review)
	}))
	t.Cleanup(server.Close)
	client, err := authorizationv1.NewForConfig(&rest.Config{Host: server.URL, QPS: -1,
		ContentConfig: rest.ContentConfig{ContentType: "application/json"}})
	if err != nil {
		t.Fatal(err)
	}
	return client, reviews
}

// TestReviewCacheChangesNoReview sends the same random checks to a chain and to the webhook authorizer of
// k8s.io/apiserver. Both must send a review for the same checks, and return the same results.
func TestReviewCacheChangesNoReview(t *testing.T) {
	client, reviews := newReviewer(t)
	config := Config{NodeName: "node-1", Mode: Webhook, AccessReviews: client, AuthorizedTTL: time.Hour,
		UnauthorizedTTL: time.Hour}
	names := []string{"a", "b", "a\xff", "a\xfe"} // JSON encodes the last two alike
	groups := [][]string{nil, {}, {"x"}, {"x", "y"}, {"y", "x"}}
	extras := []map[string][]string{nil, {"k": nil}, {"k": {}}, {"k": {"v"}}, {"l": {"v"}}}
	paths := []string{"/exec/" + strings.Repeat("a", 9_000), "/exec/" + strings.Repeat("a", 10_000), "/exec", "/logs"}
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 0))
	var chain *Chain
	var webhook authorizer.UnconditionalAuthorizer
	var users [2]user.DefaultInfo
	for i := range 2_000 {
		if i%20 == 0 { // other users, and empty caches
			users[0] = user.DefaultInfo{Name: names[random.IntN(len(names))], Groups: groups[random.IntN(len(groups))],
				Extra: extras[random.IntN(len(extras))]}
			users[1] = users[0] // the second user differs in one field, or not at all
			switch random.IntN(4) {
			case 0:
				users[1].Name = names[random.IntN(len(names))]
			case 1:
				users[1].UID = "1"
			case 2:
				users[1].Groups = groups[random.IntN(len(groups))]
			case 3:
				users[1].Extra = extras[random.IntN(len(extras))]
			}
			var err error
			if chain, err = New(config); err != nil {
				t.Fatal(err)
			}
			if webhook, err = newAuthorizer(config); err != nil {
				t.Fatal(err)
			}
		}
		u := &users[random.IntN(len(users))]
		path := paths[random.IntN(len(paths))]
		r := httptest.NewRequest([]string{"GET", "POST"}[random.IntN(2)], path, nil)
		decision, r := NewDecision(r)

		before := reviews.Load()
		refusal := chain.authorize(r, u, decision)
		check, sent := decision.Authorization[0], reviews.Load()-before

		attrs := attributesOf(u, r, "node-1", check.Subresource)
		before = reviews.Load()
		result, reason, err := webhook.Authorize(t.Context(), &attrs)
		if err != nil {
			t.Fatal(err)
		}
		allowed := result == authorizer.DecisionAllow
		if wanted := reviews.Load() - before; sent != wanted || int64(check.Reviews) != sent ||
			check.Cached != (sent == 0) || (refusal == nil) != allowed || check.Reason != reason {
			t.Fatalf("seed %d, check %d of %#v for %.20s (%d bytes): %d reviews, cached %v, error %v, reason %q; "+
				"want %d reviews, allowed %v, reason %q", seed, i, u, path, len(path), sent, check.Cached, refusal,
				check.Reason, wanted, allowed, reason)
		}
	}
}

// TestReviewCacheExpires checks that a result is used until its TTL has passed since the review began, and that the TTL
// depends on the result.
func TestReviewCacheExpires(t *testing.T) {
	start := time.Now()
	u := &user.DefaultInfo{Name: "kubelet-client"}
	for _, test := range []struct {
		name   string
		result authorizer.Decision
		path   string
		ttl    time.Duration // 0 means that the result is not stored
	}{
		{"allowed", authorizer.DecisionAllow, "/pods", time.Minute},
		{"denied", authorizer.DecisionDeny, "/pods", time.Second},
		{"no opinion", authorizer.DecisionNoOpinion, "/pods", time.Second},
		{"long path", authorizer.DecisionAllow, "/" + strings.Repeat("a", longestCached), 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := newReviewCache(Config{AuthorizedTTL: time.Minute, UnauthorizedTTL: time.Second})
			c.put(&authorizer.AttributesRecord{User: u, Verb: "get", Subresource: "proxy", Path: test.path},
				test.result, "a reason", start)
			if test.ttl > 0 {
				got := c.get(u, "get", "proxy", start.Add(test.ttl-1))
				if got == nil || got.result != test.result || got.reason != "a reason" {
					t.Errorf("before the end of the TTL: %+v", got)
				}
			}
			if got := c.get(u, "get", "proxy", start.Add(test.ttl)); got != nil {
				t.Errorf("after the end of the TTL: %+v", got)
			}
		})
	}
}

// TestCachedDecideAllocatesLittle checks the number of allocations of a request whose certificate and review are
// cached. Encoding the key of the webhook's cache alone would need more.
func TestCachedDecideAllocatesLittle(t *testing.T) {
	ca, err := testcerts.NewAuthority("cluster-ca")
	if err != nil {
		t.Fatal(err)
	}
	pair, err := ca.Client("kubelet-client", []string{"system:masters"})
	if err != nil {
		t.Fatal(err)
	}
	client, reviews := newReviewer(t)
	chain, err := New(Config{NodeName: "node-1", Mode: Webhook, AccessReviews: client, AuthorizedTTL: time.Hour,
		ClientCA: fixedRoots{stdx509.VerifyOptions{Roots: ca.Pool(),
			KeyUsages: []stdx509.ExtKeyUsage{stdx509.ExtKeyUsageClientAuth}}}})
	if err != nil {
		t.Fatal(err)
	}
	request := httptest.NewRequest("GET", "/containerLogs/default/nginx/nginx", nil)
	request.TLS = &tls.ConnectionState{PeerCertificates: []*stdx509.Certificate{pair.Leaf}}
	allocations := testing.AllocsPerRun(100, func() {
		if decision, err := chain.Decide(request); err != nil {
			t.Fatal(decision.Why())
		}
	})
	if allocations > 8 || reviews.Load() != 1 {
		t.Errorf("%.0f allocations and %d reviews, want at most 8 and 1", allocations, reviews.Load())
	}
}

// fixedRoots is a CAProvider that never changes.
type fixedRoots struct{ options stdx509.VerifyOptions }

func (f fixedRoots) VerifyOptions() (stdx509.VerifyOptions, bool) { return f.options, true }
