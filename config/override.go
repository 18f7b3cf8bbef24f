package config

import (
	"encoding/json"
	"fmt"
	"strings"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"sigs.k8s.io/yaml"
)

// Override sets a field of KubeletConfiguration for all later calls of Load. The value takes precedence over the file,
// the drop-ins and the flags. The argument field is a path such as authentication.anonymous.enabled. The argument value
// is YAML; a relative file path in it is relative to the working directory. Override returns an error if there is no
// such field, or if the value has the wrong type. Load validates the value. A kubelet has no such feature. Fauxlet uses
// it to show what would happen with a different configuration (what-if).
func (f *Flags) Override(field, value string) error {
	var parsed any
	if err := yaml.Unmarshal([]byte(value), &parsed); err != nil {
		return fmt.Errorf("%s=%s: %w; write the value as in a configuration file", field, value, err)
	}
	names := strings.Split(field, ".")
	for i := len(names) - 1; i >= 0; i-- {
		parsed = map[string]any{names[i]: parsed}
	}
	patch, err := json.Marshal(parsed)
	if err == nil {
		var document []byte
		document, err = jsonpatch.MergePatch(patch,
			[]byte(`{"apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration"}`))
		if err == nil {
			_, _, err = decodeInto(document, nil, serializer.EnableStrict)
		}
	}
	if err != nil {
		return fmt.Errorf("%s=%s: %w; give the path of a KubeletConfiguration field, for example "+
			"authentication.anonymous.enabled=true", field, value, withNearestFields(err))
	}
	f.overrides = append(f.overrides, patch)
	return nil
}
