//go:build unix

package secretfiles

import (
	"path/filepath"
	"syscall"
	"testing"
)

// TestPipeIsNotRead checks that a kubeconfig in a pipe is left for the command that uses it. Reading it would block this
// test, because nothing is written to the pipe.
func TestPipeIsNotRead(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "kubeconfig")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	var files Files
	files.AddKubeconfig("--kubeconfig", pipe)
	files.AddUser("--as", pipe)
	if got := files.Warnings(); len(got) != 0 {
		t.Errorf("warnings %q, want none", got)
	}
}
