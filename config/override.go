package config

import (
	"encoding/json"
	"fmt"
	"strings"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"sigs.k8s.io/yaml"
)

// override is a field that has another value than the file, the drop-ins and the flags say.
type override struct {
	field string
	patch []byte // JSON merge patch
}

// Override gives a field of KubeletConfiguration another value than the file, the drop-ins and the flags say, in each Load
// from now on: what if it were so? The field is named by its path, as in authentication.anonymous.enabled, and value is
// written as in YAML; a relative path in it is one of the working directory. A kubelet has no such thing.
func (f *Flags) Override(field, value string) error {
	var parsed any
	if err := yaml.Unmarshal([]byte(value), &parsed); err != nil {
		return fmt.Errorf("%s=%s: %w; write the value as in the configuration file", field, value, err)
	}
	names := strings.Split(field, ".")
	for i := len(names) - 1; i >= 0; i-- {
		parsed = map[string]any{names[i]: parsed}
	}
	patch, err := json.Marshal(parsed)
	if err != nil {
		return fmt.Errorf("%s=%s: %w", field, value, err)
	}
	strict, err := jsonpatch.MergePatch(patch, []byte(`{"apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration"}`))
	if err == nil {
		_, _, err = decodeInto(strict, nil, serializer.EnableStrict)
	}
	if err != nil {
		return fmt.Errorf("%s=%s: %w; name a field of KubeletConfiguration by its path, as in authentication.anonymous.enabled=true", field, value, err)
	}
	f.overrides = append(f.overrides, override{field, patch})
	return nil
}

// overridden is kc with the overrides over it.
func (f *Flags) overridden(l *loader, kc *kubeletConfiguration) (*kubeletConfiguration, error) {
	if len(f.overrides) == 0 {
		return kc, nil
	}
	base := kc.DeepCopy()
	base.APIVersion, base.Kind = "", ""
	merged, err := json.Marshal(base)
	if err != nil {
		return nil, err
	}
	for _, o := range f.overrides {
		if merged, err = jsonpatch.MergePatch(merged, o.patch); err != nil {
			return nil, fmt.Errorf("%s: %w", o.field, err)
		}
	}
	out := &kubeletConfiguration{}
	if err := json.Unmarshal(merged, out); err != nil {
		return nil, err
	}
	gates, err := l.gatesFor(out)
	if err != nil {
		return nil, err
	}
	setDefaults(l.facts, out, gates)
	return out, nil
}
