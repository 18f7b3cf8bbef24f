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

// setLibraryGates sets the feature gates of k8s.io/apiserver, which are global in the process, to the kubelet's feature
// gates. In a kubelet, both are the same set of feature gates. A gate that is stable or locked in the library is left
// alone, although an emulated older version can have another value: the library has no other behavior any more.
func setLibraryGates(cfg *config.Config) error {
	kubelet, ok := cfg.FeatureGates.(featuregate.MutableFeatureGate)
	if !ok {
		return nil
	}
	library := utilfeature.DefaultMutableFeatureGate
	known, set := library.GetAll(), map[string]bool{}
	for gate := range kubelet.GetAll() {
		spec, shared := known[gate]
		if shared && !spec.LockToDefault && spec.PreRelease != featuregate.GA &&
			kubelet.Enabled(gate) != library.Enabled(gate) {
			set[string(gate)] = kubelet.Enabled(gate)
		}
	}
	return library.SetFromMap(set)
}

// bootTime returns when this machine booted. A Node reports this time. On a system without /proc, bootTime returns the
// start of the current day, so that processes that start on the same day report the same time.
func bootTime() time.Time {
	data, _ := os.ReadFile("/proc/stat")
	_, rest, _ := strings.Cut(string(data), "\nbtime ")
	text, _, _ := strings.Cut(rest, "\n")
	if seconds, err := strconv.ParseInt(text, 10, 64); err == nil {
		return time.Unix(seconds, 0)
	}
	return time.Now().Truncate(24 * time.Hour)
}
