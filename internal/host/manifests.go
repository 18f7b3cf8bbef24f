package host

import (
	"fmt"
	"sync"

	"go.uber.org/zap"
	v1 "k8s.io/api/core/v1"

	"fauxlet/config"
	"fauxlet/internal/node"
)

// manifests reads the static pods of staticPodPath. It is safe for concurrent use.
type manifests struct {
	// path is the value of staticPodPath: the path of a manifest, or of a folder of manifests.
	path string
	// refuseReferences is true if a manifest may not refer to API objects. See [node.ReadManifests].
	refuseReferences bool
	logger           *zap.Logger

	mu       sync.Mutex
	problems string // what "read" logged last
}

func manifestsOf(cfg *config.Config, logger *zap.Logger) *manifests {
	refuse := cfg.Enabled("PreventStaticPodAPIReferences") || cfg.Version.Has(config.NoStaticPodReferences)
	return &manifests{path: cfg.Kubelet.StaticPodPath, refuseReferences: refuse, logger: logger}
}

// The method "read" reads all manifests again. It skips invalid files in a folder, and logs why. It does not log this
// again while the reasons stay the same.
func (m *manifests) read() ([]*v1.Pod, error) {
	pods, skipped, err := node.ReadManifests(m.path, m.refuseReferences)
	if err != nil {
		return nil, fmt.Errorf("staticPodPath: %w", err)
	}
	problems := fmt.Sprint(skipped)
	m.mu.Lock()
	defer m.mu.Unlock()
	if problems != m.problems {
		for _, problem := range skipped {
			m.logger.Error("a file in staticPodPath is skipped, and its static pod does not run", zap.Error(problem))
		}
	}
	m.problems = problems
	return pods, nil
}
