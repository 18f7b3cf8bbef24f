// Package kubeconfig finds the cluster that a command connects to, in the same places as kubectl. A kubelet's own
// --kubeconfig is different: it names exactly one file and has no default, so "fauxlet serve" does not use
// this package.
package kubeconfig

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"fauxlet/internal/pemfile"
)

// Source selects a kubeconfig and one of its contexts. The zero value selects what kubectl uses without flags.
type Source struct {
	// Path is a kubeconfig file. If it is empty, the files of $KUBECONFIG are merged. Without $KUBECONFIG, the file is
	// ~/.kube/config. If none of these files has any content, a pod uses its service account.
	Path string
	// Context is the name of a context. If it is empty, the current context of the kubeconfig is used.
	Context string
}

// Files returns the paths of the kubeconfig files. Some of them may not exist.
func (s Source) Files() []string {
	if s.Path != "" {
		return []string{s.Path}
	}
	return slices.DeleteFunc(s.rules().Precedence, func(path string) bool { return path == "" })
}

// rules returns kubectl's rules for loading a kubeconfig. (k8s.io/cli-runtime: pkg/genericclioptions/config_flags.go)
func (s Source) rules() *clientcmd.ClientConfigLoadingRules {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath, rules.WarnIfAllMissing = s.Path, false // Client returns an error if all files are missing
	return rules
}

// Load reads the kubeconfig files and merges them. Relative paths in a file become relative to the current directory.
// The current context of the result is the selected one. If s.Path is empty and no file exists, the result is empty.
func (s Source) Load() (*clientcmdapi.Config, error) {
	content, err := s.rules().Load()
	if err != nil {
		for _, file := range s.Files() {
			err = pemfile.ExplainKubeconfig(err, file)
		}
		return nil, err
	}
	if s.Context == "" {
		return content, nil
	}
	content.CurrentContext = s.Context
	switch {
	case content.Contexts[s.Context] != nil:
		return content, nil
	case s.Path == "" && clientcmdapi.IsConfigEmpty(content):
		return nil, s.notFound()
	}
	names := strings.Join(slices.Sorted(maps.Keys(content.Contexts)), ", ")
	return nil, fmt.Errorf("%s: context %q does not exist; the contexts are: %s", strings.Join(s.Files(), ", "),
		s.Context, cmp.Or(names, "none"))
}

// Client returns the configuration of a client for the selected cluster and user. The configuration discards warnings
// of the API server, because they would appear between the lines of a command's output. The origin describes for people
// where the configuration comes from. Certificate and key files that cannot be used are an error, see [CheckFiles].
func (s Source) Client(userAgent string) (config *rest.Config, origin string, err error) {
	content, err := s.Load()
	switch {
	case err != nil:
		return nil, "", err
	case s.Path != "" || !clientcmdapi.IsConfigEmpty(content):
		origin = fmt.Sprintf("context %q of %s", content.CurrentContext, s.current(content))
		config, err = clientcmd.NewNonInteractiveClientConfig(*content, "", nil, nil).ClientConfig()
	default:
		origin = "this pod's service account"
		if config, err = rest.InClusterConfig(); errors.Is(err, rest.ErrNotInCluster) {
			err = s.notFound()
		}
	}
	if err == nil {
		err = CheckFiles(config)
	}
	if err != nil {
		return nil, "", err
	}
	config.UserAgent = userAgent
	config.WarningHandler = rest.NoWarnings{}
	return config, origin, nil
}

// current returns the file of the current context.
func (s Source) current(content *clientcmdapi.Config) string {
	if current := content.Contexts[content.CurrentContext]; current != nil {
		return current.LocationOfOrigin
	}
	return strings.Join(s.Files(), ", ")
}

// notFound is the error if no kubeconfig is selected, none of kubectl's files has any content, and this process does
// not run in a pod.
func (s Source) notFound() error {
	files := strings.Join(s.Files(), ", ")
	if os.Getenv(clientcmd.RecommendedConfigPathEnvVar) != "" {
		return fmt.Errorf("no cluster is configured: the files in $KUBECONFIG are missing or empty: %s; correct the "+
			"variable, or give the file of a cluster with --kubeconfig", files)
	}
	return fmt.Errorf("no cluster is configured: $KUBECONFIG is not set, and %s is missing or empty; give the file "+
		"of a cluster with --kubeconfig, or set $KUBECONFIG", files)
}
