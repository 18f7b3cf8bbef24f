package authchain_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"fauxlet/authchain"
)

// TestChecksOfEachPath denies every authorization check, and verifies which subresources are tried for each method and
// path.
func TestChecksOfEachPath(t *testing.T) {
	p, a := newPKI(t), newAPIServer(t)
	coarse := webhookConfig(p, a)
	coarse.FineGrained = false
	fine := newStandin(t, newChain(t, webhookConfig(p, a)), true)
	old := newStandin(t, newChain(t, coarse), true)
	user := with(client(t, p.clusterCA, "kubelet-client", nil), "")

	for _, c := range []struct {
		method, path string
		fine, old    []string
	}{
		{"GET", "/pods", []string{"pods", "proxy"}, []string{"proxy"}},
		{"GET", "/pods/", []string{"pods", "proxy"}, []string{"proxy"}},
		{"GET", "/podsandmore", []string{"proxy"}, []string{"proxy"}},
		{"GET", "/runningpods/", []string{"pods", "proxy"}, []string{"proxy"}},
		{"GET", "/runningPods/", []string{"proxy"}, []string{"proxy"}},
		{"GET", "/allocatedPods/default/nginx", []string{"pods", "proxy"}, []string{"proxy"}},
		{"GET", "/healthz/ping", []string{"healthz", "proxy"}, []string{"proxy"}},
		{"GET", "/configz", []string{"configz", "proxy"}, []string{"proxy"}},
		{"GET", "/flagz", []string{"configz"}, []string{"configz"}},
		{"GET", "/statusz", []string{"statusz"}, []string{"statusz"}},
		{"GET", "/stats/summary", []string{"stats"}, []string{"stats"}},
		{"GET", "/metrics/cadvisor", []string{"metrics"}, []string{"metrics"}},
		{"GET", "/logs/messages", []string{"log"}, []string{"log"}},
		{"POST", "/checkpoint/a/b/c", []string{"checkpoint"}, []string{"checkpoint"}},
		{"GET", "/containerLogs/default/nginx/nginx", []string{"proxy"}, []string{"proxy"}},
		{"POST", "/exec/default/nginx/nginx", []string{"proxy"}, []string{"proxy"}},
		{"PUT", "/pods", []string{"pods", "proxy"}, []string{"proxy"}},
		{"PATCH", "/spec", []string{"proxy"}, []string{"proxy"}},
		{"DELETE", "/pods", []string{"pods", "proxy"}, []string{"proxy"}},
		{"HEAD", "/pods", []string{"pods", "proxy"}, []string{"proxy"}},
		{"OPTIONS", "/pods", []string{"pods", "proxy"}, []string{"proxy"}},
		{"BREW", "/pods", []string{"pods", "proxy"}, []string{"proxy"}},
	} {
		t.Run(c.method+c.path, func(t *testing.T) {
			verb := map[string]string{"GET": "get", "POST": "create", "PUT": "update", "PATCH": "patch",
				"DELETE": "delete"}[c.method]
			for s, subresources := range map[*standin][]string{fine: c.fine, old: c.old} {
				before := len(a.asked())
				status, body, _ := s.send(t, c.method, c.path, user)
				var want []string
				for _, subresource := range subresources {
					want = append(want, verb+" "+subresource)
				}
				if asked := a.asked()[before:]; !slices.Equal(asked, want) {
					t.Errorf("access reviews %q, want %q", asked, want)
				}
				text := "Forbidden (user=kubelet-client, verb=" + verb + ", resource=nodes, subresource(s)=[" +
					strings.Join(subresources, " ") + "])\n"
				if status != 403 || c.method != "HEAD" && body != text {
					t.Errorf("%d %q, want 403 %q", status, body, text)
				}
			}
		})
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, spec := range a.accesses {
		if attributes := spec.ResourceAttributes; attributes.Resource != "nodes" || attributes.Name != "node-1" ||
			attributes.Version != "v1" || attributes.Namespace != "" {
			t.Fatalf("the access review has the attributes %+v", attributes)
		}
	}
}

// TestProxyIsCheckedAfterDenial checks that the subresource proxy is checked only after access to the first subresource
// has been denied.
func TestProxyIsCheckedAfterDenial(t *testing.T) {
	p, a := newPKI(t), newAPIServer(t)
	s := newStandin(t, newChain(t, webhookConfig(p, a)), true)
	for _, c := range []struct {
		name    string
		allowed []string
		status  int
		asked   int
	}{
		{"fine", []string{"pods"}, 200, 1},
		{"coarse", []string{"proxy"}, 200, 2},
		{"neither", nil, 403, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			a.allow(map[string][]string{"kubelet-client": c.allowed})
			before := len(a.asked())
			status, _, decision := s.send(t, "GET", "/pods", with(client(t, p.clusterCA, "kubelet-client", nil), ""))
			if asked := len(a.asked()) - before; status != c.status || asked != c.asked {
				t.Errorf("%d after %d checks, want %d after %d: %s", status, asked, c.status, c.asked,
					decision.Why())
			}
		})
	}
}

// TestAccessReviewFails checks that a failed review causes a 500, and that the subresource proxy is not checked after
// it.
func TestAccessReviewFails(t *testing.T) {
	p, a := newPKI(t), newAPIServer(t)
	a.intercept = func(w http.ResponseWriter, _ *http.Request) bool {
		http.Error(w, "no", http.StatusForbidden)
		return true
	}
	s := newStandin(t, newChain(t, webhookConfig(p, a)), true)
	status, body, decision := s.send(t, "GET", "/pods", with(client(t, p.clusterCA, "kubelet-client", nil), ""))
	want := "Authorization error (user=kubelet-client, verb=get, resource=nodes, subresource=pods)"
	if _, reviews := a.counts(); status != 500 || body != want || reviews != 1 {
		t.Errorf("%d %q after %d reviews", status, body, reviews)
	}
	if decision.Cached() {
		t.Error("an error was cached")
	}
	if !strings.HasPrefix(decision.Why(),
		`error: cannot decide whether user "kubelet-client" may get nodes/pods: the SubjectAccessReview failed: `) {
		t.Errorf("why: %q", decision.Why())
	}
}

// TestAccessCache checks that allowed and denied results are cached, each for its own TTL, and that the Decision
// records whether a result came from the cache.
func TestAccessCache(t *testing.T) {
	p := newPKI(t)
	for _, c := range []struct {
		name                  string
		allowed               []string
		authorized, forbidden time.Duration
		cached                bool
		checks, totalReviews  int
	}{
		{"allowed", []string{"pods"}, time.Minute, 0, true, 1, 1},
		{"allowed-not-kept", []string{"pods"}, 0, time.Minute, false, 1, 3},
		{"denied", nil, 0, time.Minute, true, 2, 2},
		{"denied-not-kept", nil, time.Minute, 0, false, 2, 6},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := newAPIServer(t)
			a.allowed = map[string][]string{"kubelet-client": c.allowed}
			config := webhookConfig(p, a)
			config.AuthorizedTTL, config.UnauthorizedTTL = c.authorized, c.forbidden
			s := newStandin(t, newChain(t, config), true)
			user := with(client(t, p.clusterCA, "kubelet-client", nil), "")
			for i := range 3 {
				_, _, decision := s.send(t, "GET", "/pods", user)
				if len(decision.Authorization) != c.checks {
					t.Fatalf("%d checks, want %d", len(decision.Authorization), c.checks)
				}
				if want := c.cached && i > 0; decision.Cached() != want {
					t.Errorf("request %d: cached %v, want %v", i, decision.Cached(), want)
				}
			}
			if _, reviews := a.counts(); reviews != c.totalReviews {
				t.Errorf("%d reviews, want %d", reviews, c.totalReviews)
			}
		})
	}
}

// TestAlwaysAllowIsNotCached expects Decision.Cached to return false for every request in mode AlwaysAllow.
func TestAlwaysAllowIsNotCached(t *testing.T) {
	p, a := newPKI(t), newAPIServer(t)
	config := webhookConfig(p, a)
	config.Mode = authchain.AlwaysAllow
	s := newStandin(t, newChain(t, config), true)
	for name, c := range map[string]credential{
		"allowed":       with(client(t, p.clusterCA, "kubelet-client", nil), ""),
		"no credential": {},
		"untrusted":     with(client(t, p.unknownCA, "kubelet-client", nil), ""),
	} {
		for range 2 {
			if _, _, decision := s.send(t, "GET", "/pods", c); decision.Cached() {
				t.Errorf("%s: cached: %s", name, decision.Why())
			}
		}
	}
}

// TestNewErrors expects the kubelet's error texts for a webhook without a client, and for an unknown mode.
func TestNewErrors(t *testing.T) {
	for _, c := range []struct {
		name   string
		config authchain.Config
		err    string
	}{
		{"webhook-authentication", authchain.Config{TokenWebhook: true, Mode: authchain.AlwaysAllow},
			"no client provided, cannot use webhook authentication"},
		{"webhook-authorization", authchain.Config{Mode: authchain.Webhook},
			"no client provided, cannot use webhook authorization"},
		{"no-mode", authchain.Config{}, "no authorization mode specified"},
		{"unknown-mode", authchain.Config{Mode: "RBAC"}, "unknown authorization mode RBAC"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := authchain.New(c.config); err == nil || err.Error() != c.err {
				t.Errorf("%v, want %s", err, c.err)
			}
		})
	}
}

// TestDecideKeepsDecisionOfContext expects Decide to complete the Decision in the request's context.
func TestDecideKeepsDecisionOfContext(t *testing.T) {
	chain := newChain(t, authchain.Config{Mode: authchain.AlwaysAllow, Anonymous: true})
	r, err := http.NewRequest("GET", "/pods", nil)
	if err != nil {
		t.Fatal(err)
	}
	begun, r := authchain.NewDecision(r.WithContext(authchain.WithAffectedBy(r.Context(), "slow")))
	got, err := chain.Decide(r)
	if err != nil || got != begun || got.Outcome() != "allowed" {
		t.Errorf("Decide returns %p (%s), %v; want %p, allowed", got, got.Outcome(), err, begun)
	}
	authchain.AddAffectedBy(r.Context(), "slow", "cut")
	if want := []string{"slow", "cut"}; !slices.Equal(got.AffectedBy, want) {
		t.Errorf("AffectedBy %q, want %q", got.AffectedBy, want)
	}
}
