package shell

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"
	"sync/atomic"
)

const (
	sigInt  = 2
	sigKill = 9
	sigPipe = 13
	sigTerm = 15
)

// The type "signal" is the number of a signal that ended a process, and the cancellation cause of its context.
type signal int

func (s signal) Error() string { return fmt.Sprintf("signal %d", int(s)) }

// process is a running command.
type process struct {
	ctx       context.Context // when it ends
	session   *session
	container *container
	pid       int
	args      []string
	env       []string
	dir       string

	stdin          io.Reader
	stdout, stderr io.Writer
	broken         *atomic.Bool // true after the reader of stdout has gone

	kill  context.CancelCauseFunc
	meter *meter // of the goroutine
	held  int    // the memory that the command or shell has taken

	// The fields below are set only while a program in /bin runs.
	options  options
	operands []string      // the arguments that are not options
	out      *bufio.Writer // stdout; flushed when the command ends, and before the command waits for input
	exit     int           // 1 after fail
}

// path returns the absolute path of a file name. An empty name stays empty, because no file has it.
func (p *process) path(name string) string {
	if name == "" {
		return ""
	}
	if path.IsAbs(name) {
		return path.Clean(name)
	}
	return path.Join(p.dir, name)
}

func (p *process) stat(name string) (fileInfo, error) {
	return p.container.files.stat(p.path(name))
}

func (p *process) lstat(name string) (fileInfo, error) {
	return p.container.files.lstat(p.path(name))
}

// lookPath returns the path of a command's file in the container. It searches PATH as os/exec.LookPath does on a host.
func (p *process) lookPath(name string) (string, error) {
	if strings.Contains(name, "/") {
		return p.path(name), p.executable(p.path(name))
	}
	dirs, found := lookupEnv(p.env, "PATH")
	if !found {
		dirs = defaultPath
	}
	for dir := range strings.SplitSeq(dirs, ":") {
		file := p.path(path.Join(dir, name)) // an empty dir is the working directory
		if p.executable(file) == nil {
			return file, nil
		}
	}
	return "", errNotExist
}

func (p *process) executable(file string) error {
	info, err := p.stat(file)
	switch {
	case err != nil:
		return err
	case info.IsDir():
		return errIsDirectory
	case info.mode&0o111 == 0:
		return errPermission
	}
	return nil
}

// start runs the program or script that p.args names until it ends. An error means that the program could not be
// started; a script whose interpreter is missing gives errNotExist.
func (s *session) start(ctx context.Context, p *process) (exit int, err error) {
	if tooDeep() {
		s.fail("sh: "+errTooDeep.Error(), 2)
		return 2, nil
	}
	_ = s.container.readVolumes(ctx) // an error was shown at the start of the session, or the files stay as they are
	file, err := p.lookPath(p.args[0])
	if err != nil {
		return 127, err
	}
	content, err := s.container.files.open(file, os.O_RDONLY, 0)
	if err != nil {
		return 127, err
	}
	head := make([]byte, 256) // as much as Linux reads
	n, _ := content.Read(head)
	content.close()
	name, ok := strings.CutPrefix(string(head[:n]), program)
	if !ok {
		name = "sh"
		if err := shebang(head[:n]); err != nil {
			return 127, err
		}
		p.args = append([]string{"sh", file}, p.args[1:]...)
	}
	name, _, _ = strings.Cut(name, "\n")
	if _, known := commands[name]; !known {
		return 126, errFormat
	}

	ctx, p.kill = context.WithCancelCause(ctx)
	defer p.kill(nil)
	p.ctx = ctx
	p.pid = s.container.register(p)
	defer s.container.unregister(p.pid)
	p.stdin = &guardedReader{ctx, p.stdin, p.meter}
	p.broken = new(atomic.Bool)
	p.stdout = &guardedWriter{ctx, p.stdout, p.broken, p.meter}
	exit = p.run(name)
	var ended signal
	switch {
	case errors.As(context.Cause(ctx), &ended):
		return 128 + int(ended), nil
	case p.broken.Load():
		return 128 + sigPipe, nil
	}
	return exit & 0xff, nil
}

// child runs another command with the same streams, and returns its exit code.
func (p *process) child(args, env []string) int {
	c := *p
	c.args, c.env = args, env
	switch exit, err := p.session.start(p.ctx, &c); {
	case err == errPermission || err == errIsDirectory:
		p.fail("can't execute '%s': %v", args[0], errPermission)
		return 126
	case err != nil:
		p.fail("can't execute '%s': %v", args[0], errNotExist)
		return 127
	default:
		return exit
	}
}

// shebang returns an error if a file is binary, or a script for an interpreter other than sh. The parameter "head" is
// the beginning of the file.
func shebang(head []byte) error {
	line, _, _ := strings.Cut(string(head), "\n")
	words := strings.Fields(strings.TrimPrefix(line, "#!"))
	if len(words) > 1 && path.Base(words[0]) == "env" {
		words = words[1:]
	}
	switch {
	case strings.Contains(line, "\x00") || strings.HasPrefix(line, "\x7fELF"):
		return errFormat
	case strings.HasPrefix(line, "#!") &&
		(len(words) == 0 || !slices.Contains([]string{"sh", "ash", "bash"}, path.Base(words[0]))):
		return errNotExist
	}
	return nil
}

// guardedReader is a reader that returns io.EOF after the end of its context. A Read that is already waiting at that
// time may return later: a Read from a pipe when the pipe's writer ends, and a Read from the client's standard input
// when the session ends.
type guardedReader struct {
	ctx   context.Context
	from  io.Reader
	meter *meter
}

func (r *guardedReader) Read(b []byte) (int, error) {
	if r.meter.tick(r.ctx); r.ctx.Err() != nil {
		return 0, io.EOF
	}
	if handleOf(r.from) == nil {
		defer r.meter.skip()
	}
	if t := terminalOf(r.from); t != nil {
		return t.read(r.ctx, b)
	}
	return r.from.Read(b)
}

// guardedWriter is a writer that fails after the end of its context. When the reader has gone, it sets "broken".
type guardedWriter struct {
	ctx    context.Context
	to     io.Writer
	broken *atomic.Bool
	meter  *meter
}

func (w *guardedWriter) Write(b []byte) (int, error) {
	w.meter.tick(w.ctx)
	if err := w.ctx.Err(); err != nil || len(b) == 0 {
		return 0, err
	}
	if handleOf(w.to) == nil {
		defer w.meter.skip()
	}
	n, err := w.to.Write(b)
	if _, ours := errors.AsType[fault](err); err != nil && !ours {
		w.broken.Store(true)
	}
	return n, err
}

// unmeteredReader returns a reader for use in another goroutine. It does not use the meter of the current goroutine,
// because only the current goroutine may use that meter.
func unmeteredReader(from io.Reader) io.Reader {
	if guarded, ok := from.(*guardedReader); ok {
		return &guardedReader{guarded.ctx, unmeteredReader(guarded.from), nil}
	}
	return from
}

// unmeteredWriter returns a writer for use in another goroutine. It does not use the meter of the current goroutine,
// because only the current goroutine may use that meter.
func unmeteredWriter(to io.Writer) io.Writer {
	if guarded, ok := to.(*guardedWriter); ok {
		return &guardedWriter{guarded.ctx, unmeteredWriter(guarded.to), guarded.broken, nil}
	}
	return to
}

// open opens a file for reading. The name "-" stands for stdin. To close the file, the caller passes the reader to
// handleOf, and closes the handle.
func (p *process) open(name string) (io.Reader, error) {
	switch name {
	case "-", "/dev/stdin", "/dev/fd/0", "/proc/self/fd/0":
		handleOf(p.stdin).retain()
		return p.stdin, nil
	case "/dev/tty":
		if p.session.terminal != nil {
			return &guardedReader{p.ctx, p.session.stdin, p.meter}, nil
		}
	}
	_ = p.container.readVolumes(p.ctx) // as in start
	file, err := p.container.files.open(p.path(name), os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	return &guardedReader{p.ctx, file, p.meter}, nil
}

// create opens a file for writing. A name such as /dev/stdout stands for a stream of the process. To close the file,
// the caller passes the writer to handleOf, and closes the handle.
func (p *process) create(name string, flags int) (io.Writer, error) {
	switch name {
	case "/dev/stdout", "/dev/tty", "/dev/fd/1", "/proc/self/fd/1", "/proc/1/fd/1":
		handleOf(p.stdout).retain()
		return p.stdout, nil
	case "/dev/stderr", "/dev/fd/2", "/proc/self/fd/2", "/proc/1/fd/2":
		handleOf(p.stderr).retain()
		return p.stderr, nil
	}
	file, err := p.container.files.open(p.path(name), flags, 0o644)
	if err != nil {
		return nil, err
	}
	return file, nil
}

func lookupEnv(env []string, key string) (string, bool) {
	for i := len(env) - 1; i >= 0; i-- {
		if name, value, _ := strings.Cut(env[i], "="); name == key {
			return value, true
		}
	}
	return "", false
}
