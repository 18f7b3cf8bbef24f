package config

import (
	"fmt"
	"maps"
	"slices"
	"sync"

	"k8s.io/apimachinery/pkg/util/version"
	"k8s.io/component-base/featuregate"
)

// newGates returns the feature gates that the kubelet of version v has, with their defaults. The gates that only newer
// versions have are disabled, and setFromMap refuses them.
func newGates(v Version) featuregate.MutableVersionedFeatureGate {
	gates := featuregate.NewFeatureGate()
	specs := map[featuregate.Feature]featuregate.VersionedSpecs{}
	builtin := gates.GetAll() // AllAlpha and AllBeta
	for _, g := range facts().Gates {
		name := featuregate.Feature(g.Name)
		if _, ok := builtin[name]; ok {
			continue
		}
		spec := featuregate.FeatureSpec{Default: g.Before, PreRelease: featuregate.PreAlpha,
			Version: version.MajorMinor(0, 0)}
		if stage := g.at(v); stage != nil {
			spec.Default, spec.LockToDefault, spec.PreRelease = stage.Default, stage.Locked, featuregate.GA
			switch stage.Stage {
			case "ALPHA":
				spec.PreRelease = featuregate.Alpha
			case "BETA":
				spec.PreRelease = featuregate.Beta
			case "DEPRECATED":
				spec.PreRelease = featuregate.Deprecated
			}
		}
		specs[name] = featuregate.VersionedSpecs{spec}
	}
	must(gates.AddVersioned(specs))
	if v != (Version{}) {
		return gates // the dependencies between the gates of older versions are not known
	}
	needs := map[featuregate.Feature][]featuregate.Feature{}
	for name, others := range facts().Dependencies {
		for _, other := range others {
			needs[featuregate.Feature(name)] = append(needs[featuregate.Feature(name)], featuregate.Feature(other))
		}
	}
	must(gates.AddDependencies(needs))
	return gates
}

// setFromMap sets feature gates by name. Gates that the kubelet of version v does not have are unknown to it.
func setFromMap(gates featuregate.MutableFeatureGate, v Version, values map[string]bool) error {
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if gate := gatesByName()[name]; gate != nil && gate.at(v) == nil {
			return fmt.Errorf("unrecognized feature gate: %s (kubelets have it since %s; the emulated version is %s)",
				name, gate.first(), v)
		}
	}
	return gates.SetFromMap(values)
}

// EnabledByDefault reports whether a feature gate is on by default in the kubelet of version v. Gates that the version
// does not have are off.
func (v Version) EnabledByDefault(name string) bool {
	gate := gatesByName()[name]
	return gate != nil && gate.at(v) != nil && gate.at(v).Default
}

// at returns the stage of a gate in version v, or nil if that version does not have the gate.
func (g *gateFact) at(v Version) *gateStage {
	if !v.before(g.Since) {
		return &g.gateStage
	}
	for i := len(g.Earlier) - 1; i >= 0; i-- {
		if !v.before(g.Earlier[i].Since) {
			return &g.Earlier[i]
		}
	}
	return nil
}

// first returns the first version that has a gate.
func (g *gateFact) first() string {
	if len(g.Earlier) > 0 {
		return g.Earlier[0].Since
	}
	return g.Since
}

// enabled looks up a gate by name. Unknown gates are disabled; FeatureGate.Enabled would panic.
func enabled(gates featuregate.FeatureGate, name string) bool {
	return gatesByName()[name] != nil && gates != nil && gates.Enabled(featuregate.Feature(name))
}

var gatesByName = sync.OnceValue(func() map[string]*gateFact {
	all := map[string]*gateFact{}
	for i := range facts().Gates {
		all[facts().Gates[i].Name] = &facts().Gates[i]
	}
	return all
})
