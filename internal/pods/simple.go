package pods

import (
	"context"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"
)

// simpleExecutor is the default Executor. Its commands only read: echo, cat, ls, env, hostname, id, date, sleep,
// true, false, and sh -c with one of these commands. It runs no programs of the host and reads none of its files.
type simpleExecutor struct{}

func (simpleExecutor) NewEnvironment(config ContainerConfig) (Environment, error) {
	e := &simpleEnvironment{config: config, files: map[string]string{
		"/etc/hostname": config.Hostname + "\n",
		"/etc/hosts":    strings.TrimSpace("127.0.0.1\tlocalhost\n"+config.IP+"\t"+config.Hostname) + "\n",
	}}
	maps.Copy(e.files, config.Files)
	for _, name := range slices.Sorted(maps.Keys(config.Files)) {
		for dir := path.Dir(name); dir != "/"; dir = path.Dir(dir) {
			if _, isFile := e.files[dir]; isFile {
				return nil, fmt.Errorf("files[%q]: %s is a file, not a directory; remove one of them", name, dir)
			}
		}
	}
	e.env = slices.Clone(config.Env)
	home := "/"
	if config.UID == 0 {
		home = "/root"
	}
	for _, variable := range []string{
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOSTNAME=" + config.Hostname,
		"HOME=" + home,
	} {
		if name, _, _ := strings.Cut(variable, "="); !e.hasVariable(name) {
			e.env = append(e.env, variable)
		}
	}
	return e, nil
}

// simpleEnvironment is the environment of a container with the default Executor. It is immutable.
type simpleEnvironment struct {
	config ContainerConfig
	env    []string
	files  map[string]string
}

func (e *simpleEnvironment) hasVariable(name string) bool {
	return slices.ContainsFunc(e.env, func(variable string) bool { return strings.HasPrefix(variable, name+"=") })
}

func (e *simpleEnvironment) variable(name string) string {
	for _, variable := range slices.Backward(e.env) {
		if value, found := strings.CutPrefix(variable, name+"="); found {
			return value
		}
	}
	return ""
}

// simpleCommands are all commands except sh. Each function returns the exit code.
var simpleCommands = map[string]func(ctx context.Context, e *simpleEnvironment, args []string, s *simpleStreams) int{
	"cat": runCat, "date": runDate, "echo": runEcho, "env": runEnv, "hostname": runHostname, "id": runID, "ls": runLs,
	"sleep": runSleep,
	"false": func(context.Context, *simpleEnvironment, []string, *simpleStreams) int { return 1 },
	"true":  func(context.Context, *simpleEnvironment, []string, *simpleStreams) int { return 0 },
}

// simpleStreams are the streams of a command that runs.
type simpleStreams struct {
	stdin          io.Reader
	stdout, stderr io.Writer
}

// fail writes a message to standard error and returns exit code 1.
func (s *simpleStreams) fail(format string, args ...any) int {
	fmt.Fprintf(s.stderr, format+"\n", args...)
	return 1
}

// Run implements [Environment]. On a terminal, Ctrl-C or Ctrl-D ends the input.
func (e *simpleEnvironment) Run(ctx context.Context, command []string, streams Streams) (exitCode int, err error) {
	name := ""
	if len(command) > 0 {
		name = path.Base(command[0])
	}
	run := simpleCommands[name]
	if run == nil && name != "sh" {
		const prefix = "OCI runtime exec failed: exec failed: unable to start container process: "
		if len(command) > 0 {
			name = command[0]
		}
		text := prefix + fmt.Sprintf("exec: %q: executable file not found in $PATH", name)
		return 127, &StartError{Text: text, Code: 127}
	}
	stdout, stderr := &gate{to: streams.Stdout}, &gate{to: streams.Stderr}
	defer stdout.close()
	defer stderr.close()
	s := &simpleStreams{stdin: streams.Stdin, stdout: stdout, stderr: stderr}
	if s.stdin == nil {
		s.stdin = strings.NewReader("")
	}
	if streams.TTY {
		s.stdout = &terminal{to: stdout}
		s.stderr = s.stdout
		s.stdin = &keyboard{from: s.stdin, echo: s.stdout}
	}
	if streams.Resize != nil {
		go func() {
			for range streams.Resize { // the size of the terminal has no effect
			}
		}()
	}
	if name == "sh" {
		run = runShell
	}
	// The command runs in a separate goroutine, because it may block while reading its input. The goroutine ends
	// when the caller closes the input.
	ended := make(chan int, 1)
	go func() { ended <- run(ctx, e, command[1:], s) }()
	select {
	case exitCode = <-ended:
		return exitCode, ctx.Err()
	case <-ctx.Done():
		return killedCode, ctx.Err()
	}
}

// gate is a writer that drops all data that is written after it was closed. If the field to is nil, it drops all
// data.
type gate struct {
	lock sync.Mutex
	to   io.Writer
}

func (g *gate) Write(p []byte) (int, error) {
	g.lock.Lock()
	defer g.lock.Unlock()
	if g.to == nil {
		return len(p), nil
	}
	return g.to.Write(p)
}

// close closes the gate. It waits until a write in progress has returned.
func (g *gate) close() {
	g.lock.Lock()
	defer g.lock.Unlock()
	g.to = nil
}

// keyboard reads the input of a terminal. It echoes each key, and the input ends at Ctrl-C or Ctrl-D.
type keyboard struct {
	from  io.Reader
	echo  io.Writer
	ended bool
}

func (k *keyboard) Read(p []byte) (int, error) {
	if k.ended {
		return 0, io.EOF
	}
	n, err := k.from.Read(p)
	for i, key := range p[:n] {
		switch key {
		case 3, 4:
			k.ended = true
			n, err = i, io.EOF
		case '\r':
			p[i] = '\n'
		}
		if k.ended {
			break
		}
	}
	_, _ = k.echo.Write(p[:n])
	return n, err
}
