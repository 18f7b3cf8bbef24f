package shell

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"fauxlet/internal/pods"
)

const (
	maxEnvironment  = 1 << 20 // the initial environment, in bytes
	variableMemory  = 200     // a variable of the initial environment, without its text
	volumeTimeout   = 10 * time.Second
	maxVolumeReads  = 8       // containers whose volumes are read at the same time
	unlimitedVolume = 1 << 30 // the size of a volume that only the memory of the container limits, in bytes
)

// reads has an element for each container whose volumes are being read. What is being read does not count in any
// account yet.
var reads = make(chan struct{}, maxVolumeReads)

// podFiles are the emptyDir volumes of a pod, and the lock of all file systems of its containers.
type podFiles struct {
	lock sync.Mutex
	dirs map[string]*filesystem // by the name of the volume
}

func filesOf(state *pods.PodState) *podFiles {
	return state.Value(func() any { return &podFiles{dirs: map[string]*filesystem{}} }).(*podFiles)
}

// emptyDir returns an emptyDir volume. All containers of the pod get the same. A size of 0 means the size of a
// container's file system.
func (p *podFiles) emptyDir(m *pods.Mount, now func() time.Time) *filesystem {
	p.lock.Lock()
	defer p.lock.Unlock()
	if p.dirs[m.Volume] == nil {
		size := int(min(cmp.Or(max(m.EmptyDir.Size, 0), defaultDisk), unlimitedVolume))
		memory := newMemory("the volume "+m.Volume, size+workMemory, memoryOfProcess)
		q := &quota{of: "the volume " + m.Volume, size: size, memory: memory, shared: newFilesMemory(filesOfProcess)}
		for _, own := range []*account{q.memory, q.shared} {
			runtime.AddCleanup(p, func(own *account) { own.in.give(int(own.used.Load())) }, own)
		}
		p.dirs[m.Volume] = newFilesystem(now, &p.lock, q, 0o777)
		p.dirs[m.Volume].root.gid = m.EmptyDir.GID
	}
	return p.dirs[m.Volume]
}

// volume is a volume in a container whose files come from elsewhere, such as a ConfigMap. It is written as a kubelet
// writes it: the files are in a directory whose name has the time, the link ..data leads to this directory, and links
// to the files in ..data are in the root. (kubelet: pkg/volume/util, AtomicWriter)
type volume struct {
	files    *filesystem
	written  [sha256.Size]byte // the hash of the files
	complete bool              // false until all files of the volume have been written once
}

// readVolumes reads the environment and the files of the volumes, unless that was done a short time ago. The first call
// mounts the volumes. If what was read cannot be stored, the files stay as they were, and the error names the limit.
func (c *container) readVolumes(ctx context.Context) error {
	if c.config.Read == nil {
		return nil
	}
	recent := func() bool {
		last := c.read.Load()
		return last != 0 && c.now().Sub(time.Unix(0, last)) < c.config.ReadEvery
	}
	if recent() {
		return nil
	}
	limited, cancel := context.WithTimeout(ctx, volumeTimeout)
	defer cancel()
	for _, turn := range []chan struct{}{c.reading, reads} {
		select {
		case turn <- struct{}{}:
			defer func() { <-turn }()
		case <-limited.Done():
			return nil // the command ends, or it goes on with what was read before
		}
	}
	if recent() { // another goroutine has just read them
		return nil
	}
	contents := c.config.Read(limited)
	if ctx.Err() != nil {
		return nil
	}
	c.read.Store(c.now().UnixNano())
	err := c.replaceEnv(contents.Env)
	for _, name := range slices.Sorted(maps.Keys(contents.Volumes)) {
		if failed := c.writeVolume(name, contents.Volumes[name]); failed != nil {
			err = errors.Join(err, fmt.Errorf("volume %s: %w", name, failed))
		}
	}
	if !c.mounted {
		c.mounted, c.unmounted = true, contents.Mounts
	}
	return errors.Join(err, c.mountAll())
}

// setEnv sets the initial environment of commands.
func (c *container) setEnv(env []string) {
	env = slices.Clone(env)
	for _, entry := range []string{"PATH=" + defaultPath, "HOSTNAME=" + c.config.Hostname, "HOME=" + c.home()} {
		key, _, _ := strings.Cut(entry, "=")
		if _, found := lookupEnv(env, key); !found {
			env = append(env, entry)
		}
	}
	c.lock.Lock()
	defer c.lock.Unlock()
	c.env = env
}

// replaceEnv replaces the initial environment and counts its memory. Only one goroutine may call it at a time.
func (c *container) replaceEnv(env []string) error {
	size := sizeOf(env)
	if size > maxEnvironment {
		return fmt.Errorf("environment: %w: more than %s", errTooManyWords, sizeText(maxEnvironment))
	}
	memory := size + variableMemory*len(env)
	if err := c.memory.take(memory); err != nil {
		return fmt.Errorf("environment: %w", err)
	}
	c.memory.give(c.charged)
	c.charged = memory
	c.setEnv(env)
	return nil
}

// writeVolume replaces the files of a volume, if they have changed. After the volume was once complete, it does not
// become incomplete again, for example when its Secret is deleted.
func (c *container) writeVolume(name string, contents pods.VolumeFiles) error {
	v := c.volumes[name]
	if v == nil {
		q := &quota{of: "the volume " + name, size: unlimitedVolume, memory: c.memory, shared: c.files.shared}
		v = &volume{files: newFilesystem(c.now, c.files.lock, q, 0o777)}
		v.files.root.gid = contents.GID
		c.volumes[name] = v
	}
	if v.complete && !contents.Complete {
		return nil
	}
	hash := sha256.New()
	names := slices.Sorted(maps.Keys(contents.Files))
	for _, name := range names {
		file := contents.Files[name]
		fmt.Fprintf(hash, "%q %d %o %d %d\n", name, len(file.Content), file.Mode, file.UID, file.GID)
		hash.Write(file.Content)
	}
	written := [sha256.Size]byte(hash.Sum(nil))
	if written != v.written {
		if err := v.write(names, contents.Files); err != nil {
			return err
		}
		v.written = written
	}
	v.complete = contents.Complete
	return nil
}

// dataLink is the link to the directory with the current files of a volume.
const dataLink = "/..data"

func (v *volume) write(names []string, files map[string]pods.File) error {
	f := v.files
	before, err := f.lstat(dataLink)
	dir := "/.." + f.now().UTC().Format("2006_01_02_15_04_05.000000000")
	if _, exists := f.lstat(dir); exists == nil {
		dir += "0"
	}
	if err := f.mkdir(dir, 0o755); err != nil {
		return err
	}
	fail := func(err error) error {
		_ = f.remove(dir, true)
		return err
	}
	top := map[string]bool{}
	for _, name := range names {
		if !fs.ValidPath(name) || name == "." || strings.HasPrefix(name, "..") {
			continue
		}
		file := files[name]
		switch failed := f.put(path.Join(dir, name), string(file.Content), file.Mode.Perm()); {
		case failed == errNotDirectory || failed == errIsDirectory:
			continue // two files of the volume have the paths a and a/b
		case failed != nil:
			return fail(failed)
		}
		_ = f.alter(path.Join(dir, name), func(n *node) { n.uid, n.gid = file.UID, file.GID })
		first, _, _ := strings.Cut(name, "/")
		top[first] = true
	}
	if failed := f.link(dataLink+"_tmp", dir[1:], nil); failed != nil {
		return fail(failed)
	}
	if failed := f.rename(dataLink+"_tmp", dataLink); failed != nil {
		return fail(failed)
	}
	for name := range top {
		if failed := f.link("/"+name, dataLink[1:]+"/"+name, nil); failed != nil && failed != errExist {
			return failed
		}
	}
	if err != nil { // there was no link before
		return nil
	}
	entries, _ := f.readDir("/")
	for _, entry := range entries {
		if strings.HasPrefix(entry.target, dataLink[1:]+"/") && !top[entry.name] {
			_ = f.remove("/"+entry.name, false)
		}
	}
	return f.remove("/"+before.target, true)
}

// mountAll mounts the volumes in c.unmounted. Mounts of parent directories come first. A part of a volume that is
// missing because an object could not be read stays in c.unmounted.
func (c *container) mountAll() error {
	mounts := c.unmounted
	if c.unmounted = nil; len(mounts) == 0 {
		return nil
	}
	depth := func(m pods.Mount) int { return strings.Count(path.Clean("/"+m.Path), "/") }
	slices.SortStableFunc(mounts, func(a, b pods.Mount) int { return cmp.Compare(depth(a), depth(b)) })
	var failed error
	var readOnly []*mount
	for _, m := range mounts {
		made, err := c.mount(&m)
		if err == errIncomplete {
			c.unmounted = append(c.unmounted, m)
		} else if err != nil {
			failed = errors.Join(failed, fmt.Errorf("mountPath %s: %w", m.Path, err))
		} else if m.ReadOnly || m.EmptyDir == nil {
			readOnly = append(readOnly, made)
		}
	}
	c.files.lock.Lock()
	for _, m := range readOnly { // only now, because another mount may have made a directory in a read-only volume
		m.readOnly = true
	}
	c.files.lock.Unlock()
	if err := c.files.mkdirAll(c.config.WorkingDir, 0o755); err != nil && err != errReadOnly {
		failed = errors.Join(failed, fmt.Errorf("workingDir %s: %w", c.config.WorkingDir, err))
	}
	return failed
}

// errIncomplete is the error of a mount whose files could not be read yet.
var errIncomplete = errors.New("incomplete")

func (c *container) mount(m *pods.Mount) (*mount, error) {
	var files *filesystem
	if m.EmptyDir != nil {
		files = c.shared.emptyDir(m, c.now)
	} else if v := c.volumes[m.Volume]; v != nil {
		files = v.files
	} else {
		return nil, errNotExist
	}
	at, source := path.Clean("/"+m.Path), path.Clean("/"+m.SubPath)
	info, err := files.stat(source)
	switch v := c.volumes[m.Volume]; {
	case err == errNotExist && v != nil && !v.complete:
		return nil, errIncomplete
	case err == errNotExist: // a kubelet creates a missing subPath as a directory
		if err = files.mkdirAll(source, files.root.mode.Perm()); err == nil {
			info, err = files.stat(source)
		}
	}
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		err = c.files.mkdirAll(at, 0o755)
	} else if _, missing := c.files.stat(at); missing != nil {
		err = c.files.put(at, "", 0o644)
	}
	if err != nil {
		return nil, err
	}
	f := c.files
	f.lock.Lock()
	defer f.lock.Unlock()
	on, err := f.find(at, true)
	switch {
	case err != nil:
		return nil, err
	case on.node == f.root:
		return nil, errBusy
	case info.IsDir() && !on.node.mode.IsDir():
		return nil, errNotDirectory
	case !info.IsDir() && on.node.mode.IsDir():
		return nil, errIsDirectory
	}
	made := &mount{root: info.node}
	info.node.handles++ // the mount keeps the file when the volume has a new version of it
	f.mounts[mountPoint{on.mount, on.node}] = made
	return made, nil
}
