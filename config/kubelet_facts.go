package config

import (
	_ "embed"
	"encoding/json"
	"sync"
)

//go:embed kubelet.json
var kubeletJSON []byte

//go:embed versions.json
var versionsJSON []byte

// kubeletFacts is the content of kubelet.json, which e2e/kubeletfacts generates from the kubelet.
type kubeletFacts struct {
	// Defaults is the effective configuration of an empty configuration file.
	Defaults *kubeletConfiguration `json:"defaults"`
	// Legacy has the fields whose defaults are different without a configuration file.
	Legacy json.RawMessage `json:"legacy"`
	// Zero has pointers to zero values in some fields: in those that are pointers in v1beta1, but plain values in the
	// kubelet's internal type. All other fields are empty.
	Zero *kubeletConfiguration `json:"zero"`
	// Paths are the fields that contain file paths. In a configuration file, a relative path is relative to the file's
	// directory.
	Paths []string `json:"paths"`
	// EvictionHard is the default of the field evictionHard. It applies only with a configuration file.
	EvictionHard map[string]string   `json:"evictionHard"`
	Gates        []gateFact          `json:"gates"`
	Dependencies map[string][]string `json:"dependencies"`
	Flags        []flagFact          `json:"flags"`
}

// gateFact is a feature gate as the newest version has it.
type gateFact struct {
	Name string `json:"name"`
	// Before is true if versions without the gate behave as if it were on.
	Before bool `json:"before"`
	gateStage
}

// gateStage is the state of a feature gate.
type gateStage struct {
	Default bool `json:"default,omitempty"`
	Locked  bool `json:"locked,omitempty"`
	// Stage is ALPHA, BETA, DEPRECATED, or empty for a stable feature.
	Stage string `json:"stage,omitempty"`
}

// versionFacts is the content of versions.json: the feature gates, fields and flags of all emulated versions. It is
// made of testdata/older, which has the same facts of the kubelets of older versions, and of kubelet.json, by "go test
// ./config -run TestVersionFacts -update".
type versionFacts struct {
	// Gates has the history of each feature gate, oldest change first.
	Gates map[string][]gateChange `json:"gates"`
	// Dependencies has, for each older minor version, the feature gates that each feature gate needs.
	Dependencies map[string]map[string][]string `json:"dependencies"`
	// Fields maps the fields of KubeletConfiguration that not all versions have to the first version that has them.
	Fields map[string]string `json:"fields"`
	// Flags has the flags that not all versions have.
	Flags []versionFlag `json:"flags"`
}

// gateChange is the state of a feature gate from a minor version on.
type gateChange struct {
	Since string `json:"since"`
	// Removed is true if the kubelets have the gate no longer.
	Removed bool `json:"removed,omitempty"`
	gateStage
}

// versionFlag is a flag that some versions do not have.
type versionFlag struct {
	flagFact
	// Since is the first minor version with the flag. It is empty if the oldest emulated version has it.
	Since string `json:"since,omitempty"`
	// Until is the first minor version without the flag. It is empty if the newest version has it.
	Until string `json:"until,omitempty"`
}

type flagFact struct {
	Name        string `json:"name"`
	Shorthand   string `json:"shorthand,omitempty"`
	Type        string `json:"type"`
	Value       string `json:"value"`
	Default     string `json:"default,omitempty"`
	NoOptDefVal string `json:"noOptDefault,omitempty"`
	// Field is the path of the KubeletConfiguration field that the flag sets. It is empty if there is none.
	Field      string `json:"field,omitempty"`
	Usage      string `json:"usage,omitempty"`
	Deprecated string `json:"deprecated,omitempty"`
}

var facts = sync.OnceValue(func() *kubeletFacts { return parsed[kubeletFacts]("kubelet.json", kubeletJSON) })

var history = sync.OnceValue(func() *versionFacts { return parsed[versionFacts]("versions.json", versionsJSON) })

func parsed[T any](name string, text []byte) *T {
	out := new(T)
	if err := json.Unmarshal(text, out); err != nil {
		panic("config: embedded " + name + ": " + err.Error())
	}
	return out
}

// must panics if err is not nil. Such an error means that the embedded kubelet.json or versions.json is invalid.
func must(err error) {
	if err != nil {
		panic("config: embedded kubelet.json or versions.json: " + err.Error())
	}
}
