package probe_test

import (
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"testing"

	"fauxlet/conformance/probe"
	"fauxlet/testcerts"
)

const (
	anonymousEnabled  = "authentication.anonymous.enabled"
	webhookEnabled    = "authentication.webhook.enabled"
	clientCAFile      = "authentication.x509.clientCAFile"
	authorizationMode = "authorization.mode"
	readOnlyPort      = "readOnlyPort"
	serverBootstrap   = "serverTLSBootstrap"
	tlsMinVersion     = "tlsMinVersion"
	debuggingHandlers = "enableDebuggingHandlers"
	systemLogHandler  = "enableSystemLogHandler"
	profilingHandler  = "enableProfilingHandler"
	debugFlagsHandler = "enableDebugFlagsHandler"
	fineGrained       = "featureGates.KubeletFineGrainedAuthz"
)

func authentication(anonymous, webhook bool, ca string) settings {
	return settings{
		"anonymous": settings{
			"enabled": anonymous,
		}, "webhook": settings{"enabled": webhook}, "x509": settings{"clientCAFile": ca},
	}
}

var alwaysAllow = settings{"mode": "AlwaysAllow"}

// TestSettings probes configurations without and with credentials. It checks that every setting is inferred correctly
// or is unknown.
func TestSettings(t *testing.T) {
	t.Parallel()
	// These are the default expected values. The map "outside" has the values that a probe should infer if it cannot
	// read /configz, and the map "inside" the values that it should infer if it can.
	outside := map[string]string{
		anonymousEnabled: "false", webhookEnabled: "unknown", clientCAFile: "set", authorizationMode: "unknown",
		serverBootstrap: "unknown",
		tlsMinVersion:   "VersionTLS12", debuggingHandlers: "true", systemLogHandler: "unknown",
		profilingHandler: "unknown", debugFlagsHandler: "unknown",
		fineGrained: "unknown",
	}
	inside := map[string]string{
		anonymousEnabled: "false", webhookEnabled: "true", clientCAFile: "set", authorizationMode: "Webhook",
		readOnlyPort: "0", serverBootstrap: "false",
		tlsMinVersion: "VersionTLS12", debuggingHandlers: "true", systemLogHandler: "true",
		profilingHandler: "true", debugFlagsHandler: "true",
		fineGrained: "true",
	}
	const admin, pods, none = "kubelet-client", "pods-reader", "outsider"
	for _, test := range []struct {
		name     string
		settings settings
		as       []string
		want     map[string]string // replaces values in the map "inside" (if kubelet-client probes) or "outside"
	}{
		{name: "defaults"},
		{name: "defaults", as: []string{admin}},
		{name: "defaults", as: []string{pods},
			want: map[string]string{authorizationMode: "Webhook", fineGrained: "true"}},
		{name: "defaults", as: []string{none},
			want: map[string]string{authorizationMode: "Webhook", fineGrained: "true"}},
		{name: "defaults", as: []string{scraperToken}, want: map[string]string{webhookEnabled: "true",
			authorizationMode: "Webhook", fineGrained: "true"}},
		{name: "defaults, a bad token", as: []string{"bad-token"}},

		{name: "anonymous", settings: settings{"authentication": authentication(true, true, "ca.crt")},
			want: map[string]string{anonymousEnabled: "true", webhookEnabled: "true",
				authorizationMode: "Webhook", fineGrained: "true"}},
		{name: "anonymous, webhook off", settings: settings{"authentication": authentication(true, false, "ca.crt")},
			want: map[string]string{anonymousEnabled: "true", webhookEnabled: "false",
				authorizationMode: "Webhook", fineGrained: "true"}},
		{name: "webhook off", settings: settings{"authentication": authentication(false, false, "ca.crt")}},
		{name: "webhook off", settings: settings{"authentication": authentication(false, false, "ca.crt")},
			as: []string{scraperToken}},
		{name: "webhook off", settings: settings{"authentication": authentication(false, false, "ca.crt")},
			as:   []string{admin},
			want: map[string]string{webhookEnabled: "false"}},

		// With AlwaysAllow, anonymous requests can read /configz, which shows the authorization mode.
		{name: "AlwaysAllow, anonymous", settings: settings{"authentication": authentication(true, false,
			"ca.crt"), "authorization": alwaysAllow}, as: []string{admin},
			want: map[string]string{anonymousEnabled: "true", webhookEnabled: "false",
				authorizationMode: "AlwaysAllow"}},
		{name: "AlwaysAllow", settings: settings{"authorization": alwaysAllow}},
		{name: "AlwaysAllow", settings: settings{"authorization": alwaysAllow}, as: []string{none, admin},
			want: map[string]string{authorizationMode: "AlwaysAllow"}},
		{name: "AlwaysAllow, no /configz", settings: settings{"authorization": alwaysAllow,
			"enableDebuggingHandlers": false}, as: []string{none},
			want: map[string]string{debuggingHandlers: "false", fineGrained: "true"}}, // inferred from /metrics

		{name: "no client CA", settings: settings{"authentication": authentication(false, true, "")},
			want: map[string]string{clientCAFile: "not set"}},
		{name: "no client CA", settings: settings{"authentication": authentication(false, true, "")},
			as: []string{scraperToken},
			want: map[string]string{clientCAFile: "not set", webhookEnabled: "true",
				authorizationMode: "Webhook", fineGrained: "true"}},
		{name: "no method", settings: settings{"authentication": authentication(false, false, "")},
			as: []string{none}, want: map[string]string{clientCAFile: "not set"}},

		{name: "no debugging handlers", settings: settings{"enableDebuggingHandlers": false},
			want: map[string]string{debuggingHandlers: "false"}},
		{name: "handlers off", settings: settings{"enableSystemLogHandler": false,
			"enableProfilingHandler": false, "enableDebugFlagsHandler": false}},
		{name: "handlers off", settings: settings{"enableSystemLogHandler": false,
			"enableProfilingHandler": false, "enableDebugFlagsHandler": false}, as: []string{admin},
			want: map[string]string{systemLogHandler: "false", profilingHandler: "false", debugFlagsHandler: "false"}},
		{name: "TLS 1.3", settings: settings{"tlsMinVersion": "VersionTLS13"},
			want: map[string]string{tlsMinVersion: "VersionTLS13"}},
		{name: "TLS 1.0", settings: settings{"tlsMinVersion": "VersionTLS10"}, as: []string{admin},
			want: map[string]string{tlsMinVersion: "VersionTLS10"}},
	} {
		name := test.name
		for _, as := range test.as {
			name += ", as " + as
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, "")
			k := w.start(t, test.settings)
			want := maps.Clone(outside)
			want[readOnlyPort] = "not " + strconv.Itoa(k.readOnly)
			var identities []probe.Identity
			for _, as := range test.as {
				switch as {
				case scraperToken, "bad-token":
					identities = append(identities, withToken("holder", as))
				case admin:
					want = maps.Clone(inside)
					fallthrough
				default:
					identities = append(identities, w.as(t, as))
				}
			}
			maps.Copy(want, test.want)
			report := w.run(t, k, identities...)
			for _, s := range report.Settings {
				if s.Value != want[s.Name] {
					t.Errorf("setting %s is %q, want %q; evidence: %s", s.Name, s.Value, want[s.Name], s.Evidence)
				}
				if s.Evidence == "" {
					t.Errorf("the setting %s is inferred as %s without evidence", s.Name, s.Value)
				}
			}
			if t.Failed() {
				t.Log(table(t, report))
			}
		})
	}
}

func TestReadOnlyPort(t *testing.T) {
	t.Parallel()
	t.Run("open", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, "")
		k := w.start(t, settings{"readOnlyPort": closedPort(t)})
		report := w.run(t, k)
		if got := values(report)[readOnlyPort]; got != strconv.Itoa(k.readOnly) ||
			report.ReadOnly.State != probe.Open {
			t.Errorf("the read-only port is %q and %s, want it open on %d", got, report.ReadOnly.State, k.readOnly)
		}
	})
	t.Run("where /configz says", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, "")
		k := w.start(t, settings{"readOnlyPort": closedPort(t)})
		really := k.readOnly
		k.readOnly = closedPort(t)
		if got := values(w.run(t, k))[readOnlyPort]; got != "not "+strconv.Itoa(k.readOnly) {
			t.Errorf("the read-only port is %q, want only that the probed port is excluded", got)
		}
		if got := values(w.run(t, k, w.as(t, "kubelet-client")))[readOnlyPort]; got != strconv.Itoa(really) {
			t.Errorf("the read-only port is %q, want the port in /configz, %d", got, really)
		}
	})
	t.Run("not looked at", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, "")
		k := w.start(t, settings{"readOnlyPort": closedPort(t)})
		k.readOnly = 0
		if report := w.run(t, k); values(report)[readOnlyPort] != "unknown" ||
			report.ReadOnly.State != probe.NotProbed {
			t.Errorf("the read-only port is %q and %s, want it unknown and not probed",
				values(report)[readOnlyPort], report.ReadOnly.State)
		}
		report := w.run(t, k, w.as(t, "kubelet-client")) // may read /configz
		if !slices.Equal(found(report), []string{"read-only-port"}) {
			t.Errorf("the findings are %q, want the read-only port in /configz", found(report))
		}
	})
	t.Run("a server that refuses requests", func(t *testing.T) { // a kubelet's read-only port refuses none
		t.Parallel()
		w := newWorld(t, "")
		k := w.start(t, nil)
		other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusUnauthorized)
			fmt.Fprint(w, "Unauthorized")
		}))
		t.Cleanup(other.Close)
		k.readOnly = other.Listener.Addr().(*net.TCPAddr).Port
		if report := w.run(t, k); report.ReadOnly.State != probe.NotKubelet || report.Dangerous() {
			t.Errorf("the read-only port is %s, want another server\n%s", report.ReadOnly.State, table(t, report))
		}
	})
	t.Run("something else", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, "")
		k := w.start(t, nil)
		listener := listen(t)
		t.Cleanup(func() { listener.Close() })
		go func() {
			for {
				conn, err := listener.Accept()
				if err != nil {
					return
				}
				conn.Write([]byte("220 mail.invalid ESMTP\r\n"))
				conn.Close()
			}
		}()
		port := listener.Addr().(*net.TCPAddr).Port
		k.readOnly = port
		report := w.run(t, k)
		if report.ReadOnly.State != probe.NotKubelet || values(report)[readOnlyPort] != "not "+strconv.Itoa(port) {
			t.Errorf("the state is %s and the read-only port %q, want NotKubelet and the port excluded",
				report.ReadOnly.State, values(report)[readOnlyPort])
		}
	})
}

func TestServingCertificate(t *testing.T) {
	t.Parallel()
	t.Run("of a node", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, "")
		c := w.run(t, w.start(t, nil)).Certificate
		if c.Kind != probe.IssuedForNode || c.Verified != "yes" || !c.ForHost ||
			c.Subject != "CN=system:node:node-1" ||
			c.Issuer != "CN=cluster-ca" {
			t.Errorf("wrong description of a certificate issued for a node: %+v", c)
		}
	})
	t.Run("the kubelet's own", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, "")
		report := w.run(t, w.start(t, nil, "tls-cert-file", "", "tls-private-key-file", ""))
		if c := report.Certificate; c.Kind != probe.KubeletSelfSigned || c.Verified != "no" || c.ForHost {
			t.Errorf("wrong description of a certificate that the kubelet generated: %+v", c)
		}
		if values(report)[serverBootstrap] != "false" {
			t.Error("serverTLSBootstrap is not inferred from the certificate")
		}
	})
	t.Run("none yet", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, "")
		report := w.run(t, w.start(t, settings{"serverTLSBootstrap": true, "readOnlyPort": closedPort(t)}))
		if report.HasResponses() || report.Certificate != nil {
			t.Error("the report has responses or a certificate, although every handshake failed")
		}
		if ids := found(report); len(ids) != 2 || ids[0] != "read-only-port" || ids[1] != "no-serving-certificate" {
			t.Errorf("the findings are %q, want read-only-port and no-serving-certificate", ids)
		}
		for _, s := range report.Settings {
			if s.Name != readOnlyPort && s.Value != "unknown" {
				t.Errorf("the setting %s is inferred as %s without a handshake", s.Name, s.Value)
			}
		}
	})
}

// TestListedClientCAs checks that the report lists the server's client CAs, and that the probe also sends certificates
// of CAs that the server does not list.
func TestListedClientCAs(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	other, err := testcerts.NewAuthority("other-ca")
	if err != nil {
		t.Fatal(err)
	}
	w.write(t, "ca.crt", append(w.ca.CertPEM(), other.CertPEM()...))
	report := w.run(t, w.start(t, nil), w.as(t, "late", testcerts.Expired))
	if cas := report.TLS.ClientCAs; len(cas) != 2 || cas[0] != "CN=cluster-ca" || cas[1] != "CN=other-ca" {
		t.Errorf("the listed client CAs are %q, want CN=cluster-ca and CN=other-ca", cas)
	}
	for _, request := range report.Requests {
		for _, name := range []string{probe.UnknownCA, "late"} {
			if request.Responses[name].Status != 401 {
				t.Errorf("the request %s %s as %s got %+v, want a 401",
					request.Method, request.Path, name, request.Responses[name])
			}
		}
	}
}
