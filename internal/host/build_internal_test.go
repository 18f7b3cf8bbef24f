package host

import (
	"runtime/debug"
	"strings"
	"testing"
)

// TestBuild checks the version, commit and date that fauxlet finds in the information that Go adds to a program.
func TestBuild(t *testing.T) {
	t.Parallel()
	setting := func(key, value string) debug.BuildSetting { return debug.BuildSetting{Key: key, Value: value} }
	commit, date := setting("vcs.revision", "8adf236"), setting("vcs.time", "2026-11-28T19:40:12Z")
	for _, tt := range []struct {
		name, linked, module string
		settings             []debug.BuildSetting
		version, commit      string
		printed              string
	}{
		{name: "release", linked: "v0.1.0", module: "v0.1.0",
			settings: []debug.BuildSetting{commit, date, setting("vcs.modified", "false")},
			version:  "v0.1.0", commit: "8adf236", printed: "\ncommit 8adf236 of 2026-11-28T19:40:12Z\n"},
		{name: "changed files", linked: "v0.1.0-3-g8adf236-dirty", module: "v0.1.1-0.2026+dirty",
			settings: []debug.BuildSetting{setting("vcs.modified", "true"), commit, date},
			version:  "v0.1.0-3-g8adf236-dirty", commit: "8adf236-dirty", printed: "\ncommit 8adf236-dirty of 2026"},
		{name: "go install", linked: "unknown", module: "v0.1.0", version: "v0.1.0"},
		{name: "no repository", linked: "unknown", module: "(devel)", version: "unknown"},
		{name: "no information", linked: "unknown", version: "unknown"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := newBuild(tt.linked, &debug.BuildInfo{Main: debug.Module{Version: tt.module}, Settings: tt.settings})
			if b.Version != tt.version || b.Commit != tt.commit {
				t.Errorf("version %q, commit %q, want %q and %q", b.Version, b.Commit, tt.version, tt.commit)
			}
			text := b.String()
			if !strings.Contains(text, tt.printed) || strings.Contains(text, "commit") != (tt.commit != "") {
				t.Errorf("printed:\n%s\nwant %q", text, tt.printed)
			}
			if !strings.HasPrefix(text, "fauxlet "+tt.version+", ") || !strings.HasSuffix(text, " 1.30 to 1.37") {
				t.Errorf("printed:\n%s", text)
			}
		})
	}
}
