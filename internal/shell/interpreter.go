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

// interpreter is one shell: a runner of mvdan.cc/sh of which every way to the host leads here.
type interpreter struct {
	*process
	session *session
	runner  *interp.Runner
	// mark is an empty pipe that stands for standard input in the runner, which can only have an *os.File there:
	// whoever meets it reads from the process's own.
	mark *os.File
	// variables is how much the shell was started with.
	variables int
	// opened are the pipes of redirections, to be closed at the end.
	opened []*os.File
}

// sourced is the path under which the text of a sourced script is opened: one that no path of a script can be, and with
// which the interpreter's own look at the host's files fails before it reaches the host.
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
		// Dir would ask the host whether there is such a directory.
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

// run runs a part of a script, with what is to be done at its end if it is a *syntax.File. It says whether the shell
// has ended with it.
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

// call sees every simple command before it runs, once its words are expanded.
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

// hasFunction says whether the runner of a handler knows a function. There is no other way to ask: a copy of the
// runner has its own functions, and only the one of the handler knows them. Without the field it says that there is
// none.
func hasFunction(hc interp.HandlerContext, name string) bool {
	runner, ok := runnerOf(hc)
	if !ok {
		return false
	}
	functions := runner.Elem().FieldByName("Funcs")
	return functions.Kind() == reflect.Map && functions.MapIndex(reflect.ValueOf(name)).IsValid()
}

// runnerOf gives the runner that a handler was called by, to look at.
func runnerOf(hc interp.HandlerContext) (reflect.Value, bool) {
	runner := reflect.ValueOf(hc).FieldByName("runner")
	return runner, runner.Kind() == reflect.Pointer && !runner.IsNil()
}

// exec runs what is neither a function nor one of the interpreter's builtins.
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
		// What a real shell gets is SIGPIPE.
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

// input gives the standard input of a handler.
func (sh *interpreter) input(hc interp.HandlerContext) io.Reader {
	switch file, ok := hc.Stdin.(*os.File); {
	case !ok || file == nil:
		return nothing{}
	case file == sh.mark:
		return sh.stdin
	}
	return hc.Stdin
}
