package shell

import (
	"fmt"
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
	errLinkLoop     = fault("Symbolic link loop")
	errFormat       = fault("Exec format error")
	errTooManyWords = fault("Argument list too long")
	errReadOnly     = fault("Read-only file system")
	errCrossDevice  = fault("Cross-device link")
)

// filesystem holds the files of a container in memory. Paths are absolute. A ".." in a path removes the element before
// it, even if this element is a link. A ".." in the target of a link means the parent directory of the place that has
// been reached. Every user may read and write every file. A filesystem is safe
// for concurrent use.
//
// A volume is a filesystem, too. It can be mounted in the filesystems of several containers, which then share its files
// and its lock.
type filesystem struct {
	now      func() time.Time
	uid, gid int64 // the owner of new files
	*quota         // of the files outside volumes

	lock   *sync.Mutex
	root   *node
	mounts map[mountPoint]*mount
}

// quota limits and counts the files of a container or of a volume. The lock of the filesystem protects it.
type quota struct {
	of     string   // what the quota belongs to, for error messages
	size   int      // the limit of bytes
	memory *account // nil while the system files are made, which are not counted
	shared *account // counts what files take from memory, within the limit for the files of all containers
	bytes  int      // in the files that have a name or are open
	files  int      // the number of names of files, directories, devices and links
}

// mountPoint is the directory or file on which a volume is mounted. It may itself be in a mount.
type mountPoint struct {
	in   *mount
	node *node
}

// mount is a volume, or a directory or file of a volume, in the file system of a container.
type mount struct {
	root     *node
	readOnly bool
}

// node is a file, a directory, a device or a symbolic link.
type node struct {
	mode     fs.FileMode
	uid, gid int64
	modTime  time.Time
	content  content
	kind     string           // of a device: null, zero, full or random
	target   string           // of a link
	children map[string]*node // the entries of a directory
	quota    *quota           // which counts it
	names    int              // of a file: the number of its directory entries
	handles  int              // the number of times that the file is open
	inode    bool             // its memory counts
	free     int              // the number of its names that do not count, because it is a system file
	counted  int              // the bytes of its content that are in filesystem.bytes
}

const (
	nodeMemory = 512 // a file without its content, its names and the target of a link
	nameMemory = 384 // an entry of a directory, with the longest name
)

// The method "memory" returns the memory that a node takes without its content and its names.
func (n *node) memory() int { return nodeMemory + len(n.target) }

// content is the content of a file. It consists of pieces, so that a file can grow without copying what it already has.
type content struct {
	pieces [][]byte // each with pieceSize bytes, except the last
	size   int
}

const pieceSize = 16 << 10

func (c *content) readAt(p []byte, at int) (n int) {
	for n < len(p) && at < c.size {
		m := copy(p[n:], c.pieces[at/pieceSize][at%pieceSize:])
		n, at = n+m, at+m
	}
	return n
}

// writeAt writes at a position that is not beyond the end.
func (c *content) writeAt(p []byte, at int) {
	for len(p) > 0 {
		if at/pieceSize == len(c.pieces) {
			c.pieces = append(c.pieces, nil)
		}
		piece, start := &c.pieces[at/pieceSize], at%pieceSize
		n := min(len(p), pieceSize-start)
		if grows := start + n - len(*piece); grows > 0 {
			*piece = append(*piece, make([]byte, grows)...)
		}
		copy((*piece)[start:], p[:n])
		p, at = p[n:], at+n
	}
	c.size = max(c.size, at)
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

func newFilesystem(now func() time.Time, lock *sync.Mutex, q *quota, mode fs.FileMode) *filesystem {
	root := newDirectory(mode)
	root.modTime, root.names, root.quota = now(), 1, q
	return &filesystem{now: now, lock: lock, quota: q, root: root, mounts: map[mountPoint]*mount{}}
}

// count adds bytes to a file. The caller holds the lock.
func (n *node) count(bytes int) error {
	q := n.quota
	if q.memory == nil {
		return nil
	}
	if q.bytes+bytes > q.size {
		return noSpace("%s has %s", q.of, sizeText(q.size))
	}
	if err := q.take(bytes); err != nil {
		return noSpace("%v", err)
	}
	q.bytes += bytes
	n.counted += bytes
	return nil
}

// countNew counts the memory of a new file. The caller holds the lock.
func (q *quota) countNew(n *node) error {
	n.quota = q
	if q.memory == nil {
		return nil
	}
	if err := q.take(n.memory()); err != nil {
		return noSpace("%v", err)
	}
	n.inode = true
	return nil
}

// countName counts a new name of a file. The caller holds the lock.
func (q *quota) countName(n *node) error {
	if q.memory == nil {
		n.free++
		return nil
	}
	if q.files >= maxFiles {
		return noSpace("%s has %d files", q.of, maxFiles)
	}
	if err := q.take(nameMemory); err != nil {
		return noSpace("%v", err)
	}
	q.files++
	return nil
}

// take adds to the memory of the container or volume and to that of the files of all containers.
func (q *quota) take(n int) error {
	if err := q.memory.take(n); err != nil {
		return err
	}
	if err := q.shared.take(n); err != nil {
		q.memory.give(n)
		return err
	}
	return nil
}

func (q *quota) give(n int) {
	q.memory.give(n)
	q.shared.give(n)
}

func sizeText(bytes int) string {
	if bytes%(1<<20) == 0 {
		return fmt.Sprintf("%d MiB", bytes>>20)
	}
	return fmt.Sprintf("%d bytes", bytes)
}

// noSpace returns errNoSpace with the limit that was reached.
func noSpace(format string, args ...any) error {
	return errNoSpace + fault(": "+fmt.Sprintf(format, args...))
}

// truncate removes the content of a file. The caller holds the lock.
func (n *node) truncate() {
	n.quota.give(n.counted)
	n.quota.bytes -= n.counted
	n.content, n.counted = content{}, 0
}

// release frees the memory of a file, unless it has a name or is open. The caller holds the lock.
func (n *node) release() {
	if n.names > 0 || n.handles > 0 {
		return
	}
	n.truncate()
	if n.inode {
		n.quota.give(n.memory())
		n.inode = false
	}
}

const mostLinks = 40 // in a path

// place is the result of looking up a path: the directory that contains the file, and the name of the file's entry in
// the directory. The node is the file itself. It is nil if the directory has no such entry.
type place struct {
	dir  *node
	base string // empty for the root
	node *node
	// above is the place of the directory. It is nil for the root and for an empty place.
	above *place
	// mount is the mount in which the file is, or nil for a file outside volumes.
	mount *mount
}

// entry returns the place of an entry in the directory at p. The node n is nil if there is no such entry.
func (f *filesystem) entry(p place, base string, n *node) place {
	at := place{p.node, base, n, &p, p.mount}
	if m := f.mounts[mountPoint{p.mount, n}]; m != nil {
		at.node, at.mount = m.root, m
	}
	return at
}

// mounted reports whether a volume is mounted at the place. The caller holds the lock.
func (at *place) mounted() bool { return at.dir != nil && at.dir.children[at.base] != at.node }

// writable returns an error if the place is in a read-only volume.
func (at *place) writable() error {
	if at.mount != nil && at.mount.readOnly {
		return errReadOnly
	}
	return nil
}

// path returns the path of the place without links.
func (at *place) path() string {
	name := "/" + at.base
	for above := at.above; above != nil && above.above != nil; above = above.above {
		name = "/" + above.base + name
	}
	return name
}

// within reports whether the place is below the directory n. The caller holds the lock.
func (at *place) within(n *node) bool {
	for above := at.above; above != nil; above = above.above {
		if above.node == n {
			return true
		}
	}
	return false
}

// find looks up a path. It follows links. If the last part of the path is a link, find follows it only if the parameter
// "follow" is true. If only the last part of the path is missing, find returns errNotExist together with the place
// where a new file would be. With every other error, it returns an empty place. The caller holds f.lock.
func (f *filesystem) find(name string, follow bool) (place, error) {
	if name == "" {
		return place{}, errNotExist
	}
	top := place{node: f.root}
	at, links := top, 0
	for name != "" {
		part, rest, _ := strings.Cut(name, "/")
		name = rest
		child := at.node.children[part]
		switch {
		case !at.node.mode.IsDir():
			return place{}, errNotDirectory
		case part == "" || part == ".":
		case part == "..":
			if at.above != nil {
				at = *at.above
			}
		case child == nil && rest == "":
			return f.entry(at, part, nil), errNotExist
		case child == nil:
			return place{}, errNotExist
		case child.mode&fs.ModeSymlink != 0 && (rest != "" || follow):
			if links++; links > mostLinks {
				return place{}, errLinkLoop
			}
			if name = child.target + "/" + rest; path.IsAbs(name) {
				at = top
			}
		default:
			at = f.entry(at, part, child)
		}
	}
	return at, nil
}

// findNew returns the place for a new file. It returns an error if the file exists already or if its directory does not
// exist. It does not follow a link at the end of the path. The caller holds f.lock.
func (f *filesystem) findNew(name string) (place, error) {
	at, err := f.find(name, false)
	switch {
	case err == nil:
		return place{}, errExist
	case at.dir == nil:
		return place{}, err
	}
	return at, nil
}

// realPath returns the path of a file without links.
func (f *filesystem) realPath(name string) (string, error) {
	f.lock.Lock()
	defer f.lock.Unlock()
	at, err := f.find(name, true)
	if err != nil {
		return "", err
	}
	return at.path(), nil
}

// check returns an error if a place cannot have a new entry. The caller holds f.lock.
func (f *filesystem) check(at place) error {
	switch {
	case at.node != nil:
		return errExist
	case strings.Contains(at.base, "\x00"):
		return errInvalid
	case len(at.base) > maxName || len(at.path()) > maxPath:
		return errNameTooLong
	}
	return at.writable()
}

// enter adds an entry to a directory. The caller holds f.lock, and has checked and counted the entry.
func (f *filesystem) enter(at place, n *node) {
	base := strings.Clone(at.base) // the path may be much longer
	n.names++
	at.dir.children[base], at.dir.modTime = n, f.now()
}

// leave removes an entry from a directory, but does not subtract it from the counted names and memory. The caller holds
// f.lock.
func (f *filesystem) leave(at place) {
	at.node.names--
	delete(at.dir.children, at.base)
	at.dir.modTime = f.now()
}

// add adds a new file, directory, device or link. The caller holds f.lock.
func (f *filesystem) add(at place, n *node) error {
	if err := at.dir.quota.countNew(n); err != nil {
		return err
	}
	n.uid, n.gid, n.modTime = f.uid, f.gid, f.now()
	err := f.addName(at, n)
	n.release() // if it has no name
	return err
}

// addName adds an entry for a file to a directory, which gives the file one more name. The caller holds f.lock.
func (f *filesystem) addName(at place, n *node) error {
	err := f.check(at)
	if err == nil {
		err = at.dir.quota.countName(n)
	}
	if err == nil {
		f.enter(at, n)
	}
	return err
}

// link adds a name to the file in the parameter "old". If "old" is nil, it adds a symbolic link with a target instead.
func (f *filesystem) link(name, target string, old *node) error {
	f.lock.Lock()
	defer f.lock.Unlock()
	at, err := f.findNew(name)
	switch {
	case err != nil:
		return err
	case len(target) > maxPath:
		return errNameTooLong
	case target == "" && old == nil:
		return errNotExist
	case old == nil:
		return f.add(at, &node{mode: fs.ModeSymlink | 0o777, target: strings.Clone(target)})
	case old.mode.IsDir():
		return errPermission
	case old.names == 0:
		return errNotExist
	case old.quota != at.dir.quota:
		return errCrossDevice
	}
	return f.addName(at, old)
}

func (f *filesystem) mkdir(name string, mode fs.FileMode) error {
	f.lock.Lock()
	defer f.lock.Unlock()
	at, err := f.findNew(name)
	if err != nil {
		return err
	}
	return f.add(at, newDirectory(mode))
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
	if info, err = f.stat(name); err != nil || !info.IsDir() { // a link, or a file that another command made meanwhile
		return errExist
	}
	return nil
}

// put creates one of a container's initial files or devices, and the directories above it. For a device, the parameter
// "content" is the kind of the device, such as "null".
func (f *filesystem) put(name, content string, mode fs.FileMode) error {
	if err := f.mkdirAll(path.Dir(name), 0o755); err != nil {
		return err
	}
	h, err := f.open(name, openNew, mode.Perm())
	if err != nil {
		return err
	}
	defer h.close()
	if h.node.mode = mode; mode&fs.ModeDevice != 0 {
		h.node.kind = content
		return nil
	}
	_, err = h.Write([]byte(content))
	return err
}

// stat describes a file. It follows links, and lstat does not.
func (f *filesystem) stat(name string) (fileInfo, error) { return f.describe(name, true) }

func (f *filesystem) lstat(name string) (fileInfo, error) { return f.describe(name, false) }

func (f *filesystem) describe(name string, follow bool) (fileInfo, error) {
	f.lock.Lock()
	defer f.lock.Unlock()
	at, err := f.find(name, follow)
	if err != nil {
		return fileInfo{}, err
	}
	return at.node.info(path.Base(name)), nil
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
	at, err := f.find(name, true)
	if err == nil && !at.node.mode.IsDir() {
		err = errNotDirectory
	}
	if err != nil {
		return nil, err
	}
	for _, base := range slices.Sorted(maps.Keys(at.node.children)) {
		entry := f.entry(at, base, at.node.children[base])
		infos = append(infos, entry.node.info(base))
	}
	return infos, nil
}

// walk calls the function "do" for a file or directory, and then for everything below the directory. It does not follow
// links. If the function returns false for a directory, walk skips everything below that directory.
func (f *filesystem) walk(root string, do func(name string, info fileInfo, err error) bool) {
	info, err := f.lstat(root)
	if !do(root, info, err) || !info.IsDir() {
		return
	}
	entries, _ := f.readDir(root) // an error means that the directory is no longer there
	for _, entry := range entries {
		f.walk(path.Join(root, entry.name), do)
	}
}

// remove removes a file, an empty directory or, if the argument "all" is true, a whole tree.
func (f *filesystem) remove(name string, all bool) error {
	f.lock.Lock()
	defer f.lock.Unlock()
	at, err := f.find(name, false)
	switch {
	case err != nil:
		return err
	case at.node == f.root || f.hasMount(at):
		return errBusy
	case len(at.node.children) > 0 && !all:
		return errNotEmpty
	}
	if err = at.writable(); err == nil {
		f.removeEntry(at)
	}
	return err
}

// hasMount reports whether a volume is mounted at a place or below it. The caller holds f.lock.
func (f *filesystem) hasMount(at place) bool {
	found := at.mounted()
	if len(f.mounts) > 0 {
		at.node.each("", func(_ string, n *node) { found = found || f.mounts[mountPoint{at.mount, n}] != nil })
	}
	return found
}

// removeEntry removes an entry of a directory, with everything below it. The caller holds f.lock.
func (f *filesystem) removeEntry(at place) {
	for base, below := range at.node.children {
		f.removeEntry(place{dir: at.node, base: base, node: below})
	}
	f.leave(at)
	if at.node.free > 0 {
		at.node.free--
	} else {
		at.node.quota.give(nameMemory)
		at.node.quota.files--
	}
	at.node.release()
}

// rename moves a file or a tree. It replaces an existing file, but no directory.
func (f *filesystem) rename(from, to string) error {
	f.lock.Lock()
	defer f.lock.Unlock()
	source, err := f.find(from, false)
	if err != nil {
		return err
	}
	target, err := f.find(to, false)
	n, old := source.node, target.node
	switch {
	case n == f.root || old == f.root || source.mounted():
		return errBusy
	case target.dir == nil:
		return err
	case n == old:
		return nil
	case target.within(n):
		return errInvalid
	case target.mounted():
		return errBusy
	case source.mount != target.mount:
		return errCrossDevice
	case old != nil && (old.mode.IsDir() || n.mode.IsDir()):
		return errExist
	}
	err = f.check(place{target.dir, target.base, nil, target.above, target.mount})
	n.each(target.path(), func(name string, _ *node) {
		if len(name) > maxPath {
			err = errNameTooLong
		}
	})
	if err != nil {
		return err
	}
	if old != nil {
		f.removeEntry(target)
	}
	f.leave(source)
	f.enter(target, n)
	return nil
}

// contains reports whether a path is below the directory n. The file at the path need not exist, but its directory
// must.
func (f *filesystem) contains(n *node, name string) bool {
	f.lock.Lock()
	defer f.lock.Unlock()
	at, _ := f.find(name, true)
	return at.node == n || at.within(n)
}

// alter calls a function that changes the mode or the time of a file. The function runs under the lock.
func (f *filesystem) alter(name string, alter func(*node)) error {
	f.lock.Lock()
	defer f.lock.Unlock()
	at, err := f.find(name, true)
	if err == nil {
		err = at.writable()
	}
	if err == nil {
		alter(at.node)
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
	names    int
	target   string // of a link
	node     *node  // the same for two names of a file
}

func (n *node) info(name string) fileInfo {
	size := int64(n.content.size + len(n.target))
	if n.mode.IsDir() {
		size = 4096
	}
	return fileInfo{name: name, size: size, mode: n.mode, modTime: n.modTime, uid: n.uid, gid: n.gid, names: n.names,
		target: n.target, node: n}
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

// handle is an open file. Subshells may share a handle. The file counts as open until each user of the handle has
// called close.
type handle struct {
	files  *filesystem
	node   *node
	append bool
	// The fields below are protected by files.lock.
	offset int
	users  int
}

// open opens a file with the flags os.O_RDONLY, openNew or openAppend. A file that it creates gets the given mode.
func (f *filesystem) open(name string, flags int, mode fs.FileMode) (*handle, error) {
	f.lock.Lock()
	defer f.lock.Unlock()
	at, err := f.find(name, true)
	n := at.node
	if at.dir != nil && n == nil && flags != os.O_RDONLY {
		n = &node{mode: mode}
		err = f.add(at, n)
	}
	if err == nil && n.mode.IsDir() {
		err = errIsDirectory
	}
	if err == nil && flags != os.O_RDONLY {
		err = at.writable()
	}
	if err != nil {
		return nil, err
	}
	if flags == openNew && n.kind == "" {
		n.truncate()
		n.modTime = f.now()
	}
	n.handles++
	return &handle{files: f, node: n, append: flags == openAppend, users: 1}, nil
}

// textFile returns an open file without a name, for here-documents and temporary files. The argument q is the quota
// that counts the file.
func (f *filesystem) textFile(text string, q *quota) (*handle, error) {
	f.lock.Lock()
	n := &node{handles: 1}
	err := q.countNew(n)
	f.lock.Unlock()
	if err != nil {
		return nil, err
	}
	h := &handle{files: f, node: n, users: 1}
	_, err = h.Write([]byte(text))
	if h.offset = 0; err != nil {
		h.close()
		return nil, err
	}
	return h, nil
}

// retain adds one to the number of a handle's users, and close subtracts one. Both do nothing if the handle is nil.
func (h *handle) retain() {
	if h != nil {
		h.files.lock.Lock()
		defer h.files.lock.Unlock()
		h.users++
	}
}

func (h *handle) close() {
	if h == nil {
		return
	}
	h.files.lock.Lock()
	defer h.files.lock.Unlock()
	if h.users--; h.users == 0 {
		h.node.handles--
		h.node.release()
	}
}

// handleOf returns the handle that a stream of a command reads or writes directly, or nil.
func handleOf(stream any) *handle {
	switch stream := stream.(type) {
	case *handle:
		return stream
	case *guardedReader:
		return handleOf(stream.from)
	case *guardedWriter:
		return handleOf(stream.to)
	}
	return nil
}

func (h *handle) Read(p []byte) (int, error) {
	h.files.lock.Lock()
	defer h.files.lock.Unlock()
	switch h.node.kind {
	case "zero", "full":
		clear(p)
		return len(p), nil
	case "random": // the same bytes every time
		for i := range p {
			h.offset = h.offset*1103515245 + 12345
			p[i] = byte(h.offset >> 16)
		}
		return len(p), nil
	}
	n := h.node.content.readAt(p, h.offset)
	if h.offset += n; n == 0 {
		return 0, io.EOF
	}
	return n, nil
}

func (h *handle) Write(p []byte) (int, error) {
	f, n := h.files, h.node
	f.lock.Lock()
	defer f.lock.Unlock()
	switch {
	case n.kind == "full":
		return 0, errNoSpace
	case n.kind != "":
		return len(p), nil
	case h.append:
		h.offset = n.content.size
	}
	end := h.offset + len(p)
	if grows := end - n.content.size; grows > 0 {
		if err := n.count(grows); err != nil {
			return 0, err
		}
	}
	for hole := h.offset - n.content.size; hole > 0; hole = h.offset - n.content.size { // after a truncation
		n.content.writeAt(make([]byte, min(hole, pieceSize)), n.content.size)
	}
	n.content.writeAt(p, h.offset)
	h.offset, n.modTime = end, f.now()
	return len(p), nil
}

// swap exchanges the contents of two open files, and sets the modification time of h's file. The files must have the
// same quota.
func (h *handle) swap(other *handle) error {
	h.files.lock.Lock()
	defer h.files.lock.Unlock()
	a, b := h.node, other.node
	if a.quota != b.quota {
		return errCrossDevice
	}
	a.content, b.content = b.content, a.content
	a.counted, b.counted = b.counted, a.counted
	a.modTime = h.files.now()
	return nil
}

// script returns the content of a script. If the file is longer than maxScript, it returns errTooLong.
func (f *filesystem) script(name string) (string, error) {
	h, err := f.open(name, os.O_RDONLY, 0)
	if err != nil {
		return "", err
	}
	defer h.close()
	text := make([]byte, maxScript+1)
	f.lock.Lock()
	n := h.node.content.readAt(text, 0)
	f.lock.Unlock()
	if n > maxScript {
		return "", errTooLong
	}
	return string(text[:n]), nil
}
