package config

import (
	_ "embed"
	"encoding/json"
	"sync"
)

//go:embed kubelet.json
var kubeletJSON []byte

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

// gateFact is a feature gate with its stage in the newest version, and earlier stages, oldest first.
type gateFact struct {
	Name string `json:"name"`
	// Before is true if versions without the gate behave as if it were on.
	Before bool `json:"before"`
	gateStage
	Earlier []gateStage `json:"earlier"`
}

// gateStage is the state of a feature gate from the minor version Since on. If Since is empty, the oldest emulated
// version has it too.
type gateStage struct {
	Default bool   `json:"default"`
	Locked  bool   `json:"locked"`
	Stage   string `json:"stage"`
	Since   string `json:"since"`
}

type flagFact struct {
	Name        string `json:"name"`
	Shorthand   string `json:"shorthand"`
	Type        string `json:"type"`
	Value       string `json:"value"`
	Default     string `json:"default"`
	NoOptDefVal string `json:"noOptDefault"`
	// Field is the path of the KubeletConfiguration field that the flag sets. It is empty if there is none.
	Field      string `json:"field"`
	Usage      string `json:"usage"`
	Deprecated string `json:"deprecated"`
}

var facts = sync.OnceValue(func() *kubeletFacts {
	f := &kubeletFacts{}
	must(json.Unmarshal(kubeletJSON, f))
	return f
})

// must panics if err is not nil. Such an error means that the embedded kubelet.json is invalid.
func must(err error) {
	if err != nil {
		panic("config: embedded kubelet.json: " + err.Error())
	}
}
