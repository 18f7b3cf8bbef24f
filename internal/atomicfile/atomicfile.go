// Package atomicfile writes files such that a program which reads a file finds either the old or the new content, never
// a part of it.
package atomicfile

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Write writes data into a file, and replaces an existing file.
func Write(path string, data []byte, mode os.FileMode) error {
	temporary, err := Stage(path, data, mode)
	if err != nil {
		return err
	}
	defer os.Remove(temporary) // does nothing after a successful rename
	return os.Rename(temporary, path)
}

// Stage writes data into a new temporary file in the folder of path and returns its name. The caller renames the file
// to path. The mode of the file does not depend on the umask.
func Stage(path string, data []byte, mode os.FileMode) (_ string, err error) {
	file, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*") // created with mode 0600
	if err != nil {
		return "", fmt.Errorf("write %s: %w", path, err)
	}
	_, err = file.Write(data)
	if err == nil && mode != 0o600 {
		err = file.Chmod(mode)
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return "", errors.Join(fmt.Errorf("write %s: %w", path, err), os.Remove(file.Name()))
	}
	return file.Name(), nil
}
