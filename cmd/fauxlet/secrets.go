package main

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"fauxlet/config"
	"fauxlet/conformance/probe"
	"fauxlet/internal/fileaccess"
)

// Flags that name a file with a private key or tokens, and flags that name a kubeconfig.
var (
	keyFlags = []string{"admin-token-file", "client-key", "serving-ca-key-file", "tls-private-key-file", "token-file",
		"tokens"}
	kubeconfigFlags = []string{"bootstrap-kubeconfig", "compare-kubeconfig", "kubeconfig"}
)

// secrets are the files with credentials that a command uses.
type secrets struct {
	keys        []secretFile
	kubeconfigs []secretFile
}

// secretFile is a file, and the flag that names the file or its folder.
type secretFile struct{ flag, path string }

func (s *secrets) addKey(flag, path string) { s.keys = append(s.keys, secretFile{flag, path}) }
func (s *secrets) addKubeconfig(flag, path string) {
	s.kubeconfigs = append(s.kubeconfigs, secretFile{flag, path})
}

// secretsOfFlags returns the files that the flags of a command name.
func secretsOfFlags(c *cobra.Command) *secrets {
	s := &secrets{}
	c.Flags().VisitAll(func(flag *pflag.Flag) {
		name, value := "--"+flag.Name, flag.Value.String()
		switch {
		case slices.Contains(keyFlags, flag.Name):
			s.addKey(name, value)
		case c.Name() == "probe" && flag.Name == "kubeconfig": // the probe uses its user, not its cluster
			s.keys = append(s.keys, keysOfKubeconfig(secretFile{name, value})...)
		case slices.Contains(kubeconfigFlags, flag.Name):
			s.addKubeconfig(name, value)
		case c.Name() == "certs" && flag.Name == "dir":
			s.addKey(name, filepath.Join(value, "ca.key"))
		case c.Name() == "demo" && flag.Name == "dir":
			s.addKubeconfig(name, filepath.Join(value, "kubeconfig"))
			s.addKey(name, filepath.Join(value, "tokens.csv"))
			keys, _ := filepath.Glob(filepath.Join(value, "pki", "*.key"))
			for _, key := range keys {
				s.addKey(name, key)
			}
		}
	})
	identities, _ := c.Flags().GetStringArray("as")
	for _, identity := range identities {
		_, list, _ := strings.Cut(identity, "=")
		files, _ := probe.ParseCredentialFiles(list)
		s.addKey("--as", files.ClientKey)
		s.addKey("--as", files.TokenFile)
		s.keys = append(s.keys, keysOfKubeconfig(secretFile{"--as", files.Kubeconfig})...)
	}
	return s
}

// secretsOfKubelet returns the files that a kubelet's configuration names.
func secretsOfKubelet(cfg *config.Config) *secrets {
	s := &secrets{}
	_, keyFile, selfSigned := cfg.ServingFiles()
	if selfSigned {
		s.addKey("--cert-dir", keyFile)
	} else {
		s.addKey("tlsPrivateKeyFile", keyFile)
	}
	for _, kind := range []string{"client", "server"} {
		s.addKey("--cert-dir", filepath.Join(cfg.CertDir, "kubelet-"+kind+"-current.pem"))
	}
	s.addKubeconfig("--kubeconfig", cfg.Kubeconfig)
	s.addKubeconfig("--bootstrap-kubeconfig", cfg.BootstrapKubeconfig)
	return s
}

// warnings returns a warning for each file with a private key or token that every user of this machine can read or
// change, and for each kubeconfig that turns off the verification of the apiserver. It ignores files that do not exist
// and kubeconfigs that are not valid, because the command reports them when it uses them.
func (s *secrets) warnings() []string {
	var all []string
	keys := s.keys
	for _, k := range s.kubeconfigs {
		keys = append(keys, keysOfKubeconfig(k)...)
		if _, cluster := currentContext(k.path); cluster != nil && cluster.InsecureSkipTLSVerify {
			all = append(all, fmt.Sprintf("%s: %s: insecure-skip-tls-verify is true: the apiserver is not verified, so "+
				"another server in its place gets the requests and their tokens; set certificate-authority instead",
				k.flag, k.path))
		}
	}
	for _, key := range keys {
		if exposed := fileaccess.Exposed(key.path); exposed != "" {
			all = append(all, fmt.Sprintf("%s: every user of this machine can %s %s, which contains a private key or a "+
				"token; run: chmod o= %[3]s", key.flag, exposed, key.path))
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// currentContext returns the user and the cluster of a kubeconfig's current context, each nil if there is none.
func currentContext(path string) (*clientcmdapi.AuthInfo, *clientcmdapi.Cluster) {
	kubeconfig, err := clientcmd.LoadFromFile(path)
	if err != nil || clientcmd.ResolveLocalPaths(kubeconfig) != nil {
		return nil, nil
	}
	current := kubeconfig.Contexts[kubeconfig.CurrentContext]
	if current == nil {
		return nil, nil
	}
	return kubeconfig.AuthInfos[current.AuthInfo], kubeconfig.Clusters[current.Cluster]
}

// keysOfKubeconfig returns the files with the credential of a kubeconfig's current user.
func keysOfKubeconfig(file secretFile) []secretFile {
	user, _ := currentContext(file.path)
	if user == nil {
		return nil
	}
	keys := []secretFile{{file.flag, user.TokenFile}, {file.flag, user.ClientKey}}
	if user.Token != "" || user.Password != "" || len(user.ClientKeyData) > 0 {
		keys = append(keys, file)
	}
	return keys
}
