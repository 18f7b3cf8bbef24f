package shell

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"mvdan.cc/sh/v3/interp"
)

// stream is an open file of the interpreter.
type stream struct {
	io.Reader
	io.Writer
	close func()
}

func (s *stream) Close() error {
	if s.close != nil {
		s.close()
	}
	return nil
}

// open opens the files of redirections.
func (sh *interpreter) open(ctx context.Context, name string, flag int, mode fs.FileMode) (io.ReadWriteCloser, error) {
	hc := interp.HandlerCtx(ctx)
	switch name {
	case sourced:
		text, _ := ctx.Value(sourcedKey{}).(string)
		return &stream{Reader: strings.NewReader(text)}, nil
	case fileMemory:
		return &stream{Writer: hc.Stderr, close: func() { sh.measure(hc.Env) }}, nil
	case fileCapture:
		full := func() { sh.session.fail("sh: out of memory: $( ) gives too much", 2) }
		return &stream{Writer: &limited{to: hc.Stdout, left: maxCapture, full: full}}, nil
	}
	p := &process{ctx: ctx, container: sh.container, dir: hc.Dir, stdin: sh.input(hc), stdout: hc.Stdout,
		stderr: hc.Stderr}
	if flag&(os.O_WRONLY|os.O_RDWR) != 0 {
		flags := 0
		if flag&os.O_APPEND != 0 {
			flags |= openAppend
		}
		if flag&os.O_TRUNC != 0 {
			flags |= openTruncate
		}
		to, err := p.create(name, flags)
		if err != nil {
			return nil, &os.PathError{Op: "sh: can't create", Path: name, Err: err}
		}
		return &stream{Writer: to}, nil
	}
	from, err := p.open(name)
	if err == nil && name == "-" {
		from, err = sh.container.files.open(p.user(), p.path(name), 0, 0)
	}
	if err != nil {
		return nil, &os.PathError{Op: "sh: can't open", Path: name, Err: err}
	}
	// Return an *os.File. For any other type the interpreter would start a goroutine that never ends.
	in, out, err := os.Pipe()
	if err != nil {
		return nil, &os.PathError{Op: "sh: can't open", Path: name, Err: errNoSpace}
	}
	if !sh.session.enter() {
		_, _ = in.Close(), out.Close()
		return nil, &os.PathError{Op: "sh: can't open", Path: name, Err: context.Canceled}
	}
	go func() {
		defer sh.session.work.Done()
		_, _ = io.Copy(out, &guardedReader{ctx: ctx, from: from})
		_ = out.Close()
	}()
	sh.keep(in)
	return in, nil
}

// keep records a pipe, to close it at the end of the shell. Usually the interpreter closes it after the statement.
func (sh *interpreter) keep(file *os.File) {
	sh.container.lock.Lock()
	defer sh.container.lock.Unlock()
	// Drop closed pipes.
	sh.opened = slices.DeleteFunc(sh.opened, func(f *os.File) bool { return f.SetReadDeadline(time.Time{}) != nil })
	sh.opened = append(sh.opened, file)
}

func (sh *interpreter) readDir(ctx context.Context, name string) ([]fs.DirEntry, error) {
	infos, err := sh.container.files.readDir(sh.user(), path.Clean(name))
	if err != nil {
		return nil, err
	}
	size := len(name)
	entries := make([]fs.DirEntry, len(infos))
	for i, info := range infos {
		entries[i] = globbed{info, ctx}
		size += len(name) + len(info.name) + 32
	}
	runner, ok := runnerOf(interp.HandlerCtx(ctx))
	if !ok || !sh.session.globs.take(runner.Pointer(), size) {
		return nil, errors.New("sh: too many file names")
	}
	return entries, nil
}

// globbed is a name that a glob examines. It checks the context, because a long pattern takes time.
type globbed struct {
	fileInfo
	ctx context.Context
}

func (g globbed) Name() string {
	if g.ctx.Err() != nil {
		return ""
	}
	return g.name
}

func (sh *interpreter) stat(_ context.Context, name string, _ bool) (fs.FileInfo, error) {
	info, err := sh.container.files.stat(sh.user(), path.Clean(name))
	if err != nil {
		return nil, err
	}
	return info, nil
}

func (sh *interpreter) access(_ context.Context, name string, mode interp.AccessMode) error {
	return sh.container.files.access(sh.user(), path.Clean(name), fs.FileMode(mode))
}
