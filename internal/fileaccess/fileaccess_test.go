//go:build unix

package fileaccess

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// giveAway makes a file belong to another user, from the view of this package.
func giveAway(t *testing.T, path string) {
	t.Helper()
	if user := os.Geteuid(); user != 0 {
		effectiveUser = func() int { return user + 1 }
		t.Cleanup(func() { effectiveUser = os.Geteuid })
		return
	}
	must(t, os.Lchown(path, 65533, 65533))
}

func TestCheckLinks(t *testing.T) {
	for name, test := range map[string]struct {
		folder      os.FileMode // the mode of the folder that contains the link
		theirs      bool        // the link belongs to another user
		theirFolder bool        // the folder with the link belongs to another user
		refused     bool
	}{
		"our link":                                 {folder: 0o1777},
		"a planted link":                           {folder: 0o1777, theirs: true, refused: true},
		"a planted link in a folder of a group":    {folder: 0o770, theirs: true, refused: true},
		"a link in a folder closed to other users": {folder: 0o755, theirs: true},
		"a planted link in a planted folder":       {folder: 0o755, theirs: true, theirFolder: true, refused: true},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			link := filepath.Join(dir, "link")
			must(t, os.Symlink(t.TempDir(), link))
			must(t, os.Chmod(dir, test.folder))
			if test.theirs {
				giveAway(t, link)
				test.theirFolder = test.theirFolder || os.Geteuid() != 0 // giveAway then gives away all files
			}
			if test.theirFolder {
				giveAway(t, dir)
				test.refused = true
			}
			for _, path := range []string{link, filepath.Join(link, "file"), filepath.Join(link, "new", "file")} {
				err := CheckLinks(path)
				if test.refused != (err != nil) {
					t.Errorf("%s: error %v, want refused %v", path, err, test.refused)
				}
				if err != nil && !strings.Contains(err.Error(), link+" is a symbolic link of another user; remove it") {
					t.Errorf("%s: error %v", path, err)
				}
			}
			if err := CheckLinks(filepath.Join(dir, "other")); err != nil {
				t.Errorf("a path without a link: error %v", err)
			}
		})
	}
}

func TestCheckFolder(t *testing.T) {
	for name, test := range map[string]struct {
		mode   os.FileMode
		theirs bool
		want   string
	}{
		"ours":               {mode: 0o755},
		"our group's":        {mode: 0o775},
		"open to all":        {mode: 0o777, want: "all users can create files in the folder"},
		"of another user":    {mode: 0o755, theirs: true, want: "belongs to another user"},
		"closed, of another": {mode: 0o700, theirs: true, want: "belongs to another user"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			must(t, os.Chmod(dir, test.mode))
			if test.theirs {
				giveAway(t, dir)
			}
			err := CheckFolder(dir)
			if (err != nil) != (test.want != "") || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want %q", err, test.want)
			}
		})
	}
	if err := CheckFolder(filepath.Join(t.TempDir(), "missing")); !os.IsNotExist(err) {
		t.Errorf("a missing folder: error %v", err)
	}
}

func TestExposed(t *testing.T) {
	// The folder of t.TempDir may be in a folder that other users cannot enter.
	top, err := os.MkdirTemp("/tmp", "exposed")
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(top) })
	must(t, os.Chmod(top, 0o755))
	file := filepath.Join(top, "key")
	must(t, os.WriteFile(file, nil, 0o600))
	link := filepath.Join(top, "link")
	must(t, os.Symlink("key", link))
	for mode, want := range map[os.FileMode]string{
		0o600: "", 0o640: "", 0o644: "read", 0o602: "change", 0o666: "read and change",
	} {
		must(t, os.Chmod(file, mode))
		for _, path := range []string{file, link} {
			if got := Exposed(path); got != want {
				t.Errorf("%s with mode %v: %q, want %q", path, mode, got, want)
			}
		}
	}
	must(t, os.Chmod(top, 0o700))
	if got := Exposed(file); got != "" {
		t.Errorf("in a closed folder: %q, want nothing", got)
	}
	for _, path := range []string{filepath.Join(top, "missing"), os.DevNull} {
		if got := Exposed(path); got != "" {
			t.Errorf("%s: %q, want nothing", path, got)
		}
	}
}
