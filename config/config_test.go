package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/spf13/pflag"
)

const header = "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n"

func load(t testing.TB, args ...string) (*Config, error) {
	t.Helper()
	f, err := parse(args)
	if err != nil {
		return nil, err
	}
	return f.Load()
}

func mustLoad(t testing.TB, args ...string) *Config {
	t.Helper()
	c, err := load(t, args...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestFlagsAreTheKubelets compares the name, type, default, usage and deprecation of every flag with the kubelet's
// flag.
func TestFlagsAreTheKubelets(t *testing.T) {
	fs := pflag.NewFlagSet("fauxlet", pflag.ContinueOnError)
	NewFlags().AddTo(fs)
	seen := map[string]bool{}
	for _, want := range facts().Flags {
		seen[want.Name] = true
		got := fs.Lookup(want.Name)
		if got == nil {
			t.Errorf("the kubelet's flag --%s is missing", want.Name)
			continue
		}
		is := flagFact{
			Name:        got.Name,
			Shorthand:   got.Shorthand,
			Type:        got.Value.Type(),
			Value:       want.Value,
			Default:     got.DefValue,
			NoOptDefVal: got.NoOptDefVal,
			Field:       want.Field,
			Usage:       got.Usage,
			Deprecated:  got.Deprecated,
		}
		if is != want {
			t.Errorf("the declaration of --%s differs from the kubelet's\n got %+v\nwant %+v", want.Name, is, want)
		}
	}
	fs.VisitAll(func(f *pflag.Flag) {
		if !seen[f.Name] && !f.Hidden {
			t.Errorf("--%s is not a flag of the kubelet", f.Name)
		}
	})
	for _, name := range slices.Concat(meaningful, nodeSettings) {
		if !seen[name] {
			t.Errorf("meaningful or nodeSettings lists --%s, but the kubelet has no such flag", name)
		}
	}
}

func TestNode(t *testing.T) {
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name string
		args []string
		want func(*Config) any
		is   any
	}{
		{"name of the host", nil, func(c *Config) any { return c.NodeName }, strings.ToLower(host)},
		{"name by flag in lower case and trimmed", []string{"--hostname-override= Node-1 "},
			func(c *Config) any { return c.NodeName }, "node-1"},
		{"no IP", nil, func(c *Config) any { return len(c.NodeIPs) }, 0},
		{"one IP", []string{"--node-ip=10.0.0.1"}, func(c *Config) any {
			return fmt.Sprint(c.NodeIP,
				c.NodeIPs)
		}, "10.0.0.1[10.0.0.1]"},
		{"two IPs", []string{"--node-ip=10.0.0.1, fd00::1"},
			func(c *Config) any { return fmt.Sprint(c.NodeIPs) }, "[10.0.0.1 fd00::1]"},
		{"one IP not parsed", []string{"--node-ip=10.0.0.1,x"},
			func(c *Config) any { return fmt.Sprint(c.NodeIPs, c.Warnings) },
			`[10.0.0.1] [--node-ip "10.0.0.1,x": could not parse some node IP(s), ignoring them: [x]]`},
		{"labels", []string{"--node-labels=a=b,c=d"}, func(c *Config) any { return c.NodeLabels },
			map[string]string{"a": "b", "c": "d"}},
		{"default folders", nil, func(c *Config) any { return []string{c.CertDir, c.RootDir, c.Kubeconfig} },
			[]string{"/var/lib/kubelet/pki", "/var/lib/kubelet", ""}},
		{"folders", []string{"--cert-dir=pki", "--root-dir=/x", "--kubeconfig=k", "--bootstrap-kubeconfig=b"},
			func(c *Config) any { return []string{c.CertDir, c.RootDir, c.Kubeconfig, c.BootstrapKubeconfig} },
			[]string{"pki", "/x", "k", "b"}},
		{"free port", []string{"--port=0"}, func(c *Config) any { return c.Kubelet.Port }, int32(0)},
		{"nothing ignored", []string{"--port=0", "--cgroup-driver=systemd", "--cgroup-root=/x",
			"--enable-controller-attach-detach=false", "--v=2", "--node-ip=::1", "--anonymous-auth"},
			func(c *Config) any { return len(c.Ignored) }, 0},
		{"ignored in order and once", []string{"--max-open-files=5", "--cgroup_driver=systemd",
			"--max-open-files=6", "--image_gc_high_threshold=90", "--version=false"},
			func(c *Config) any { return c.Ignored }, []string{"image-gc-high-threshold", "max-open-files", "version"}},
		{"ignored, yet shown", []string{"--max-open-files=5"},
			func(c *Config) any { return c.Kubelet.MaxOpenFiles }, int64(5)},
		{"insecure cipher", []string{"--tls-cipher-suites=TLS_RSA_WITH_AES_128_CBC_SHA"},
			func(c *Config) any { return c.Warnings },
			[]string{"tlsCipherSuites (--tls-cipher-suites): use of insecure cipher detected: " +
				"TLS_RSA_WITH_AES_128_CBC_SHA"}},
		{"ciphers with TLS 1.3", []string{"--tls-cipher-suites=TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
			"--tls-min-version=VersionTLS13"}, func(c *Config) any { return c.Warnings },
			[]string{"TLS 1.3 cipher suites are not configurable, ignoring --tls-cipher-suites"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := test.want(mustLoad(t, test.args...)); !reflect.DeepEqual(got, test.is) {
				t.Errorf("effective value %v, want %v", got, test.is)
			}
		})
	}
}

// TestStartErrors checks that Load returns the errors that a kubelet reports while it starts, with the kubelet's text
// and a remedy.
func TestStartErrors(t *testing.T) {
	for _, test := range []struct {
		name, arg, want string
	}{
		{"mode neither", "--authorization-mode=Foo", "failed to run Kubelet: unknown authorization mode Foo; set " +
			"authorization.mode (--authorization-mode) to AlwaysAllow or Webhook"},
		{"mode empty", "--authorization-mode=", "failed to run Kubelet: no authorization mode specified; set"},
		{"cipher unknown", "--tls-cipher-suites=X", "failed to construct kubelet dependencies: Cipher suite X not " +
			"supported or doesn't exist; tlsCipherSuites"},
		{"TLS version unknown", "--tls-min-version=1.2",
			`failed to construct kubelet dependencies: unknown tls version "1.2"; ` +
				"tlsMinVersion (--tls-min-version) is one of VersionTLS10,"},
		{"node name that is not a DNS name", "--hostname-override=Node_1", `--hostname-override "Node_1" cannot be the ` +
			"name of a node: a lowercase RFC 1123 subdomain must consist of"},
		{"hostname blank", "--hostname-override= ", "failed to run Kubelet: empty hostname is invalid; set " +
			"--hostname-override"},
		{"three node IPs", "--node-ip=1.1.1.1,::1,2.2.2.2",
			`failed to run Kubelet: bad --node-ip "1.1.1.1,::1,2.2.2.2": ` +
				"must contain either a single IP or a dual-stack pair of IPs"},
		{"negative port by flag", "--port=-1", "port (--port) -1 must be between 1 and 65535, inclusive"},
		{"unspecified node IP of two", "--node-ip=0.0.0.0,::1", "dual-stack node IP cannot include '0.0.0.0' or '::'"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if _, err := load(t, test.arg); err == nil || !strings.HasPrefix(err.Error(), "failed to ") ||
				!strings.Contains(err.Error(), test.want) {
				t.Errorf("Load returned the error %v, want one that contains %s", err, test.want)
			}
		})
	}
	path := filepath.Join(t.TempDir(), "k.yaml")
	writeFiles(t, filepath.Dir(path), map[string]string{"k.yaml": header + "tlsCurvePreferences: [1]\n"})
	if _, err := load(t, "--config", path); err == nil ||
		!strings.Contains(err.Error(), "curve preference 1 is not supported by the current Go version") {
		t.Errorf("Load returned the error %v, want one that refuses curve preference 1", err)
	}
}

func TestStrict(t *testing.T) {
	for _, test := range []struct{ name, file, dropIn, want string }{
		{"unknown field", "authentication: {anonymus: {}}\n", "",
			`strict decoding error: unknown field "authentication.anonymus" (did you mean authentication.anonymous?)`},
		{"two unknown fields", "CPUManagerPolicy: static\nanonymousAuth: false\n", "",
			`unknown field "CPUManagerPolicy" (did you mean cpuManagerPolicy?), ` +
				`unknown field "anonymousAuth" (did you mean authentication.anonymous.enabled?)`},
		{"unknown field without a similar one", "containerRuntime: docker\n", "", `unknown field "containerRuntime"`},
		{"field twice", "port: 1\nport: 2\n", "", `key "port" already set in map`},
		{"unknown field in a drop-in", "", "prot: 1\n", `unknown field "prot" (did you mean port?)`},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			writeFiles(t, dir, map[string]string{"k.yaml": header + test.file, "d/1.conf": header + test.dropIn})
			f, err := parse([]string{"--config=" + dir + "/k.yaml", "--config-dir=" + dir + "/d"})
			if err != nil {
				t.Fatal(err)
			}
			c, err := f.Load()
			if err != nil {
				t.Fatalf("Load without Strict failed: %v", err)
			}
			if len(c.Warnings) != 1 || !strings.HasPrefix(c.Warnings[0], dir) ||
				!strings.Contains(c.Warnings[0], test.want) || strings.Contains(c.Warnings[0], "\n") {
				t.Errorf("warnings %q, want one of one line that contains %s", c.Warnings, test.want)
			}
			f.Strict = true
			if _, err := f.Load(); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("Load with Strict returned the wrong error: %v", err)
			}
		})
	}
}

func TestGates(t *testing.T) {
	c := mustLoad(t, "--feature-gates=GracefulNodeShutdownBasedOnPodPriority=false,DefaultPodSysctls=true")
	for gate, want := range map[string]bool{"DefaultPodSysctls": true,
		"GracefulNodeShutdownBasedOnPodPriority": false, "KubeletFineGrainedAuthz": true, "NoSuchGate": false} {
		if got := c.Enabled(gate); got != want {
			t.Errorf("Enabled(%s) is %t, want the opposite", gate, got)
		}
	}
	if mustLoad(t).Enabled("DefaultPodSysctls") {
		t.Error("the feature gates set for one configuration are also set in a later one")
	}
}

func TestConfigz(t *testing.T) {
	for _, test := range []struct {
		name      string
		args      []string
		cert, key any
	}{
		{"self-signed", []string{"--cert-dir=/pki"}, "/pki/kubelet.crt", "/pki/kubelet.key"},
		{"given", []string{"--tls-cert-file=/a", "--tls-private-key-file=/b"}, "/a", "/b"},
		{"half given", []string{"--tls-cert-file=/a"}, "/a", nil},
		{"of the cluster", []string{"--rotate-server-certificates"}, nil, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := mustLoad(t, test.args...)
			body, err := c.Configz()
			if err != nil {
				t.Fatal(err)
			}
			var got map[string]map[string]any
			if err := json.Unmarshal(body, &got); err != nil {
				t.Fatal(err)
			}
			kc := got["kubeletconfig"]
			if len(got) != 1 || kc["kind"] != "KubeletConfiguration" ||
				kc["apiVersion"] != "kubelet.config.k8s.io/v1beta1" {
				t.Errorf("Configz returned %s, want one versioned KubeletConfiguration", body)
			}
			if kc["tlsCertFile"] != test.cert || kc["tlsPrivateKeyFile"] != test.key {
				t.Errorf("wrong serving certificate or key: %v, %v", kc["tlsCertFile"], kc["tlsPrivateKeyFile"])
			}
		})
	}
}

// TestSetAndLoadAgain checks that Flags.Set is sufficient to set flags, and that every call of Load reads the files
// again.
func TestSetAndLoadAgain(t *testing.T) {
	dir := t.TempDir()
	writeFiles(t, dir, map[string]string{"k.yaml": header + "port: 7\nmaxPods: 7\n"})
	f := NewFlags()
	for name, value := range map[string]string{"config": dir + "/k.yaml", "port": "8"} {
		if err := f.Set(name, value); err != nil {
			t.Fatal(err)
		}
	}
	for _, pods := range []int32{7, 9} {
		writeFiles(t, dir, map[string]string{"k.yaml": fmt.Sprintf("%sport: 7\nmaxPods: %d\n", header, pods)})
		c, err := f.Load()
		if err != nil {
			t.Fatal(err)
		}
		if c.Kubelet.Port != 8 || c.Kubelet.MaxPods != pods || !c.HasConfigFile {
			t.Errorf("port %d and maxPods %d with a file, want 8 and %d", c.Kubelet.Port, c.Kubelet.MaxPods, pods)
		}
		c.Kubelet.FeatureGates = map[string]bool{"changed": true}
		*c.Kubelet.EnableServer = false
	}
	if c := mustLoad(t); !*c.Kubelet.EnableServer {
		t.Error("a change of one loaded configuration also changed the defaults of the next")
	}
	for name, want := range map[string]string{
		"nope": "failed to parse kubelet flag: unknown flag: --nope",
		"v":    `failed to parse kubelet flag: invalid argument "x" for "-v, --v" flag`,
	} {
		if err := f.Set(name, "x"); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("Set(%s) returned the wrong error: %v", name, err)
		}
	}
}

// TestLoadConcurrently loads several configurations concurrently, as a process with many nodes does.
func TestLoadConcurrently(t *testing.T) {
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			c, err := load(t, fmt.Sprintf("--port=%d", i+1), "--feature-gates=MemoryQoS=true")
			if err != nil || c.Kubelet.Port != int32(i+1) || !c.Enabled("MemoryQoS") {
				t.Errorf("concurrent load %d returned the configuration %+v and the error %v", i, c, err)
			}
		})
	}
	wg.Wait()
}

func FuzzLoad(f *testing.F) {
	f.Add("port", "7", header+"port: 7\n", header+"port: null\n")
	f.Add("feature-gates", "AllAlpha=true", header+"featureGates: {AllBeta: false}\n", header+"featureGates: null\n")
	f.Add("register-with-taints", "a=b:NoSchedule", header+"logging: null\n", header+"authentication: 7\n")
	f.Add("reserved-memory", "0:memory=1Gi", header+"crashLoopBackOff: {maxContainerRestartPeriod: null}\n", "{}")
	f.Fuzz(func(t *testing.T, name, value, file, dropIn string) {
		dir := t.TempDir()
		writeFiles(t, dir, map[string]string{"k.yaml": file, "d/1.conf": dropIn})
		flags := NewFlags()
		for _, set := range [][2]string{{"config", dir + "/k.yaml"}, {"config-dir", dir + "/d"}} {
			if err := flags.Set(set[0], set[1]); err != nil {
				t.Fatal(err)
			}
		}
		if name == "config" || name == "config-dir" || flags.Set(name, value) != nil {
			return
		}
		c, err := flags.Load()
		if err != nil {
			return
		}
		if _, err := c.Configz(); err != nil {
			t.Error(err)
		}
	})
}

// TestOtherFiles checks that the error names a file that was given in place of the configuration file.
func TestOtherFiles(t *testing.T) {
	for text, want := range map[string]string{
		"apiVersion: v1\nkind: Config\nclusters: []\n":                       "this file is a kubeconfig",
		"apiVersion: v1\nkind: ConfigMap\ndata: {kubelet: \"a: b\"}\n":       "data.kubelet",
		`{"kubeletconfig": {"port": 10250}}`:                                 "a response of /configz",
		"apiVersion: apps/v1\nkind: Deployment\n":                            `no kind "Deployment"`,
		"staticPodURLHeader: {a: [secret]}\n":                                "failed to decode: kind is not set; ",
		"apiVersion: kubelet.config.k8s.io/v1\nkind: KubeletConfiguration\n": "kubelet.config.k8s.io/v1",
	} {
		file := filepath.Join(t.TempDir(), "k.yaml")
		writeFiles(t, filepath.Dir(file), map[string]string{"k.yaml": text})
		_, err := load(t, "--config", file)
		failed, ok := errors.AsType[*FileError](err)
		if !ok || !strings.HasPrefix(failed.Short().Error(), file+": failed to decode: ") ||
			!strings.Contains(failed.Short().Error(), want) || strings.Contains(failed.Short().Error(), "secret") {
			t.Errorf("%q: error %v, want one that contains %s, and not the content", text, err, want)
		}
	}
}

func TestNearestField(t *testing.T) {
	for unknown, want := range map[string]string{
		"CPUManagerPolicy":                    "cpuManagerPolicy",
		"Authentication.Anonymous":            "authentication.anonymous",
		"authentication.Anonymous.Enabled":    "authentication.anonymous.enabled",
		"anonymousAuth":                       "authentication.anonymous.enabled",
		"anonymous-auth":                      "authentication.anonymous.enabled",
		"authorizationMode":                   "authorization.mode",
		"authenticationTokenWebhook":          "authentication.webhook.enabled",
		"rotateServerCertificates":            "serverTLSBootstrap",
		"clientCAFile":                        "authentication.x509.clientCAFile",
		"authentication.clientCaFile":         "authentication.x509.clientCAFile",
		"x509":                                "authentication.x509",
		"x509.clientCAFile":                   "authentication.x509.clientCAFile",
		"authentication.anonymus":             "authentication.anonymous",
		"authentication.anonymous.enable":     "authentication.anonymous.enabled",
		"authorization.webhok.cacheTTL":       "authentication.webhook.cacheTTL",
		"prot":                                "port",
		"readonlyPort":                        "readOnlyPort",
		"registerWithTaints[0].efect":         "registerWithTaints[].effect",
		"tlsCipherSuits":                      "tlsCipherSuites",
		"authentication.enabled":              "", // of webhook and of anonymous
		"enabled":                             "",
		"containerRuntime":                    "",
		"x":                                   "",
		"":                                    "",
		"authentication.anonymous.enabled.on": "",
	} {
		if got := nearestField(unknown); got != want {
			t.Errorf("%s: nearest field %q, want %q", unknown, got, want)
		}
	}
}
