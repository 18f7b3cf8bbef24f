package atomicfile_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"fauxlet/internal/atomicfile"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantContent(t *testing.T, path, want string) {
	t.Helper()
	data, err := os.ReadFile(path)
	must(t, err)
	if string(data) != want {
		t.Errorf("%s contains %q, want %q", path, data, want)
	}
}

// TestWriteDoesNotFollowLinks checks that a symbolic link in the place of a file is replaced, and that the file to
// which it links is not changed.
func TestWriteDoesNotFollowLinks(t *testing.T) {
	for name, target := range map[string]string{"a link to a file": "victim", "a dangling link": "missing"} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			victim, path := filepath.Join(dir, "victim"), filepath.Join(dir, "key")
			must(t, os.WriteFile(victim, []byte("old"), 0o644))
			must(t, os.Symlink(target, path))
			must(t, atomicfile.Write(path, []byte("secret"), 0o600))
			wantContent(t, victim, "old")
			wantContent(t, path, "secret")
			if file, err := os.Lstat(path); err != nil || file.Mode() != 0o600 {
				t.Errorf("%v, %v, want a file with mode 0600", file.Mode(), err)
			}
			if _, err := os.Stat(filepath.Join(dir, "missing")); err == nil {
				t.Error("the file to which the link pointed was created")
			}
		})
	}
}

// TestWriteReplacesOpenFile checks that a program which has opened a file in advance does not get its new content.
func TestWriteReplacesOpenFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	planted, err := os.Create(path)
	must(t, err)
	defer planted.Close()
	must(t, atomicfile.Write(path, []byte("secret"), 0o600))
	if info, err := planted.Stat(); err != nil || info.Size() != 0 {
		t.Errorf("the file that was opened earlier has %d bytes, %v", info.Size(), err)
	}
}

func TestWriteNew(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	must(t, atomicfile.WriteNew(path, []byte("first"), 0o644))
	must(t, atomicfile.WriteNew(path, []byte("second"), 0o644))
	wantContent(t, path, "first")
	link := path + ".link"
	must(t, os.Symlink("missing", link))
	must(t, atomicfile.WriteNew(link, []byte("third"), 0o644))
	if target, err := os.Readlink(link); err != nil || target != "missing" {
		t.Errorf("the dangling link was replaced: %q, %v", target, err)
	}
}

func TestSymlink(t *testing.T) {
	path := filepath.Join(t.TempDir(), "current")
	for _, target := range []string{"a", "b"} {
		must(t, atomicfile.Symlink(target, path))
		if got, err := os.Readlink(path); err != nil || got != target {
			t.Errorf("the link points to %q, %v, want %q", got, err, target)
		}
	}
	must(t, os.Remove(path))
	must(t, os.WriteFile(path, nil, 0o600))
	if err := atomicfile.Symlink("c", path); err == nil || !strings.Contains(err.Error(), "to be a symlink") {
		t.Errorf("a file in the place of the link: error %v", err)
	}
	entries, err := os.ReadDir(filepath.Dir(path))
	if must(t, err); len(entries) != 1 {
		t.Errorf("%d files are left, want 1", len(entries))
	}
}

// TestPlantedFolderIsRefused checks that no function writes into a folder that is a symbolic link of another user. Only
// root can give a link to another user, so only root's test run has a link that is refused.
func TestPlantedFolderIsRefused(t *testing.T) {
	dir, target := t.TempDir(), t.TempDir()
	link := filepath.Join(dir, "link")
	must(t, os.Symlink(target, link))
	must(t, os.Chmod(dir, 0o1777))
	planted := os.Geteuid() == 0
	if planted {
		must(t, os.Lchown(link, 65533, 65533))
	}
	for name, err := range map[string]error{
		"Write":    atomicfile.Write(filepath.Join(link, "a"), nil, 0o600),
		"WriteNew": atomicfile.WriteNew(filepath.Join(link, "b"), nil, 0o600),
		"Symlink":  atomicfile.Symlink("a", filepath.Join(link, "c")),
		"MkdirAll": atomicfile.MkdirAll(filepath.Join(link, "d")),
	} {
		if planted != (err != nil) || err != nil && !strings.Contains(err.Error(), "symbolic link of another user") {
			t.Errorf("%s: error %v", name, err)
		}
	}
	if entries, err := os.ReadDir(target); planted && (err != nil || len(entries) > 0) {
		t.Errorf("%d files were written through the link, %v", len(entries), err)
	}
}
