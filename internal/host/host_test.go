package host_test

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"fauxlet/config"
	"fauxlet/internal/freeport"
	"fauxlet/internal/host"
)

// loadConfig returns the configuration of a node without a cluster. The node listens on a free loopback port, and every
// client may do everything.
func loadConfig(t *testing.T, flags map[string]string) *config.Config {
	t.Helper()
	f := config.NewFlags()
	for name, value := range map[string]string{
		"hostname-override": "node-1", "address": "127.0.0.1", "cert-dir": t.TempDir(),
		"anonymous-auth": "true", "authorization-mode": "AlwaysAllow", "read-only-port": "0", "healthz-port": "0",
	} {
		if err := f.Set(name, value); err != nil {
			t.Fatal(err)
		}
	}
	for name, value := range flags {
		if err := f.Set(name, value); err != nil {
			t.Fatal(err)
		}
	}
	cfg, err := f.Load()
	if err != nil {
		t.Fatal(err)
	}
	cfg.Kubelet.Port = 0
	return cfg
}

// writeScenario writes a Scenario file with one pod. The given text is the content of the node's log file kubelet.log.
func writeScenario(t *testing.T, path, text string) {
	t.Helper()
	content := fmt.Sprintf(`
apiVersion: fauxlet/v1alpha1
kind: Scenario
pods: [{metadata: {name: web}, spec: {containers: [{name: nginx}]}}]
nodeLogs: {kubelet.log: %q}
`, text)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// The function "get" sends a GET request to a node, without a credential.
func get(t *testing.T, address, path string) (status int, body string) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
		DisableKeepAlives: true}}
	response, err := client.Get("https://" + address + path)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(data)
}

func start(t *testing.T, options host.Options) *host.Host {
	t.Helper()
	h, err := host.New(options)
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return h
}

func TestOneNodeServesReloadsAndStops(t *testing.T) {
	path := filepath.Join(t.TempDir(), "scenario.yaml")
	writeScenario(t, path, "one\n")
	h := start(t, host.Options{Config: loadConfig(t, nil), Scenario: path, Admin: host.Admin{Address: "127.0.0.1:0"}})
	if status, body := get(t, h.Addresses().Secure, "/pods"); status != http.StatusOK ||
		!strings.Contains(body, `"web"`) {
		t.Errorf("/pods: %d %s", status, body)
	}
	response, err := http.Get("http://" + h.Addresses().Admin + "/api/decisions")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if body, err := io.ReadAll(response.Body); err != nil || !strings.Contains(string(body), `"path":"/pods"`) {
		t.Errorf("the admin API does not list the decision: %v %s", err, body)
	}

	if err := os.WriteFile(path, []byte("kind: Wrong"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := h.Reload(); err == nil || !strings.HasPrefix(err.Error(), "Scenario: ") {
		t.Errorf("reloading a file with an error: %v", err)
	}
	writeScenario(t, path, "two\n")
	if err := h.Reload(); err != nil {
		t.Error(err)
	}
	if err := h.Stop(); err != nil {
		t.Error(err)
	}
	if conn, err := net.Dial("tcp", h.Addresses().Secure); err == nil {
		conn.Close()
		t.Error("the port is open after Stop")
	}
}

// TestFailedReloadChangesNothing checks that no fault of a Scenario file is active if the rest of the file cannot
// apply.
func TestFailedReloadChangesNothing(t *testing.T) {
	const header = "apiVersion: fauxlet/v1alpha1\nkind: Scenario\n"
	const fault = "faults: [{kind: status, status: 503, route: /pods}]\n"
	const fields = "metadata: {name: web}, spec: {containers: [{name: nginx, image: nginx}]}}"
	const manifest = "--- {apiVersion: v1, kind: Pod, " + fields // a kubelet takes a file that begins with { for JSON
	for _, test := range []struct{ name, scenario, manifest, want string }{
		{"too many nodes", fault + "nodes: 65535\n", manifest, "the highest port is 65535"},
		{"broken manifest", fault, "kind: [", "staticPodPath: "},
		{"pod and manifest of the same name", fault + "pods: [{" + fields + "]\n", manifest,
			"two manifests have this name"},
		{"two faults of the same name", "faults: [{kind: status, status: 503, name: a}, {kind: cut, after: 1, name: a}]\n",
			manifest, "another fault"},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			path, manifests := filepath.Join(dir, "scenario.yaml"), filepath.Join(dir, "manifest.yaml")
			write := func(path, text string) {
				if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			write(path, header)
			write(manifests, manifest)
			cluster := startAPIServer(t)
			cfg := loadConfig(t, map[string]string{"kubeconfig": cluster.kubeconfig(t), "pod-manifest-path": manifests,
				"file-check-frequency": "0s"})
			port, err := freeport.Next()
			if err != nil {
				t.Fatal(err)
			}
			cfg.Kubelet.Port = int32(port)
			h := start(t, host.Options{Config: cfg, Scenario: path, Nodes: host.Nodes{Count: 1, NamePrefix: "fake-"}})
			write(path, header+test.scenario)
			write(manifests, test.manifest)
			if err := h.Reload(); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("Reload: %v, want %q", err, test.want)
			}
			if status, body := get(t, h.Addresses().Secure, "/pods"); status != http.StatusOK {
				t.Errorf("/pods: %d %s", status, body)
			}
			write(path, header+fault)
			write(manifests, manifest)
			if err := h.Reload(); err != nil {
				t.Error(err)
			}
			if status, _ := get(t, h.Addresses().Secure, "/pods"); status != http.StatusServiceUnavailable {
				t.Errorf("/pods after a successful Reload: %d", status)
			}
			if err := h.Stop(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestSeveralNodesJoinAndLeaveACluster(t *testing.T) {
	cluster := startAPIServer(t)
	cfg := loadConfig(t, map[string]string{"kubeconfig": cluster.kubeconfig(t)})
	cfg.Kubelet.ContentType = "application/json"
	path := filepath.Join(t.TempDir(), "scenario.yaml")
	writeScenario(t, path, "")
	h := start(t, host.Options{Config: cfg, Scenario: path, Nodes: host.Nodes{Count: 3, NamePrefix: "fake-",
		Deregister: true}})
	cluster.awaitNodes(t, "fake-0", "fake-1", "fake-2")
	addresses := h.Addresses()
	for name, address := range addresses.Nodes {
		// A node adds the pods of its scenario after it has joined.
		for {
			status, body := get(t, address, "/pods")
			if status != http.StatusOK {
				t.Fatalf("%s: /pods: %d %s", name, status, body)
			}
			if strings.Contains(body, `"nodeName":"`+name) {
				break
			}
		}
	}

	reload := func(nodes string) {
		text := "{apiVersion: fauxlet/v1alpha1, kind: Scenario, nodes: " + nodes + "}"
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := h.Reload(); err != nil {
			t.Fatal(err)
		}
	}
	reload("2")
	cluster.awaitNodes(t, "fake-0", "fake-1")
	if conn, err := net.Dial("tcp", addresses.Nodes["fake-2"]); err == nil {
		conn.Close()
		t.Error("the port of a removed node is open")
	}
	reload("4")
	cluster.awaitNodes(t, "fake-0", "fake-1", "fake-2", "fake-3")
	if err := h.Stop(); err != nil {
		t.Error(err)
	}
	cluster.awaitNodes(t)
}

// TestTargets checks the targets for Prometheus: in a cluster, a node that listens on all addresses has the address of
// its Node object, and otherwise the address at which the client reached the admin listener.
func TestTargets(t *testing.T) {
	cluster := startAPIServer(t)
	targets := func(h *host.Host) string {
		response, err := http.Get("http://" + h.Addresses().Admin + "/api/targets")
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(body))
	}
	group := func(host, address, node string) string {
		_, port, _ := net.SplitHostPort(address)
		return fmt.Sprintf(`{"targets":["%s:%s"],"labels":{"__scheme__":"https","instance":%q,"node":%q}}`, host, port,
			node, node)
	}
	admin := host.Admin{Address: "127.0.0.1:0"}

	alone := start(t, host.Options{Config: loadConfig(t, map[string]string{"address": "0.0.0.0"}), Admin: admin})
	if got, want := targets(alone), "["+group("127.0.0.1", alone.Addresses().Secure, "node-1")+"]"; got != want {
		t.Errorf("one node has the targets %s, want %s", got, want)
	}
	none := start(t, host.Options{Config: loadConfig(t, nil), Admin: admin, Nodes: host.Nodes{None: true}})
	if got := targets(none); got != "[]" {
		t.Errorf("a host without nodes has the targets %s", got)
	}

	cfg := loadConfig(t, map[string]string{"kubeconfig": cluster.kubeconfig(t), "address": "0.0.0.0",
		"node-ip": "192.0.2.7"})
	cfg.Kubelet.ContentType = "application/json"
	fleet := start(t, host.Options{Config: cfg, Admin: admin, Nodes: host.Nodes{Count: 2, NamePrefix: "fake-"}})
	open := fleet.Addresses().Nodes
	if got, want := targets(fleet), "["+group("192.0.2.7", open["fake-0"], "fake-0")+","+
		group("192.0.2.7", open["fake-1"], "fake-1")+"]"; got != want {
		t.Errorf("two nodes have the targets %s, want %s", got, want)
	}
	for _, h := range []*host.Host{alone, none, fleet} {
		if err := h.Stop(); err != nil {
			t.Error(err)
		}
	}
}

func TestOptionErrors(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*host.Options)
		want   string
	}{
		"no configuration": {func(o *host.Options) { o.Config = nil }, "Config: required"},
		"several nodes, no cluster": {func(o *host.Options) { o.Nodes.Count = 3 },
			"Nodes.Count: 3: several nodes need a " +
				"cluster"},
		"negative count": {func(o *host.Options) { o.Nodes.Count = -1 }, "Nodes.Count: -1: must not be negative"},
		"prefix for one node": {func(o *host.Options) { o.Nodes.NamePrefix = "n-" },
			`Nodes.NamePrefix: "n-": needs a number of nodes`},
		"missing scenario": {func(o *host.Options) { o.Scenario = "none.yaml" }, "Scenario: "},
		"too many decisions": {func(o *host.Options) { o.Admin.KeepDecisions = host.MaxDecisions + 1 },
			"Admin.KeepDecisions: 1000001: must be from 1 to 1000000"},
	} {
		t.Run(name, func(t *testing.T) {
			options := host.Options{Config: loadConfig(t, nil)}
			test.change(&options)
			if _, err := host.New(options); err == nil || !strings.HasPrefix(err.Error(), test.want) {
				t.Errorf("got %v, want %s", err, test.want)
			}
		})
	}
}

// TestAdminAddressInUse checks the case that the admin address is in use. The host does not start, unless the admin
// listener is optional. An optional listener only causes a warning.
func TestAdminAddressInUse(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	core, logged := observer.New(zap.InfoLevel)
	options := host.Options{Config: loadConfig(t, nil), Logger: zap.New(core)}
	options.Admin.Address, options.Admin.Optional = taken.Addr().String(), true
	h := start(t, options)
	if address := h.Addresses().Admin; address != "" {
		t.Errorf("the admin listener is at %s", address)
	}
	if all := logged.FilterMessageSnippet("no admin listener").All(); len(all) != 1 || all[0].Level != zap.WarnLevel {
		t.Errorf("logged %v", logged.All())
	}
	if err := h.Stop(); err != nil {
		t.Error(err)
	}

	options.Admin.Optional = false
	h, err = host.New(options)
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Start(t.Context()); err == nil || !strings.Contains(err.Error(), "choose another port, or 0") {
		t.Errorf("the address is in use and not optional: error %v", err)
	}
}

// TestOpenServerIsReported expects one warning if every client that reaches the secure port may run commands.
func TestOpenServerIsReported(t *testing.T) {
	for name, test := range map[string]struct {
		flags map[string]string
		want  int
	}{
		"all addresses":       {map[string]string{"address": "0.0.0.0"}, 1},
		"all IPv6 addresses":  {map[string]string{"address": "::"}, 1},
		"loopback":            {nil, 0},
		"no anonymous access": {map[string]string{"address": "0.0.0.0", "anonymous-auth": "false"}, 0},
		"no server":           {map[string]string{"address": "0.0.0.0", "enable-server": "false"}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			core, lines := observer.New(zap.WarnLevel)
			start(t, host.Options{Config: loadConfig(t, test.flags), Logger: zap.New(core)})
			if got := lines.FilterMessageSnippet("--anonymous-auth=false").Len(); got != test.want {
				t.Errorf("%d warnings, want %d: %v", got, test.want, lines.All())
			}
		})
	}
}
