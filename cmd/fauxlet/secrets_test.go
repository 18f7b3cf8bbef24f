package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"fauxlet/internal/secretfiles"
)

// sharedFolder returns a new folder that other users can enter. They cannot enter the folder of t.TempDir.
func sharedFolder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "fauxlet-secrets")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestSecretFilesAreClassified checks that each flag that names a file with a secret is in keyFlags or kubeconfigFlags.
// The flags below have such names but name no file with a secret.
func TestSecretFilesAreClassified(t *testing.T) {
	others := []string{"authentication-token-webhook", "authentication-token-webhook-cache-ttl", "bad-token",
		"storage-driver-password", "token-identity", "write-kubeconfig"}
	var check func(c *cobra.Command)
	check = func(c *cobra.Command) {
		c.LocalFlags().VisitAll(func(flag *pflag.Flag) {
			for _, word := range []string{"key", "token", "kubeconfig", "password"} {
				if slices.Contains(strings.Split(strings.ReplaceAll(flag.Name, "tokens", "token"), "-"), word) &&
					!slices.Contains(slices.Concat(keyFlags, kubeconfigFlags, others), flag.Name) {
					t.Errorf("%s --%s: is it the name of a file with a secret?", c.CommandPath(), flag.Name)
				}
			}
		})
		for _, sub := range c.Commands() {
			check(sub)
		}
	}
	check(newRoot())
}

// TestWarnsOfSecrets checks that each command warns once of a file with a secret that all users can read, and of a
// kubeconfig that turns off the verification of the apiserver.
func TestWarnsOfSecrets(t *testing.T) {
	dir := sharedFolder(t)
	path := func(name string) string { return filepath.Join(dir, name) }
	const kubeconfig = `
apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "https://127.0.0.1:1", insecure-skip-tls-verify: true}}]
users: [{name: u, user: {token: secret}}]
contexts: [{name: c, context: {cluster: c, user: u}}]
current-context: c
`
	write := func(name, content string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(path(name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path(name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path(name), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("admin.conf", kubeconfig)
	write("with-key.conf", strings.ReplaceAll(strings.ReplaceAll(kubeconfig, "insecure-skip-tls-verify: true", ""),
		"token: secret", "client-key: user.key"))
	for _, name := range []string{"user.key", "ca.key", "token", "tokens.csv", "demo/tokens.csv", "demo/pki/ca.key",
		"kubelet.key", "pki/kubelet-client-current.pem"} {
		write(name, "secret")
	}
	write("demo/kubeconfig", kubeconfig)
	write("kubelet.yaml", "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n"+
		"tlsPrivateKeyFile: "+path("kubelet.key")+"\ntlsCertFile: "+path("kubelet.crt")+"\n")
	const insecure = "insecure-skip-tls-verify is true"
	readable := func(name string) string { return "every user of this machine can read " + path(name) + "," }
	for _, test := range []struct {
		args string // / stands for the folder
		env  string // a file in the folder, for $KUBECONFIG
		want []string
	}{
		{args: "check --list", env: "admin.conf", want: []string{insecure, readable("admin.conf")}},
		{args: "explain pods --output none", env: "admin.conf"},
		{args: "explain pods --context c --output none", env: "admin.conf",
			want: []string{insecure, readable("admin.conf")}},
		{args: "check --kubeconfig /admin.conf --list", want: []string{insecure, readable("admin.conf")}},
		{args: "check --kubeconfig /with-key.conf --serving-ca-key-file /ca.key --list",
			want: []string{readable("user.key"), readable("ca.key")}},
		{args: "probe https: --kubeconfig /admin.conf", want: []string{readable("admin.conf")}},
		{args: "probe https: --client-key /user.key --token-file /token --compare-kubeconfig /admin.conf",
			want: []string{readable("user.key"), readable("token"), readable("admin.conf"), insecure}},
		{args: "probe https: --as a=client-key:/user.key,kubeconfig:/admin.conf",
			want: []string{readable("user.key"), readable("admin.conf")}},
		{args: "probe node-1 --kubeconfig /admin.conf", want: []string{insecure, readable("admin.conf")}},
		{args: "probe node-1 node-2 --kubeconfig /with-key.conf", want: []string{readable("user.key")}},
		{args: "probe --all-nodes", env: "admin.conf", want: []string{insecure, readable("admin.conf")}},
		{args: "explain pods --kubeconfig /admin.conf --output none", want: []string{insecure, readable("admin.conf")}},
		{args: "explain pods --tokens /tokens.csv --output none", want: []string{readable("tokens.csv")}},
		{args: "reviews --tokens /tokens.csv --log-format none", want: []string{readable("tokens.csv")}},
		{args: "watch --token-file /token --output none", want: []string{readable("token")}},
		{args: "fault list --token-file /token --output none", want: []string{readable("token")}},
		{args: "certs none none --dir /", want: []string{readable("ca.key")}},
		{args: "demo --dir /demo --yes", want: []string{insecure, readable("demo/kubeconfig"),
			readable("demo/tokens.csv"), readable("demo/pki/ca.key")}},
		{args: "serve --scenario none --config /kubelet.yaml --kubeconfig /admin.conf " +
			"--bootstrap-kubeconfig /with-key.conf --admin-token-file /token --cert-dir /pki", want: []string{insecure,
			readable("admin.conf"), readable("user.key"), readable("token"), readable("kubelet.key"),
			readable("pki/kubelet-client-current.pem")}},
	} {
		t.Run(test.args, func(t *testing.T) {
			t.Setenv("KUBECONFIG", path(test.env))
			root := newRoot()
			var stderr bytes.Buffer
			root.SetOut(io.Discard)
			root.SetErr(&stderr)
			args := strings.Fields(regexp.MustCompile(`([ :])/`).ReplaceAllString(test.args, "${1}"+dir+"/"))
			if run(t.Context(), root, args) == 0 && !slices.Contains(args, "--list") {
				t.Error("the command line is meant to fail after the warnings")
			}
			got := stderr.String()
			for _, want := range test.want {
				if strings.Count(got, want) != 1 {
					t.Errorf("no single warning %q in:\n%s", want, got)
				}
			}
			if count := strings.Count(got, insecure) + strings.Count(got, "every user"); count != len(test.want) {
				t.Errorf("%d warnings, want %d:\n%s", count, len(test.want), got)
			}
		})
	}
	for _, name := range []string{"admin.conf", "token"} {
		if err := os.Chmod(path(name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	files := &secretfiles.Files{}
	files.AddKubeconfig("--kubeconfig", path("with-key.conf"))
	files.AddKey("--token-file", path("token"))
	files.AddKey("--token-file", path("missing"))
	if got := fmt.Sprint(files.Warnings()); strings.Count(got, "every user") != 1 {
		t.Errorf("warnings %s, want only one, about user.key", got)
	}
}
