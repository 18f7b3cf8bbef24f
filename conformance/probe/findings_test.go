package probe_test

import (
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"fauxlet/conformance/probe"
	"fauxlet/testcerts"

	kubeletconfigv1beta1 "k8s.io/kubelet/config/v1beta1"
)

func TestFindings(t *testing.T) {
	t.Parallel()
	weak := settings{
		"tlsMinVersion": "VersionTLS11",
		"tlsCipherSuites": []string{
			"TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256",
			"TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
			"TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA",
		},
	}
	for _, test := range []struct {
		name     string
		settings settings
		rbac     string
		as       []string
		serving  func(*world) (*testcerts.Pair, error)
		want     []string // severity and ID of each expected finding
	}{
		{name: "well configured"},
		{name: "well configured, all identities", as: []string{"kubelet-client", "pods-reader", "outsider"}},
		{name: "anonymous may do nothing", settings: settings{"authentication": authentication(true, true,
			"ca.crt")}, want: []string{"medium anonymous-enabled"}},
		{name: "anonymous reads", settings: settings{"authentication": authentication(true, true, "ca.crt")},
			rbac: anonymousReads, want: []string{"high anonymous-reads"}},
		{name: "anonymous reads, webhook off", settings: settings{"authentication": authentication(true, false,
			"ca.crt")}, rbac: anonymousReads, want: []string{"high anonymous-reads", "high invalid-token-accepted"}},
		{name: "anonymous, webhook off", settings: settings{"authentication": authentication(true, false,
			"ca.crt")}, want: []string{"medium anonymous-enabled", "medium invalid-token-accepted"}},
		{name: "wide open", settings: settings{"authentication": authentication(true, false, ""),
			"authorization": alwaysAllow},
			want: []string{"critical anonymous-runs", "high invalid-token-accepted", "high always-allow",
				"note no-client-ca"}},
		{name: "wide open, no debugging handlers", settings: settings{"authentication": authentication(true,
			true, "ca.crt"), "authorization": alwaysAllow, "enableDebuggingHandlers": false},
			want: []string{"high anonymous-reads"}},
		{name: "AlwaysAllow", settings: settings{"authorization": alwaysAllow}, as: []string{"outsider"},
			want: []string{"high always-allow"}},
		{name: "AlwaysAllow, no credential"}, // without a credential, AlwaysAllow cannot be observed
		{name: "get on proxy", as: []string{"proxy-getter"}, want: []string{"medium get-runs"}},
		{name: "read-only port", settings: settings{"readOnlyPort": closedPort(t)},
			want: []string{"high read-only-port"}},
		{name: "no client CA", settings: settings{"authentication": authentication(false, true, "")},
			want: []string{"note no-client-ca"}},
		{name: "tokens ignored", settings: settings{"authentication": authentication(false, false, "ca.crt")},
			as: []string{"kubelet-client"}, want: []string{"note tokens-ignored"}},
		{name: "weak TLS", settings: weak, want: []string{"medium old-tls", "medium weak-ciphers"}},

		{name: "expired", serving: serving(testcerts.Expired), want: []string{"high certificate-expired"}},
		{name: "not yet valid", serving: serving(testcerts.NotYetValid),
			want: []string{"high certificate-not-yet-valid"}},
		{name: "SHA-1", serving: serving(testcerts.SHA1), want: []string{"high certificate-unverified",
			"medium certificate-weak"}},
		{name: "other host", serving: func(w *world) (*testcerts.Pair, error) {
			return w.ca.Server("x",
				[]string{"192.0.2.1"})
		}, want: []string{"note certificate-other-host"}},
		{name: "self-signed by the kubelet", serving: func(*world) (*testcerts.Pair,
			error) {
			return testcerts.KubeletSelfSigned("node-1", nil)
		},
			want: []string{"medium certificate-kubelet-self-signed"}},
		{name: "another CA", serving: func(*world) (*testcerts.Pair, error) {
			other, err := testcerts.NewAuthority("other-ca")
			if err != nil {
				return nil, err
			}
			return other.Server("x", []string{"127.0.0.1"})
		}, want: []string{"high certificate-unverified"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, test.rbac)
			var flags []string
			if test.serving != nil {
				pair, err := test.serving(w)
				if err != nil {
					t.Fatal(err)
				}
				flags = []string{
					"tls-cert-file",
					w.write(t, "other.crt", pair.CertPEM),
					"tls-private-key-file",
					w.write(t, "other.key", pair.KeyPEM),
				}
			}
			k := w.start(t, test.settings, flags...)
			var identities []probe.Identity
			for _, as := range test.as {
				identities = append(identities, w.as(t, as))
			}
			report := w.run(t, k, identities...)
			var got []string
			for _, f := range report.Findings {
				got = append(got, string(f.Severity)+" "+f.ID)
				looksRight(t, f)
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("the findings are %q, want %q\n%s", got, test.want, table(t, report))
			}
			dangerous := slices.ContainsFunc(test.want, func(f string) bool { return !strings.HasPrefix(f, "note ") })
			if report.Dangerous() != dangerous {
				t.Errorf("Dangerous is %v, which does not match the expected severities", report.Dangerous())
			}
		})
	}
}

// TestOtherHost checks the finding for a certificate that the given CA verifies, but not for the host. Behind a tunnel,
// the host is a loopback address.
func TestOtherHost(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	k := w.start(t, nil) // its certificate is only for 127.0.0.1
	other, err := testcerts.NewAuthority("other-ca")
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name, serverName string
		ca               *testcerts.Authority // nil: no CA is given
		want, evidence   string               // the severity and ID of the finding; a part of its evidence
		verified         string               // a part of the report
	}{
		{name: "the host of the certificate", serverName: "127.0.0.1", ca: w.ca, verified: "by the given CA\n"},
		{name: "another name", serverName: "node-1", ca: w.ca, want: "medium certificate-other-host",
			evidence: "wanted to match node-1; names in the certificate: 127.0.0.1",
			verified: "by the given CA, but not for the host: x509: certificate is not valid for any names"},
		{name: "another address", serverName: "192.0.2.1", ca: w.ca, want: "medium certificate-other-host",
			evidence: "certificate is valid for 127.0.0.1, not 192.0.2.1", verified: "by the given CA, but not for the host"},
		{name: "another loopback address", serverName: "::1", ca: w.ca, want: "note certificate-other-host",
			evidence: "certificate is valid for 127.0.0.1, not ::1", verified: "by the given CA, but not for the host"},
		{name: "localhost", serverName: "localhost", ca: w.ca, want: "note certificate-other-host",
			evidence: "wanted to match localhost", verified: "by the given CA, but not for the host"},
		{name: "another name, and no CA", serverName: "node-1", want: "note certificate-other-host",
			evidence: "127.0.0.1", verified: "no CA was given"},
		{name: "another name and another CA", serverName: "node-1", ca: other, want: "high certificate-unverified",
			evidence: "unknown authority", verified: "not by the given CA: x509: certificate signed by unknown authority"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			options := probe.Options{Target: k.target, ServerName: test.serverName, ReadOnlyPort: k.readOnly}
			if test.ca != nil {
				options.CA = test.ca.Pool()
			}
			report := run(t, options)
			got, evidence := "", ""
			for _, f := range report.Findings {
				got, evidence = got+string(f.Severity)+" "+f.ID, f.Evidence
				looksRight(t, f)
				if f.ID == "certificate-other-host" && !strings.Contains(f.Remedy, "--server-name") {
					t.Errorf("the remedy %q does not name the option", f.Remedy)
				}
			}
			if got != test.want || !strings.Contains(evidence, test.evidence) {
				t.Errorf("the finding is %q, because %q; want %q, because %q", got, evidence, test.want, test.evidence)
			}
			if text := table(t, report); !strings.Contains(text, test.verified) {
				t.Errorf("the report does not contain %q:\n%s", test.verified, text)
			}
		})
	}
}

func serving(mutate testcerts.Mutate) func(*world) (*testcerts.Pair, error) {
	return func(w *world) (*testcerts.Pair, error) { return w.ca.Server("x", []string{"127.0.0.1"}, mutate) }
}

// looksRight checks that a finding is complete, and that its field Configuration is a valid part of a
// KubeletConfiguration.
func looksRight(t *testing.T, f probe.Finding) {
	t.Helper()
	if f.What == "" || f.Evidence == "" || (f.Risk == "") != (f.Severity == probe.Note) ||
		f.Configuration+f.Remedy == "" {
		t.Errorf("the finding %s is incomplete: %+v", f.ID, f)
	}
	if err := yaml.UnmarshalStrict([]byte(f.Configuration), &kubeletconfigv1beta1.KubeletConfiguration{}); err != nil {
		t.Errorf("the configuration of the finding %s is not a valid KubeletConfiguration: %v", f.ID, err)
	}
}
