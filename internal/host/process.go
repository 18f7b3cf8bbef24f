package host

import (
	"os"
	"strconv"
	"strings"
	"time"

	utilfeature "k8s.io/apiserver/pkg/util/feature"
	"k8s.io/component-base/featuregate"

	"fauxlet/config"
)

// setLibraryGates sets the feature gates that k8s.io/apiserver reads from its own global. In a kubelet they are the
// same as the kubelet's.
func setLibraryGates(cfg *config.Config) error {
	kubelet, ok := cfg.FeatureGates.(featuregate.MutableFeatureGate)
	if !ok {
		return nil
	}
	library := utilfeature.DefaultMutableFeatureGate
	known, set := library.GetAll(), map[string]bool{}
	for gate := range kubelet.GetAll() {
		if _, shared := known[gate]; shared && kubelet.Enabled(gate) != library.Enabled(gate) {
			set[string(gate)] = kubelet.Enabled(gate)
		}
	}
	return library.SetFromMap(set)
}

// bootTime is when this machine booted, which a Node reports. On a system without /proc it is the start of the day, so
// that processes which start on the same day agree on it.
func bootTime() time.Time {
	data, err := os.ReadFile("/proc/stat")
	if err == nil {
		for line := range strings.Lines(string(data)) {
			if text, found := strings.CutPrefix(line, "btime "); found {
				if seconds, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64); err == nil {
					return time.Unix(seconds, 0)
				}
			}
		}
	}
	return time.Now().Truncate(24 * time.Hour)
}
