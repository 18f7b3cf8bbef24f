package reviewapi

import (
	"context"
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"
	"time"

	"go.uber.org/zap"
)

// source is a set of files that are read again when they change: the RBAC manifests, or the token file.
type source struct {
	read    func() ([]file, error)
	use     func([]file) error // "use" parses the files and, if they are valid, replaces the policy or the tokens
	summary func() string      // summary describes the policy or the tokens in use
	// The field "used" has the contents last passed to the method "apply", and "seen" the contents last read.
	used, seen contents
}

// contents is the result of reading a source: its files, or an error.
type contents struct {
	files []file
	err   string
}

func (s *Server) newSources() []*source {
	return []*source{{
		read: func() ([]file, error) { return readManifests(s.options.RBAC) },
		use: func(files []file) error {
			policy, err := parsePolicy(files)
			if err == nil {
				s.SetPolicy(policy)
			}
			return err
		},
		summary: func() string { return s.policy.Load().summary() },
	}, {
		read: func() ([]file, error) {
			if s.options.Tokens == "" {
				return []file{{}}, nil
			}
			data, err := os.ReadFile(s.options.Tokens)
			if err != nil {
				return nil, fmt.Errorf("token file: %w", err)
			}
			return []file{{name: s.options.Tokens, data: data}}, nil
		},
		use: func(files []file) error {
			tokens, err := parseTokens(files[0])
			if err == nil {
				s.SetTokens(tokens)
			}
			return err
		},
		summary: func() string { return s.tokens.Load().summary() },
	}}
}

func (s *source) load() contents {
	files, err := s.read()
	if err != nil {
		return contents{err: err.Error()}
	}
	return contents{files: files}
}

// apply puts the contents of the files into use. If they are invalid, it returns an error and changes nothing.
func (s *source) apply(c contents) error {
	s.used, s.seen = c, c
	if c.err != "" {
		return errors.New(c.err)
	}
	return s.use(c.files)
}

// readInterval is how often the files are read.
const readInterval = 200 * time.Millisecond

// watch reads the files at regular intervals until ctx ends, and puts changed contents into use. Editors write a file
// in several steps, so watch waits until two reads in a row return the same contents. File system notifications would
// miss changes in network file systems and behind links. Modification times would miss the second of two writes in one
// tick of the file system's clock.
func (s *Server) watch(ctx context.Context) {
	if len(s.options.RBAC) == 0 && s.options.Tokens == "" {
		return
	}
	ticker := time.NewTicker(s.readInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		for _, from := range s.sources {
			before := from.seen
			from.seen = from.load()
			if !reflect.DeepEqual(from.seen, before) || reflect.DeepEqual(from.seen, from.used) {
				continue
			}
			if err := from.apply(from.seen); err != nil {
				s.options.Logger.Error("a file of the review API has changed and is not valid; its last content stays "+
					"in use", zap.Error(err), zap.String("inUse", from.summary()))
				continue
			}
			s.options.Logger.Info("a file of the review API changed and is in use", zap.String("inUse", from.summary()))
		}
	}
}

// Note returns a sentence about the objects in the RBAC manifests that were skipped, or an empty string.
func (s *Server) Note() string { return s.policy.Load().others.String() }

// Summary returns the current numbers of roles, bindings and tokens, and the warnings about the files.
func (s *Server) Summary() string {
	var all []string
	for _, from := range s.sources {
		all = append(all, from.summary())
	}
	return strings.Join(all, "; ")
}
