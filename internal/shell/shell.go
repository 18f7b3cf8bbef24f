// Package shell is the fake shell of stand-in containers: a file system in memory, a table of small commands with
// busybox's messages, and a shell over both, based on mvdan.cc/sh. Begin with [New] and [Container.Run].
//
// It never runs a program of the host, opens a host file, reads the host's environment or users, or opens a socket.
// It only uses anonymous pipes of the operating system. Where the interpreter would use the host by itself, the
// script is refused or rewritten before it runs (guard.go). One leak is known: a script can read the PIDs of this
// process and its parent by naming $ or PPID through another variable, as in x=PPID; echo $((x)).
//
// The memory that a client can use is limited: files, variables, arguments, the output of $( ), scripts, nesting,
// patterns and the number of subshells. A script that exceeds a limit ends (limits.go). Two cases remain. In one
// statement the interpreter may briefly hold about 100 MB, for words that split into very many fields. And it may
// match a pattern for a few seconds without noticing the end of its context. Both may happen once per subshell. A
// command also lasts as long as the client does not read its output.
//
// The language is POSIX shell with much of bash. There is no job control, arithmetic for-loop, select, coproc,
// declare, alias or process substitution. Only the file descriptors 0, 1 and 2 exist.
package shell

import (
	"context"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"fauxlet/internal/pods"
)

// Config describes a container.
type Config struct {
	// Hostname is the pod's host name. IP is its address; it may be empty.
	Hostname, IP string
	// Env are the variables as KEY=value. PATH, HOSTNAME and HOME are added if they are missing.
	Env []string
	// UID and GID are the identity of its commands.
	UID, GID int64
	// WorkingDir is the initial working directory, an absolute path; empty: "/". It is created.
	WorkingDir string
	// Command is the command line of process 1.
	Command []string
	// Files are initial files: contents by absolute path. Their directories are created. They are added to the files
	// that every system has, and may replace them.
	Files map[string]string
	// Started is the start time of process 1.
	Started time.Time
	// Now returns the current time. Nil: time.Now.
	Now func() time.Time
}

// Container holds files and processes, which are kept between commands. It is safe for concurrent use.
type Container struct {
	config Config
	env    []string
	files  *filesystem

	lock      sync.Mutex
	lastPID   int
	processes map[int]*process
}

// Streams, Size and StartError are those of package pods.
type (
	Streams    = pods.Streams
	Size       = pods.Size
	StartError = pods.StartError
)

// Executor is a pods.Executor whose commands run in this package's shell.
type Executor struct{}

// NewEnvironment implements pods.Executor.
func (Executor) NewEnvironment(c pods.ContainerConfig) (pods.Environment, error) {
	container, err := New(Config{
		Hostname: c.Hostname, IP: c.IP, Env: c.Env, UID: c.UID, GID: c.GID,
		WorkingDir: c.WorkingDir, Command: c.Command, Files: c.Files, Started: c.Started,
	})
	if err != nil {
		return nil, err
	}
	return container, nil
}

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
			// Do not print the value, which may be a secret.
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

// Run runs a command and returns its exit code when it has ended: 128 plus the signal number if a signal ended it. As
// in a container runtime there is no shell in between. The error is a [*StartError] if the command cannot be started,
// or the error of ctx if that is done first. Run waits for blocked writes. Two goroutines may outlive it: one that
// still reads from Stdin, so the caller must close Stdin; and one for an `exec <<EOF` larger than a pipe, which ends
// when the pipe is collected.
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
		// runc has already started here: this is the error of its execve in the container.
		file, _ := p.lookPath(argv[0])
		fmt.Fprintf(s.stderr, "exec %s: %s\n", file, strings.ToLower(err.Error()))
		return 255, nil
	}
	return exit, nil
}

const cannotStart = "OCI runtime exec failed: exec failed: unable to start container process: "

// canStart returns runc's error for a command that cannot be started: the error of os/exec.LookPath in the container.
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
		return &StartError{Text: cannotStart + fmt.Sprintf("exec: %q: executable file not found in $PATH", argv[0]),
			Code: 127}
	case err == errIsDirectory || err == errPermission:
		return &StartError{Text: cannotStart + fmt.Sprintf("exec: %q: %s", argv[0], strings.ToLower(err.Error())),
			Code: 126}
	default:
		return &StartError{Text: cannotStart +
			fmt.Sprintf("exec: %q: stat %s: %s", argv[0], argv[0], strings.ToLower(err.Error())), Code: 127}
	}
}

// begun is the modification time of untouched files.
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
