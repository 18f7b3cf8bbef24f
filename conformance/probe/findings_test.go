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
		}, want: []string{"high certificate-unverified"}},
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
