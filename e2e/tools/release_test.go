package tools

import (
	"os/exec"
	"path/filepath"
	"testing"

	"fauxlet/e2e/internal/expect"
	"fauxlet/e2e/internal/programs"
)

// TestRelease builds the archive, the packages and the SBOM of the last commit for one platform, and examines them. It
// unpacks the deb into an empty folder and runs the program there. "make release-check" does more.
func TestRelease(t *testing.T) {
	t.Parallel()
	programs.Slow(t)
	dir := t.TempDir()
	run := func(in, program string, args ...string) string {
		t.Helper()
		cmd := exec.Command(program, args...)
		cmd.Dir = in
		got := programs.Run(t, cmd)
		if got.Status != 0 {
			t.Fatalf("%s %q: %+v", program, args, got)
		}
		return got.Stdout
	}
	// The name of a clone has no meaning, so the results must not contain it.
	clone := filepath.Join(dir, "clone-of-the-repository")
	run(".", "git", "clone", "--quiet", "--no-local", "../..", clone)
	run(clone, "git", "remote", "remove", "origin")
	run(clone, "make", "release", "PLATFORM=linux/amd64", "VERSION=v0.1.0-test")
	run(clone, "packaging/verify.sh", "dist")

	root := filepath.Join(dir, "root")
	run(clone, "dpkg-deb", "--extract", "dist/fauxlet_0.1.0~test_amd64.deb", root)
	command := programs.Confined(t, root, 65532, 65532, nil, []string{"/usr/bin/kubectl-fauxlet", "version"})
	version := run(dir, command[0], command[1:]...)
	expect.Contains(t, "fauxlet version", version, "fauxlet v0.1.0-test, ")
	expect.Contains(t, "fauxlet version", version, "\ncommit "+run(clone, "git", "rev-parse", "HEAD")[:40]+" of ")
	if out, err := exec.Command("grep", "-rlF", clone, root).Output(); err == nil {
		t.Errorf("these files of the package name the folder in which it was built: %s", out)
	}
}
