package shell

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"mvdan.cc/sh/v3/interp"
	"mvdan.cc/sh/v3/syntax"
)

// interpreter is one shell. It configures a runner of mvdan.cc/sh so that every access to the host goes through the
// interpreter's handlers.
type interpreter struct {
	*process
	session *session
	runner  *interp.Runner
	// mark is an empty pipe that represents standard input in the runner, which accepts only an *os.File there.
	// Handlers that receive mark read from the standard input of the process instead.
	mark *os.File
	// variables is the total size in bytes of the environment with which the shell was started.
	variables int
	// opened are the pipes of redirections. close closes them.
	opened []*os.File
}

// sourced is the path under which the runner opens the text of a sourced script. No script can use this path,
// because it contains a NUL byte. For the same reason the runner's own access to the host's files fails before it
// reaches the host.
const sourced = "/\x00"

type sourcedKey struct{}

func newInterpreter(p *process, name string, params []string) (*interpreter, error) {
	sh := &interpreter{process: p, session: p.session}
	mark, none, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	_ = none.Close()
	sh.mark = mark
	terminal := ""
	if p.session.terminal != nil {
		terminal = "1"
	}
	env := &environment{fixed: map[string]string{
		variablePID: strconv.Itoa(p.pid), variableParent: "0", variableName: name, "__terminal": terminal,
		"UID": strconv.FormatInt(p.user().uid, 10), "EUID": strconv.FormatInt(p.user().uid, 10),
		"GID":  strconv.FormatInt(p.user().gid, 10),
		"HOME": p.container.home(),
	}, exported: p.env}
	for _, entry := range p.env {
		sh.variables += len(entry)
	}
	sh.runner, err = interp.New(
		interp.Env(env),
		// Set Dir directly: the option interp.Dir would check on the host whether the directory exists.
		func(r *interp.Runner) error { r.Dir = p.dir; return nil },
		interp.Params(append([]string{"--"}, params...)...),
		interp.StdIO(mark, p.stdout, p.stderr),
		interp.CallHandler(sh.call),
		interp.ExecHandlers(func(interp.ExecHandlerFunc) interp.ExecHandlerFunc { return sh.exec }),
		interp.OpenHandler(sh.open),
		interp.ReadDirHandler2(sh.readDir),
		interp.StatHandler(sh.stat),
		interp.AccessHandler(sh.access),
	)
	if err != nil {
		_ = mark.Close()
		return nil, err
	}
	sh.runner.Reset()
	env.ready = true
	return sh, nil
}

func (sh *interpreter) close() {
	_ = sh.mark.Close()
	for _, file := range sh.opened {
		_ = file.Close()
	}
}

// run runs a part of a script. If the part is a *syntax.File, the runner also runs the actions for the end of the
// shell. ended is true if the shell has exited.
func (sh *interpreter) run(ctx context.Context, node syntax.Node) (exit int, ended bool) {
	defer func() {
		if failure := recover(); failure != nil {
			sh.say("internal error: %v", failure)
			exit, ended = 2, true
		}
	}()
	err := sh.runner.Run(ctx, node)
	if status, ok := errors.AsType[interp.ExitStatus](err); ok {
		return int(status), sh.runner.Exited()
	}
	if err != nil {
		if ctx.Err() == nil {
			sh.say("%v", err)
		}
		return 2, true
	}
	return 0, sh.runner.Exited()
}

func (sh *interpreter) say(format string, args ...any) {
	fmt.Fprintf(sh.stderr, "sh: "+format+"\n", args...)
}

// call is called before each simple command, after its words have been expanded.
func (sh *interpreter) call(ctx context.Context, args []string) ([]string, error) {
	hc := interp.HandlerCtx(ctx)
	if runner, ok := runnerOf(hc); ok {
		sh.session.globs.done(runner.Pointer())
	}
	if tooDeep() {
		sh.session.fail("sh: "+errTooDeep.Error(), 2)
	} else {
		sh.measure(hc.Env)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	size := 0
	for _, arg := range args {
		size += len(arg) + 1
	}
	if size > maxArguments {
		return []string{nameMissing,
			strings.TrimPrefix(args[0][:min(len(args[0]), 64)], hidden) + ": Argument list too long"}, nil
	}
	return redirected(hc, args, false), nil
}

// hasFunction returns whether the runner of a handler has a function with the given name. It reads an unexported
// field, because a copy of the runner has its own functions and the library offers no other access. If the field
// does not exist, it returns false.
func hasFunction(hc interp.HandlerContext, name string) bool {
	runner, ok := runnerOf(hc)
	if !ok {
		return false
	}
	functions := runner.Elem().FieldByName("Funcs")
	return functions.Kind() == reflect.Map && functions.MapIndex(reflect.ValueOf(name)).IsValid()
}

// runnerOf returns the runner that called a handler. The caller must only read it.
func runnerOf(hc interp.HandlerContext) (reflect.Value, bool) {
	runner := reflect.ValueOf(hc).FieldByName("runner")
	return runner, runner.Kind() == reflect.Pointer && !runner.IsNil()
}

// exec runs a command that is neither a function nor a builtin of the runner.
func (sh *interpreter) exec(ctx context.Context, args []string) (err error) {
	hc := interp.HandlerCtx(ctx)
	defer func() {
		if failure := recover(); failure != nil {
			fmt.Fprintf(hc.Stderr, "sh: internal error: %v\n", failure)
			err = interp.ExitStatus(2)
		}
	}()
	name, ours := strings.CutPrefix(args[0], hidden)
	if ours {
		if own, found := builtins[name]; found {
			b := &builtin{interpreter: sh, hc: hc, args: args[1:]}
			return b.done(ctx, own(ctx, b))
		}
	}
	p := &process{
		ctx: ctx, session: sh.session, container: sh.container, args: slices.Concat([]string{name}, args[1:]),
		env: exported(hc.Env), dir: hc.Dir,
		stdin: sh.input(hc), stdout: hc.Stdout, stderr: hc.Stderr,
	}
	var exit int
	if known, found := commands[name]; ours && found {
		out := &guardedWriter{ctx: ctx, to: hc.Stdout, broken: &p.broken}
		p.stdout, p.stdin = out, &guardedReader{ctx: ctx, from: p.stdin}
		exit = known(ctx, p)
	} else {
		exit, err = sh.session.start(ctx, p)
	}
	switch {
	case err == errPermission || err == errIsDirectory:
		fmt.Fprintf(hc.Stderr, "sh: %s: %v\n", name, errPermission)
		exit = 126
	case err == errFormat:
		fmt.Fprintf(hc.Stderr, "sh: %s: %v\n", name, err)
		exit = 126
	case err != nil:
		fmt.Fprintf(hc.Stderr, "sh: %s: not found\n", name)
		exit = 127
	case p.broken.Load():
		// A command in a real shell would be ended by SIGPIPE.
		return hc.Builtin(ctx, []string{"exit", strconv.Itoa(128 + sigPipe)})
	}
	return status(exit)
}

func status(exit int) error {
	if exit == 0 {
		return nil
	}
	return interp.ExitStatus(exit)
}

// input returns the standard input for a handler.
func (sh *interpreter) input(hc interp.HandlerContext) io.Reader {
	switch file, ok := hc.Stdin.(*os.File); {
	case !ok || file == nil:
		return nothing{}
	case file == sh.mark:
		return sh.stdin
	}
	return hc.Stdin
}
