package explain

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"unicode"

	"fauxlet/authchain"
	"fauxlet/config"
	"fauxlet/testcerts"
)

// TestExplanations checks the explanations of Decisions that need no TokenReview and no SubjectAccessReview.
func TestExplanations(t *testing.T) {
	ca := authority(t, "cluster-ca")
	facts := Facts{ClientCAs: []*x509.Certificate{ca.Cert}}
	const (
		authenticatedByCertificate = "passed,passed,not reached,not reached,passed,passed,passed,passed"
		certificateRefused         = "passed,failed,skipped,not reached,failed,not reached,not reached,failed"
		noCredential               = "passed,skipped,skipped,skipped,failed,not reached,not reached,failed"
	)
	for _, test := range []struct {
		name            string
		certificateKind string // name of a testcerts.Kind; empty means no certificate
		anonymous       bool
		token           bool

		outcome Outcome
		reason  string // text that the explanation's reason must contain
		states  string
		remedy  string // text that the remedies must contain; empty means that no remedy is expected
	}{
		{name: "valid certificate", certificateKind: "client",
			outcome: Allowed, reason: `user "kubelet-client" may get nodes/proxy`, states: authenticatedByCertificate},
		{name: "no credential",
			outcome: Refused, reason: "no client certificate was presented; anonymous authentication is off",
			states: noCredential, remedy: "--kubelet-client-certificate"},
		{name: "anonymous", anonymous: true,
			outcome: Allowed, reason: `user "system:anonymous" may get nodes/proxy`,
			states: "passed,skipped,skipped,passed,passed,passed,passed,passed"},
		{name: "expired certificate is not anonymous", certificateKind: "client-expired", anonymous: true,
			outcome: Refused, reason: "certificate expired at", states: certificateRefused,
			remedy: "kubeadm certs renew"},
		{name: "unknown CA", certificateKind: "client-unknown-ca",
			outcome: Refused, reason: `certificate signed by unknown authority "unknown-ca"`,
			states: certificateRefused, remedy: "clientCAFile"},
		{name: "token without token authentication", token: true,
			outcome: Refused, reason: "the bearer token was not read: authentication.webhook.enabled is false",
			states: noCredential, remedy: "webhook: {enabled: true}"},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodGet, "/containerLogs/default/nginx/nginx", nil)
			r.TLS = &tls.ConnectionState{Version: tls.VersionTLS13}
			if test.certificateKind != "" {
				kind, err := testcerts.KindNamed(test.certificateKind)
				check(t, err)
				r.TLS.PeerCertificates = mint(t, kind, ca)
			}
			if test.token {
				r.Header.Set("Authorization", "Bearer secret-token")
			}
			e := Decision(decide(t, r, ca, test.anonymous), facts)
			if e.Outcome != test.outcome || !strings.Contains(e.Reason, test.reason) {
				t.Errorf("outcome %s, reason %q; want %s, %q", e.Outcome, e.Reason, test.outcome, test.reason)
			}
			if got := states(e); got != test.states {
				t.Errorf("states of the stages %s, want %s", got, test.states)
			}
			expectRemedy(t, e, test.remedy)
			if data, err := json.Marshal(e); err != nil || strings.Contains(string(data), "secret-token") {
				t.Errorf("error %v, or the JSON of the explanation contains the token: %s", err, data)
			}
		})
	}
}

// TestCertificatesThatAreNotForClients checks requests with certificates that a kubelet accepts, although they are not
// meant for its clients. No remedy grants rights to their users.
func TestCertificatesThatAreNotForClients(t *testing.T) {
	c := newChain(t, false, 1)
	c.build()
	node := newChain(t, false, 0)
	node.templates[0].Subject = pkix.Name{CommonName: "system:node:node-1", Organization: []string{"system:nodes"}}
	node.build()
	for _, test := range []struct {
		name       string
		sent       []*x509.Certificate
		root       *x509.Certificate
		user       string
		note, want string
	}{
		{"a node's certificate", node.sent, node.roots[0], "system:node:node-1", `the client certificate of the node ` +
			`"node-1"`,
			"no role may be bound to it"},
		{"a CA", c.roots, c.roots[0], "root-ca", "it is the certificate of a CA",
			"use a client certificate that the CA has signed"},
		{"wrong order", []*x509.Certificate{c.certs[1], c.certs[0]}, c.roots[0], "intermediate-ca-1", "in the wrong " +
			"order",
			"put the own certificate first"},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodGet, "/pods", nil)
			r.TLS = &tls.ConnectionState{Version: tls.VersionTLS13, PeerCertificates: test.sent}
			d := decide(t, r, &testcerts.Authority{Cert: test.root}, false)
			d.Status = http.StatusForbidden
			for i := range d.Authorization {
				d.Authorization[i].Result = authchain.CheckDenied
			}
			if d.User.GetName() != test.user {
				t.Fatalf("user %v, want %q", d.User, test.user)
			}
			e := Decision(d, Facts{ClientCAs: []*x509.Certificate{test.root}})
			if e.Outcome != Refused || len(e.Remedies) != 1 || !strings.Contains(e.Remedies[0].Summary, test.want) {
				t.Errorf("outcome %s, remedies %+v; want only %q", e.Outcome, e.Remedies, test.want)
			}
			if facts := fmt.Sprint(e.Stage(stageCertificate).Facts); !strings.Contains(facts, test.note) {
				t.Errorf("facts %s, want %q", facts, test.note)
			}
		})
	}
}

// TestReasonNamesTheCause checks that the reason of an explanation names the cause if the server's reason does not.
func TestReasonNamesTheCause(t *testing.T) {
	for name, want := range map[string]string{
		"CA:FALSE": `certificate signed by unknown authority "intermediate-ca-1"; the cause: its intermediate CA ` +
			`"intermediate-ca-1" (certificate 2 in the client's file) signed the certificate of "the-leaf", but`,
		"expired":                    `the certificate of the CA "intermediate-ca-1" expired at 2021-05-04T03:02:01Z`,
		"unknown critical extension": `unhandled critical extension; the cause: its intermediate CA`,
	} {
		c := newChain(t, false, 1)
		f := &faults[slices.IndexFunc(faults, func(f fault) bool { return f.name == name })]
		f.before(c, 1)
		c.build()
		r := httptest.NewRequest(http.MethodGet, "/pods", nil)
		r.TLS = &tls.ConnectionState{Version: tls.VersionTLS13, PeerCertificates: c.sent}
		d := decide(t, r, &testcerts.Authority{Cert: c.roots[0]}, false)
		e := Decision(d, Facts{ClientCAs: c.roots})
		if !strings.HasPrefix(e.Reason, want) || name == "expired" && e.Reason != want {
			t.Errorf("%s: reason %q, want %q", name, e.Reason, want)
		}
	}
}

// decide passes a request to an authentication chain and returns the Decision about the request.
func decide(t *testing.T, r *http.Request, ca *testcerts.Authority, anonymous bool) *authchain.Decision {
	t.Helper()
	chain, err := authchain.New(authchain.Config{
		NodeName: "node-1", ClientCA: staticCA{ca}, Anonymous: anonymous, Mode: authchain.AlwaysAllow,
	})
	check(t, err)
	d, r := authchain.NewDecision(r)
	d.Status = http.StatusOK
	if _, err := chain.Decide(r); err != nil {
		d.Status = http.StatusUnauthorized
	}
	return d
}

// TestClientCAIsNotAskedForTwice checks that the remedy for a missing client certificate asks for a client CA only if
// the kubelet has none.
func TestClientCAIsNotAskedForTwice(t *testing.T) {
	ca := authority(t, "cluster-ca")
	r := httptest.NewRequest(http.MethodGet, "/pods", nil)
	r.TLS = &tls.ConnectionState{Version: tls.VersionTLS13}
	d := decide(t, r, ca, false)
	for file, want := range map[string]bool{"": true, "ca.crt": false} {
		cfg := &config.Config{}
		cfg.Kubelet.Authentication.X509.ClientCAFile = file
		e := Decision(d, Facts{Config: cfg})
		if got := strings.Contains(fmt.Sprint(e.Remedies), "clientCAFile: "); got != want {
			t.Errorf("clientCAFile %q: the remedies ask for a client CA: %t, want %t: %+v", file, got, want, e.Remedies)
		}
	}
}

func TestHandshakeErrorsHaveRemedies(t *testing.T) {
	for text, remedy := range map[string]string{
		"no serving certificate available for the kubelet":         "kubectl certificate approve",
		"remote error: tls: bad certificate":                       "--kubelet-certificate-authority",
		"remote error: tls: unknown certificate authority":         "--kubelet-certificate-authority",
		"remote error: tls: expired certificate":                   "tlsCertFile",
		"client sent an HTTP request to an HTTPS server":           "https://",
		"tls: client offered only unsupported versions: [303]":     "tlsMinVersion",
		"tls: no cipher suite supported by both client and server": "tlsCipherSuites",
		"EOF": "",
	} {
		handshake := "the server's description (" + text + ")"
		e := Decision(authchain.FailedHandshake("192.0.2.9:1234", handshake), Facts{})
		if e.Outcome != Refused || e.Reason != "TLS handshake failed: "+handshake {
			t.Errorf("%s: outcome %s, reason %q, want refused because the TLS handshake failed",
				handshake, e.Outcome, e.Reason)
		}
		if want := "failed" + strings.Repeat(",not reached", 7); states(e) != want {
			t.Errorf("%s: states of the stages %s, want %s", handshake, states(e), want)
		}
		expectRemedy(t, e, remedy)
	}
}

func TestRequestsWithoutAuthentication(t *testing.T) {
	for _, test := range []struct {
		name    string
		method  string
		path    string
		tls     *tls.ConnectionState
		status  int
		outcome Outcome
	}{
		{"served on the read-only port", "GET", "/x", nil, 200, NoAuthentication},
		{"not served on the read-only port", "GET", "/x", nil, 405, notServed},
		{"unknown path", "GET", "/x", &tls.ConnectionState{}, 404, notServed},
		{"redirect to the clean path", "GET", "/x", &tls.ConnectionState{}, 301, notServed},
		{"options of the server", "OPTIONS", "*", &tls.ConnectionState{}, 200, NoAuthentication},
	} {
		d := &authchain.Decision{TLS: test.tls, Status: test.status, Method: test.method, Path: test.path}
		e := Decision(d, Facts{})
		if e.Outcome != test.outcome || e.Reason == "" || len(e.Remedies) > 0 ||
			test.tls != nil && strings.Contains(e.Reason, "this port does not authenticate") {
			t.Errorf("%s: outcome %s, reason %q, remedies %v; want outcome %s, a reason and no remedies",
				test.name, e.Outcome, e.Reason, e.Remedies, test.outcome)
		}
	}
}

// TestNamesInCommands checks that the remedies' commands contain the name of the user and of the group, whatever
// characters they have, and that the text of the explanation cannot control a terminal.
func TestNamesInCommands(t *testing.T) {
	for _, name := range []string{"kubelet-client", "it's; $(id)", "a\u202eb", "\x1b[2J\nb", "\u009b\xff\u2066"} {
		e := Report(&authchain.Report{Method: http.MethodGet, Path: "/pods", Status: 403, Outcome: string(Refused),
			Authentication: []authchain.Step{{Method: authchain.MethodX509, Outcome: authchain.OutcomeAuthenticated}},
			User:           &authchain.UserInfo{Name: name, Groups: []string{"group " + name}},
			Authorization: []authchain.Check{{Verb: "get", Resource: "nodes", Name: "node-1", Subresource: "proxy",
				Result: authchain.CheckDenied}}}, Facts{})
		var script strings.Builder
		script.WriteString("kubectl() { printf '<%s>' \"$@\"; }\n")
		for _, remedy := range e.Remedies {
			script.WriteString(remedy.Kubectl + "\n")
		}
		out, err := exec.Command("bash", "-c", script.String()).CombinedOutput()
		for _, want := range []string{"<--user=" + name + ">", "<--as=" + name + ">",
			"<--as-group=group " + name + ">"} {
			if err != nil || !strings.Contains(string(out), want) {
				t.Errorf("%q: the arguments of kubectl are %q, %v, want %q", name, out, err, want)
			}
		}
		var text strings.Builder
		check(t, e.WriteText(&text, false))
		if strings.ContainsFunc(text.String(), func(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }) {
			t.Errorf("%q: the explanation is not printable: %q", name, text.String())
		}
	}
}

func states(e Explanation) string {
	all := make([]string, len(e.Stages))
	for i := range e.Stages {
		all[i] = string(e.Stages[i].State)
	}
	return strings.Join(all, ",")
}

// expectRemedy checks that the remedies contain the text want. If want is empty, it checks that there are no remedies.
func expectRemedy(t *testing.T, e Explanation, want string) {
	t.Helper()
	got := fmt.Sprintf("%+v", e.Remedies)
	if (want == "") != (len(e.Remedies) == 0) || !strings.Contains(got, want) {
		t.Errorf("remedies %s, want one with %q, or none if that is empty", got, want)
	}
}

// staticCA is a client CA that, unlike a kubelet's client CA file, is never reloaded.
type staticCA struct{ *testcerts.Authority }

func (c staticCA) VerifyOptions() (x509.VerifyOptions, bool) {
	usages := []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	return x509.VerifyOptions{Roots: c.Pool(), KeyUsages: usages}, true
}
