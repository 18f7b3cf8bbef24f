//go:build !older

package main

import (
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/version"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
)

type gate struct {
	Name string `json:"name"`
	// Before is true if versions without the gate behave as if it were on. Kubernetes states this as a stage of version
	// 1.0, although the gate did not exist then.
	Before  bool   `json:"before,omitempty"`
	Default bool   `json:"default"`
	Locked  bool   `json:"locked,omitempty"`
	Stage   string `json:"stage,omitempty"`
}

// newest is true if this program is built from the required version of k8s.io/kubernetes.
const newest = true

// measureGates returns the feature gates and their dependencies.
func measureGates() ([]gate, map[string][]string) {
	var gates []gate
	for name, specs := range utilfeature.DefaultMutableFeatureGate.GetAllVersioned() {
		last := specs[len(specs)-1]
		gates = append(gates, gate{
			Name:    string(name),
			Before:  len(specs) > 1 && specs[0].Version.EqualTo(version.MajorMinor(1, 0)) && specs[0].Default,
			Default: last.Default, Locked: last.LockToDefault, Stage: string(last.PreRelease),
		})
	}
	slices.SortFunc(gates, func(a, b gate) int { return strings.Compare(a.Name, b.Name) })
	return gates, dependencies(utilfeature.DefaultMutableFeatureGate.Dependencies())
}
