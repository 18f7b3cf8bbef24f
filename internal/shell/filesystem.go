package shell

import (
	"cmp"
	"io"
	"io/fs"
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
	nodes map[string]*node // by path
	bytes int
	// The field "given" is the number of system files that every container has. System files do not count towards
	// maxFiles.
	given int
}

// node is a file, a directory or a device.
type node struct {
	mode     fs.FileMode
	uid, gid int64
	modTime  time.Time
	data     []byte // the content of a file, or the kind of a device
}

// The method "used" returns the number of bytes in the client's files.
func (f *filesystem) used() int {
	f.lock.Lock()
	defer f.lock.Unlock()
	return f.bytes
}

func newFilesystem(now func() time.Time) *filesystem {
	root := &node{mode: fs.ModeDir | 0o755, modTime: now()}
	return &filesystem{now: now, nodes: map[string]*node{"/": root}, given: maxFiles}
}

// find returns the file, directory or device at a path. The caller holds f.lock.
func (f *filesystem) find(name string) (*node, error) {
	if n := f.nodes[name]; n != nil {
		return n, nil
	}
	for dir := path.Dir(name); dir != "/" && len(name) <= maxPath; dir = path.Dir(dir) {
		if n := f.nodes[dir]; n != nil && !n.mode.IsDir() {
			return nil, errNotDirectory
		}
	}
	return nil, errNotExist
}

// add adds a new file, directory or device at a path. The caller holds f.lock.
func (f *filesystem) add(name string, n *node) error {
	dir, err := f.find(path.Dir(name))
	switch {
	case err != nil:
		return err
	case !dir.mode.IsDir():
		return errNotDirectory
	case strings.Contains(name, "\x00"):
		return errInvalid
	case len(path.Base(name)) > maxName || len(name) > maxPath:
		return errNameTooLong
	case len(f.nodes) >= f.given+maxFiles:
		return errNoSpace
	}
	n.uid, n.gid, n.modTime, dir.modTime = f.uid, f.gid, f.now(), f.now()
	f.nodes[name] = n
	return nil
}

func (f *filesystem) mkdir(name string, mode fs.FileMode) error {
	f.lock.Lock()
	defer f.lock.Unlock()
	if f.nodes[name] != nil {
		return errExist
	}
	return f.add(name, &node{mode: fs.ModeDir | mode})
}

// mkdirAll makes a directory and its parents. An existing directory is not an error.
func (f *filesystem) mkdirAll(name string, mode fs.FileMode) error {
	info, err := f.stat(name)
	switch {
	case err == nil && !info.IsDir():
		return errNotDirectory
	case err != errNotExist:
		return err
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

// The method "below" returns the paths of all files and directories below a directory, sorted so that a directory comes
// directly before its content. The caller holds f.lock.
func (f *filesystem) below(dir string) (names []string) {
	prefix := strings.TrimSuffix(dir, "/") + "/"
	for name := range f.nodes {
		if strings.HasPrefix(name, prefix) && name != "/" {
			names = append(names, name)
		}
	}
	slices.SortFunc(names, func(a, b string) int {
		return cmp.Compare(strings.ReplaceAll(a, "/", "\x00"), strings.ReplaceAll(b, "/", "\x00"))
	})
	return names
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
	for _, file := range f.below(name) {
		if path.Dir(file) == name {
			infos = append(infos, f.nodes[file].info(path.Base(file)))
		}
	}
	return infos, nil
}

// walk calls the function "do" for a file or directory, and then for everything below the directory. If the function
// returns false for a directory, walk skips everything below that directory.
func (f *filesystem) walk(root string, do func(name string, info fileInfo, err error) bool) {
	f.lock.Lock()
	names := append([]string{root}, f.below(root)...)
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

// remove removes a file, an empty directory or, with all, a whole tree.
func (f *filesystem) remove(name string, all bool) error {
	f.lock.Lock()
	defer f.lock.Unlock()
	if _, err := f.find(name); err != nil {
		return err
	}
	below := f.below(name)
	switch {
	case name == "/":
		return errBusy
	case len(below) > 0 && !all:
		return errNotEmpty
	}
	for _, file := range append(below, name) {
		f.bytes -= len(f.nodes[file].data) // the content of a removed file does not count, even while the file is open
		delete(f.nodes, file)
	}
	return nil
}

// rename moves a file or a tree. It replaces an existing file, but no directory.
func (f *filesystem) rename(from, to string) error {
	f.lock.Lock()
	defer f.lock.Unlock()
	n, err := f.find(from)
	old := f.nodes[to]
	switch {
	case err != nil || from == to:
		return err
	case strings.HasPrefix(to, strings.TrimSuffix(from, "/")+"/"):
		return errInvalid
	case old != nil && (old.mode.IsDir() || n.mode.IsDir()):
		return errExist
	}
	if err := f.add(to, &node{}); err != nil {
		return err
	}
	if old != nil {
		f.bytes -= len(old.data)
	}
	for _, name := range append(f.below(from), from) {
		f.nodes[to+strings.TrimPrefix(name, from)] = f.nodes[name]
		delete(f.nodes, name)
	}
	return nil
}

// alter changes the mode or the time of a file with a function, which runs under the lock.
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

// open opens a file. flags are os.O_RDONLY, openNew or openAppend, and mode is used if the file is created.
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

// textFile returns an open file that has a content but no name, for here-documents.
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
