// Package shell is the fake shell of stand-in containers. It has a file system in memory, about sixty small commands
// with busybox's messages, and a shell that runs them. Begin with [Executor], the type container and its method Run.
//
// It never runs a program of the host, opens a file of the host, reads the host's environment or users, or opens a
// socket. It uses the parser (package syntax) and the expansion of words (package expand) of mvdan.cc/sh, but has its
// own interpreter (interpreter.go), because the library's interpreter uses the host. Package expand would look up the
// users of the host to expand ~name; the environment in variables.go prevents that.
//
// The memory that a client can use is limited: each container has an account, to which commands add the memory that
// they take (memory.go). Some things have limits of their own, such as the nesting of scripts and the size of the
// variables (limits.go). A script that exceeds a limit ends. After the end of its context, a statement may continue to
// match a pattern for a few seconds. A command that writes waits until the client reads its output.
//
// The language is POSIX shell, and from bash [[ ]], (( )), <<< and local. There are no arrays, no job control, and no
// getopts, let, select, coproc, alias or process substitution. Only the file descriptors 0, 1 and 2 exist.
package shell

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"path"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"fauxlet/internal/pods"
)

// container holds files and processes, which are kept between commands. It is safe for concurrent use.
type container struct {
	config pods.ContainerConfig
	now    func() time.Time
	files  *filesystem
	shared *podFiles
	memory *account
	// The field "commands" counts the calls of Run that have not returned yet.
	commands *account
	cpu      *rate.Limiter
	turn     chan struct{} // has an element while a goroutine waits for CPU time

	read    atomic.Int64  // when the volumes were read, in nanoseconds since 1970; 0 before the first time
	reading chan struct{} // has an element while a goroutine reads the volumes and uses the four fields below
	volumes map[string]*volume
	// mounted is true after the first read. The mounts in "unmounted" wait for files that could not be read yet.
	mounted   bool
	unmounted []pods.Mount
	charged   int // the memory of env

	lock      sync.Mutex
	env       []string
	lastPID   int
	processes map[int]*process
}

// Executor is a pods.Executor whose commands run in this package's shell.
type Executor struct{}

// NewEnvironment implements pods.Executor.
func (Executor) NewEnvironment(config pods.ContainerConfig) (pods.Environment, error) {
	return containerOf(config, time.Now)
}

// containerOf creates a container, whose commands get the time from the function "now". The files in the configuration
// may replace system files. Errors name the field of the configuration.
func containerOf(config pods.ContainerConfig, now func() time.Time) (*container, error) {
	c := &container{config: config, now: now, lastPID: 1, processes: map[int]*process{}, volumes: map[string]*volume{}}
	disk := int(cmp.Or(config.Disk, defaultDisk))
	c.shared = filesOf(config.Pod)
	c.files = newFilesystem(now, &c.shared.lock, &quota{of: "the container's file system", size: disk}, 0o755)
	c.memory = newMemory("the container", disk+workMemory, memoryOfProcess)
	c.commands = newCommands("the container runs", maxCommands, commandsOfProcess)
	c.cpu, c.turn, c.reading = cpuLimiter(1), make(chan struct{}, 1), make(chan struct{}, 1)
	c.files.shared = newFilesMemory(filesOfProcess)
	for _, own := range []*account{c.memory, c.files.shared} {
		runtime.AddCleanup(c, func(own *account) { own.in.give(int(own.used.Load())) }, own)
	}
	c.setEnv(config.Env)
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
	c.config.WorkingDir = path.Clean("/" + config.WorkingDir)
	if err := c.files.mkdirAll(c.config.WorkingDir, 0o755); err != nil {
		return nil, fmt.Errorf("workingDir: %q: %w", config.WorkingDir, err)
	}
	if !config.Started.IsZero() {
		c.files.root.each("/", func(_ string, n *node) { n.modTime = config.Started })
	}
	return c, nil
}

// Run runs a command, without a shell around it, and returns its exit code after it has ended. If a signal ended the
// command, the exit code is 128 plus the signal number. The error is a [*pods.StartError] if the command cannot be
// started, or ctx.Err() if ctx ends first. Run waits for blocked writes. A goroutine that still reads from Stdin may
// outlive Run, so the caller must close Stdin.
func (c *container) Run(ctx context.Context, argv []string, streams pods.Streams) (exit int, err error) {
	volumesErr := c.readVolumes(ctx)
	if err := c.canStart(argv); err != nil {
		return err.Code, err
	}
	if err := c.commands.take(1); err != nil {
		return 126, startError(126, "%v", err)
	}
	defer c.commands.give(1)
	if err := c.memory.take(sessionMemory); err != nil {
		return 126, startError(126, "cannot allocate memory: %v", err)
	}
	defer c.memory.give(sessionMemory)
	s := newSession(ctx, c, streams)
	defer s.end()
	p := c.newProcess(argv)
	p.session, p.stdin, p.stdout, p.stderr, p.meter = s, s.stdin, s.stdout, s.stderr, newMeter(s)
	if streams.TTY {
		if _, found := lookupEnv(p.env, "TERM"); !found {
			p.env = append(slices.Clone(p.env), "TERM=xterm")
		}
	}
	if volumesErr != nil {
		fmt.Fprintf(s.stderr, "%v\n", volumesErr)
	}
	exit, err = s.start(s.ctx, p)
	if ctx.Err() != nil {
		return 128 + sigKill, ctx.Err()
	}
	if err != nil {
		// In a real container this error comes from execve, after the runtime has started the process. The process then
		// prints the error to its stderr.
		file, _ := p.lookPath(argv[0])
		fmt.Fprintf(s.stderr, "exec %s: %s\n", file, strings.ToLower(err.Error()))
		return 255, nil
	}
	return exit, nil
}

func (c *container) newProcess(argv []string) *process {
	c.lock.Lock()
	defer c.lock.Unlock()
	return &process{container: c, args: argv, env: c.env, dir: c.config.WorkingDir}
}

// canStart returns runc's error if a command cannot be started, and nil if it can.
func (c *container) canStart(argv []string) *pods.StartError {
	failed := func(code int, format string, args ...any) *pods.StartError {
		return startError(code, "exec: "+format, args...)
	}
	if len(argv) == 0 {
		argv = []string{""}
	}
	_, err := c.newProcess(argv).lookPath(argv[0])
	switch {
	case err == nil:
		return nil
	case !strings.Contains(argv[0], "/"):
		return failed(127, "%q: executable file not found in $PATH", argv[0])
	case err == errIsDirectory || err == errPermission:
		return failed(126, "%q: %s", argv[0], strings.ToLower(err.Error()))
	}
	return failed(127, "%q: stat %s: %s", argv[0], argv[0], strings.ToLower(err.Error()))
}

// startError returns runc's error for a command that it cannot start.
func startError(code int, format string, args ...any) *pods.StartError {
	const text = "OCI runtime exec failed: exec failed: unable to start container process: "
	return &pods.StartError{Text: text + fmt.Sprintf(format, args...), Code: code}
}

func (c *container) home() string {
	if c.config.UID == 0 {
		return "/root"
	}
	return "/"
}
