// Package shell is what a command meets in a container that is not there: an own file system in memory, a table of small
// commands that speak as busybox does, and a shell over both, by mvdan.cc/sh.
//
// Nothing here runs a program of the host, reads or writes one of its files, sees its environment, looks up its users or
// opens a socket; only anonymous pipes are asked of the operating system. Where the interpreter would do so by itself the
// script is refused or changed before it runs. (guard.go) What is left: the numbers of this process and its parent can be
// had by naming $ or PPID through another variable, as in x=PPID; echo $((x)).
//
// A client is kept from eating the memory: files, variables, arguments, what $( ) captures, scripts, nesting, patterns and
// the number of subshells are bounded, and a script that goes past a bound of memory or nesting ends. (limits.go) What is
// left: in one statement the interpreter may for a moment hold some 100 MB, for words that fall into very many fields, and
// may match a pattern for a few seconds in which it does not hear of the end of its context; each times the number of
// subshells. And a command lasts as long as who reads its output does not read.
//
// It is a POSIX shell with much of bash, as the interpreter is. It has no job control, no arithmetic for-loop, no select, no
// coproc, no declare, no alias and no process substitution, and knows the file descriptors 0, 1 and 2 only.
package shell

import (
	"context"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"
	"time"
)

// Config says what a container holds.
type Config struct {
	// Hostname is that of the pod, and IP its address, which may be empty.
	Hostname, IP string
	// Env are KEY=value, in order. PATH, HOSTNAME and HOME are added where they are missing.
	Env []string
	// UID and GID are who runs its commands.
	UID, GID int64
	// WorkingDir is where a command starts, an absolute path; empty: "/". It is made.
	WorkingDir string
	// Command is that of process 1.
	Command []string
	// Files are contents by absolute path, as first found; their directories are made. They stand beside, or in the place
	// of, the few that any system has.
	Files map[string]string
	// Started is when process 1 was started.
	Started time.Time
	// Now tells the time; nil: time.Now.
	Now func() time.Time
}

// Container is the world that commands see. It keeps its files and its processes between them. It is safe for concurrent use.
type Container struct {
	config Config
	env    []string
	files  *filesystem

	lock      sync.Mutex
	lastPID   int
	processes map[int]*process
}

// Streams are what a command is connected with; any may be nil. With TTY both outputs go to Stdout, lines end as a terminal
// wants it, Stdin is what keys send, and Resize tells the terminal's size. Resize is read until it is closed or the command
// has ended.
type Streams struct {
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	TTY            bool
	Resize         <-chan Size
}

// Size is that of a terminal, in characters.
type Size struct{ Width, Height uint16 }

// StartError is that of a command which could not be started, in the words of runc, which containerd and the docker engine
// pass on. Containerd writes `failed to exec in container: failed to start exec "<id>": ` before them, and its client sees
// an internal error, with no exit code; cri-dockerd writes them as output, and ends with Code, 126 or 127, as a shell would.
type StartError struct {
	Text string
	Code int
}

func (e *StartError) Error() string { return e.Text }

// New makes a container; an error names the field of its Config.
func New(config Config) (*Container, error) {
	if config.Now == nil {
		config.Now = time.Now
	}
	config.WorkingDir = orElse(config.WorkingDir, "/")
	if !path.IsAbs(config.WorkingDir) || strings.Contains(config.WorkingDir, "\x00") {
		return nil, fmt.Errorf("workingDir: %q: must be an absolute path", config.WorkingDir)
	}
	for i, entry := range config.Env {
		if key, _, ok := strings.Cut(entry, "="); !ok || key == "" || strings.Contains(entry, "\x00") {
			// The value may be a secret.
			return nil, fmt.Errorf("env[%d]: must be KEY=value", i)
		}
	}
	if config.UID < 0 || config.GID < 0 {
		return nil, fmt.Errorf("uid, gid: %d, %d: must not be negative", config.UID, config.GID)
	}
	c := &Container{config: config, lastPID: 1, processes: map[int]*process{}}
	c.env = slices.Clone(config.Env)
	for _, entry := range []string{"PATH=" + defaultPath, "HOSTNAME=" + config.Hostname, "HOME=" + c.home()} {
		key, _, _ := strings.Cut(entry, "=")
		if _, found := lookupEnv(c.env, key); !found {
			c.env = append(c.env, entry)
		}
	}
	c.files = newFilesystem(config.Now)
	if err := c.populate(); err != nil {
		return nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(config.Files)) {
		if !path.IsAbs(name) || path.Clean(name) != name || name == "/" || strings.Contains(name, "\x00") {
			return nil, fmt.Errorf("files[%q]: must be the absolute path of a file, as in /etc/motd", name)
		}
		if err := c.files.put(name, config.Files[name], 0o644); err != nil {
			return nil, fmt.Errorf("files[%q]: %w", name, err)
		}
	}
	if err := c.files.makeAll(path.Clean(config.WorkingDir), 0o755); err != nil {
		return nil, fmt.Errorf("workingDir: %q: %w", config.WorkingDir, err)
	}
	c.files.date(c.files.root, c.begun())
	return c, nil
}

// Run runs a command, and gives its exit code once it has ended: 128 and a signal's number where it was ended by one. There
// is no shell in between, as with a container runtime. A command that cannot be started gives a [*StartError]; when ctx is
// done first the error is that of ctx. No goroutine is left behind, but one which still reads from Stdin where that was
// begun: it ends when that Read returns, so the caller is to close it; and that of an `exec <<EOF` of more than a pipe holds,
// which ends when the pipe is collected. A Write that does not return keeps Run, too.
func (c *Container) Run(ctx context.Context, argv []string, streams Streams) (exit int, err error) {
	if err := c.canStart(argv); err != nil {
		return err.Code, err
	}
	s := newSession(ctx, c, streams)
	defer s.end()
	p := &process{
		session: s, container: c, args: argv, env: c.env, dir: path.Clean(c.config.WorkingDir),
		stdin: s.stdin, stdout: s.stdout, stderr: s.stderr,
	}
	if streams.TTY {
		if _, found := lookupEnv(p.env, "TERM"); !found {
			p.env = append(slices.Clone(p.env), "TERM=xterm")
		}
	}
	exit, err = s.start(s.ctx, p)
	if ctx.Err() != nil {
		return 128 + sigKill, ctx.Err()
	}
	if err != nil {
		// runc has started by then: its execve says this in the container.
		file, _ := p.lookPath(argv[0])
		fmt.Fprintf(s.stderr, "exec %s: %s\n", file, strings.ToLower(err.Error()))
		return 255, nil
	}
	return exit, nil
}

const cannotStart = "OCI runtime exec failed: exec failed: unable to start container process: "

// canStart says what runc says of a command that cannot be started: os/exec.LookPath, in the container.
func (c *Container) canStart(argv []string) *StartError {
	if len(argv) == 0 || argv[0] == "" {
		return &StartError{Text: cannotStart + `exec: "": executable file not found in $PATH`, Code: 127}
	}
	p := &process{container: c, env: c.env, dir: path.Clean(c.config.WorkingDir)}
	_, err := p.lookPath(argv[0])
	switch {
	case err == nil:
		return nil
	case !strings.Contains(argv[0], "/"):
		return &StartError{Text: cannotStart + fmt.Sprintf("exec: %q: executable file not found in $PATH", argv[0]), Code: 127}
	case err == errIsDirectory || err == errPermission:
		return &StartError{Text: cannotStart + fmt.Sprintf("exec: %q: %s", argv[0], strings.ToLower(err.Error())), Code: 126}
	default:
		return &StartError{Text: cannotStart + fmt.Sprintf("exec: %q: stat %s: %s", argv[0], argv[0], strings.ToLower(err.Error())), Code: 127}
	}
}

// begun is the time of all files that nobody has touched.
func (c *Container) begun() time.Time {
	if c.config.Started.IsZero() {
		return c.config.Now()
	}
	return c.config.Started
}

func (c *Container) home() string {
	if c.config.UID == 0 {
		return "/root"
	}
	return "/"
}

func orElse(s, fallback string) string {
	if s == "" {
		return fallback
	}
	return s
}
