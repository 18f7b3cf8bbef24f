package config

import (
	"sync"

	"k8s.io/apimachinery/pkg/util/version"
	"k8s.io/component-base/featuregate"
)

// newGates returns the kubelet's feature gates with their defaults.
func newGates() featuregate.MutableVersionedFeatureGate {
	gates := featuregate.NewFeatureGate()
	specs := map[featuregate.Feature]featuregate.VersionedSpecs{}
	builtin := gates.GetAll() // AllAlpha and AllBeta
	for _, g := range facts().Gates {
		name := featuregate.Feature(g.Name)
		if _, ok := builtin[name]; ok {
			continue
		}
		spec := featuregate.FeatureSpec{Default: g.Default, LockToDefault: g.Locked, Version: version.MajorMinor(0, 0)}
		switch g.Stage {
		case "ALPHA":
			spec.PreRelease = featuregate.Alpha
		case "BETA":
			spec.PreRelease = featuregate.Beta
		case "DEPRECATED":
			spec.PreRelease = featuregate.Deprecated
		}
		specs[name] = featuregate.VersionedSpecs{spec}
	}
	must(gates.AddVersioned(specs))
	needs := map[featuregate.Feature][]featuregate.Feature{}
	for name, others := range facts().Dependencies {
		for _, other := range others {
			needs[featuregate.Feature(name)] = append(needs[featuregate.Feature(name)], featuregate.Feature(other))
		}
	}
	must(gates.AddDependencies(needs))
	return gates
}

// enabled looks up a gate by name. Unknown gates are disabled; FeatureGate.Enabled would panic.
func enabled(gates featuregate.FeatureGate, name string) bool {
	_, ok := known()[featuregate.Feature(name)]
	return ok && gates != nil && gates.Enabled(featuregate.Feature(name))
}

// known has all gates. It is cached, because FeatureGate.GetAll copies all specifications.
var known = sync.OnceValue(func() map[featuregate.Feature]featuregate.FeatureSpec { return newGates().GetAll() })
