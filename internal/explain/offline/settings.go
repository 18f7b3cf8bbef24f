package offline

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"k8s.io/utils/ptr"

	"fauxlet/config"
)

// Setting is a field of the configuration that WhatIf can change.
type Setting struct {
	// Field is the path of the field in KubeletConfiguration, such as authorization.mode.
	Field string `json:"field"`
	// Values are the possible values. The first one is the current value.
	Values []string `json:"values"`
}

// settings are the fields of a configuration that affect authentication and authorization.
func settings(c *config.Config) []setting {
	authentication := &c.Kubelet.Authentication
	return []setting{
		stringSetting("authentication.x509.clientCAFile", &authentication.X509.ClientCAFile, ""),
		boolSetting("authentication.webhook.enabled", &authentication.Webhook.Enabled),
		boolSetting("authentication.anonymous.enabled", &authentication.Anonymous.Enabled),
		stringSetting("authorization.mode", (*string)(&c.Kubelet.Authorization.Mode), "AlwaysAllow", "Webhook"),
	}
}

// setting is a Setting of one configuration. The function "set" changes the field in that configuration.
type setting struct {
	Setting
	set func(value string)
}

func stringSetting(field string, at *string, values ...string) setting {
	return newSetting(field, *at, values, func(value string) { *at = value })
}

func boolSetting(field string, at **bool) setting {
	current := strconv.FormatBool(ptr.Deref(*at, false))
	return newSetting(field, current, []string{"false", "true"}, func(value string) { *at = new(value == "true") })
}

func newSetting(field, current string, values []string, set func(string)) setting {
	others := slices.DeleteFunc(values, func(value string) bool { return value == current })
	return setting{Setting{field, append([]string{current}, others...)}, set}
}

// Settings returns the settings that WhatIf can change, with their possible values.
func (w WhatIf) Settings() []Setting {
	var all []Setting
	for _, s := range settings(w.Config) {
		all = append(all, s.Setting)
	}
	return all
}

// configWith returns a copy of the configuration with changed fields. The map "set" contains the new value of each
// changed field.
func (w WhatIf) configWith(set map[string]string) (*config.Config, error) {
	c := *w.Config
	c.Kubelet = *w.Config.Kubelet.DeepCopy()
	known := settings(&c)
	for field, value := range set {
		i := slices.IndexFunc(known, func(s setting) bool { return s.Field == field })
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
		known[i].set(value)
	}
	return &c, nil
}
