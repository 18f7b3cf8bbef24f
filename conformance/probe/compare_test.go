package probe_test

import (
	"os"
	"slices"
	"strings"
	"testing"

	"fauxlet/conformance/probe"
	"fauxlet/testcerts"
)

// TestCompare compares one kubelet with its own configuration, and with copies that each differ in one setting.
func TestCompare(t *testing.T) {
	t.Parallel()
	real := settings{
		"authentication":     authentication(true, true, "ca.crt"),
		"readOnlyPort":       closedPort(t),
		"serverTLSBootstrap": true,
	}
	changed := func(name string, value any) settings {
		all := settings{}
		for name, value := range real {
			all[name] = value
		}
		all[name] = value
		return all
	}
	w := newWorld(t, anonymousReads)
	k := w.start(t, real, "rotate-server-certificates", "false")
	identities := []probe.Identity{
		w.as(t, "kubelet-client"),
		w.as(t, "pods-reader"),
		w.as(t, "outsider"),
		withToken("scraper", scraperToken),
	}

	for _, test := range []struct {
		name     string
		settings settings
		builtIn  bool     // use only the three identities that every probe has
		reviews  bool     // the stand-in uses the review API instead of inferred reviews
		want     []string // expected differences, in the form "WHAT: KUBELET, CONFIGURATION"
		not      []string // parts of the expected NotCompared
	}{
		{name: "its own", settings: real, want: []string{"serverTLSBootstrap: false, true"}},
		{name: "its own, with reviews", settings: real, reviews: true,
			want: []string{"serverTLSBootstrap: false, true"}},
		{name: "its own, no other identities", settings: real, builtIn: true,
			not: []string{"serverTLSBootstrap: unknown"}},
		{name: "anonymous off", settings: changed("authentication", authentication(false, true, "ca.crt")),
			builtIn: true,
			want: []string{"authentication.anonymous.enabled: true, false", "as no-credential: 403, 401",
				"as no-credential: admitted, 401"}},
		{name: "webhook off", settings: changed("authentication", authentication(true, false, "ca.crt")), builtIn: true,
			want: []string{"authentication.webhook.enabled: true, false", "as invalid-token: 401, 403",
				"as invalid-token: 401, admitted"}},
		{name: "webhook off, a token", settings: changed("authentication", authentication(true, false, "ca.crt")),
			want: []string{"authentication.webhook.enabled: true, false", "serverTLSBootstrap: " +
				"false, true", "as invalid-token: 401, 403", "as invalid-token: 401, admitted"}},
		{name: "no client CA", settings: changed("authentication", authentication(true, true, "")), builtIn: true,
			want: []string{"authentication.x509.clientCAFile: set, not set", "ALPN: none, h2; http/1.1",
				"as unknown-ca: 401, 403", "as unknown-ca: 401, admitted"}},
		{name: "AlwaysAllow", settings: changed("authorization", alwaysAllow), builtIn: true,
			want: []string{"authorization.mode: Webhook, AlwaysAllow", "as no-credential: 403, admitted"}},
		{name: "no read-only port", settings: changed("readOnlyPort", 0), builtIn: true,
			want: []string{"readOnlyPort: PORT, 0"}},
		{name: "TLS 1.3", settings: changed("tlsMinVersion", "VersionTLS13"), builtIn: true,
			want: []string{"tlsMinVersion: VersionTLS12, VersionTLS13", "VersionTLS12: accepted, refused"}},
		{name: "fewer cipher suites", settings: changed("tlsCipherSuites",
			[]string{"TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"}), builtIn: true,
			want: []string{"cipher suites of VersionTLS12: *, TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"}},
		{name: "no debugging handlers", settings: changed("enableDebuggingHandlers", false), builtIn: true,
			want: []string{"enableDebuggingHandlers: true, false", "as no-credential: 200, 405",
				"as no-credential: 403, 404", "as unknown-ca: 401, 404", "as invalid-token: 401, 404"}},
		{name: "no server", settings: changed("enableServer", false), builtIn: true,
			want: []string{"enableServer: true, false"}},
		{name: "a certificate that the kubelet generates", settings: changed("serverTLSBootstrap", false),
			builtIn: true,
			want: []string{"serving certificate: issued by CN=cluster-ca, self-signed by the kubelet: neither " +
				"tlsCertFile nor serverTLSBootstrap is set"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			file := w.configuration(t, strings.ReplaceAll(test.name, " ", "-")+".yaml", test.settings)
			compare := &probe.CompareOptions{File: file, NodeName: "node-1"}
			if test.reviews {
				compare.TokenReviews, compare.AccessReviews = w.tokens, w.access
			}
			options := probe.Options{
				Target:       k.target,
				CA:           w.ca.Pool(),
				ReadOnlyPort: k.readOnly,
				Compare:      compare,
				Identities:   identities,
			}
			if test.builtIn {
				options.Identities = nil
			}
			c := run(t, options).Comparison
			var got []string
			for _, d := range c.Differences {
				got = append(got, d.What+": "+d.Kubelet+", "+d.Configuration)
			}
			slices.Sort(got)
			slices.Sort(test.want)
			for n, want := range test.want {
				before, after, _ := strings.Cut(strings.ReplaceAll(want, "PORT", k.port()), "*")
				if n >= len(got) || !strings.HasPrefix(got[n], before) || !strings.HasSuffix(got[n], after) {
					t.Fatalf("the differences are %q, want %q", got, test.want)
				}
			}
			if len(got) != len(test.want) {
				t.Errorf("the differences are %q, want %q", got, test.want)
			}
			for _, not := range test.not {
				if !strings.Contains(strings.Join(c.NotCompared, "\n"), not) {
					t.Errorf("NotCompared is %q, want it to contain %q", c.NotCompared, not)
				}
			}
		})
	}
}

// TestCompareUnknownRBAC compares a kubelet that refuses anonymous requests with a configuration that allows them. The
// kubelet's responses do not show the rights of anonymous users.
func TestCompareUnknownRBAC(t *testing.T) {
	t.Parallel()
	w := newWorld(t, anonymousReads)
	k := w.start(t, nil)
	file := w.configuration(t, "anonymous.yaml", settings{"authentication": authentication(true, true, "ca.crt")})
	options := probe.Options{Target: k.target, ReadOnlyPort: k.readOnly, Compare: &probe.CompareOptions{File: file}}
	report := run(t, options)
	at := slices.IndexFunc(
		report.Comparison.Differences,
		func(d probe.Difference) bool { return d.What == "as no-credential" },
	)
	if at < 0 || !strings.Contains(report.Comparison.Differences[at].Configuration, "RBAC decides") {
		t.Errorf("no difference says that RBAC decides about anonymous requests: %+v", report.Comparison.Differences)
	}
	options.Compare.TokenReviews, options.Compare.AccessReviews = w.tokens, w.access
	var got []string
	for _, d := range run(t, options).Comparison.Differences {
		if d.What == "as no-credential" {
			got = append(got, d.Kubelet+", "+d.Configuration)
		}
	}
	slices.Sort(got)
	if !slices.Equal(got, []string{"401, 403", "401, admitted"}) {
		t.Errorf("with the review API, the differences for anonymous requests are %q", got)
	}
}

// TestCompareIgnoredToken compares a kubelet that has no token webhook with a configuration that has one. The kubelet's
// responses do not show whether a token is valid.
func TestCompareIgnoredToken(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	k := w.start(t, settings{"authentication": authentication(true, false, "ca.crt")})
	file := w.configuration(t, "webhook.yaml", settings{"authentication": authentication(true, true, "ca.crt")})
	report := run(
		t,
		probe.Options{
			Target:     k.target,
			CA:         w.ca.Pool(),
			Compare:    &probe.CompareOptions{File: file},
			Identities: []probe.Identity{withToken("scraper", scraperToken)},
		},
	)
	for _, d := range report.Comparison.Differences {
		if d.What == "as scraper" {
			t.Errorf("the responses to the ignored token were compared: %+v", d)
		}
	}
	if !strings.Contains(
		strings.Join(report.Comparison.NotCompared, "\n"),
		"responses to scraper: it is unknown whether its token is valid",
	) {
		t.Errorf("NotCompared does not mention the ignored token: %q", report.Comparison.NotCompared)
	}
}

// TestCompareWithoutTheClientCA compares with a configuration whose clientCAFile does not exist on this machine.
func TestCompareWithoutTheClientCA(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	k := w.start(t, nil)
	file := w.configuration(
		t,
		"node.yaml",
		settings{"authentication": authentication(false, true, "/there/is/no/ca.crt")},
	)
	options := probe.Options{Target: k.target, Compare: &probe.CompareOptions{File: file}}
	if _, err := probe.Run(t.Context(), options); err == nil ||
		!strings.Contains(err.Error(), "/there/is/no/ca.crt is not on this machine") {
		t.Errorf("the error does not name the missing clientCAFile: %v", err)
	}
	other, err := testcerts.NewAuthority("other-ca")
	if err != nil {
		t.Fatal(err)
	}
	options.Compare.ClientCAFile = w.write(t, "other-ca.crt", other.CertPEM())
	report := run(t, options)
	if d := report.Comparison.Differences; len(d) != 2 || d[0].Kubelet != "CN=cluster-ca" ||
		d[0].Configuration != "CN=other-ca" {
		t.Errorf("the differences are %+v, want the client CA and the responses to it", d)
	}
}

func TestCompareLeavesNothingBehind(t *testing.T) {
	temporary := t.TempDir()
	t.Setenv("TMPDIR", temporary)
	w := newWorld(t, "")
	k := w.start(t, nil)
	run(t, probe.Options{Target: k.target, Compare: &probe.CompareOptions{File: w.configuration(t, "own.yaml", nil)}})
	left, err := os.ReadDir(temporary)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range left {
		if strings.HasPrefix(entry.Name(), "fauxlet-probe-") {
			t.Errorf("the temporary directory %s was not removed", entry.Name())
		}
	}
}
