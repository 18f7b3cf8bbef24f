package programs

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
)

// tools maps each command that the tests run but do not build to its Debian package.
var tools = map[string]string{
	"bash":            "bash",
	"buildah":         "buildah",
	"chroot":          "coreutils",
	"chromium":        "chromium",
	"curl":            "curl",
	"dpkg-deb":        "dpkg",
	"ip":              "iproute2",
	"openssl":         "openssl",
	"prometheus":      "prometheus",
	"promtool":        "prometheus",
	"setpriv":         "util-linux",
	"systemd-analyze": "systemd",
	"unshare":         "util-linux",
}

// root is an entry in a list of tools for tests that must run as root, because they create network namespaces or
// change their root folder.
const root = "root"

// The keys of the map "needs" are names of test packages. The value for a package lists the tools that its tests use.
var needs = map[string][]string{
	"same":    {},
	"cluster": {root, "bash", "curl", "ip", "openssl", "setpriv", "unshare"},
	"node":    {root, "bash", "chroot", "ip", "openssl", "setpriv"},
	"tools": {root, "bash", "buildah", "chroot", "curl", "dpkg-deb", "openssl", "prometheus", "promtool", "setpriv",
		"systemd-analyze"},
	"browser": {"chromium"},
	"soak":    {},
}

// Packages returns the names of the test packages.
func Packages() []string { return slices.Sorted(maps.Keys(needs)) }

// Missing returns nil if this machine has the tools that the tests of the given packages need. Otherwise it returns an
// error that names the missing tools and the Debian packages to install. A missing tool is an error rather than a
// reason to skip tests, because a skipped test looks like a passed one.
func Missing(packages ...string) error {
	var missing, install []string
	notRoot := false
	for _, pkg := range packages {
		for _, name := range needs[pkg] {
			if name == root {
				notRoot = notRoot || os.Geteuid() != 0
				continue
			}
			if _, err := exec.LookPath(name); err != nil && !slices.Contains(missing, name) {
				missing = append(missing, name)
				install = append(install, tools[name])
			}
		}
	}
	var problems []string
	if notRoot {
		problems = append(problems,
			"these tests make network namespaces and change their root folder; run them as root")
	}
	if missing != nil {
		slices.Sort(install)
		problems = append(problems, fmt.Sprintf("not found on PATH: %s; apt-get install %s",
			strings.Join(missing, ", "), strings.Join(slices.Compact(install), " ")))
	}
	if problems == nil {
		return nil
	}
	return fmt.Errorf("cannot run the tests of %s: %s", strings.Join(packages, ", "), strings.Join(problems, "; "))
}
