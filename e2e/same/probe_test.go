package same

import (
	"fmt"
	"maps"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	kubeletprobe "fauxlet/conformance/probe"
	"fauxlet/e2e/internal/controlplane"
	"fauxlet/e2e/internal/expect"
	"fauxlet/e2e/internal/kubelet"
	"fauxlet/e2e/internal/programs"
	"fauxlet/internal/vectors"
)

// plainSettings has the settings of a kubelet whose configuration sets only what every test needs. Each key is the name
// of a setting in a probe's report.
var plainSettings = kubelet.Settings{
	"authentication.anonymous.enabled": false, "authentication.webhook.enabled": true,
	"authentication.x509.clientCAFile": "set",
	"authorization.mode":               "Webhook", "serverTLSBootstrap": false, "tlsMinVersion": "VersionTLS12",
	"enableDebuggingHandlers": true, "enableSystemLogHandler": true, "enableProfilingHandler": true,
	"enableDebugFlagsHandler":              true,
	"featureGates.KubeletFineGrainedAuthz": true,
}

const (
	anonymous       = "authentication.anonymous.enabled"
	webhook         = "authentication.webhook.enabled"
	mode            = "authorization.mode"
	clientCA        = "authentication.x509.clientCAFile"
	serverBootstrap = "serverTLSBootstrap"
	logHandler      = "enableSystemLogHandler"
	profiling       = "enableProfilingHandler"
	debugFlags      = "enableDebugFlagsHandler"
	fineGrained     = "featureGates.KubeletFineGrainedAuthz"
)

// probes lists kubelet configurations, and the credentials with which the test probes each of them. The field "unknown"
// lists the settings that a probe cannot detect. The probe must report all other settings correctly. The policy of
// internal/vectors allows kubelet-client and system:anonymous all requests. It allows them to get /configz because it
// grants them nodes/proxy; it does not grant nodes/configz to any user. It grants nothing to the user "outsider" or to
// the user of the token "good-token".
var probes = []struct {
	name     string
	settings kubelet.Settings
	flags    []string
	as       []string
	unknown  []string
}{
	{"defaults", nil, nil, nil, []string{webhook, mode, serverBootstrap, logHandler, profiling, debugFlags,
		fineGrained}},
	{"defaults", nil, nil, []string{"outsider"}, []string{webhook, serverBootstrap, logHandler, profiling, debugFlags}},
	{"defaults", nil, nil, []string{"good-token"}, []string{serverBootstrap, logHandler, profiling, debugFlags}},
	{"defaults", nil, nil, []string{"viewer"}, []string{webhook, serverBootstrap, logHandler, profiling, debugFlags}},
	{"defaults", nil, nil, []string{"kubelet-client"}, nil},

	// With this configuration an anonymous client may read everything, even /configz.
	{"anonymous", kubelet.Settings{anonymous: true}, nil, nil, nil},
	{"anonymous, webhook off", kubelet.Settings{anonymous: true, webhook: false}, nil, nil, nil},
	{"AlwaysAllow for everybody", kubelet.Settings{anonymous: true, webhook: false, mode: "AlwaysAllow"}, nil, nil,
		nil},
	{"AlwaysAllow", kubelet.Settings{mode: "AlwaysAllow"}, nil, nil,
		[]string{webhook, mode, serverBootstrap, logHandler, profiling, debugFlags, fineGrained}},
	{"AlwaysAllow", kubelet.Settings{mode: "AlwaysAllow"}, nil, []string{"outsider"}, nil},
	{"AlwaysAllow, no debugging handlers", kubelet.Settings{mode: "AlwaysAllow", "enableDebuggingHandlers": false}, nil,
		[]string{"good-token"},
		[]string{mode, serverBootstrap, logHandler, profiling, debugFlags}},
	{"webhook off", kubelet.Settings{webhook: false}, nil, []string{"good-token"},
		[]string{webhook, mode, serverBootstrap, logHandler, profiling, debugFlags, fineGrained}},
	{"webhook off", kubelet.Settings{webhook: false}, nil, []string{"kubelet-client"}, nil},

	{"no client CA", kubelet.Settings{clientCA: ""}, nil, []string{"kubelet-client"},
		[]string{webhook, mode, serverBootstrap, logHandler, profiling, debugFlags, fineGrained}},
	{"no client CA", kubelet.Settings{clientCA: ""}, nil, []string{"good-token"},
		[]string{serverBootstrap, logHandler, profiling, debugFlags}},
	{"no client CA, anonymous", kubelet.Settings{clientCA: "", anonymous: true}, nil, nil, nil},
	{"no method at all", kubelet.Settings{clientCA: "", webhook: false}, nil, []string{"kubelet-client", "good-token"},
		[]string{webhook, mode, serverBootstrap, logHandler, profiling, debugFlags, fineGrained}},

	{"no debugging handlers", kubelet.Settings{"enableDebuggingHandlers": false}, nil, nil,
		[]string{webhook, mode, serverBootstrap, logHandler, profiling, debugFlags, fineGrained}},
	{"no debugging handlers", kubelet.Settings{"enableDebuggingHandlers": false, anonymous: true}, nil,
		[]string{"outsider"}, []string{serverBootstrap, logHandler, profiling, debugFlags}},
	{"handlers off", kubelet.Settings{logHandler: false, profiling: false, debugFlags: false}, nil,
		[]string{"kubelet-client"}, nil},
	{"no read-only port", kubelet.Settings{"readOnlyPort": 0}, nil, []string{"kubelet-client"}, nil},
	{"TLS 1.3", kubelet.Settings{"tlsMinVersion": "VersionTLS13"}, nil, []string{"kubelet-client"}, nil},
	{"weak TLS", kubelet.Settings{"tlsMinVersion": "VersionTLS10",
		"tlsCipherSuites": []string{"TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
			"TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256",
			"TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA"}}, nil,
		nil, []string{webhook, mode, serverBootstrap, logHandler, profiling, debugFlags, fineGrained}},

	// A kubelet without a configuration file has these settings and a self-signed serving certificate.
	{"flags alone", kubelet.Settings{anonymous: true, webhook: false, mode: "AlwaysAllow", clientCA: ""}, []string{},
		nil, nil},
}

// TestProbeReportsSettings probes the kubelet's own server and fauxlet in the same configurations. The probe must
// report each setting correctly or as unknown, and both reports must be equal. The probe also compares each server with
// a stand-in that has the same configuration, and must find no difference.
func TestProbeReportsSettings(t *testing.T) {
	t.Parallel()
	programs.Slow(t)
	corpus, err := vectors.Load()
	expect.NoError(t, err)
	clients := newClients(t, corpus)
	p, err := controlplane.Certificates()
	expect.NoError(t, err)
	for _, test := range probes {
		t.Run(strings.Join(append([]string{test.name}, test.as...), ", as "), func(t *testing.T) {
			t.Parallel()
			sides := startSides(t, configuration{settings: test.settings, flags: test.flags}, clients)
			var reports [2]*kubeletprobe.Report
			for i, s := range sides {
				host, port, err := net.SplitHostPort(s.Secure)
				expect.NoError(t, err)
				options := kubeletprobe.Options{Target: kubeletprobe.Target{Host: host, Port: port}, CA: p.CA.Pool(),
					ServerName: "127.0.0.1", ReadOnlyPort: programs.FreePort(t)}
				if s.ReadOnly != "" {
					_, number, err := net.SplitHostPort(s.ReadOnly)
					expect.NoError(t, err)
					_, err = fmt.Sscan(number, &options.ReadOnlyPort)
					expect.NoError(t, err)
				}
				for _, name := range test.as {
					identity := kubeletprobe.Identity{Name: name, Certificate: clients[name].Certificate}
					if _, token, found := strings.Cut(clients[name].Header, "Authorization: Bearer "); found {
						identity.Token = strings.TrimSpace(token)
					}
					options.Identities = append(options.Identities, identity)
				}
				if test.flags == nil {
					options.Compare = &kubeletprobe.CompareOptions{File: filepath.Join(s.Dir, "kubelet.yaml"),
						NodeName: "node-1"}
				}
				if reports[i], err = kubeletprobe.Run(t.Context(), options); err != nil {
					t.Fatalf("%s: %v", s.kind, err)
				}
				checkSettings(t, s, reports[i], test.settings, test.unknown, options.ReadOnlyPort)
				if reports[i].Differs() {
					t.Errorf("%s differs from a stand-in with its own configuration: %+v", s.kind,
						reports[i].Comparison.Differences)
				}
			}
			same := cmp.Options{
				cmpopts.IgnoreUnexported(kubeletprobe.Response{}, kubeletprobe.TLS{}, kubeletprobe.Version{},
					kubeletprobe.Certificate{}),
				cmpopts.IgnoreFields(kubeletprobe.Report{}, "URL", "Address", "Version", "Identities", "Comparison"),
				cmpopts.IgnoreFields(kubeletprobe.ReadOnlyPort{}, "Error"),
			}
			if diff := cmp.Diff(withoutPorts(reports[0]), withoutPorts(reports[1]), same); diff != "" {
				t.Errorf("the reports differ (-reference +fauxlet):\n%s", diff)
			}
		})
	}
}

// checkSettings compares the settings that a probe reports with the configuration of the kubelet.
func checkSettings(t *testing.T, s *side, report *kubeletprobe.Report, changed kubelet.Settings, unknown []string,
	readOnly int) {
	t.Helper()
	want := maps.Clone(plainSettings)
	maps.Copy(want, changed)
	if want[clientCA] == "" {
		want[clientCA] = "not set"
	}
	switch {
	case s.ReadOnly != "":
		want["readOnlyPort"] = readOnly
	case slices.ContainsFunc(report.Settings, func(s kubeletprobe.Setting) bool {
		return strings.Contains(s.Evidence, "the kubelet's /configz")
	}):
		want["readOnlyPort"] = 0
	default:
		want["readOnlyPort"] = fmt.Sprint("not ", readOnly)
	}
	for _, setting := range report.Settings {
		value := fmt.Sprint(want[setting.Name])
		if slices.Contains(unknown, setting.Name) {
			value = "unknown"
		}
		if setting.Value != value {
			t.Errorf("%s: %s: reported %s, is %s; evidence: %s", s.kind, setting.Name, setting.Value, value,
				setting.Evidence)
		}
	}
	if len(report.Settings) != len(plainSettings)+1 {
		t.Errorf("%s: %d settings are reported", s.kind, len(report.Settings))
	}
}

// withoutPorts returns a report without the number of the read-only port. The two servers have different read-only
// ports.
func withoutPorts(r *kubeletprobe.Report) *kubeletprobe.Report {
	same := *r
	same.Settings = slices.Clone(r.Settings)
	for i := range same.Settings {
		if same.Settings[i].Name == "readOnlyPort" {
			same.Settings[i] = kubeletprobe.Setting{Name: "readOnlyPort"}
		}
	}
	same.ReadOnly.Port = 0
	return &same
}
