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

		verdict  explain.Outcome
		why      string
		outcomes string // of the stops, by their first letters
		cure     string // a part of the first
	}{
		{name: "good", kind: "client", verdict: explain.Allowed, why: `user "kubelet-client" may get nodes/proxy`,
			outcomes: "passed,passed,not reached,not reached,passed,passed,passed,passed"},
		{name: "nobody", verdict: explain.Refused, why: "no client certificate was presented; anonymous authentication is off",
			outcomes: "passed,skipped,skipped,skipped,failed,not reached,not reached,failed", cure: "--kubelet-client-certificate"},
		{name: "anonymous", anonymous: true, verdict: explain.Allowed, why: `user "system:anonymous" may get nodes/proxy`,
			outcomes: "passed,skipped,skipped,passed,passed,passed,passed,passed"},
		{name: "expired, and anonymous on", kind: "client-expired", anonymous: true, verdict: explain.Refused, why: "certificate expired at",
			outcomes: "passed,failed,skipped,not reached,failed,not reached,not reached,failed", cure: "kubeadm certs renew"},
		{name: "stranger", kind: "client-stranger", verdict: explain.Refused, why: `certificate signed by unknown authority "stranger-ca"`,
			outcomes: "passed,failed,skipped,not reached,failed,not reached,not reached,failed", cure: "clientCAFile"},
		{name: "a token that nobody reads", token: true, verdict: explain.Refused, why: "the bearer token was not read: authentication.webhook.enabled is false",
			outcomes: "passed,skipped,skipped,skipped,failed,not reached,not reached,failed", cure: "webhook: {enabled: true}"},
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
			road := explain.Decision(d, known)
			if road.Outcome != test.verdict || !strings.Contains(road.Reason, test.why) {
				t.Errorf("%s: %s, want %s: %s", road.Outcome, road.Reason, test.verdict, test.why)
			}
			if got := outcomes(road); got != test.outcomes {
				t.Errorf("outcomes %s, want %s", got, test.outcomes)
			}
			if (test.cure == "") != (len(road.Remedies) == 0) || test.cure != "" && !strings.Contains(fmt.Sprintf("%+v", road.Remedies), test.cure) {
				t.Errorf("cures %+v, want %q", road.Remedies, test.cure)
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
		road := explain.Decision(authchain.FailedHandshake("192.0.2.9:1234", handshake), explain.Facts{})
		if road.Outcome != explain.Refused || road.Reason != "TLS handshake failed: "+handshake {
			t.Errorf("%s: %s", road.Outcome, road.Reason)
		}
		if want := "failed" + strings.Repeat(",not reached", 7); outcomes(road) != want {
			t.Errorf("%s: outcomes %s", handshake, outcomes(road))
		}
		if got := fmt.Sprintf("%+v", road.Remedies); (cure == "") != (len(road.Remedies) == 0) || !strings.Contains(got, cure) {
			t.Errorf("%s: cures %s, want %q", handshake, got, cure)
		}
	}
}

// TestUnjudgedRoads are those of paths at which nobody asks.
func TestUnjudgedRoads(t *testing.T) {
	for _, test := range []struct {
		tls     *tls.ConnectionState
		status  int
		verdict explain.Outcome
	}{
		{nil, 200, explain.NoAuthentication},
		{nil, 405, explain.NotServed},
		{&tls.ConnectionState{}, 404, explain.NotServed},
		{&tls.ConnectionState{}, 301, explain.NotServed},
	} {
		road := explain.Decision(&authchain.Decision{TLS: test.tls, Status: test.status, Method: "GET", Path: "/x"}, explain.Facts{})
		if road.Outcome != test.verdict || road.Reason == "" || len(road.Remedies) > 0 {
			t.Errorf("%d: %s, %q, %v, want %s", test.status, road.Outcome, road.Reason, road.Remedies, test.verdict)
		}
	}
}

func outcomes(road explain.Explanation) string {
	all := make([]string, len(road.Stages))
	for i := range road.Stages {
		all[i] = string(road.Stages[i].State)
	}
	return strings.Join(all, ",")
}

// provider is a client CA that does not change.
type provider struct{ *testcerts.Authority }

func (p provider) VerifyOptions() (x509.VerifyOptions, bool) {
	return x509.VerifyOptions{Roots: p.Pool(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}, true
}
