package shell

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"sync/atomic"
)

const (
	sigInt  = 2
	sigKill = 9
	sigPipe = 13
	sigTerm = 15
)

// signal is the signal that ended a process.
type signal int

func (s signal) Error() string { return fmt.Sprintf("signal %d", int(s)) }

// process is a running command. Its fields do not change while it runs.
type process struct {
	ctx       context.Context // when it ends
	session   *session
	container *Container
	pid       int
	args      []string
	env       []string
	dir       string

	stdin          io.Reader
	stdout, stderr io.Writer
	broken         atomic.Bool // the reader of stdout has gone

	kill context.CancelCauseFunc
}

func (p *process) user() user { return user{uid: p.container.config.UID, gid: p.container.config.GID} }

// path makes a name absolute.
func (p *process) path(name string) string {
	if path.IsAbs(name) {
		return path.Clean(name)
	}
	return path.Join(p.dir, name)
}

// lookPath finds the file of a command like os/exec.LookPath.
func (p *process) lookPath(name string) (string, error) {
	if name == "" || strings.Contains(name, "\x00") {
		return "", errNotExist
	}
	if strings.Contains(name, "/") {
		return p.path(name), p.executable(p.path(name))
	}
	dirs, found := lookupEnv(p.env, "PATH")
	if !found {
		dirs = defaultPath
	}
	failed := error(errNotExist)
	for dir := range strings.SplitSeq(dirs, ":") {
		file := path.Join(p.path(orElse(dir, ".")), name)
		err := p.executable(file)
		if err == nil {
			return file, nil
		}
		if err == errPermission {
			failed = err
		}
	}
	return "", failed
}

func (p *process) executable(file string) error {
	info, err := p.container.files.stat(p.user(), file)
	if err == nil && info.IsDir() {
		err = errIsDirectory
	}
	if err == nil {
		err = p.container.files.access(p.user(), file, mayExec)
	}
	return err
}

// start runs a process to its end: a command of the table, or a script. The error means that it could not be started.
// It is errNotExist also for a script whose interpreter is missing.
func (s *session) start(ctx context.Context, p *process) (exit int, err error) {
	if tooDeep() {
		s.fail("sh: "+errTooDeep.Error(), 2)
		return 2, nil
	}
	file, err := p.lookPath(p.args[0])
	if err != nil {
		return 127, err
	}
	content, err := s.container.files.content(user{}, file)
	if err != nil {
		return 127, err
	}
	run := p.script
	if name, ok := strings.CutPrefix(string(content[:min(len(content), 128)]), program); ok {
		name, _, _ = strings.Cut(name, "\n")
		known, ok := commands[name]
		if !ok {
			return 126, errFormat
		}
		run = known
	} else {
		interpreter, err := shebang(content)
		if err != nil {
			return 127, err
		}
		p.args = append([]string{interpreter, file}, p.args[1:]...)
	}

	ctx, p.kill = context.WithCancelCause(ctx)
	defer p.kill(nil)
	p.ctx = ctx
	s.container.lock.Lock()
	s.container.lastPID++
	p.pid = s.container.lastPID
	s.container.processes[p.pid] = p
	s.container.lock.Unlock()
	defer func() {
		s.container.lock.Lock()
		delete(s.container.processes, p.pid)
		s.container.lock.Unlock()
		if failure := recover(); failure != nil {
			fmt.Fprintf(p.stderr, "%s: internal error: %v\n", path.Base(p.args[0]), failure)
			exit, err = 2, nil
		}
	}()
	p.stdin = &guardedReader{ctx: ctx, from: p.stdin}
	p.stdout = &guardedWriter{ctx: ctx, to: p.stdout, broken: &p.broken}
	exit = run(ctx, p)
	var ended signal
	switch {
	case errors.As(context.Cause(ctx), &ended):
		return 128 + int(ended), nil
	case p.broken.Load():
		return 128 + sigPipe, nil
	}
	return exit & 0xff, nil
}

// shebang returns the interpreter of a script: the one it names, or /bin/sh.
func shebang(content []byte) (string, error) {
	line, _, _ := bytes.Cut(content, []byte("\n"))
	if bytes.IndexByte(line, 0) >= 0 || bytes.HasPrefix(line, []byte("\x7fELF")) {
		return "", errFormat
	}
	words := strings.Fields(strings.TrimPrefix(string(line), "#!"))
	if !bytes.HasPrefix(content, []byte("#!")) || len(words) == 0 {
		return "sh", nil
	}
	name := words[0]
	if path.Base(name) == "env" && len(words) > 1 {
		name = words[1]
	}
	switch path.Base(name) {
	case "sh", "ash", "bash", "dash":
		return "sh", nil
	}
	return "", errNotExist
}

func (p *process) script(ctx context.Context, _ *process) int { return runShell(ctx, p) }

// guardedReader is a reader that ends with its context. A read from a pipe ends with the pipe's writer.
type guardedReader struct {
	ctx  context.Context
	from io.Reader
}

func (r *guardedReader) Read(b []byte) (int, error) {
	if r.ctx.Err() != nil || r.from == nil {
		return 0, io.EOF
	}
	return r.from.Read(b)
}

// guardedWriter is a writer that ends with its context and records a missing reader.
type guardedWriter struct {
	ctx    context.Context
	to     io.Writer
	broken *atomic.Bool
}

func (w *guardedWriter) Write(b []byte) (int, error) {
	if err := w.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := w.to.Write(b)
	if err != nil {
		if _, ours := errors.AsType[fault](err); !ours {
			w.broken.Store(true)
		}
	}
	return n, err
}

// fail writes an error message and returns exit code 1.
func (p *process) fail(format string, args ...any) int {
	fmt.Fprintf(p.stderr, path.Base(p.args[0])+": "+format+"\n", args...)
	return 1
}

// open opens a file for reading. "-" is stdin.
func (p *process) open(name string) (io.Reader, error) {
	switch p.path(name) {
	case "/dev/stdin", "/dev/fd/0", "/proc/self/fd/0":
		return p.stdin, nil
	}
	if name == "-" {
		return p.stdin, nil
	}
	file, err := p.container.files.open(p.user(), p.path(name), 0, 0)
	if err != nil {
		return nil, err
	}
	return &guardedReader{ctx: p.ctx, from: file}, nil
}

// create opens a file for writing.
func (p *process) create(name string, flags int) (io.Writer, error) {
	switch p.path(name) {
	case "/dev/stdout", "/dev/tty", "/dev/fd/1", "/proc/self/fd/1", "/proc/1/fd/1":
		return p.stdout, nil
	case "/dev/stderr", "/dev/fd/2", "/proc/self/fd/2", "/proc/1/fd/2":
		return p.stderr, nil
	}
	return p.container.files.open(p.user(), p.path(name), openWrite|openCreate|flags, 0o644)
}

// lines reads input line by line. It flushes the command's output whenever the next read may block.
type lines struct {
	*bufio.Writer
	in *bufio.Reader
}

type flusher struct {
	from io.Reader
	to   *bufio.Writer
}

func (f flusher) Read(b []byte) (int, error) {
	if err := f.to.Flush(); err != nil {
		return 0, err
	}
	return f.from.Read(b)
}

func (p *process) lines(from io.Reader, to *bufio.Writer) *lines {
	return &lines{Writer: to, in: bufio.NewReader(flusher{from, to})}
}

// next returns a line with its line end, which the last line may lack. It returns io.EOF at the end.
func (l *lines) next() (string, error) {
	var line []byte
	for {
		part, err := l.in.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case len(line) > maxLine:
			return "", errTooLong
		case err == bufio.ErrBufferFull:
		case err == io.EOF && len(line) > 0:
			return string(line), nil
		default:
			return string(line), err
		}
	}
}

// each reads the files, or stdin if no files are given, and calls the function do with every line, until do returns
// false. It returns the exit code, which is 1 if a file could not be read.
func (p *process) each(names []string, out *bufio.Writer, do func(name, line string) bool) int {
	defer out.Flush()
	if len(names) == 0 {
		names = []string{"-"}
	}
	exit := 0
	for _, name := range names {
		file, err := p.open(name)
		if err == nil {
			in := p.lines(file, out)
			var line string
			for line, err = in.next(); err == nil; line, err = in.next() {
				if !do(name, line) {
					return exit
				}
			}
		}
		if err != nil && err != io.EOF {
			out.Flush()
			exit = p.fail("%s: %v", name, err)
		}
	}
	return exit
}

func lookupEnv(env []string, key string) (string, bool) {
	for i := len(env) - 1; i >= 0; i-- {
		if name, value, _ := strings.Cut(env[i], "="); name == key {
			return value, true
		}
	}
	return "", false
}
