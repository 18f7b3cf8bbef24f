package reviewapi

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fsnotify/fsnotify"
)

// source is something made of files, made again when they change. What was made last holds on when the files turn bad.
type source[T any] struct {
	name      string
	read      func() ([]file, error)
	parse     func([]file) (T, error)
	describe  func(T) string
	value     atomic.Pointer[T]
	mu        sync.Mutex
	tried     bool
	last      [sha256.Size]byte // of what was tried last, good or bad
	lastError string
}

func newPolicySource(paths []string) *source[*Policy] {
	return &source[*Policy]{
		name:     "RBAC",
		read:     func() ([]file, error) { return readManifests(paths) },
		parse:    parsePolicy,
		describe: func(p *Policy) string { return p.Summary() },
	}
}

func newTokensSource(path string) *source[*Tokens] {
	return &source[*Tokens]{
		name: "tokens",
		read: func() ([]file, error) {
			if path == "" {
				return []file{{}}, nil
			}
			data, err := os.ReadFile(path)
			if err != nil {
				return nil, fmt.Errorf("token file: %w", err)
			}
			return []file{{name: path, data: data}}, nil
		},
		parse: func(files []file) (*Tokens, error) { return parseTokens(files[0]) },
		describe: func(t *Tokens) string {
			return strings.Join(append([]string{t.Summary()}, t.Warnings...), "; ")
		},
	}
}

// current is nil until the first good refresh.
func (s *source[T]) current() T { return *s.value.Load() }

func (s *source[T]) summary() string { return s.describe(s.current()) }

// refresh reads the files. It says whether anything is new: other contents or another error.
func (s *source[T]) refresh() (changed bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	files, err := s.read()
	if err != nil {
		changed = !s.tried || err.Error() != s.lastError
		s.tried, s.last, s.lastError = true, [sha256.Size]byte{}, err.Error()
		return changed, err
	}
	hash := sha256.New()
	for _, f := range files {
		fmt.Fprintf(hash, "%q %d ", f.name, len(f.data))
		hash.Write(f.data)
	}
	sum := [sha256.Size]byte(hash.Sum(nil))
	if s.tried && sum == s.last {
		if s.lastError != "" {
			err = errors.New(s.lastError)
		}
		return false, err
	}
	s.tried, s.last, s.lastError = true, sum, ""
	value, err := s.parse(files)
	if err != nil {
		s.lastError = err.Error()
		return true, err
	}
	s.value.Store(&value)
	return true, nil
}

// Reload reads the files now, whether or not they are watched, and tells OnReload of what is new. A file that is wrong
// leaves what was read from it before in force; the others are taken all the same.
func (s *Server) Reload() error {
	return errors.Join(reload(s, s.policy), reload(s, s.tokens))
}

func reload[T any](s *Server, from *source[T]) error {
	changed, err := from.refresh()
	if changed && s.options.OnReload != nil {
		summary := from.summary()
		if err != nil {
			summary = "still " + summary
		}
		s.options.OnReload(err, summary)
	}
	return err
}

const (
	// settle is how long files must be quiet before they are read: an editor empties a file before it fills it.
	settle = 100 * time.Millisecond
	// backstop is how often files are looked at though nobody said that they changed: a network file system does not
	// say, nor does a folder that was removed and made again.
	backstop = time.Minute
)

var errWatched = errors.New("the files are being watched already")

// Watch reads the files again whenever they change, until ctx ends. The folders that hold them are watched, and those
// that they are links into: files that are replaced by a rename, and links that are swapped (as Kubernetes swaps
// ..data), are seen. Serve does it by itself. Only one may watch at a time.
func (s *Server) Watch(ctx context.Context) error {
	if !s.watching.CompareAndSwap(false, true) {
		return errWatched
	}
	defer s.watching.Store(false)
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("watching the RBAC manifests and the token file: %w", err)
	}
	defer watcher.Close()

	quiet := time.NewTimer(0) // what changed before now was not seen: look once
	defer quiet.Stop()
	tick := time.NewTicker(backstop)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-watcher.Events:
			quiet.Reset(settle)
		case <-watcher.Errors: // an overflow, say: events were lost
			quiet.Reset(settle)
		case <-quiet.C:
			s.watchFolders(watcher)
			_ = s.Reload() // OnReload was told
		case <-tick.C:
			s.watchFolders(watcher)
			_ = s.Reload()
		}
	}
}

// watchFolders watches every folder that a change of the files can show in. Those that are gone are tried again later.
func (s *Server) watchFolders(watcher *fsnotify.Watcher) {
	paths := s.options.RBAC
	if s.options.Tokens != "" {
		paths = append(append([]string(nil), paths...), s.options.Tokens)
	}
	wanted := map[string]bool{}
	for _, path := range paths {
		path = filepath.Clean(path)
		wanted[filepath.Dir(path)] = true
		folder := path
		if target, err := filepath.EvalSymlinks(path); err == nil {
			folder = target
		}
		if info, err := os.Stat(folder); err == nil && !info.IsDir() {
			wanted[filepath.Dir(folder)] = true
			continue
		}
		wanted[folder] = true
		for _, entry := range links(folder) {
			wanted[filepath.Dir(entry)] = true
		}
	}
	for _, watched := range watcher.WatchList() {
		if !wanted[watched] {
			_ = watcher.Remove(watched)
		}
		delete(wanted, watched)
	}
	for folder := range wanted {
		_ = watcher.Add(folder)
	}
}

// links are the targets of the links in a folder.
func links(folder string) (targets []string) {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return nil
	}
	for _, entry := range entries {
		if entry.Type()&fs.ModeSymlink != 0 {
			if target, err := filepath.EvalSymlinks(filepath.Join(folder, entry.Name())); err == nil {
				targets = append(targets, target)
			}
		}
	}
	return targets
}
