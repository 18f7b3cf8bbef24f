package shell

import (
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"
	"time"
)

// fault is an error of a file operation, with the C library's message.
type fault string

func (f fault) Error() string { return string(f) }

// Is makes a missing file match fs.ErrNotExist, which package expand tests for in globs.
func (f fault) Is(target error) bool { return f == errNotExist && target == fs.ErrNotExist }

const (
	errNotExist     = fault("No such file or directory")
	errExist        = fault("File exists")
	errNotDirectory = fault("Not a directory")
	errIsDirectory  = fault("Is a directory")
	errNotEmpty     = fault("Directory not empty")
	errPermission   = fault("Permission denied")
	errNotPermitted = fault("Operation not permitted")
	errNoSpace      = fault("No space left on device")
	errNameTooLong  = fault("File name too long")
	errInvalid      = fault("Invalid argument")
	errBusy         = fault("Device or resource busy")
	errFormat       = fault("Exec format error")
)

// filesystem is a tree of nodes in memory. Its paths are absolute and clean. It is safe for concurrent use.
type filesystem struct {
	now func() time.Time

	lock  sync.RWMutex
	root  *node
	bytes int
	nodes int
	// changed is closed at the next change. It is nil if no command waits for it.
	changed chan struct{}
}

// node is a file, a directory or a device.
type node struct {
	mode     fs.FileMode
	uid, gid int64
	modTime  time.Time
	data     []byte
	children map[string]*node // the entries of a directory
	generate func() string    // the content of a file of /proc
}

// user is the identity of a process. The user with UID 0 may do everything.
type user struct{ uid, gid int64 }

func newFilesystem(now func() time.Time) *filesystem {
	return &filesystem{now: now, root: &node{mode: fs.ModeDir | 0o755, modTime: now(), children: map[string]*node{}}}
}

const (
	mayRead  = 4
	mayWrite = 2
	mayExec  = 1
)

func (n *node) allows(u user, want fs.FileMode) bool {
	if u.uid == 0 {
		return want&mayExec == 0 || n.mode.IsDir() || n.mode&0o111 != 0
	}
	bits := n.mode.Perm()
	switch {
	case n.uid == u.uid:
		bits >>= 6
	case n.gid == u.gid:
		bits >>= 3
	}
	return bits&want == want
}

func (n *node) size() int64 {
	switch {
	case n.mode.IsDir():
		return 4096
	case n.generate != nil:
		return 0
	}
	return int64(len(n.data))
}

// find returns the node of a path. The caller holds the lock.
func (f *filesystem) find(u user, name string) (*node, error) {
	if len(name) > maxPath {
		return nil, errNameTooLong
	}
	n := f.root
	for part := range strings.SplitSeq(strings.TrimPrefix(name, "/"), "/") {
		if part == "" {
			continue
		}
		if !n.mode.IsDir() {
			return nil, errNotDirectory
		}
		if !n.allows(u, mayExec) {
			return nil, errPermission
		}
		if len(part) > maxName {
			return nil, errNameTooLong
		}
		child, found := n.children[part]
		if !found {
			return nil, errNotExist
		}
		n = child
	}
	return n, nil
}

// parent returns the directory that contains a path, if the user may change it.
func (f *filesystem) parent(u user, name string) (dir *node, base string, err error) {
	dir, err = f.find(u, path.Dir(name))
	switch base = path.Base(name); {
	case err != nil:
		return nil, "", err
	case !dir.mode.IsDir():
		return nil, "", errNotDirectory
	case base == "/" || base == "." || strings.Contains(base, "\x00"):
		return nil, "", errInvalid
	case len(base) > maxName || len(name) > maxPath:
		return nil, "", errNameTooLong
	case !dir.allows(u, mayWrite|mayExec):
		return nil, "", errPermission
	}
	return dir, base, nil
}

// touched records a change and wakes those that wait for it. The caller holds the lock.
func (f *filesystem) touched(n *node) {
	if n != nil {
		n.modTime = f.now()
	}
	if f.changed != nil {
		close(f.changed)
		f.changed = nil
	}
}

// change returns a channel that is closed at the next change.
func (f *filesystem) change() <-chan struct{} {
	f.lock.Lock()
	defer f.lock.Unlock()
	if f.changed == nil {
		f.changed = make(chan struct{})
	}
	return f.changed
}

func (f *filesystem) add(dir *node, base string, n *node) error {
	if f.nodes >= maxFiles {
		return errNoSpace
	}
	f.nodes++
	dir.children[base] = n
	f.touched(dir)
	return nil
}

// put creates a file and its directories while the container is created.
func (f *filesystem) put(name, content string, mode fs.FileMode) error {
	if err := f.makeAll(path.Dir(name), 0o755); err != nil {
		return err
	}
	h, err := f.open(user{}, name, openWrite|openCreate|openTruncate, mode)
	if err != nil {
		return err
	}
	if _, err := h.Write([]byte(content)); err != nil {
		return err
	}
	h.node.mode = h.node.mode.Type() | mode
	return nil
}

// date sets the modification time of a tree.
func (f *filesystem) date(n *node, at time.Time) {
	n.modTime = at
	for _, child := range n.children {
		f.date(child, at)
	}
}

// makeAll creates a directory and its parents.
func (f *filesystem) makeAll(name string, mode fs.FileMode) error {
	made := ""
	for part := range strings.SplitSeq(strings.Trim(name, "/"), "/") {
		if part == "" {
			continue
		}
		made += "/" + part
		if err := f.mkdir(user{}, made, mode, f.now()); err != nil && err != errExist {
			return err
		}
		if info, err := f.stat(user{}, made); err != nil || !info.IsDir() {
			return errNotDirectory
		}
	}
	return nil
}

func (f *filesystem) mkdir(u user, name string, mode fs.FileMode, at time.Time) error {
	f.lock.Lock()
	defer f.lock.Unlock()
	if _, err := f.find(u, name); err == nil {
		return errExist
	}
	dir, base, err := f.parent(u, name)
	if err != nil {
		return err
	}
	return f.add(dir, base, &node{mode: fs.ModeDir | mode, uid: u.uid, gid: u.gid, modTime: at,
		children: map[string]*node{}})
}

func (f *filesystem) stat(u user, name string) (fileInfo, error) {
	f.lock.RLock()
	defer f.lock.RUnlock()
	n, err := f.find(u, name)
	if err != nil {
		return fileInfo{}, err
	}
	return n.info(path.Base(name)), nil
}

func (n *node) info(name string) fileInfo {
	return fileInfo{name: name, size: n.size(), mode: n.mode, modTime: n.modTime, uid: n.uid, gid: n.gid, node: n}
}

// access checks whether a user may access a file.
func (f *filesystem) access(u user, name string, want fs.FileMode) error {
	f.lock.RLock()
	defer f.lock.RUnlock()
	n, err := f.find(u, name)
	if err == nil && !n.allows(u, want) {
		err = errPermission
	}
	return err
}

// readDir returns the entries of a directory, sorted.
func (f *filesystem) readDir(u user, name string) ([]fileInfo, error) {
	f.lock.RLock()
	defer f.lock.RUnlock()
	n, err := f.find(u, name)
	switch {
	case err != nil:
		return nil, err
	case !n.mode.IsDir():
		return nil, errNotDirectory
	case !n.allows(u, mayRead):
		return nil, errPermission
	}
	infos := make([]fileInfo, 0, len(n.children))
	for _, base := range slices.Sorted(maps.Keys(n.children)) {
		infos = append(infos, n.children[base].info(base))
	}
	return infos, nil
}

// remove removes a file, an empty directory or, with all, a whole tree.
func (f *filesystem) remove(u user, name string, all bool) error {
	f.lock.Lock()
	defer f.lock.Unlock()
	n, err := f.find(u, name)
	if err != nil {
		return err
	}
	dir, base, err := f.parent(u, name)
	switch {
	case err != nil && n == f.root:
		return errBusy
	case err != nil:
		return err
	case n.mode.IsDir() && len(n.children) > 0 && !all:
		return errNotEmpty
	case dir.mode&fs.ModeSticky != 0 && u.uid != 0 && n.uid != u.uid && dir.uid != u.uid:
		return errNotPermitted
	}
	if n.mode.IsDir() && len(n.children) > 0 && u.uid != 0 && !n.allows(u, mayWrite|mayExec) {
		return errPermission
	}
	f.drop(n)
	delete(dir.children, base)
	f.touched(dir)
	return nil
}

// drop returns the space of a removed tree to the quota. A file that is still open is counted again when it is written.
func (f *filesystem) drop(n *node) {
	f.nodes--
	f.bytes -= len(n.data)
	for _, child := range n.children {
		f.drop(child)
	}
}

func (f *filesystem) rename(u user, from, to string) error {
	f.lock.Lock()
	defer f.lock.Unlock()
	n, err := f.find(u, from)
	if err != nil {
		return err
	}
	fromDir, fromBase, err := f.parent(u, from)
	if err != nil {
		return err
	}
	toDir, toBase, err := f.parent(u, to)
	if err != nil {
		return err
	}
	if n.mode.IsDir() && strings.HasPrefix(to+"/", from+"/") {
		if to == from {
			return nil
		}
		return errInvalid
	}
	if old, found := toDir.children[toBase]; found && old != n {
		switch {
		case old.mode.IsDir() && !n.mode.IsDir():
			return errIsDirectory
		case !old.mode.IsDir() && n.mode.IsDir():
			return errNotDirectory
		case len(old.children) > 0:
			return errNotEmpty
		}
		f.drop(old)
	}
	delete(fromDir.children, fromBase)
	toDir.children[toBase] = n
	f.touched(fromDir)
	f.touched(toDir)
	return nil
}

// alter changes mode or time of a file. Only its owner may do that.
func (f *filesystem) alter(u user, name string, alter func(*node)) error {
	f.lock.Lock()
	defer f.lock.Unlock()
	n, err := f.find(u, name)
	if err != nil {
		return err
	}
	if u.uid != 0 && u.uid != n.uid {
		return errNotPermitted
	}
	alter(n)
	f.touched(nil)
	return nil
}

// fileInfo implements fs.FileInfo and fs.DirEntry.
type fileInfo struct {
	name     string
	size     int64
	mode     fs.FileMode
	modTime  time.Time
	uid, gid int64
	node     *node
}

func (i fileInfo) Name() string               { return i.name }
func (i fileInfo) Size() int64                { return i.size }
func (i fileInfo) Mode() fs.FileMode          { return i.mode }
func (i fileInfo) Type() fs.FileMode          { return i.mode.Type() }
func (i fileInfo) ModTime() time.Time         { return i.modTime }
func (i fileInfo) IsDir() bool                { return i.mode.IsDir() }
func (i fileInfo) Sys() any                   { return nil }
func (i fileInfo) Info() (fs.FileInfo, error) { return i, nil }
