package programs

import (
	"bytes"
	"errors"
	"fmt"
	"os/exec"
	"testing"

	"fauxlet/e2e/internal/expect"
)

// Result is the output and the exit code of a command.
type Result struct {
	Stdout, Stderr string
	Status         int
}

// Run runs a command and waits for its end. It ends the test if the command cannot be started. A nonzero exit code
// does not fail the test.
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

// OpenSSL runs openssl. It returns the output, and whether openssl succeeded.
func OpenSSL(t testing.TB, args ...string) (string, bool) {
	t.Helper()
	got := Run(t, exec.Command("openssl", args...))
	return got.Stdout + got.Stderr, got.Status == 0
}

// Confined returns a command line that runs a program in another root folder, with the given user, group and
// environment. The test must run as root.
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
