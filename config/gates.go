package config

import (
	"fmt"
	"sync"

	"k8s.io/apimachinery/pkg/util/version"
	"k8s.io/component-base/featuregate"
)

// newGates returns the kubelet's feature gates with their defaults.
func newGates(f *kubeletFacts) (featuregate.MutableVersionedFeatureGate, error) {
	gates := featuregate.NewFeatureGate()
	specs := map[featuregate.Feature]featuregate.VersionedSpecs{}
	there := gates.GetAll()
	for _, g := range f.Gates {
		name := featuregate.Feature(g.Name)
		if _, ok := there[name]; ok {
			continue // NewFeatureGate has added AllAlpha and AllBeta
		}
		spec := featuregate.FeatureSpec{
			Default:       g.Default,
			LockToDefault: g.Locked,
			Version:       version.MajorMinor(0, 0),
		}
		switch g.Stage {
		case "ALPHA":
			spec.PreRelease = featuregate.Alpha
		case "BETA":
			spec.PreRelease = featuregate.Beta
		case "DEPRECATED":
			spec.PreRelease = featuregate.Deprecated
		case "":
			spec.PreRelease = featuregate.GA
		default:
			return nil, fmt.Errorf("embedded kubelet.json: gate %s has the unknown stage %q", g.Name, g.Stage)
		}
		specs[name] = featuregate.VersionedSpecs{spec}
	}
	if err := gates.AddVersioned(specs); err != nil {
		return nil, fmt.Errorf("embedded kubelet.json: %w", err)
	}
	needs := map[featuregate.Feature][]featuregate.Feature{}
	for name, others := range f.Dependencies {
		for _, other := range others {
			needs[featuregate.Feature(name)] = append(needs[featuregate.Feature(name)], featuregate.Feature(other))
		}
	}
	if err := gates.AddDependencies(needs); err != nil {
		return nil, fmt.Errorf("embedded kubelet.json: %w", err)
	}
	return gates, nil
}

// enabled looks up a gate by name. Unknown gates are disabled; FeatureGate.Enabled would panic.
func enabled(gates featuregate.FeatureGate, name string) bool {
	return gates != nil && known()[name] && gates.Enabled(featuregate.Feature(name))
}

// known has the names of all gates. It is cached, because FeatureGate.GetAll copies all specifications.
var known = sync.OnceValue(func() map[string]bool {
	names := map[string]bool{}
	for name := range featuregate.NewFeatureGate().GetAll() {
		names[string(name)] = true
	}
	if f, err := facts(); err == nil { // Load returns the error
		for _, g := range f.Gates {
			names[g.Name] = true
		}
	}
	return names
})
