package server

import (
	"errors"
	"io/fs"
	"path"
	"strings"
	"syscall"
	"testing/fstest"
)

// logFiles are the files of a node in /var/log. They exist only in memory. Paths are resolved as on a Linux host, with
// the same errors. Every folder has an entry in the map.
type logFiles struct{ fstest.MapFS }

// resolve returns the cleaned path of a file or folder. If the name does not lead to one, it returns the same error as
// [os.Root]. It resolves the path segment by segment, because the first wrong segment determines the error.
func (l logFiles) resolve(name string) (string, error) {
	if strings.HasPrefix(name, "/") {
		return "", errEscapes
	}
	segments := strings.Split(name, "/")
	at := "."
	for i, segment := range segments {
		switch {
		case segment == "" || segment == ".":
		case segment == ".." && at == ".":
			return "", errEscapes
		case segment == "..":
			at = path.Dir(at)
		case strings.Contains(segment, "\x00"):
			return "", syscall.EINVAL
		case len(segment) > maxName:
			return "", syscall.ENAMETOOLONG
		default:
			at = path.Join(at, segment)
		}
		file := l.MapFS[at]
		if file == nil {
			return "", syscall.ENOENT
		}
		if !file.Mode.IsDir() && i < len(segments)-1 {
			return "", syscall.ENOTDIR
		}
	}
	return at, nil
}

// errEscapes has the same text as the error that package os returns for a path that leaves its [os.Root].
var errEscapes = errors.New("path escapes from parent")

const maxName, maxPath = 255, 4095 // NAME_MAX, and PATH_MAX without the final NUL

// stat returns an error if there is no file or folder with the given name. (os.Root.Stat)
func (l logFiles) stat(name string) error {
	if _, err := l.resolve(name); err != nil {
		return &fs.PathError{Op: "statat", Path: name, Err: err}
	}
	return nil
}

// read returns the contents of a file. It returns [fs.ErrNotExist] for a folder. (os.OpenInRoot; kubelet:
// heuristicsCopyFileLog)
func (l logFiles) read(name string) ([]byte, error) {
	at, err := l.resolve(name)
	if err != nil {
		return nil, &fs.PathError{Op: "openat", Path: name, Err: err}
	}
	if file := l.MapFS[at]; !file.Mode.IsDir() {
		return file.Data, nil
	}
	return nil, fs.ErrNotExist
}

// Open opens a file or folder for package net/http. The name is a cleaned path, so it cannot leave the tree. As with
// [net/http.Dir], a name with a NUL does not exist.
func (l logFiles) Open(name string) (fs.File, error) {
	_, err := l.resolve(name)
	switch {
	case strings.Contains(name, "\x00"):
		err = fs.ErrNotExist
	case len("/var/log/")+len(name) > maxPath:
		err = syscall.ENAMETOOLONG
	}
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	return l.MapFS.Open(name)
}
