// Package secretfiles warns of files with private keys, tokens or kubeconfigs that are not safe: every user of this
// machine can read or change them or put other files in their place, or a kubeconfig turns off the verification of the
// apiserver.
package secretfiles

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"

	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"fauxlet/config"
	"fauxlet/internal/fileaccess"
	"fauxlet/internal/kubeconfig"
)

// Files are the files with credentials that a command uses. Each is added with its source: the flag or the field of the
// configuration that names the file or its folder. Empty paths and missing files are allowed. The zero value is ready
// to use.
type Files struct {
	keys, folders []file
	clusters      []cluster
}

type file struct{ source, path string }

type cluster struct {
	source     string
	kubeconfig kubeconfig.Source
}

// AddKey adds a file with a private key or tokens.
func (f *Files) AddKey(source, path string) { f.keys = append(f.keys, file{source, path}) }

// AddKubeconfig adds a kubeconfig whose current user and cluster are used.
func (f *Files) AddKubeconfig(source, path string) {
	if path != "" {
		f.AddCluster(source, kubeconfig.Source{Path: path})
	}
}

// AddCluster adds the kubeconfig files, the user and the cluster that s selects.
func (f *Files) AddCluster(source string, s kubeconfig.Source) {
	f.clusters = append(f.clusters, cluster{source, s})
}

// AddUser adds a kubeconfig of which only the current user is used.
func (f *Files) AddUser(source, path string) {
	if path != "" {
		user, _ := currentContext(kubeconfig.Source{Path: path})
		f.keys = append(f.keys, keysOf(source, user)...)
	}
}

// AddKubelet adds the files that a kubelet's configuration names.
func (f *Files) AddKubelet(cfg *config.Config) {
	_, keyFile, selfSigned := cfg.ServingFiles()
	if selfSigned {
		f.AddKey("--cert-dir", keyFile)
	} else {
		f.AddKey("tlsPrivateKeyFile", keyFile)
	}
	for _, kind := range []string{"client", "server"} {
		f.AddKey("--cert-dir", filepath.Join(cfg.CertDir, "kubelet-"+kind+"-current.pem"))
	}
	f.folders = append(f.folders, file{"--cert-dir", cfg.CertDir})
	if cfg.Kubelet.Tracing != nil {
		for _, name := range []string{"OTEL_EXPORTER_OTLP_CLIENT_KEY", "OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY"} {
			f.AddKey(name, os.Getenv(name))
		}
	}
	f.AddKubeconfig("--kubeconfig", cfg.Kubeconfig)
	f.AddKubeconfig("--bootstrap-kubeconfig", cfg.BootstrapKubeconfig)
}

// Warnings returns a warning for each file with a private key or token that every user of this machine can read or
// change, for a kubelet's --cert-dir where another user could place a key, and for each kubeconfig that turns off the
// verification of the apiserver. It ignores files that do not exist and kubeconfigs that are not valid, because the
// command reports them when it uses them.
func (f *Files) Warnings() []string {
	var all []string
	keys := slices.Clone(f.keys)
	for _, c := range f.clusters {
		user, cluster := currentContext(c.kubeconfig)
		keys = append(keys, keysOf(c.source, user)...)
		if cluster != nil && cluster.InsecureSkipTLSVerify {
			all = append(all, fmt.Sprintf("%s: %s: insecure-skip-tls-verify is true: the apiserver is not verified, "+
				"so another server in its place gets the requests and their tokens; set certificate-authority instead",
				c.source, cluster.LocationOfOrigin))
		}
	}
	for _, key := range keys {
		if exposed := fileaccess.Exposed(key.path); exposed != "" {
			all = append(all, fmt.Sprintf("%s: every user of this machine can %s %s, which contains a private key "+
				"or a token; run: chmod o= %[3]s", key.source, exposed, key.path))
		}
	}
	for _, folder := range f.folders {
		if _, err := os.Stat(folder.path); err != nil {
			continue
		}
		if err := fileaccess.CheckFolder(folder.path); err != nil {
			all = append(all, fmt.Sprintf("%s: %v", folder.source, err))
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// currentContext returns the user and the cluster of the selected context, each nil if there is none.
func currentContext(s kubeconfig.Source) (*clientcmdapi.AuthInfo, *clientcmdapi.Cluster) {
	for _, path := range s.Files() {
		// A pipe can be read only once, by the command itself.
		if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
			return nil, nil
		}
	}
	content, err := s.Load()
	if err != nil {
		return nil, nil
	}
	current := content.Contexts[content.CurrentContext]
	if current == nil {
		return nil, nil
	}
	return content.AuthInfos[current.AuthInfo], content.Clusters[current.Cluster]
}

// keysOf returns the files with the credential of a kubeconfig's user, which may be nil.
func keysOf(source string, user *clientcmdapi.AuthInfo) []file {
	if user == nil {
		return nil
	}
	keys := []file{{source, user.TokenFile}, {source, user.ClientKey}}
	if user.Token != "" || user.Password != "" || len(user.ClientKeyData) > 0 {
		keys = append(keys, file{source, user.LocationOfOrigin})
	}
	return keys
}
