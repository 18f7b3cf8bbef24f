package kubelet

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"fauxlet/e2e/internal/controlplane"
	"fauxlet/e2e/internal/expect"
	"fauxlet/testcerts"
)

// ServingCertificate has the kubelet serve a certificate of the cluster's CA.
func ServingCertificate(t testing.TB) Settings {
	t.Helper()
	p, err := controlplane.Certificates()
	expect.NoError(t, err)
	cert, key, err := p.Pair("kubelet-server", func() (*testcerts.Pair, error) {
		return p.CA.Server("system:node:node-1", []string{"127.0.0.1"})
	})
	expect.NoError(t, err)
	return Settings{"tlsCertFile": cert, "tlsPrivateKeyFile": key}
}

// Settings are fields of a KubeletConfiguration by their paths, as in "authentication.anonymous.enabled".
type Settings map[string]any

// YAML is a configuration file. Answers of the apiserver are hardly cached, so that tests need not wait.
func (s Settings) YAML(p *controlplane.PKI) ([]byte, error) {
	all := Settings{
		"apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration",
		"address":                                    "127.0.0.1",
		"healthzPort":                                0,
		"authentication.x509.clientCAFile":           p.CAFile,
		"authentication.webhook.cacheTTL":            "10ms",
		"authorization.webhook.cacheAuthorizedTTL":   "10ms",
		"authorization.webhook.cacheUnauthorizedTTL": "10ms",
	}
	maps.Copy(all, s)
	root := map[string]any{}
	for _, path := range slices.Sorted(maps.Keys(all)) {
		at, names := root, strings.Split(path, ".")
		for _, name := range names[:len(names)-1] {
			if at[name] == nil {
				at[name] = map[string]any{}
			}
			at = at[name].(map[string]any)
		}
		at[names[len(names)-1]] = all[path]
	}
	return yaml.Marshal(root)
}
