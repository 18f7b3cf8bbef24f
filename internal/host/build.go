package host

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"fauxlet/config"
)

// Build is the version information that "fauxlet version" prints and the admin API returns.
type Build struct {
	Version    string `json:"version"`
	Kubernetes string `json:"kubernetesVersion"`
	Go         string `json:"goVersion"`
	Platform   string `json:"platform"`
}

// NewBuild describes this program. The argument is the version that the linker has set. If it is "unknown" because the
// program was built with go install, the version is that of the module.
func NewBuild(version string) Build {
	if info, ok := debug.ReadBuildInfo(); ok && version == "unknown" && info.Main.Version != "" &&
		info.Main.Version != "(devel)" {
		version = info.Main.Version
	}
	return Build{version, config.Version{}.GitVersion(), runtime.Version(), runtime.GOOS + "/" + runtime.GOARCH}
}

func (b Build) String() string {
	return fmt.Sprintf("fauxlet %s, standing in for a kubelet %s (%s, %s)", b.Version, b.Kubernetes, b.Go, b.Platform)
}

// UserAgent returns the user agent of this program's requests to an apiserver; see [NewBuild].
func UserAgent(version string) string { return "fauxlet/" + NewBuild(version).Version }
