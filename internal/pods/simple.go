package pods

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
)

// simpleExecutor is the default Executor. It has only commands that change nothing: echo, cat, ls, env, hostname, id,
// date, sleep, true, false, and sh -c with one of these commands. It runs no programs of the host and reads no files of
// the host.
type simpleExecutor struct{}

// simpleEnvironment is the environment of a container with the default Executor. It is immutable.
type simpleEnvironment struct {
	ContainerConfig
	env   []string
	files map[string]string
}

func (simpleExecutor) NewEnvironment(config ContainerConfig) (Environment, error) {
	config.WorkingDir = cmp.Or(config.WorkingDir, "/")
	e := &simpleEnvironment{ContainerConfig: config, env: slices.Clone(config.Env), files: map[string]string{
		"/etc/hostname": config.Hostname + "\n",
		"/etc/hosts":    strings.TrimSpace("127.0.0.1\tlocalhost\n"+config.IP+"\t"+config.Hostname) + "\n",
	}}
	maps.Copy(e.files, config.Files)
	home := "/"
	if config.UID == 0 {
		home = "/root"
	}
	for _, variable := range []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"HOSTNAME=" + config.Hostname, "HOME=" + home} {
		name, _, _ := strings.Cut(variable, "=")
		if !slices.ContainsFunc(e.env, func(given string) bool { return strings.HasPrefix(given, name+"=") }) {
			e.env = append(e.env, variable)
		}
	}
	return e, nil
}

func (e *simpleEnvironment) variable(name string) string {
	for _, variable := range slices.Backward(e.env) {
		if value, found := strings.CutPrefix(variable, name+"="); found {
			return value
		}
	}
	return ""
}

// Run implements [Environment].
func (e *simpleEnvironment) Run(ctx context.Context, command []string, streams Streams) (exitCode int, err error) {
	name := ""
	if len(command) > 0 {
		name = command[0]
	}
	run := simpleCommands[path.Base(name)]
	if path.Base(name) == "sh" {
		run = (*simpleCommand).sh
	}
	if run == nil {
		return 127, &StartError{Code: 127, Text: fmt.Sprintf("OCI runtime exec failed: exec failed: unable to start "+
			"container process: exec: %q: executable file not found in $PATH", name)}
	}
	if streams.Stdin == nil {
		streams.Stdin = strings.NewReader("")
	}
	streams = streams.forTerminal()
	if streams.TTY {
		streams.Stdin = &keyboard{from: streams.Stdin, echo: streams.Stdout}
	}
	c := &simpleCommand{simpleEnvironment: e, Streams: streams}
	// A goroutine runs the command, because reads of the input may block until the caller closes the input.
	ended := make(chan int, 1)
	go func() { ended <- run(c, ctx, command[1:]) }()
	select {
	case exitCode = <-ended:
		return exitCode, ctx.Err()
	case <-ctx.Done():
		return killedCode, ctx.Err()
	}
}

// simpleCommand is a running command of the simpleExecutor.
type simpleCommand struct {
	*simpleEnvironment
	Streams
}

// print writes a line to standard output and returns exit code 0.
func (c *simpleCommand) print(line string) int {
	fmt.Fprintln(c.Stdout, line)
	return 0
}

// fail writes a message to standard error and returns an exit code.
func (c *simpleCommand) fail(code int, format string, args ...any) int {
	fmt.Fprintf(c.Stderr, format+"\n", args...)
	return code
}

// simpleCommands are all commands except sh. Each function returns the exit code.
var simpleCommands = map[string]func(c *simpleCommand, ctx context.Context, args []string) int{
	"cat": (*simpleCommand).cat, "id": (*simpleCommand).id, "ls": (*simpleCommand).ls, "sleep": (*simpleCommand).sleep,
	"date": func(c *simpleCommand, _ context.Context, _ []string) int {
		return c.print(time.Now().UTC().Format("Mon Jan _2 15:04:05 UTC 2006"))
	},
	"echo": func(c *simpleCommand, _ context.Context, args []string) int {
		if len(args) > 0 && args[0] == "-n" {
			fmt.Fprint(c.Stdout, strings.Join(args[1:], " "))
			return 0
		}
		return c.print(strings.Join(args, " "))
	},
	"env":      func(c *simpleCommand, _ context.Context, _ []string) int { return c.print(strings.Join(c.env, "\n")) },
	"false":    func(*simpleCommand, context.Context, []string) int { return 1 },
	"hostname": func(c *simpleCommand, _ context.Context, _ []string) int { return c.print(c.Hostname) },
	"true":     func(*simpleCommand, context.Context, []string) int { return 0 },
}

func (c *simpleCommand) cat(_ context.Context, args []string) int {
	if len(args) == 0 {
		args = []string{"-"}
	}
	code := 0
	for _, arg := range args {
		if arg == "-" {
			_, _ = io.Copy(c.Stdout, c.Stdin)
		} else if content, found := c.files[c.absolute(arg)]; found {
			fmt.Fprint(c.Stdout, content)
		} else if c.entries(arg) != nil {
			code = c.fail(1, "cat: read error: Is a directory")
		} else {
			code = c.fail(1, "cat: can't open '%s': No such file or directory", arg)
		}
	}
	return code
}

func (c *simpleCommand) ls(_ context.Context, args []string) int {
	args = slices.DeleteFunc(slices.Clone(args), func(arg string) bool { return strings.HasPrefix(arg, "-") })
	if len(args) == 0 {
		args = []string{"."}
	}
	code := 0
	for _, arg := range args {
		if _, found := c.files[c.absolute(arg)]; found {
			c.print(arg)
		} else if entries := c.entries(arg); entries != nil {
			for _, entry := range entries {
				c.print(entry)
			}
		} else {
			code = c.fail(1, "ls: %s: No such file or directory", arg)
		}
	}
	return code
}

func (c *simpleCommand) absolute(name string) string {
	if path.IsAbs(name) {
		return path.Clean(name)
	}
	return path.Join(c.WorkingDir, name)
}

// entries returns the sorted names of the files and directories in a directory, or nil if there is no such directory. A
// directory exists if it is the working directory, or if a file is in it or in one of its subdirectories.
func (c *simpleCommand) entries(dir string) []string {
	var names []string
	if c.absolute(dir) == path.Clean(c.WorkingDir) {
		names = []string{}
	}
	for file := range c.files {
		if rest, below := strings.CutPrefix(file, strings.TrimSuffix(c.absolute(dir), "/")+"/"); below {
			name, _, _ := strings.Cut(rest, "/")
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func (c *simpleCommand) id(_ context.Context, args []string) int {
	name := func(id int64) string {
		if id == 0 {
			return "0(root)"
		}
		return strconv.FormatInt(id, 10)
	}
	switch strings.Join(args, " ") {
	case "-u":
		return c.print(strconv.FormatInt(c.UID, 10))
	case "-g":
		return c.print(strconv.FormatInt(c.GID, 10))
	}
	return c.print(fmt.Sprintf("uid=%s gid=%[2]s groups=%[2]s", name(c.UID), name(c.GID)))
}

func (c *simpleCommand) sleep(ctx context.Context, args []string) int {
	text := strings.Join(args, " ")
	if strings.TrimLeft(text, "0123456789.") == "" {
		text += "s"
	}
	duration, err := time.ParseDuration(text)
	if err != nil {
		return c.fail(1, "sleep: invalid number '%s'", strings.Join(args, " "))
	}
	if sleep(ctx, duration) != nil {
		return killedCode
	}
	return 0
}
