package host

import (
	"fmt"
	"runtime"

	"fauxlet/config"
)

// Build is the version information that "fauxlet version" prints and the admin API returns.
type Build struct {
	Version    string `json:"version"`
	Kubernetes string `json:"kubernetesVersion"`
	Go         string `json:"goVersion"`
	Platform   string `json:"platform"`
}

// NewBuild describes this program, given its version.
func NewBuild(version string) Build {
	return Build{version, config.Version{}.GitVersion(), runtime.Version(), runtime.GOOS + "/" + runtime.GOARCH}
}

func (b Build) String() string {
	return fmt.Sprintf("fauxlet %s, standing in for a kubelet %s (%s, %s)", b.Version, b.Kubernetes, b.Go, b.Platform)
}
