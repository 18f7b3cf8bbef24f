package shell

import (
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
	"time"
)

// fault is an error of a file operation, with the C library's message.
type fault string

func (f fault) Error() string { return string(f) }

// The method "Is" makes errNotExist match fs.ErrNotExist, because package expand tests for fs.ErrNotExist in globs.
func (f fault) Is(target error) bool { return f == errNotExist && target == fs.ErrNotExist }

const (
	errNotExist     = fault("No such file or directory")
	errExist        = fault("File exists")
	errNotDirectory = fault("Not a directory")
	errIsDirectory  = fault("Is a directory")
	errNotEmpty     = fault("Directory not empty")
	errPermission   = fault("Permission denied")
	errNoSpace      = fault("No space left on device")
	errNameTooLong  = fault("File name too long")
	errInvalid      = fault("Invalid argument")
	errBusy         = fault("Device or resource busy")
	errFormat       = fault("Exec format error")
	errTooManyWords = fault("Argument list too long")
)

// filesystem holds the files of a container in memory. Paths are absolute and clean. Every user may read and write
// every file. A filesystem is safe for concurrent use.
type filesystem struct {
	now      func() time.Time
	uid, gid int64 // the owner of new files

	lock  sync.Mutex
	root  *node
	bytes int // in the client's files
	files int // the number of the client's files, directories and devices
}

// node is a file, a directory or a device.
type node struct {
	mode     fs.FileMode
	uid, gid int64
	modTime  time.Time
	data     []byte           // the content of a file, or the kind of a device
	children map[string]*node // the entries of a directory
}

// The method "used" returns the number of bytes in the client's files.
func (f *filesystem) used() int {
	f.lock.Lock()
	defer f.lock.Unlock()
	return f.bytes
}

func newDirectory(mode fs.FileMode) *node {
	return &node{mode: fs.ModeDir | mode, children: map[string]*node{}}
}

func newFilesystem(now func() time.Time) *filesystem {
	root := newDirectory(0o755)
	root.modTime = now()
	return &filesystem{now: now, root: root}
}

// find returns the file, directory or device at a path. The caller holds f.lock.
func (f *filesystem) find(name string) (*node, error) {
	if name == "" {
		return nil, errNotExist
	}
	n := f.root
	for part := range strings.FieldsFuncSeq(name, func(r rune) bool { return r == '/' }) {
		switch child := n.children[part]; {
		case !n.mode.IsDir():
			return nil, errNotDirectory
		case child == nil:
			return nil, errNotExist
		default:
			n = child
		}
	}
	return n, nil
}

// parent returns the directory in which a file with the given path can be. The caller holds f.lock.
func (f *filesystem) parent(name string) (*node, error) {
	dir, err := f.find(path.Dir(name))
	switch {
	case err != nil:
		return nil, err
	case !dir.mode.IsDir():
		return nil, errNotDirectory
	case strings.Contains(name, "\x00"):
		return nil, errInvalid
	case len(path.Base(name)) > maxName || len(name) > maxPath:
		return nil, errNameTooLong
	}
	return dir, nil
}

// add adds a new file, directory or device at a path. The caller holds f.lock.
func (f *filesystem) add(name string, n *node) error {
	dir, err := f.parent(name)
	if err == nil && f.files >= maxFiles {
		err = errNoSpace
	}
	if err != nil {
		return err
	}
	f.files++
	n.uid, n.gid, n.modTime, dir.modTime = f.uid, f.gid, f.now(), f.now()
	dir.children[path.Base(name)] = n
	return nil
}

func (f *filesystem) mkdir(name string, mode fs.FileMode) error {
	f.lock.Lock()
	defer f.lock.Unlock()
	if _, err := f.find(name); err == nil {
		return errExist
	}
	return f.add(name, newDirectory(mode))
}

// mkdirAll makes a directory and its parents. An existing directory is not an error.
func (f *filesystem) mkdirAll(name string, mode fs.FileMode) error {
	info, err := f.stat(name)
	switch {
	case err == nil && !info.IsDir():
		return errNotDirectory
	case err != errNotExist || name == "":
		return err
	case len(name) > maxPath:
		return errNameTooLong
	}
	if err := f.mkdirAll(path.Dir(name), 0o755); err != nil {
		return err
	}
	if err := f.mkdir(name, mode); err != errExist {
		return err
	}
	return f.mkdirAll(name, mode) // another command made it meanwhile
}

// put creates one of a container's initial files, and the directories above the file.
func (f *filesystem) put(name, content string, mode fs.FileMode) error {
	if err := f.mkdirAll(path.Dir(name), 0o755); err != nil {
		return err
	}
	h, err := f.open(name, openNew, mode.Perm())
	if err != nil {
		return err
	}
	if _, err := h.Write([]byte(content)); err != nil {
		return err
	}
	h.node.mode = mode
	return nil
}

func (f *filesystem) stat(name string) (fileInfo, error) {
	f.lock.Lock()
	defer f.lock.Unlock()
	n, err := f.find(name)
	if err != nil {
		return fileInfo{}, err
	}
	return n.info(path.Base(name)), nil
}

// The method "each" calls the function "do" with the path of a file or directory, and then for everything below the
// directory, sorted by name. The caller holds the lock of the file system.
func (n *node) each(name string, do func(name string, n *node)) {
	do(name, n)
	for _, base := range slices.Sorted(maps.Keys(n.children)) {
		n.children[base].each(path.Join(name, base), do)
	}
}

// readDir returns the entries of a directory, sorted.
func (f *filesystem) readDir(name string) (infos []fileInfo, err error) {
	f.lock.Lock()
	defer f.lock.Unlock()
	n, err := f.find(name)
	if err == nil && !n.mode.IsDir() {
		err = errNotDirectory
	}
	if err != nil {
		return nil, err
	}
	for _, base := range slices.Sorted(maps.Keys(n.children)) {
		infos = append(infos, n.children[base].info(base))
	}
	return infos, nil
}

// walk calls the function "do" for a file or directory, and then for everything below the directory. If the function
// returns false for a directory, walk skips everything below that directory.
func (f *filesystem) walk(root string, do func(name string, info fileInfo, err error) bool) {
	names := []string{root}
	f.lock.Lock()
	if n, err := f.find(root); err == nil {
		names = nil
		n.each(root, func(name string, _ *node) { names = append(names, name) })
	}
	f.lock.Unlock()
	skipped := "\x00"
	for _, name := range names {
		if strings.HasPrefix(name, skipped) {
			continue
		}
		if info, err := f.stat(name); !do(name, info, err) {
			skipped = strings.TrimSuffix(name, "/") + "/"
		}
	}
}

// remove removes a file, an empty directory or, if the argument "all" is true, a whole tree.
func (f *filesystem) remove(name string, all bool) error {
	f.lock.Lock()
	defer f.lock.Unlock()
	n, err := f.find(name)
	switch {
	case err != nil:
		return err
	case n == f.root:
		return errBusy
	case len(n.children) > 0 && !all:
		return errNotEmpty
	}
	n.each(name, func(_ string, n *node) {
		f.bytes -= len(n.data) // the content of a removed file does not count, even while the file is open
		f.files--
	})
	dir, _ := f.find(path.Dir(name))
	delete(dir.children, path.Base(name))
	return nil
}

// rename moves a file or a tree. It replaces an existing file, but no directory.
func (f *filesystem) rename(from, to string) error {
	f.lock.Lock()
	defer f.lock.Unlock()
	n, err := f.find(from)
	old, _ := f.find(to)
	switch {
	case err != nil || from == to:
		return err
	case strings.HasPrefix(to, strings.TrimSuffix(from, "/")+"/"):
		return errInvalid
	case old != nil && (old.mode.IsDir() || n.mode.IsDir()):
		return errExist
	}
	dir, err := f.parent(to)
	if err != nil {
		return err
	}
	n.each(to, func(name string, _ *node) {
		if len(name) > maxPath {
			err = errNameTooLong
		}
	})
	if err != nil {
		return err
	}
	if old != nil {
		f.bytes -= len(old.data)
		f.files--
	}
	above, _ := f.find(path.Dir(from))
	delete(above.children, path.Base(from))
	dir.children[path.Base(to)], dir.modTime = n, f.now()
	return nil
}

// alter calls a function that changes the mode or the time of a file. The function runs under the lock.
func (f *filesystem) alter(name string, alter func(*node)) error {
	f.lock.Lock()
	defer f.lock.Unlock()
	n, err := f.find(name)
	if err == nil {
		alter(n)
	}
	return err
}

// fileInfo describes a file. It implements fs.DirEntry for globs, which do not call Info.
type fileInfo struct {
	name     string
	size     int64
	mode     fs.FileMode
	modTime  time.Time
	uid, gid int64
}

func (n *node) info(name string) fileInfo {
	size := int64(len(n.data))
	if n.mode.IsDir() {
		size = 4096
	}
	return fileInfo{name: name, size: size, mode: n.mode, modTime: n.modTime, uid: n.uid, gid: n.gid}
}

func (i fileInfo) Name() string               { return i.name }
func (i fileInfo) Type() fs.FileMode          { return i.mode.Type() }
func (i fileInfo) IsDir() bool                { return i.mode.IsDir() }
func (i fileInfo) Info() (fs.FileInfo, error) { return nil, errInvalid }

// openNew and openAppend open a file for writing, and create it if it does not exist. openNew removes the old content.
const (
	openNew    = os.O_WRONLY | os.O_CREATE | os.O_TRUNC
	openAppend = os.O_WRONLY | os.O_CREATE | os.O_APPEND
)

// handle is an open file.
type handle struct {
	files  *filesystem
	node   *node
	device string // the kind of a device: null, zero, full or random
	offset int    // protected by files.lock, because subshells may share a handle
	append bool
}

// open opens a file with the flags os.O_RDONLY, openNew or openAppend. A file that it creates gets the given mode.
func (f *filesystem) open(name string, flags int, mode fs.FileMode) (*handle, error) {
	f.lock.Lock()
	defer f.lock.Unlock()
	n, err := f.find(name)
	if err == errNotExist && flags != os.O_RDONLY {
		n = &node{mode: mode}
		err = f.add(name, n)
	}
	if err == nil && n.mode.IsDir() {
		err = errIsDirectory
	}
	if err != nil {
		return nil, err
	}
	h := &handle{files: f, node: n, append: flags == openAppend}
	if n.mode&fs.ModeDevice != 0 {
		h.device = string(n.data)
	} else if flags == openNew {
		f.bytes -= len(n.data)
		n.data, n.modTime = nil, f.now()
	}
	return h, nil
}

// textFile returns an open file without a name, for here-documents.
func (f *filesystem) textFile(text string) *handle {
	return &handle{files: f, node: &node{data: []byte(text)}}
}

func (h *handle) Read(p []byte) (int, error) {
	h.files.lock.Lock()
	defer h.files.lock.Unlock()
	switch {
	case h.device == "zero" || h.device == "full":
		clear(p)
		return len(p), nil
	case h.device == "random": // the same bytes every time
		for i := range p {
			h.offset = h.offset*1103515245 + 12345
			p[i] = byte(h.offset >> 16)
		}
		return len(p), nil
	case h.device == "null" || h.offset >= len(h.node.data):
		return 0, io.EOF
	}
	n := copy(p, h.node.data[h.offset:])
	h.offset += n
	return n, nil
}

func (h *handle) Write(p []byte) (int, error) {
	f := h.files
	f.lock.Lock()
	defer f.lock.Unlock()
	switch {
	case h.device == "full":
		return 0, errNoSpace
	case h.device != "":
		return len(p), nil
	case h.append:
		h.offset = len(h.node.data)
	}
	end := h.offset + len(p)
	if grows := end - len(h.node.data); grows > 0 {
		if f.bytes+grows > maxFileBytes {
			return 0, errNoSpace
		}
		f.bytes += grows
		h.node.data = append(h.node.data, make([]byte, grows)...)
	}
	copy(h.node.data[h.offset:], p)
	h.offset, h.node.modTime = end, f.now()
	return len(p), nil
}

// content returns the whole content of a file, and nothing for a device.
func (f *filesystem) content(name string) ([]byte, error) {
	h, err := f.open(name, os.O_RDONLY, 0)
	if err != nil || h.device != "" {
		return nil, err
	}
	f.lock.Lock()
	defer f.lock.Unlock()
	return slices.Clone(h.node.data), nil
}
