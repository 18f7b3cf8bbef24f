package offline

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"fauxlet/config"
)

// Setting is a field of the configuration that WhatIf can change.
type Setting struct {
	// Field is the setting's path in KubeletConfiguration.
	Field string
	// Values are the possible values. The first one is the current value.
	Values []string
}

// settings are the fields that affect authentication and authorization.
var settings = []struct {
	field  string
	values func(*config.Config) []string
	get    func(*config.Config) string
	set    func(*config.Config, string)
}{
	{"authentication.x509.clientCAFile",
		func(c *config.Config) []string { return []string{c.Kubelet.Authentication.X509.ClientCAFile, ""} },
		func(c *config.Config) string { return c.Kubelet.Authentication.X509.ClientCAFile },
		func(c *config.Config, value string) { c.Kubelet.Authentication.X509.ClientCAFile = value }},
	{"authentication.webhook.enabled", booleans,
		func(c *config.Config) string { return formatBool(c.Kubelet.Authentication.Webhook.Enabled) },
		func(c *config.Config, value string) { c.Kubelet.Authentication.Webhook.Enabled = parseBool(value) }},
	{"authentication.anonymous.enabled", booleans,
		func(c *config.Config) string { return formatBool(c.Kubelet.Authentication.Anonymous.Enabled) },
		func(c *config.Config, value string) { c.Kubelet.Authentication.Anonymous.Enabled = parseBool(value) }},
	{"authorization.mode",
		func(*config.Config) []string { return []string{"Webhook", "AlwaysAllow"} },
		func(c *config.Config) string { return string(c.Kubelet.Authorization.Mode) },
		func(c *config.Config, value string) { setMode(&c.Kubelet.Authorization.Mode, value) }},
}

func booleans(*config.Config) []string { return []string{"true", "false"} }

func formatBool(b *bool) string { return strconv.FormatBool(b != nil && *b) }

func parseBool(value string) *bool {
	b := value == "true"
	return &b
}

// setMode sets an authorization mode. It is generic so that this package need not import the API package of the
// mode's type.
func setMode[T ~string](mode *T, value string) { *mode = T(value) }

// Settings returns the settings that can be changed, with their possible values.
func (w WhatIf) Settings() []Setting {
	all := make([]Setting, len(settings))
	for i, s := range settings {
		values := append([]string{s.get(w.Config)}, s.values(w.Config)...)
		slices.Sort(values[1:])
		unique := values[:1]
		for _, value := range values[1:] {
			if !slices.Contains(unique, value) {
				unique = append(unique, value)
			}
		}
		all[i] = Setting{s.field, unique}
	}
	return all
}

// configWith returns a copy of the configuration with the values in set, which maps fields to values.
func (w WhatIf) configWith(set map[string]string) (*config.Config, error) {
	c := *w.Config
	c.Kubelet = *w.Config.Kubelet.DeepCopy()
	known := w.Settings()
	for field, value := range set {
		i := slices.IndexFunc(known, func(s Setting) bool { return s.Field == field })
		if i < 0 {
			var names []string
			for _, s := range known {
				names = append(names, s.Field)
			}
			return nil, fmt.Errorf("%s: what-if cannot change this field; it can change %s", field,
				strings.Join(names, ", "))
		}
		if !slices.Contains(known[i].Values, value) {
			return nil, fmt.Errorf("%s: %q is not one of %q", field, value, known[i].Values)
		}
		settings[i].set(&c, value)
	}
	return &c, nil
}
