// Package fileaccess checks what other users of this machine can do with a file or folder: whether one of them owns it,
// whether they can read or change it, and whether they can have planted a symbolic link on the way to it. Root is
// trusted. On systems without owners and modes of Unix, no check finds anything.
package fileaccess

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

const (
	writableByGroup fs.FileMode = 0o020
	readableByAll   fs.FileMode = 0o004
	writableByAll   fs.FileMode = 0o002
	enterableByAll  fs.FileMode = 0o001 // of a folder: all users can reach the files in it
)

// CheckLinks returns an error if another user can have planted a symbolic link in the path: a link of another user in a
// folder where that user may create files, such as /tmp. Links of this user and of root, and links in folders that are
// closed to others, are allowed. The path need not exist. (Linux refuses to follow such links in folders with the
// sticky bit if fs.protected_symlinks is 1. In containers and on other systems it is often 0.)
func CheckLinks(path string) error {
	path, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	for folder := filepath.Dir(path); path != folder; path, folder = folder, filepath.Dir(folder) {
		link, err := os.Lstat(path)
		if err != nil || link.Mode().Type() != fs.ModeSymlink || !foreign(link) {
			continue // a file that cannot be looked up cannot be opened either
		}
		if open, err := os.Stat(folder); err != nil || foreign(open) ||
			open.Mode()&(writableByGroup|writableByAll) != 0 {
			return fmt.Errorf("%s is a symbolic link of another user; remove it, or choose another path", path)
		}
	}
	return nil
}

// CheckFolder returns an error if another user can create files in the folder: because that user owns the folder, has
// planted a symbolic link in its path, or because all users can write to it. The folder must exist.
func CheckFolder(dir string) error {
	if err := CheckLinks(dir); err != nil {
		return err
	}
	folder, err := os.Stat(dir)
	switch {
	case err != nil:
		return err
	case foreign(folder):
		return fmt.Errorf("the folder %s belongs to another user, who can change the files in it; choose another "+
			"folder", dir)
	case hasModes && folder.Mode()&writableByAll != 0:
		return fmt.Errorf("all users can create files in the folder %s; run chmod o-w on it, or choose another folder",
			dir)
	}
	return nil
}

// Exposed describes what every user of this machine can do with a file: "read", "change", or "read and change". It is
// empty if they can do neither, for example because they cannot enter the file's folder, and if the file does not
// exist. The file's group is ignored: an administrator chooses a group on purpose.
func Exposed(path string) string {
	path, err := filepath.EvalSymlinks(path)
	if err != nil || !hasModes {
		return ""
	}
	file, err := os.Stat(path)
	if err != nil || !file.Mode().IsRegular() {
		return ""
	}
	if path, err = filepath.Abs(path); err != nil {
		return ""
	}
	for folder := filepath.Dir(path); ; folder = filepath.Dir(folder) {
		if info, err := os.Stat(folder); err != nil || info.Mode()&enterableByAll == 0 {
			return ""
		}
		if folder == filepath.Dir(folder) {
			break
		}
	}
	switch file.Mode() & (readableByAll | writableByAll) {
	case readableByAll:
		return "read"
	case writableByAll:
		return "change"
	case readableByAll | writableByAll:
		return "read and change"
	}
	return ""
}
