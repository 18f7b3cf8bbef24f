package config

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"sync"

	kubeletconfigv1beta1 "k8s.io/kubelet/config/v1beta1"
)

//go:embed kubelet.json
var kubeletJSON []byte

// kubeletFacts is what the kubelet says about itself; e2e/kubeletfacts measures it.
type kubeletFacts struct {
	// Defaults are those of a configuration file that says nothing.
	Defaults *kubeletconfigv1beta1.KubeletConfiguration `json:"defaults"`
	// Legacy is a JSON merge patch over Defaults, for a command line without a file.
	Legacy json.RawMessage `json:"legacy"`
	// Zero holds each pointer that the kubelet's internal type has as a plain value, at zero.
	Zero *kubeletconfigv1beta1.KubeletConfiguration `json:"zero"`
	// Paths are the fields whose relative paths resolve against the file's folder.
	Paths []string `json:"paths"`
	// EvictionHard is used when a configuration file does not set that field.
	EvictionHard map[string]string   `json:"evictionHard"`
	Gates        []gateFact          `json:"gates"`
	Dependencies map[string][]string `json:"dependencies"`
	Flags        []flagFact          `json:"flags"`
}

type gateFact struct {
	Name    string `json:"name"`
	Default bool   `json:"default"`
	Locked  bool   `json:"locked"`
	Stage   string `json:"stage"`
}

type flagFact struct {
	Name        string `json:"name"`
	Shorthand   string `json:"shorthand"`
	Type        string `json:"type"`
	Value       string `json:"value"`
	Default     string `json:"default"`
	NoOptDefVal string `json:"noOptDefault"`
	// Field is the path in KubeletConfiguration that the flag sets; "" for a flag that has none.
	Field      string `json:"field"`
	Usage      string `json:"usage"`
	Deprecated string `json:"deprecated"`
}

// facts parses the embedded data once. An error is a fault of the build, which the tests of this package exclude.
var facts = sync.OnceValues(func() (*kubeletFacts, error) {
	f := &kubeletFacts{}
	if err := json.Unmarshal(kubeletJSON, f); err != nil {
		return nil, fmt.Errorf("embedded kubelet.json: %w", err)
	}
	return f, nil
})
