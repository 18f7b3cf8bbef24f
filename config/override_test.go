package config

import (
	"errors"
	"strings"
	"testing"
	"time"
)

// TestOverride checks that an override replaces the value of the file, the drop-ins and the flags, and that other
// fields do not change.
func TestOverride(t *testing.T) {
	const file = `
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication: {x509: {clientCAFile: ca.crt}, webhook: {cacheTTL: 7s}}
`
	for _, test := range []struct {
		name         string
		args         []string
		field, value string
		holds        func(*kubeletConfiguration) bool
	}{
		{"over the file", []string{"--config=kubelet.yaml"}, "authentication.webhook.cacheTTL", "9s",
			func(kc *kubeletConfiguration) bool {
				return kc.Authentication.Webhook.CacheTTL.Duration == 9*time.Second
			}},
		{"over a flag", []string{"--config=kubelet.yaml", "--anonymous-auth=false"},
			"authentication.anonymous.enabled", "true",
			func(kc *kubeletConfiguration) bool {
				return *kc.Authentication.Anonymous.Enabled &&
					kc.Authentication.Webhook.CacheTTL.Duration == 7*time.Second
			}},
		{"over flags alone", nil, "authorization.mode", "Webhook",
			func(kc *kubeletConfiguration) bool {
				return kc.Authorization.Mode == "Webhook" && kc.ReadOnlyPort == 10255
			}},
		{"nothing", []string{"--config=kubelet.yaml"}, "authentication.x509.clientCAFile", "",
			func(kc *kubeletConfiguration) bool { return kc.Authentication.X509.ClientCAFile == "" }},
		{"a value that has its default", []string{"--config=kubelet.yaml"}, "authentication.webhook.cacheTTL", "0s",
			func(kc *kubeletConfiguration) bool {
				return kc.Authentication.Webhook.CacheTTL.Duration == 2*time.Minute
			}},
		{"a gate", []string{"--config=kubelet.yaml"}, "featureGates.ContainerCheckpoint", "false",
			func(kc *kubeletConfiguration) bool {
				return !kc.FeatureGates["ContainerCheckpoint"] && len(kc.FeatureGates) == 1
			}},
		{"a struct", []string{"--config=kubelet.yaml"}, "authentication.anonymous", "{enabled: true}",
			func(kc *kubeletConfiguration) bool { return *kc.Authentication.Anonymous.Enabled }},
	} {
		// An override does the same in all versions, although drop-ins do not.
		for _, version := range []string{"1.31", "1.37"} {
			t.Run(version+"/"+test.name, func(t *testing.T) {
				t.Chdir(t.TempDir())
				writeFiles(t, ".", map[string]string{"kubelet.yaml": file})
				f, err := parse(append(test.args, "--hostname-override=node-1"))
				if err != nil {
					t.Fatal(err)
				}
				if err := errors.Join(f.Version.Set(version), f.Override(test.field, test.value)); err != nil {
					t.Fatal(err)
				}
				c, err := f.Load()
				if err != nil {
					t.Fatal(err)
				}
				if !test.holds(&c.Kubelet) {
					t.Errorf("the override %s=%s has the wrong effect: %+v", test.field, test.value, c.Kubelet)
				}
			})
		}
	}
}

// TestOverrideIsChecked checks that an override is refused if its field is unknown or its value has the wrong type, and
// that Load refuses a value that a kubelet refuses.
func TestOverrideIsChecked(t *testing.T) {
	for _, test := range []struct{ field, value, says string }{
		{"authentication.anonymus.enabled", "true", `unknown field "authentication.anonymus"`},
		{"authentication.anonymous.enabled", "maybe", "authentication.anonymous.enabled=maybe"},
		{"readOnlyPort", "{", "readOnlyPort={"},
		{"", "1", "give the path of a KubeletConfiguration field"},
	} {
		if err := NewFlags().Override(test.field, test.value); err == nil ||
			!strings.Contains(err.Error(), test.says) {
			t.Errorf("the override %s=%s returned the error %v, want %q", test.field, test.value, err, test.says)
		}
	}
	f := NewFlags()
	if err := f.Override("authorization.mode", "RBAC"); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Load(); err == nil || !strings.Contains(err.Error(), "unknown authorization mode RBAC") {
		t.Errorf("Load returned the wrong error for an override with the authorization mode RBAC: %v", err)
	}
}
