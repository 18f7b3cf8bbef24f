package host

import (
	"cmp"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"

	"fauxlet/config"
)

// Build is the version information that "fauxlet version" prints and the admin API returns.
type Build struct {
	Version string `json:"version"`
	// Commit is the commit of the sources, with "-dirty" if files were changed. It is empty if the program was built
	// outside of a git repository, for example by "go install PATH@VERSION".
	Commit string `json:"commit,omitempty"`
	// Date is the time of the commit, in the format of RFC 3339. It is not the time of the build, so that building the
	// same commit twice makes the same program.
	Date       string `json:"date,omitempty"`
	Kubernetes string `json:"kubernetesVersion"`
	// Emulated lists the minor versions of Kubernetes that --emulate-version accepts, oldest first.
	Emulated []string `json:"emulatedVersions"`
	Go       string   `json:"goVersion"`
	Platform string   `json:"platform"`
}

// NewBuild describes this program. The argument is the version that the linker has set. If it is "unknown" because the
// program was built with go install, the version is that of the module.
func NewBuild(version string) Build {
	info, _ := debug.ReadBuildInfo()
	return newBuild(version, cmp.Or(info, &debug.BuildInfo{}))
}

func newBuild(version string, info *debug.BuildInfo) Build {
	if main := info.Main.Version; version == "unknown" && main != "" && main != "(devel)" {
		version = main
	}
	b := Build{Version: version, Kubernetes: config.Version{}.GitVersion(), Go: runtime.Version(),
		Platform: runtime.GOOS + "/" + runtime.GOARCH}
	for _, v := range config.Versions() {
		b.Emulated = append(b.Emulated, v.String())
	}
	modified := ""
	for _, setting := range info.Settings {
		switch setting.Key {
		case "vcs.revision":
			b.Commit = setting.Value
		case "vcs.time":
			b.Date = setting.Value
		case "vcs.modified":
			if setting.Value == "true" {
				modified = "-dirty"
			}
		}
	}
	if b.Commit != "" {
		b.Commit += modified
	}
	return b
}

// Write writes the text of String. It does not use the width.
func (b Build) Write(w io.Writer, _ int) { fmt.Fprintln(w, b) }

func (b Build) String() string {
	text := fmt.Sprintf("fauxlet %s, standing in for a kubelet %s (%s, %s)\n", b.Version, b.Kubernetes, b.Go,
		b.Platform)
	if b.Commit != "" {
		text += fmt.Sprintf("commit %s of %s\n", b.Commit, b.Date)
	}
	return text + fmt.Sprintf("emulates kubelets %s to %s", b.Emulated[0], b.Emulated[len(b.Emulated)-1])
}

// UserAgent returns the user agent of this program's requests to an apiserver; see [NewBuild].
func UserAgent(version string) string { return "fauxlet/" + NewBuild(version).Version }
