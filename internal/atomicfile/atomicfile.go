// Package atomicfile writes files and folders such that
//
//   - a program which reads a file finds either the old or the new content, never a part of it,
//   - a file that another user has created in advance does not get the content, and
//   - no symbolic link is followed that another user has planted: a link in the place of a file is replaced, and a link
//     in the place of a folder is refused.
//
// The program writes all its files with this package. A test of the module checks that.
package atomicfile

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"fauxlet/internal/fileaccess"
)

// Write writes data into a file, and replaces an existing file. The data is on the disk when Write returns.
func Write(path string, data []byte, mode fs.FileMode) error {
	staged, err := Stage(path, data, mode)
	if err != nil {
		return err
	}
	defer staged.Discard()
	return staged.Commit()
}

// WriteNew writes data into a file, unless the path exists. A dangling symbolic link exists.
func WriteNew(path string, data []byte, mode fs.FileMode) error {
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return Write(path, data, mode)
}

// Staged is a complete file that does not have its final name yet.
type Staged struct{ temporary, path string }

// Stage writes data into a new temporary file in the folder of path. The mode of the file does not depend on the umask.
// The caller must call Discard.
func Stage(path string, data []byte, mode fs.FileMode) (_ *Staged, err error) {
	if err := fileaccess.CheckLinks(filepath.Dir(path)); err != nil {
		return nil, fmt.Errorf("write %s: %w", path, err)
	}
	file, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*") // with O_EXCL and mode 0600
	if err != nil {
		return nil, fmt.Errorf("write %s: %w", path, err)
	}
	_, err = file.Write(data)
	if err == nil && mode != 0o600 {
		err = file.Chmod(mode)
	}
	if err == nil {
		err = file.Sync()
	}
	staged := &Staged{file.Name(), path}
	if err = errors.Join(err, file.Close()); err != nil {
		staged.Discard()
		return nil, fmt.Errorf("write %s: %w", path, err)
	}
	return staged, nil
}

// Commit gives the file its final name, and replaces an existing file or symbolic link.
func (s *Staged) Commit() error { return os.Rename(s.temporary, s.path) }

// Discard removes the file if it was not committed.
func (s *Staged) Discard() { _ = os.Remove(s.temporary) }

// Symlink makes path a symbolic link to target, and replaces an existing symbolic link. It does not replace a file.
func Symlink(target, path string) error {
	if err := fileaccess.CheckLinks(filepath.Dir(path)); err != nil {
		return err
	}
	if existing, err := os.Lstat(path); err == nil && existing.Mode().Type() != fs.ModeSymlink {
		return fmt.Errorf("expected %q to be a symlink but it is a file", path)
	}
	staged := &Staged{filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+"."+rand.Text()), path}
	defer staged.Discard()
	if err := os.Symlink(target, staged.temporary); err != nil {
		return err
	}
	return staged.Commit()
}

// MkdirAll creates a folder with mode 0755 and the folders above it, each unless it exists.
func MkdirAll(dir string) error {
	if err := fileaccess.CheckLinks(dir); err != nil {
		return err
	}
	return os.MkdirAll(dir, 0o755)
}
