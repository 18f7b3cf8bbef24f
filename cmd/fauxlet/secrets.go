package main

import (
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"fauxlet/conformance/probe"
	"fauxlet/internal/kubeconfig"
	"fauxlet/internal/secretfiles"
)

// Flags that name a file with a private key or tokens, and flags that name a kubeconfig.
var (
	keyFlags = []string{"admin-token-file", "client-key", "serving-ca-key-file", "tls-private-key-file", "token-file",
		"tokens"}
	kubeconfigFlags = []string{"bootstrap-kubeconfig", "compare-kubeconfig", "kubeconfig"}
)

// secretsOfFlags returns the files that the flags of a command name.
func secretsOfFlags(c *cobra.Command) *secretfiles.Files {
	f := &secretfiles.Files{}
	context, _ := c.Flags().GetString("context")
	c.Flags().VisitAll(func(flag *pflag.Flag) {
		name, value := "--"+flag.Name, flag.Value.String()
		switch {
		case slices.Contains(keyFlags, flag.Name):
			f.AddKey(name, value)
		case c.Name() == "probe" && flag.Name == "kubeconfig" && !probesNodes(c.Flags()): // only the user is used
			f.AddUser(name, value)
		case flag.Name == "kubeconfig" && (c.Name() == "check" || c.Name() == "probe" || context != ""):
			// If the value is empty, the cluster is the one that kubectl uses.
			f.AddCluster(name, kubeconfig.Source{Path: value, Context: context})
		case slices.Contains(kubeconfigFlags, flag.Name):
			f.AddKubeconfig(name, value)
		case c.Name() == "certs" && flag.Name == "dir":
			f.AddKey(name, filepath.Join(value, "ca.key"))
		case c.Name() == "demo" && flag.Name == "dir":
			f.AddKubeconfig(name, filepath.Join(value, "kubeconfig"))
			f.AddKey(name, filepath.Join(value, "tokens.csv"))
			keys, _ := filepath.Glob(filepath.Join(value, "pki", "*.key"))
			for _, key := range keys {
				f.AddKey(name, key)
			}
		}
	})
	identities, _ := c.Flags().GetStringArray("as")
	for _, identity := range identities {
		_, list, _ := strings.Cut(identity, "=")
		files, _ := probe.ParseCredentialFiles(list)
		f.AddKey("--as", files.ClientKey)
		f.AddKey("--as", files.TokenFile)
		f.AddUser("--as", files.Kubeconfig)
	}
	return f
}
