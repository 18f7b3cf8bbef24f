package kubeconfig

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/client-go/tools/clientcmd"
)

// These files belong together: the contexts, the cluster and the user are in different files.
const (
	contexts = `
apiVersion: v1
kind: Config
current-context: first
contexts:
- {name: first, context: {cluster: c, user: u}}
- {name: second, context: {cluster: d, user: u}}
`
	clusters = `
apiVersion: v1
kind: Config
clusters:
- {name: c, cluster: {server: "https://192.0.2.1:6443", certificate-authority: ca.crt}}
- {name: d, cluster: {server: "https://192.0.2.2:6443"}}
users:
- {name: u, user: {token: secret}}
`
	whole = `
apiVersion: v1
kind: Config
current-context: home
clusters: [{name: h, cluster: {server: "https://192.0.2.3:6443"}}]
contexts: [{name: home, context: {cluster: h}}]
`
)

// TestClient checks that the cluster is found where kubectl finds it, and that errors say what was looked for.
func TestClient(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	for name, content := range map[string]string{"contexts": contexts, "clusters": clusters, "whole": whole,
		"empty": "", "invalid": "kind: [", "ca.crt": ""} {
		if err := os.WriteFile(path(name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	list := func(names ...string) string {
		for i, name := range names {
			names[i] = path(name)
		}
		return strings.Join(names, string(filepath.ListSeparator))
	}
	for _, test := range []struct {
		name      string
		env, home string // $KUBECONFIG, and the file in place of ~/.kube/config
		source    Source
		host      string
		origin    string
		err       string // part of the error
	}{
		{name: "several files are merged", env: list("missing", "contexts", "clusters"),
			host: "https://192.0.2.1:6443", origin: `context "first" of ` + path("contexts")},
		{name: "another context", env: list("contexts", "clusters"), source: Source{Context: "second"},
			host: "https://192.0.2.2:6443", origin: `context "second" of ` + path("contexts")},
		{name: "the file in the home folder", home: path("whole"), host: "https://192.0.2.3:6443",
			origin: `context "home" of ` + path("whole")},
		{name: "the variable replaces the file in the home folder", env: list("contexts", "clusters"),
			home: path("whole"), host: "https://192.0.2.1:6443", origin: `context "first" of ` + path("contexts")},
		{name: "a path replaces both", env: list("contexts", "clusters"), home: path("empty"),
			source: Source{Path: path("whole")}, host: "https://192.0.2.3:6443",
			origin: `context "home" of ` + path("whole")},
		{name: "no context of this name", env: list("contexts", "clusters"), source: Source{Context: "third"},
			err: `context "third" does not exist; the contexts are: first, second`},
		{name: "no file", home: path("missing"),
			err: "no cluster is configured: $KUBECONFIG is not set, and " + path("missing") + " is missing or empty"},
		{name: "no file in the variable", env: list("missing", "empty"), home: path("whole"),
			err: "the files in $KUBECONFIG are missing or empty: " + path("missing") + ", " + path("empty")},
		{name: "a path that does not exist", env: list("whole"), source: Source{Path: path("missing")},
			err: "no such file"},
		{name: "a path without content", env: list("whole"), source: Source{Path: path("empty")},
			err: "no configuration has been provided"},
		{name: "an invalid file", env: list("invalid"), err: path("invalid")},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Setenv("KUBECONFIG", test.env)
			t.Setenv("KUBERNETES_SERVICE_HOST", "")
			home := clientcmd.RecommendedHomeFile
			clientcmd.RecommendedHomeFile = test.home
			t.Cleanup(func() { clientcmd.RecommendedHomeFile = home })
			config, origin, err := test.source.Client("agent")
			if test.err != "" {
				if err == nil || !strings.Contains(err.Error(), test.err) {
					t.Errorf("the error is %v, want %q", err, test.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if config.Host != test.host || origin != test.origin || config.UserAgent != "agent" {
				t.Errorf("%s (%s), want %s (%s)", config.Host, origin, test.host, test.origin)
			}
			if ca := config.CAFile; ca != "" && ca != path("ca.crt") {
				t.Errorf("the CA is %s, want a path relative to the file that names it", ca)
			}
		})
	}
}

// TestServiceAccount checks that a pod without a kubeconfig uses its service account, and that an explicit kubeconfig
// or context is never replaced by the service account.
func TestServiceAccount(t *testing.T) {
	home := clientcmd.RecommendedHomeFile
	clientcmd.RecommendedHomeFile = filepath.Join(t.TempDir(), "missing")
	t.Cleanup(func() { clientcmd.RecommendedHomeFile = home })
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("KUBECONFIG", "")
	t.Setenv("KUBERNETES_SERVICE_HOST", "192.0.2.4")
	t.Setenv("KUBERNETES_SERVICE_PORT", "443")
	// The token of a service account is in a fixed file, which does not exist here.
	if _, _, err := (Source{}).Client(""); err == nil || !strings.Contains(err.Error(), "serviceaccount/token") {
		t.Errorf("the error is %v, want an error about the token of the service account", err)
	}
	for _, source := range []Source{{Path: empty}, {Context: "x"}} {
		if _, _, err := source.Client(""); err == nil || strings.Contains(err.Error(), "serviceaccount") {
			t.Errorf("%+v: the error is %v, and must not be about the service account", source, err)
		}
	}
}
