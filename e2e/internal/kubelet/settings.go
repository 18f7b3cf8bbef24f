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

// ServingCertificate returns settings with a serving certificate for 127.0.0.1 that the PKI's CA has signed.
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

// Settings are values for fields of a KubeletConfiguration. The keys are paths of fields, such as
// "authentication.anonymous.enabled".
type Settings map[string]any

// YAML returns a configuration file. Unless the settings contain other cache times, the kubelet caches reviews for
// 10 ms only, so that tests need not wait.
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
