package same

import (
	"encoding/json"
	"maps"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"fauxlet/e2e/internal/controlplane"
	"fauxlet/e2e/internal/expect"
	"fauxlet/e2e/internal/kubelet"
	"fauxlet/e2e/internal/programs"
	"fauxlet/e2e/internal/reviews"
	"fauxlet/e2e/internal/sample"
	"fauxlet/internal/faults"
	"fauxlet/internal/recordings"
	"fauxlet/internal/vectors"
)

// configuration is a kubelet configuration, and the conditions under which the two servers are compared with it.
type configuration struct {
	settings kubelet.Settings
	// flags, if not nil, are additional flags for both servers, which then have no configuration file.
	flags []string
	// caches is true if the servers cache the results of reviews, for an hour so that none expires during a test.
	caches bool
	// faults are active during the whole comparison, in the server that answers the reviews.
	faults []faults.Fault
	// ipv6 is true if the servers listen on ::1, on different ports.
	ipv6 bool
	// quiet is true if both servers log errors only. It has no effect together with flags.
	quiet bool
	// fauxlet is the file of the fauxlet program, or empty for the program built from the current sources.
	fauxlet string
	// recorded, if not empty, is a program that is the kubelet's server of another version. Both servers run it.
	recorded string
}

// ownConfigurations lists configurations that internal/vectors does not contain.
var ownConfigurations = map[string]configuration{
	"caches": {caches: true},
	"tls13":  {settings: kubelet.Settings{"tlsMinVersion": "VersionTLS13"}},
	"tls12": {settings: kubelet.Settings{
		"tlsMinVersion": "VersionTLS12",
		"tlsCipherSuites": []string{"TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
			"TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256"},
		"tlsCurvePreferences": []int{24, 23}, // P-384, P-256
	}},
	"no-reload": {settings: kubelet.Settings{"featureGates": map[string]bool{"ReloadKubeletClientCAFile": false,
		"ReloadKubeletServerCertificateFile": false}}},
	"no-uid": {settings: kubelet.Settings{"featureGates": map[string]bool{"AllowParsingUserUIDFromCertAuth": false}}},
	"no-reload-anonymous": {settings: kubelet.Settings{
		"featureGates":                     map[string]bool{"ReloadKubeletClientCAFile": false},
		"authentication.anonymous.enabled": true, "authentication.webhook.enabled": false,
		"authorization.mode": "AlwaysAllow",
	}},
	// flags-only has the kubelet's defaults without a configuration file: anonymous authentication on, authorization
	// mode AlwaysAllow, and a self-signed certificate with an RSA key.
	"flags-only": {flags: []string{}},
	"flags-client-ca": {flags: []string{"--client-ca-file=ca.crt", "--authentication-token-webhook",
		"--authorization-mode=Webhook", "--anonymous-auth=false", "--kubeconfig=kubeconfig", "--register-node=false"}},
	"reviewer-forbids": {settings: kubelet.Settings{"authentication.anonymous.enabled": true},
		faults: []faults.Fault{{Kind: faults.ReviewerError, Status: 403}}},
	"reviewer-sends-no-review": {faults: []faults.Fault{{Kind: faults.ReviewerError}}},
}

// allConfigurations returns ownConfigurations together with the configurations of internal/vectors.
func allConfigurations(corpus *vectors.Corpus) map[string]configuration {
	all := maps.Clone(ownConfigurations)
	for name, s := range corpus.Configurations {
		all[name] = configuration{settings: kubelet.Settings(s)}
	}
	return all
}

// side is one of the two servers under comparison, with its clients and the server that answers its reviews.
type side struct {
	*kubelet.Kubelet
	kind    string
	reviews *reviews.Server
	clients map[string]client
	peer    *recordings.Peer
}

// startSides starts two servers with the same configuration: the kubelet's own server (program "reference") and
// fauxlet. They listen on the same ports of different addresses, and stop when the test ends.
func startSides(t *testing.T, c configuration, clients map[string]client) [2]*side {
	t.Helper()
	var sides [2]*side
	port, readOnly, root := programs.FreePort(t), programs.FreePort(t), t.TempDir()
	certDir := filepath.Join(root, "pki")
	for i, kind := range []string{"reference", "fauxlet"} {
		program := ""
		if c.recorded != "" {
			kind, program = "reference", programs.Path(t, c.recorded)
		} else if kind == "fauxlet" {
			program = c.fauxlet
		}
		s := &side{kind: kind, clients: clients, reviews: reviews.Start(t)}
		// The names of the two folders must have the same length. Some responses contain them, so that names of
		// different lengths would lead to different Content-Length headers.
		dir := filepath.Join(root, "abc"[i:i+1])
		expect.NoError(t, os.Mkdir(dir, 0o755))
		kubeconfig := filepath.Join(dir, "kubeconfig")
		expect.NoError(t, os.Rename(s.reviews.Kubeconfig, kubeconfig))
		address := "127.0.0." + strconv.Itoa(i+1)
		if c.ipv6 {
			address, port, readOnly = "::1", programs.FreePort(t), programs.FreePort(t)
		}
		if c.flags != nil {
			s.Kubelet = startWithFlags(t, kind, program, dir, append([]string{
				"--address=" + address, "--port=" + strconv.Itoa(port), "--read-only-port=" + strconv.Itoa(readOnly),
				"--healthz-port=0",
				"--hostname-override=node-1", "--cert-dir=" + certDir,
			}, c.flags...))
		} else {
			var args []string
			if c.quiet {
				args = []string{"-v=0"}
			}
			s.Kubelet = kubelet.Start(t, nil, kubelet.Options{
				Kind: kind, Program: program, Port: port, Dir: dir, CertDir: certDir, Kubeconfig: kubeconfig,
				Pods:     []sample.Pod{comparedPod()},
				Settings: comparedSettings(t, c, address, readOnly), Args: args,
			})
		}
		s.peer = &recordings.Peer{Secure: s.Secure, ReadOnly: s.ReadOnly, Clients: clients, Take: s.reviews.Take,
			Same: recordings.NewNames([]string{address, "127.0.0.1", dir, filepath.Join(root, "a")}, nil)}
		sides[i] = s
	}
	return sides
}

func comparedSettings(t *testing.T, c configuration, address string, readOnly int) kubelet.Settings {
	all := kubelet.Settings{"address": address, "readOnlyPort": readOnly}
	ttl := map[bool]string{false: "1ns", true: "1h"}[c.caches] // a lifetime of 1ns turns the caches off
	for _, field := range []string{"authentication.webhook.cacheTTL", "authorization.webhook.cacheAuthorizedTTL",
		"authorization.webhook.cacheUnauthorizedTTL"} {
		all[field] = ttl
	}
	maps.Copy(all, kubelet.ServingCertificate(t))
	maps.Copy(all, c.settings)
	return all
}

// startWithFlags starts a server that has flags but no configuration file. If the program is empty, it is the program
// that the kind names. If the value of a flag is "ca.crt" or
// "kubeconfig", startWithFlags replaces that value by the path of such a file.
func startWithFlags(t *testing.T, kind, program, dir string, flags []string) *kubelet.Kubelet {
	t.Helper()
	p, err := controlplane.Certificates()
	expect.NoError(t, err)
	ready := filepath.Join(dir, "ready.json")
	args := []string{"--ready-file", ready, "-v=2"}
	for _, flag := range flags {
		switch name, value, _ := strings.Cut(flag, "="); value {
		case "ca.crt":
			flag = name + "=" + p.CAFile
		case "kubeconfig":
			flag = name + "=" + filepath.Join(dir, "kubeconfig")
		}
		args = append(args, flag)
	}
	pods := []sample.Pod{comparedPod()}
	logs := sample.WriteLogs(t, filepath.Join(dir, "logs"), pods)
	if kind == "fauxlet" {
		args = append([]string{"serve", "--scenario", sample.WriteScenario(t, dir, logs, pods)}, args...)
	} else {
		args = append(args, "--pods", sample.WritePods(t, dir, pods), "--logs", logs, "--node-logs",
			sample.WriteNodeLogs(t, filepath.Join(dir, "node-logs")))
	}
	k := &kubelet.Kubelet{Node: "node-1", Dir: dir}
	if program == "" {
		program = programs.Path(t, kind)
	}
	k.Process, err = programs.Start(kind, program, args...)
	expect.NoError(t, err)
	t.Cleanup(func() {
		if err := k.Stop(); err != nil {
			t.Error(err)
		}
		k.LogOnFailure(t, 0)
	})
	expect.Eventually(t, time.Minute, kind+" is ready", func() string {
		data, err := os.ReadFile(ready)
		if err == nil {
			err = json.Unmarshal(data, &struct{ Secure, ReadOnly *string }{&k.Secure, &k.ReadOnly})
		}
		if err != nil {
			return err.Error() + "\n" + k.Out.String()
		}
		return ""
	})
	_, number, err := net.SplitHostPort(k.Secure)
	expect.NoError(t, err)
	k.Port, err = strconv.Atoi(number)
	expect.NoError(t, err)
	return k
}

// fail sets the active faults of the server that answers TokenReviews and SubjectAccessReviews.
func (s *side) fail(t testing.TB, all []faults.Fault) {
	expect.NoError(t, s.reviews.Faults.Replace("same", all))
}

// comparedPod is the pod that the vectors use. The log lines are old, so that no answer depends on the current time.
func comparedPod() sample.Pod {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	return sample.Pod{Namespace: "default", Name: "nginx", Containers: []sample.Container{
		{Name: "nginx", Log: []sample.Line{{At: at, Text: "one"}, {At: at.Add(time.Minute), Text: "two"},
			{At: at.Add(2 * time.Minute), Text: "three"}}, Previous: []sample.Line{{At: at, Text: "before"}}},
		{Name: "sidecar", Log: []sample.Line{{At: at, Text: "beside"}}},
		{Name: "odd", Log: []sample.Line{{At: at, Text: "one"}}, LogEnd: "2026-01-02T03:04:06Z stdout P \n" +
			"2026-01-02T03:04:07Z stderr P part \n2026-01-02T03:04:08Z stderr F two\n" +
			"2026-01-02T03:04:09Z stdout F no line feed"},
	}}
}
