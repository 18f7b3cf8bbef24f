package authchain_test

import (
	"encoding/json"
	"net/http/httptest"
	"strings"
	"testing"

	authenticationv1api "k8s.io/api/authentication/v1"

	"fauxlet/authchain"
)

// TestDecisionJSON expects the JSON of a Decision to have all steps and checks, and no token.
func TestDecisionJSON(t *testing.T) {
	p, a := newPKI(t), newAPIServer(t)
	a.users[serviceAccountToken] = authenticationv1api.UserInfo{Username: serviceAccount, UID: "7",
		Groups: []string{"system:serviceaccounts"}}
	a.allow(map[string][]string{serviceAccount: {"metrics"}})
	s := newStandin(t, newChain(t, webhookConfig(p, a)), true)
	_, _, decision := s.send(t, "GET", "/metrics",
		with(client(t, p.unknownCA, "untrusted", nil), serviceAccountToken))
	data, err := json.Marshal(decision)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(data), serviceAccountToken) {
		t.Error("the JSON of the Decision contains the token")
	}
	var got authchain.Report
	if err := json.Unmarshal(data, &got); err != nil {
		t.Fatal(err)
	}
	if got.Connection.Version != "TLS 1.3" || got.Connection.Certificate.Subject != "CN=untrusted" ||
		got.Connection.Certificate.Issuer != "CN=unknown-ca" {
		t.Errorf("connection %+v", got.Connection)
	}
	if len(got.Authentication) != 2 || got.Authentication[0].Outcome != "refused" ||
		got.Authentication[1].Outcome != "authenticated" || len(got.Authentication[1].Token) != 8 {
		t.Errorf("authentication %+v", got.Authentication)
	}
	if got.User.Name != serviceAccount || got.User.UID != "7" {
		t.Errorf("user %+v", got.User)
	}
	if got.Outcome != "allowed" || got.By != authchain.MethodBearerToken || got.Cached {
		t.Errorf("outcome %q by %q, cached %v", got.Outcome, got.By, got.Cached)
	}
	if len(got.Authorization) != 1 || got.Authorization[0].Subresource != "metrics" ||
		got.Authorization[0].Result != "allowed" || got.Authorization[0].Reviews != 1 ||
		got.Authorization[0].Name != "node-1" {
		t.Errorf("authorization %+v", got.Authorization)
	}
	if got.Status != 200 ||
		got.Why != `allowed: user "`+serviceAccount+`" may get nodes/metrics: RBAC: allowed by a binding` {
		t.Errorf("status %d, why %q", got.Status, got.Why)
	}
	if first, second, asked := got.Authentication[0], got.Authentication[1],
		got.Authorization[0]; first.Start <= 0 || second.Start < first.Start+first.Duration ||
		asked.Start < second.Start+second.Duration || asked.Duration <= 0 || got.Duration > 0 &&
		asked.Start+asked.Duration > got.Duration {
		t.Errorf("the steps are not one after the other: %v+%v, %v+%v, %v+%v", first.Start, first.Duration,
			second.Start, second.Duration, asked.Start, asked.Duration)
	}
}

// TestTraceparent expects the Decision to contain the traceparent header only if the header has the right length.
func TestTraceparent(t *testing.T) {
	const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	for name, test := range map[string]struct {
		headers []string
		want    string
	}{
		"one":     {[]string{parent}, parent},
		"none":    {nil, ""},
		"two":     {[]string{parent, parent}, ""},
		"longer":  {[]string{parent + "-x"}, ""},
		"shorter": {[]string{parent[1:]}, ""},
	} {
		r := httptest.NewRequest("GET", "/pods", nil)
		r.Header["Traceparent"] = test.headers
		if d, _ := authchain.NewDecision(r); d.Traceparent != test.want {
			t.Errorf("%s: %q, want %q", name, d.Traceparent, test.want)
		}
	}
}
