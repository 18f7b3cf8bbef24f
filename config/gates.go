package config

import (
	"fmt"
	"maps"
	"slices"
	"sync"

	"k8s.io/apimachinery/pkg/util/version"
	"k8s.io/component-base/featuregate"
)

// newGates returns the feature gates that the kubelet of version v has, with their defaults.
func newGates(v Version) featuregate.MutableVersionedFeatureGate {
	gates := featuregate.NewFeatureGate()
	specs := map[featuregate.Feature]featuregate.VersionedSpecs{}
	builtin := gates.GetAll() // AllAlpha and AllBeta
	for name := range history().Gates {
		stage := v.gate(name)
		if _, ok := builtin[featuregate.Feature(name)]; ok || stage == nil {
			continue
		}
		spec := featuregate.FeatureSpec{Default: stage.Default, LockToDefault: stage.Locked,
			PreRelease: featuregate.GA, Version: version.MajorMinor(0, 0)}
		switch stage.Stage {
		case "ALPHA":
			spec.PreRelease = featuregate.Alpha
		case "BETA":
			spec.PreRelease = featuregate.Beta
		case "DEPRECATED":
			spec.PreRelease = featuregate.Deprecated
		}
		specs[featuregate.Feature(name)] = featuregate.VersionedSpecs{spec}
	}
	must(gates.AddVersioned(specs))
	dependencies := facts().Dependencies
	if v != (Version{}) {
		dependencies = history().Dependencies[v.String()]
	}
	needs := map[featuregate.Feature][]featuregate.Feature{}
	for name, others := range dependencies {
		for _, other := range others {
			needs[featuregate.Feature(name)] = append(needs[featuregate.Feature(name)], featuregate.Feature(other))
		}
	}
	must(gates.AddDependencies(needs))
	return gates
}

// setFromMap sets feature gates by name. The error about a gate that only other versions have says which these are.
func setFromMap(gates featuregate.MutableFeatureGate, v Version, values map[string]bool) error {
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if changes := history().Gates[name]; changes != nil && v.gate(name) == nil {
			when := "kubelets have it since " + changes[0].Since
			if last := changes[len(changes)-1]; last.Removed && !v.before(last.Since) {
				when = "kubelets do not have it since " + last.Since
			}
			return fmt.Errorf("unrecognized feature gate: %s (%s; the emulated version is %s)", name, when, v)
		}
	}
	return gates.SetFromMap(values)
}

// EnabledByDefault reports whether a feature gate is on by default in the kubelet of version v. Gates that the version
// does not have are off.
func (v Version) EnabledByDefault(name string) bool {
	stage := v.gate(name)
	return stage != nil && stage.Default
}

// gate returns the stage of a feature gate in version v, or nil if that version does not have the gate.
func (v Version) gate(name string) *gateStage {
	var stage *gateStage
	changes := history().Gates[name]
	for i := range changes {
		switch {
		case v.before(changes[i].Since):
			return stage
		case changes[i].Removed:
			stage = nil
		default:
			stage = &changes[i].gateStage
		}
	}
	return stage
}

// enabled reports whether a feature gate is on. If version v does not have the gate, the kubelet of that version
// behaves as if it were off, except for the gates in onBefore. FeatureGate.Enabled panics for such a gate, so it is not
// called.
func enabled(gates featuregate.FeatureGate, v Version, name string) bool {
	switch {
	case gates == nil:
		return false
	case v.gate(name) == nil:
		return onBefore()[name] && v.before(history().Gates[name][0].Since)
	}
	return gates.Enabled(featuregate.Feature(name))
}

// onBefore has the names of the feature gates whose effect older kubelets have, although they do not have the gate.
var onBefore = sync.OnceValue(func() map[string]bool {
	names := map[string]bool{}
	for _, gate := range facts().Gates {
		if gate.Before {
			names[gate.Name] = true
		}
	}
	return names
})
