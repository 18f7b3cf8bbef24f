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

// kubeletFacts is the content of kubelet.json, which e2e/kubeletfacts generates from the kubelet.
type kubeletFacts struct {
	// Defaults is the configuration of an empty file.
	Defaults *kubeletconfigv1beta1.KubeletConfiguration `json:"defaults"`
	// Legacy is a JSON merge patch that turns Defaults into the defaults without a file.
	Legacy json.RawMessage `json:"legacy"`
	// Zero has zero values for the pointers whose fields are plain values in the kubelet's internal type.
	Zero *kubeletconfigv1beta1.KubeletConfiguration `json:"zero"`
	// Paths are the fields that contain file paths. A relative path starts at the configuration file's directory.
	Paths []string `json:"paths"`
	// EvictionHard is the default of the field evictionHard in a configuration file.
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
	// Field is the path of the KubeletConfiguration field that the flag sets, or "".
	Field      string `json:"field"`
	Usage      string `json:"usage"`
	Deprecated string `json:"deprecated"`
}

// facts parses kubelet.json once. An error is a bug that the tests of this package would find.
var facts = sync.OnceValues(func() (*kubeletFacts, error) {
	f := &kubeletFacts{}
	if err := json.Unmarshal(kubeletJSON, f); err != nil {
		return nil, fmt.Errorf("embedded kubelet.json: %w", err)
	}
	return f, nil
})
