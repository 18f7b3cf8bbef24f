package server_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"fauxlet/authchain"
)

// uncached is YAML that turns off the caching of SubjectAccessReviews. cached is YAML that makes the Server cache
// TokenReviews for an hour.
const (
	uncached = "authorization: {mode: Webhook, webhook: {cacheAuthorizedTTL: 1ns, cacheUnauthorizedTTL: 1ns}}\n"
	cached   = "{x509: {clientCAFile: ca.crt}, webhook: {cacheTTL: 1h}}"
)

// TestReviewerFaults checks the Server's response to clients with a certificate or a token while a fault affects the
// review API.
func TestReviewerFaults(t *testing.T) {
	const tokenOf, certificateOf = "token", "certificate"
	for name, test := range map[string]struct {
		faults []string
		client string
		// statuses are the expected statuses of consecutive requests. The fields body, reason and affectedBy are what
		// the test expects of the last of these requests.
		statuses     []int
		body, reason string
		affectedBy   []string
		took         time.Duration
	}{
		"down, token": {[]string{`{"kind": "reviewer-down"}`}, tokenOf, []int{401}, "Unauthorized",
			"connect: connection refused", []string{"reviewer-down-1"}, 0},
		"down, certificate": {[]string{`{"kind": "reviewer-down"}`}, certificateOf, []int{500},
			"Authorization error (user=kubelet-client, verb=get, resource=nodes, subresource=proxy)",
			"connect: connection refused", []string{"reviewer-down-1"}, 0},
		"down for a while": {[]string{`{"kind": "reviewer-down", "count": 1}`}, certificateOf, []int{500, 200},
			"", "", nil, 0},
		"down for tokens": {[]string{`{"kind": "reviewer-down", "review": "TokenReview"}`}, certificateOf,
			[]int{200}, "", "", nil, 0},
		"down for access": {[]string{`{"kind": "reviewer-down", "review": "SubjectAccessReview"}`}, tokenOf,
			[]int{500}, "", "connect: connection refused", []string{"reviewer-down-1"}, 0},
		"down for a user": {[]string{`{"kind": "reviewer-down", "user": "kubelet-*", "group": "system:authenticated"}`},
			tokenOf, []int{500}, "", "connect: connection refused", []string{"reviewer-down-1"}, 0},
		"down for another": {[]string{`{"kind": "reviewer-down", "user": "prometheus"}`}, tokenOf, []int{200}, "",
			"", nil, 0},
		"slow": {[]string{`{"kind": "reviewer-slow", "delay": "40ms"}`}, tokenOf, []int{200}, "", "",
			[]string{"reviewer-slow-1"}, 80 * time.Millisecond},
		"slow, once": {[]string{`{"kind": "reviewer-slow", "delay": "40ms", "review": "SubjectAccessReview"}`}, tokenOf,
			[]int{200}, "", "", []string{"reviewer-slow-1"}, 40 * time.Millisecond},
		"wrong, token": {[]string{`{"kind": "reviewer-wrong"}`}, tokenOf, []int{401}, "Unauthorized",
			"invalid bearer token", []string{"reviewer-wrong-1"}, 0},
		"wrong, certificate": {[]string{`{"kind": "reviewer-wrong", "answer": "deny"}`}, certificateOf, []int{403},
			"Forbidden (user=kubelet-client, verb=get, resource=nodes, subresource(s)=[proxy])\n", "",
			[]string{"reviewer-wrong-1"}, 0},
		"wrong of another": {[]string{`{"kind": "reviewer-wrong", "user": "prometheus"}`}, tokenOf, []int{200},
			"", "", nil, 0},
		"wrong about who": {[]string{`{"kind": "reviewer-wrong", "answer": "other-user", "as": "eve"}`}, tokenOf,
			[]int{403}, "Forbidden (user=eve, verb=get, resource=nodes, subresource(s)=[proxy])\n", "",
			[]string{"reviewer-wrong-1"}, 0},
		"right about who": {[]string{`{"kind": "reviewer-wrong", "answer": "other-user", "as": "kubelet-client"}`},
			tokenOf, []int{200}, "", "", []string{"reviewer-wrong-1"}, 0},
		"who, certificate": {[]string{`{"kind": "reviewer-wrong", "answer": "other-user", "as": "eve"}`},
			certificateOf, []int{200}, "", "", nil, 0},
		"revoking, token": {[]string{`{"kind": "reviewer-revoking", "review": "TokenReview"}`}, tokenOf,
			[]int{200, 401, 401}, "", "invalid bearer token", []string{"reviewer-revoking-1"}, 0},
		"revoking, right": {[]string{`{"kind": "reviewer-revoking"}`}, certificateOf, []int{200, 403, 403},
			"Forbidden (user=kubelet-client", "", []string{"reviewer-revoking-1"}, 0},
		"slow and down": {[]string{`{"kind": "reviewer-slow", "delay": "30ms"}`, `{"kind": "reviewer-down"}`},
			certificateOf, []int{500}, "", "connection refused", []string{"reviewer-slow-1",
				"reviewer-down-1"}, 30 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, fixtureOptions{yaml: uncached})
			client := f.withToken(t, "the-token-of-kubelet-client")
			if test.client == certificateOf {
				client = f.kubeletClient(t)
			}
			for _, text := range test.faults {
				f.fault(t, text)
			}
			var body string
			start := time.Now()
			for i, want := range test.statuses {
				var got *http.Response
				if got, body = get(t, client, f.url+log10); got.StatusCode != want {
					t.Errorf("request %d: %d %s, want %d", i, got.StatusCode, body, want)
				}
			}
			if !strings.HasPrefix(body, test.body) || time.Since(start) < test.took {
				t.Errorf("%q in %v", body, time.Since(start))
			}
			d := f.decision(t, len(test.statuses))
			if !strings.Contains(d.Why(), test.reason) || !affectedBy(test.affectedBy...)(d) {
				t.Errorf("why %q, affected by %q; want %q, %q", d.Why(), d.AffectedBy, test.reason, test.affectedBy)
			}
		})
	}
}

// TestReplacedUserIsInTheDecision uses a fault that replaces the authenticated user. It checks that the Decision names
// both users, and that the caches are emptied when the fault ends.
func TestReplacedUserIsInTheDecision(t *testing.T) {
	f := newFixture(t, fixtureOptions{authentication: cached})
	client := f.withToken(t, "the-token-of-kubelet-client")
	fault := f.fault(t, `{"kind": "reviewer-wrong", "answer": "other-user", "as": "eve"}`)
	for range 2 {
		if got, _ := get(t, client, f.url+log10); got.StatusCode != 403 {
			t.Errorf("%d", got.StatusCode)
		}
	}
	if d := f.decision(t, 1); d.User.GetName() != "eve" ||
		!strings.Contains(fmt.Sprint(d.User.GetExtra()), `"username":"kubelet-client"`) ||
		!affectedBy(fault.Name)(d) {
		t.Errorf("user %v, affected by %q", d.User, d.AffectedBy)
	}
	if !f.decision(t, 2).Cached() {
		t.Error("the second answer was not cached")
	}
	for _, record := range f.reviews.Reviews() {
		if record.Access != nil && len(record.Access.Extra) > 0 {
			t.Errorf("the reviewer received %v", record.Access)
		}
	}
	f.faults.Clear()
	if got, _ := get(t, client, f.url+log10); got.StatusCode != 200 {
		t.Errorf("after the fault: %d", got.StatusCode)
	}
}

// TestCachedAccessOfReplacementDoesNotGrantAccess uses a fault that replaces a user without rights by a user whose
// access is cached. The request must still be refused, because a fault must never give a client more rights.
func TestCachedAccessOfReplacementDoesNotGrantAccess(t *testing.T) {
	f := newFixture(t, fixtureOptions{authentication: cached})
	if got, _ := get(t, f.withToken(t, "the-token-of-kubelet-client"), f.url+log10); got.StatusCode != 200 {
		t.Fatalf("kubelet-client: %d", got.StatusCode)
	}
	f.fault(t, `{"kind": "reviewer-wrong", "answer": "other-user", "as": "kubelet-client",
		"user": "system:serviceaccount:*"}`)
	got, body := get(t, f.withToken(t, "the-token-of-prometheus"), f.url+log10)
	if got.StatusCode != 403 || !strings.HasPrefix(body, "Forbidden (user=kubelet-client") {
		t.Errorf("%d %s", got.StatusCode, body)
	}
}

// TestRevokedTokenIsValidWhileCached uses the fault reviewer-revoking, which denies every review that it has allowed
// once. While a token's review is cached, the Server sends no further review, so the token stays valid. When the fault
// caches-flushed turns off the cache, the next review is allowed and the one after it is denied. When both faults have
// ended, the token is valid again.
func TestRevokedTokenIsValidWhileCached(t *testing.T) {
	f := newFixture(t, fixtureOptions{authentication: cached})
	client := f.withToken(t, "the-token-of-kubelet-client")
	status := func() int {
		got, _ := get(t, client, f.url+log10)
		return got.StatusCode
	}
	before := status()
	revoking := f.fault(t, `{"kind": "reviewer-revoking", "review": "TokenReview"}`)
	remembered := status()
	flushed := f.fault(t, `{"kind": "caches-flushed"}`)
	first, second := status(), status()
	if got := []int{before, remembered, first, second}; !slices.Equal(got, []int{200, 200, 200, 401}) {
		t.Errorf("%v", got)
	}
	if d := f.decision(t, 2); !d.Cached() || len(d.AffectedBy) > 0 {
		t.Errorf("while it was cached: cached %v, affected by %q", d.Cached(), d.AffectedBy)
	}
	if d := f.decision(t, 4); d.Cached() || !affectedBy(flushed.Name, revoking.Name)(d) {
		t.Errorf("after the flush: cached %v, affected by %q", d.Cached(), d.AffectedBy)
	}
	f.faults.Clear()
	if got := status(); got != 200 {
		t.Errorf("at the end: %d", got)
	}
}

// TestCachesFlushed checks that no review is cached while the fault caches-flushed is active. It also checks that the
// caches are emptied even if the fault begins and ends between two requests.
func TestCachesFlushed(t *testing.T) {
	f := newFixture(t, fixtureOptions{authentication: cached})
	client := f.withToken(t, "the-token-of-kubelet-client")
	reviews := func() int {
		t.Helper()
		before := len(f.reviews.Reviews())
		if got, _ := get(t, client, f.url+log10); got.StatusCode != 200 {
			t.Errorf("%d", got.StatusCode)
		}
		return len(f.reviews.Reviews()) - before
	}
	if got := []int{reviews(), reviews()}; !slices.Equal(got, []int{2, 0}) {
		t.Errorf("without a fault: %v reviews", got)
	}
	f.fault(t, `{"kind": "caches-flushed", "node": "node-2"}`)
	if got := reviews(); got != 0 {
		t.Errorf("on another node: %d reviews", got)
	}
	fault := f.fault(t, `{"kind": "caches-flushed"}`)
	if got := []int{reviews(), reviews()}; !slices.Equal(got, []int{2, 2}) || fault.Applied() != 2 {
		t.Errorf("flushed: %v reviews; the fault was applied %d times", got, fault.Applied())
	}
	f.faults.Clear()
	if got := []int{reviews(), reviews()}; !slices.Equal(got, []int{2, 0}) {
		t.Errorf("afterwards: %v reviews", got)
	}
	f.fault(t, `{"kind": "caches-flushed"}`)
	f.faults.Clear()
	if got := reviews(); got != 2 {
		t.Errorf("after a fault between two requests: %d reviews", got)
	}
}

func TestCachedDenialEndsWithItsFault(t *testing.T) {
	f := newFixture(t, fixtureOptions{})
	client := f.kubeletClient(t)
	fault := f.fault(t, `{"kind": "reviewer-wrong", "count": 1}`)
	for i := range 2 {
		if got, _ := get(t, client, f.url+log10); got.StatusCode != 403 {
			t.Errorf("%d", got.StatusCode)
		}
		if d := f.decision(t, i+1); d.Cached() != (i == 1) {
			t.Errorf("request %d: cached %v", i, d.Cached())
		}
	}
	if fault.Applied() != 1 {
		t.Errorf("the fault was applied %d times", fault.Applied())
	}
	f.faults.Clear()
	if got, _ := get(t, client, f.url+log10); got.StatusCode != 200 {
		t.Errorf("after the fault: %d", got.StatusCode)
	}
}

func TestReviewerDownLooksLikeAReviewerThatIsDown(t *testing.T) {
	f := newFixture(t, fixtureOptions{yaml: uncached})
	client := f.withToken(t, "the-token-of-kubelet-client")
	f.stopReviews()
	get(t, client, f.url+log10)
	f.startReviews(t)
	f.fault(t, `{"kind": "reviewer-down"}`)
	get(t, client, f.url+log10)
	really, byFault := f.decision(t, 1), f.decision(t, 2)
	if really.Why() != byFault.Why() || really.Status != byFault.Status ||
		byFault.Authentication[1].Outcome != authchain.OutcomeError {
		t.Errorf("no fault: %d %s\nwith fault: %d %s", really.Status, really.Why(), byFault.Status, byFault.Why())
	}
}
