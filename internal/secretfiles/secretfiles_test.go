//go:build unix

package secretfiles

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"fauxlet/config"
)

// TestWarnsOfSharedFolder checks that a --cert-dir where all users can create files gets a warning. The keys in it
// would be used even if another user has put them there.
func TestWarnsOfSharedFolder(t *testing.T) {
	for mode, want := range map[os.FileMode]string{
		0o755: "",
		0o777: "--cert-dir: all users can create files in the folder ",
	} {
		dir := filepath.Join(t.TempDir(), "pki")
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(dir, mode); err != nil {
			t.Fatal(err)
		}
		var files Files
		files.AddKubelet(&config.Config{CertDir: dir})
		if got := strings.Join(files.Warnings(), "\n"); !strings.HasPrefix(got, want) || want == "" && got != "" {
			t.Errorf("mode %o: warnings %q, want %q", mode, got, want)
		}
	}
}

// TestPipeIsNotRead checks that a kubeconfig in a pipe is left for the command that uses it. Reading it would block
// this test, because nothing is written to the pipe.
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
