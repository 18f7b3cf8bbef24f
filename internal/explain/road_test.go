package explain_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"fauxlet/authchain"
	"fauxlet/internal/explain"
	"fauxlet/testcerts"
)

// TestRoads draws the roads of requests that a chain without reviewers decides.
func TestRoads(t *testing.T) {
	ca := authority(t, "cluster-ca")
	known := explain.Facts{ClientCAs: []*x509.Certificate{ca.Cert}}
	for _, test := range []struct {
		name string
		// kind of certificate; empty: none.
		kind      string
		anonymous bool
		token     bool

		verdict  explain.Verdict
		why      string
		outcomes string // of the stops, by their first letters
		cure     string // a part of the first
	}{
		{name: "good", kind: "client", verdict: explain.Allowed, why: `user "kubelet-client" may get nodes/proxy`,
			outcomes: "passed,passed,not reached,not reached,passed,passed,passed,passed"},
		{name: "nobody", verdict: explain.Refused, why: "no client certificate was presented; anonymous authentication is off",
			outcomes: "passed,skipped,skipped,skipped,refused,not reached,not reached,refused", cure: "--kubelet-client-certificate"},
		{name: "anonymous", anonymous: true, verdict: explain.Allowed, why: `user "system:anonymous" may get nodes/proxy`,
			outcomes: "passed,skipped,skipped,passed,passed,passed,passed,passed"},
		{name: "expired, and anonymous on", kind: "client-expired", anonymous: true, verdict: explain.Refused, why: "certificate expired at",
			outcomes: "passed,refused,skipped,not reached,refused,not reached,not reached,refused", cure: "kubeadm certs renew"},
		{name: "stranger", kind: "client-stranger", verdict: explain.Refused, why: `certificate signed by unknown authority "stranger-ca"`,
			outcomes: "passed,refused,skipped,not reached,refused,not reached,not reached,refused", cure: "clientCAFile"},
		{name: "a token that nobody reads", token: true, verdict: explain.Refused, why: "the bearer token was not read: authentication.webhook.enabled is false",
			outcomes: "passed,skipped,skipped,skipped,refused,not reached,not reached,refused", cure: "webhook: {enabled: true}"},
	} {
		t.Run(test.name, func(t *testing.T) {
			chain, err := authchain.New(authchain.Config{NodeName: "node-1", ClientCA: provider{ca}, Anonymous: test.anonymous, Mode: authchain.AlwaysAllow})
			check(t, err)
			r := httptest.NewRequest(http.MethodGet, "/containerLogs/default/nginx/nginx", nil)
			r.TLS = &tls.ConnectionState{Version: tls.VersionTLS13}
			if test.kind != "" {
				kind, err := testcerts.KindNamed(test.kind)
				check(t, err)
				r.TLS.PeerCertificates = mint(t, kind, ca)
			}
			if test.token {
				r.Header.Set("Authorization", "Bearer secret-token")
			}
			d, err := chain.Decide(r)
			d.Status = http.StatusOK
			if err != nil {
				d.Status = http.StatusUnauthorized
			}
			road := explain.Of(d, known)
			if road.Verdict != test.verdict || !strings.Contains(road.Why, test.why) {
				t.Errorf("%s: %s, want %s: %s", road.Verdict, road.Why, test.verdict, test.why)
			}
			if got := outcomes(road); got != test.outcomes {
				t.Errorf("outcomes %s, want %s", got, test.outcomes)
			}
			if (test.cure == "") != (len(road.Cures) == 0) || test.cure != "" && !strings.Contains(fmt.Sprintf("%+v", road.Cures), test.cure) {
				t.Errorf("cures %+v, want %q", road.Cures, test.cure)
			}
			if data, err := json.Marshal(road); err != nil || strings.Contains(string(data), "secret-token") {
				t.Errorf("as JSON: %s, %v", data, err)
			}
		})
	}
}

// TestHandshakeRoads: a handshake that failed has a road of one stop, and a cure where somebody can do something.
func TestHandshakeRoads(t *testing.T) {
	for handshake, cure := range map[string]string{
		"there is no serving certificate yet (no serving certificate available for the kubelet)":                                "kubectl certificate approve",
		"the client does not accept the serving certificate (remote error: tls: bad certificate)":                               "--kubelet-certificate-authority",
		"the client does not trust the serving certificate (remote error: tls: unknown certificate authority)":                  "--kubelet-certificate-authority",
		"the client does not accept the serving certificate: it has expired (remote error: tls: expired certificate)":           "tlsCertFile",
		"the client speaks plain HTTP, and this port speaks TLS (client sent an HTTP request to an HTTPS server)":               "https://",
		"the client offers no TLS version that tlsMinVersion allows (tls: client offered only unsupported versions: [303])":     "tlsMinVersion",
		"the client offers no cipher suite that tlsCipherSuites has (tls: no cipher suite supported by both client and server)": "tlsCipherSuites",
		"the client closed the connection before it was through (EOF)":                                                          "",
	} {
		road := explain.Of(authchain.FailedHandshake("192.0.2.9:1234", handshake), explain.Facts{})
		if road.Verdict != explain.Refused || road.Why != "TLS handshake failed: "+handshake {
			t.Errorf("%s: %s", road.Verdict, road.Why)
		}
		if want := "refused" + strings.Repeat(",not reached", 7); outcomes(road) != want {
			t.Errorf("%s: outcomes %s", handshake, outcomes(road))
		}
		if got := fmt.Sprintf("%+v", road.Cures); (cure == "") != (len(road.Cures) == 0) || !strings.Contains(got, cure) {
			t.Errorf("%s: cures %s, want %q", handshake, got, cure)
		}
	}
}

// TestUnjudgedRoads are those of paths at which nobody asks.
func TestUnjudgedRoads(t *testing.T) {
	for _, test := range []struct {
		tls     *tls.ConnectionState
		status  int
		verdict explain.Verdict
	}{
		{nil, 200, explain.Unguarded},
		{nil, 405, explain.Unserved},
		{&tls.ConnectionState{}, 404, explain.Unserved},
		{&tls.ConnectionState{}, 301, explain.Unserved},
	} {
		road := explain.Of(&authchain.Decision{TLS: test.tls, Status: test.status, Method: "GET", Path: "/x"}, explain.Facts{})
		if road.Verdict != test.verdict || road.Why == "" || len(road.Cures) > 0 {
			t.Errorf("%d: %s, %q, %v, want %s", test.status, road.Verdict, road.Why, road.Cures, test.verdict)
		}
	}
}

func outcomes(road explain.Road) string {
	all := make([]string, len(road.Stops))
	for i := range road.Stops {
		all[i] = string(road.Stops[i].Outcome)
	}
	return strings.Join(all, ",")
}

// provider is a client CA that does not change.
type provider struct{ *testcerts.Authority }

func (p provider) VerifyOptions() (x509.VerifyOptions, bool) {
	return x509.VerifyOptions{Roots: p.Pool(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}, true
}
