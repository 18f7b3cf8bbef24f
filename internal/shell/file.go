package shell

import (
	"io"
	"io/fs"
	"path"
	"slices"
)

// The modes of opening a file.
const (
	openWrite = 1 << iota
	openAppend
	openCreate
	openTruncate
)

// handle is an open file. It is not safe for concurrent use, though several may be open on one file.
type handle struct {
	files  *filesystem
	node   *node
	kind   fs.FileMode // the type of the node, which never changes
	offset int
	append bool
	// content is the content of a generated file at the time of opening.
	content []byte
}

// open opens a file. mode is used if the file is created.
func (f *filesystem) open(u user, name string, flags int, mode fs.FileMode) (*handle, error) {
	f.lock.Lock()
	defer f.lock.Unlock()
	n, err := f.find(u, name)
	switch {
	case err == errNotExist && flags&openCreate != 0:
		dir, base, err := f.parent(u, name)
		if err != nil {
			return nil, err
		}
		n = &node{mode: mode.Perm(), uid: u.uid, gid: u.gid, modTime: f.now()}
		if err := f.add(dir, base, n); err != nil {
			return nil, err
		}
		return &handle{files: f, node: n, kind: n.mode.Type(), append: flags&openAppend != 0}, nil
	case err != nil:
		return nil, err
	case flags&openWrite != 0 && n.mode.IsDir():
		return nil, errIsDirectory
	case flags&openWrite != 0 && (!n.allows(u, mayWrite) || n.generate != nil):
		return nil, errPermission
	case flags&openWrite == 0 && !n.allows(u, mayRead):
		return nil, errPermission
	}
	if flags&openTruncate != 0 && n.mode&fs.ModeDevice == 0 {
		f.bytes -= len(n.data)
		n.data = nil
		f.touched(n)
	}
	h := &handle{files: f, node: n, kind: n.mode.Type(), append: flags&openAppend != 0}
	if n.generate != nil {
		h.content = []byte(n.generate())
	}
	return h, nil
}

func (h *handle) Read(p []byte) (int, error) {
	if h.kind.IsDir() {
		return 0, errIsDirectory
	}
	h.files.lock.Lock() // also protects the offset: subshells may share a handle
	defer h.files.lock.Unlock()
	if h.kind&fs.ModeDevice != 0 {
		return h.readDevice(p)
	}
	data := h.node.data
	if h.node.generate != nil {
		data = h.content
	}
	if h.offset >= len(data) {
		return 0, io.EOF
	}
	n := copy(p, data[h.offset:])
	h.offset += n
	return n, nil
}

func (h *handle) Write(p []byte) (int, error) {
	if h.kind&fs.ModeDevice != 0 {
		if string(h.node.data) == "full" {
			return 0, errNoSpace
		}
		return len(p), nil
	}
	f := h.files
	f.lock.Lock()
	defer f.lock.Unlock()
	if h.append {
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
	h.offset = end
	f.touched(h.node)
	return len(p), nil
}

// Close does nothing, because a handle holds no resources.
func (h *handle) Close() error { return nil }

// readDevice reads from /dev/null, /dev/zero, /dev/full or /dev/random. /dev/random returns the same bytes every time.
func (h *handle) readDevice(p []byte) (int, error) {
	switch string(h.node.data) {
	case "zero", "full":
		clear(p)
		return len(p), nil
	case "random":
		for i := range p {
			h.offset = h.offset*1103515245 + 12345
			p[i] = byte(h.offset >> 16)
		}
		return len(p), nil
	}
	return 0, io.EOF
}

// content returns the whole content of a file.
func (f *filesystem) content(u user, name string) ([]byte, error) {
	h, err := f.open(u, name, 0, 0)
	if err != nil {
		return nil, err
	}
	if h.kind.IsDir() {
		return nil, errIsDirectory
	}
	if h.kind&fs.ModeDevice != 0 {
		return nil, nil
	}
	f.lock.RLock()
	defer f.lock.RUnlock()
	if h.node.generate != nil {
		return h.content, nil
	}
	return slices.Clone(h.node.data), nil
}

// walk calls do for a file and, if it is a directory, for everything below it, in order. An error for a directory
// skips what is below it.
func (f *filesystem) walk(u user, name string, do func(name string, info fileInfo, err error) bool) {
	info, err := f.stat(u, name)
	if !do(name, info, err) || err != nil || !info.IsDir() {
		return
	}
	entries, err := f.readDir(u, name)
	if err != nil {
		do(name, info, err)
		return
	}
	for _, entry := range entries {
		f.walk(u, path.Join(name, entry.name), do)
	}
}
