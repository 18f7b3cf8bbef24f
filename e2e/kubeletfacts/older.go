//go:build older

package main

import (
	"strings"

	utilfeature "k8s.io/apiserver/pkg/util/feature"
	"k8s.io/component-base/featuregate"
)

// newest is true if this program is built from the required version of k8s.io/kubernetes.
const newest = false

// measureGates returns the feature gates of an older version, with states such as "on locked BETA", and their
// dependencies, which the library has since 1.34.
func measureGates() (map[string]string, map[string][]string) {
	gates := map[string]string{}
	for name, spec := range utilfeature.DefaultMutableFeatureGate.GetAll() {
		words := []string{"off"}
		if spec.Default {
			words[0] = "on"
		}
		if spec.LockToDefault {
			words = append(words, "locked")
		}
		gates[string(name)] = strings.TrimSpace(strings.Join(append(words, string(spec.PreRelease)), " "))
	}
	var features any = utilfeature.DefaultMutableFeatureGate
	newer, ok := features.(interface {
		Dependencies() map[featuregate.Feature][]featuregate.Feature
	})
	if !ok {
		return gates, nil
	}
	return gates, dependencies(newer.Dependencies())
}
