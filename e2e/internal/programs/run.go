package programs

import (
	"bytes"
	"errors"
	"fmt"
	"os/exec"
	"testing"

	"fauxlet/e2e/internal/expect"
)

// Result is the output of a command and its exit code.
type Result struct {
	Stdout, Stderr string
	Status         int
}

// Run runs a command to its end. It fails the test if the command cannot be started, but not for an exit code.
func Run(t testing.TB, cmd *exec.Cmd) Result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatalf("%s: %v", cmd.Args[0], err)
	}
	return Result{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
}

// OpenSSL runs openssl and returns its output and whether it succeeded.
func OpenSSL(t testing.TB, args ...string) (string, bool) {
	t.Helper()
	got := Run(t, exec.Command("openssl", args...))
	return got.Stdout + got.Stderr, got.Status == 0
}

// Confined returns the command line that runs a program in another root folder, as a user and group, with no other
// environment than the given one. It needs root.
func Confined(t testing.TB, root string, uid, gid int64, environment, args []string) []string {
	t.Helper()
	path := func(program string) string {
		found, err := exec.LookPath(program)
		expect.NoError(t, err)
		return found
	}
	argv := append([]string{path("env"), "-i"}, environment...)
	argv = append(argv, path("setpriv"), "--no-new-privs", path("chroot"), fmt.Sprintf("--userspec=%d:%d", uid, gid),
		root)
	return append(argv, args...)
}
