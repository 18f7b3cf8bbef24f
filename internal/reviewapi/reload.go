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

// source holds a value that is parsed from files, and parsed again when the files change. If the files become
// invalid, the last valid value is kept.
type source[T any] struct {
	name      string
	read      func() ([]file, error)
	parse     func([]file) (T, error)
	describe  func(T) string
	value     atomic.Pointer[T]
	mu        sync.Mutex
	tried     bool
	last      [sha256.Size]byte // hash of the files that were parsed last, valid or not
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

// current returns the current value. It panics if refresh has never succeeded.
func (s *source[T]) current() T { return *s.value.Load() }

func (s *source[T]) summary() string { return s.describe(s.current()) }

// refresh reads the files. changed is true if the contents of the files, or the error, differ from the previous
// refresh.
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

// Reload reads the files now, whether or not they are watched, and calls OnReload for each change. If a file is
// invalid, its last valid contents are kept; the other files still take effect.
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
	// settle is how long files must be unchanged before they are read, because editors write a file in several steps.
	settle = 100 * time.Millisecond
	// backstop is how often files are read without a notification. Network file systems send no notifications, and
	// neither does a folder that was deleted and created again.
	backstop = time.Minute
)

var errWatched = errors.New("the files are already being watched")

// Watch reads the files again whenever they change, until ctx ends. It watches their folders and the folders that
// links lead to, so it notices files that are replaced by a rename, and swapped links such as the ..data of a
// ConfigMap. Serve calls it. It returns an error if the files are being watched already.
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

	quiet := time.NewTimer(0) // fires at once, because changes before this point caused no notification
	defer quiet.Stop()
	tick := time.NewTicker(backstop)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-watcher.Events:
			quiet.Reset(settle)
		case <-watcher.Errors: // events were lost, for example by an overflow
			quiet.Reset(settle)
		case <-quiet.C:
			s.watchFolders(watcher)
			_ = s.Reload() // OnReload receives the error
		case <-tick.C:
			s.watchFolders(watcher)
			_ = s.Reload()
		}
	}
}

// watchFolders watches every folder in which a change of the files can be noticed. Folders that do not exist are
// tried again later.
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

// links returns the targets of the links in a folder.
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
