package shell

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"mvdan.cc/sh/v3/expand"
	"mvdan.cc/sh/v3/interp"
	"mvdan.cc/sh/v3/syntax"
)

// builtin is a call of a command of the shell's own.
type builtin struct {
	*interpreter
	hc   interp.HandlerContext
	args []string
}

// builtins are those which the interpreter does not have, or has in a way that leads to the host. They are called by what
// redirected and guard make of a script, and give what an interp.ExecHandlerFunc does.
var builtins map[string]func(context.Context, *builtin) error

// The table is filled here as some of it runs scripts, which may call all of it.
func init() {
	builtins = map[string]func(context.Context, *builtin) error{
		".":        source,
		"cd":       changeDirectory,
		"eval":     eval,
		"export":   declare("export"),
		"jobs":     func(context.Context, *builtin) error { return nil },
		"local":    declare("local"),
		"missing":  func(_ context.Context, b *builtin) error { return b.fail(127, "%s", strings.Join(b.args, " ")) },
		"pwd":      func(_ context.Context, b *builtin) error { return b.out(b.hc.Dir + "\n") },
		"read":     read,
		"readonly": declare("readonly"),
		"set":      listVariables,
		"subshell": runSubshell,
		"trap":     trap,
		"type":     describe,
		"ulimit":   func(_ context.Context, b *builtin) error { return b.out("unlimited\n") },
		"umask":    func(_ context.Context, b *builtin) error { return b.out("0022\n") },
		"unset":    unset,
	}
}

// redirected gives what to call in the place of a command: a builtin of the interpreter that may run as it is, one of ours,
// or what says that there is none.
func redirected(hc interp.HandlerContext, args []string, noFunctions bool) []string {
	name := args[0]
	if !interp.IsBuiltin(name) && name != "chdir" || !noFunctions && hasFunction(hc, name) {
		return args
	}
	as := func(own string, args ...string) []string { return append([]string{hidden + own}, args...) }
	switch name {
	case ":", "true", "false", "exit", "shift", "break", "continue", "return", "getopts", "hash", "times", "wait", "exec":
		return args
	case "command", "builtin":
		rest := args[1:]
		for len(rest) > 0 && strings.HasPrefix(rest[0], "-") && len(rest[0]) > 1 {
			option := rest[0]
			rest = rest[1:]
			if option == "--" {
				break
			}
			if name == "command" && (option == "-v" || option == "-V") {
				return as("type", append([]string{option}, rest...)...)
			}
			if name != "command" || option != "-p" {
				return as("missing", name+": "+option+": invalid option")
			}
		}
		if len(rest) == 0 {
			return []string{"true"}
		}
		inner := redirected(hc, rest, true)
		if strings.HasPrefix(inner[0], hidden) {
			return inner
		}
		return append([]string{"command", "--"}, inner...)
	case "set":
		if len(args) == 1 {
			return as("set")
		}
		return args
	case "test", "[":
		return tested(hc, args)
	case "source":
		return as(".", args[1:]...)
	case "chdir":
		return as("cd", args[1:]...)
	}
	if builtins[name] != nil || commands[name] != nil {
		return as(name, args[1:]...)
	}
	return as("missing", name+": not found")
}

// tested answers what test would ask about the host: -t about its file descriptors, -O and -G about its users.
func tested(hc interp.HandlerContext, args []string) []string {
	args = slices.Clone(args)
	for i := 1; i+1 < len(args); i++ {
		operand := args[i+1]
		switch compared := args[i-1] == "=" || args[i-1] == "==" || args[i-1] == "!="; {
		case compared || operand == "=" || operand == "!=" || operand == "]" && args[0] == "[" && i+2 == len(args):
		case args[i] == "-O" || args[i] == "-G":
			args[i] = "-e"
		case args[i] == "-t":
			args[i], args[i+1] = "-n", ""
			if hc.Env.Get("__terminal").String() != "" && slices.Contains([]string{"0", "1", "2"}, operand) {
				args[i+1] = "terminal"
			}
		}
	}
	return args
}

func (b *builtin) fail(exit int, format string, args ...any) error {
	fmt.Fprintf(b.hc.Stderr, "sh: "+format+"\n", args...)
	return interp.ExitStatus(exit)
}

// brokenPipe is that nobody reads what a builtin has written.
var errBrokenPipe = errors.New("broken pipe")

func (b *builtin) out(text string) error {
	_, err := io.WriteString(b.hc.Stdout, text)
	if _, ours := errors.AsType[fault](err); ours {
		return b.fail(1, "write error: %v", err)
	} else if err != nil {
		return errBrokenPipe
	}
	return nil
}

// done makes of a broken pipe the end of the subshell.
func (b *builtin) done(ctx context.Context, err error) error {
	if err == errBrokenPipe {
		return b.hc.Builtin(ctx, []string{"exit", strconv.Itoa(128 + sigPipe)})
	}
	return err
}

// script has the interpreter run a text, in the shell that called.
func (b *builtin) script(ctx context.Context, text string) error {
	return b.hc.Builtin(ctx, []string{"eval", text})
}

// refused says why a script is not run.
func (b *builtin) refused(err error) error {
	if err == errTooDeep {
		b.session.fail("sh: "+err.Error(), 2)
	}
	return b.fail(2, "%s", complaint(err))
}

// complaint is what a shell says of a script that it does not understand.
func complaint(err error) string {
	if parsed, ok := errors.AsType[syntax.ParseError](err); ok {
		return fmt.Sprintf("line %d: syntax error: %s", parsed.Pos.Line(), parsed.Text)
	}
	return err.Error()
}

// eval checks a text before the interpreter runs it.
func eval(ctx context.Context, b *builtin) error {
	text, err := guardedText(strings.Join(b.args, " "))
	if err != nil {
		return b.refused(err)
	}
	return b.script(ctx, text)
}

// runSubshell runs the left side of a pipe, or a background command, in the runner that the interpreter has made for it.
func runSubshell(ctx context.Context, b *builtin) error {
	s := b.session
	if s.subshells.Add(1) > maxSubshells {
		s.subshells.Add(-1)
		if s.refused.Add(1) > maxRefusals {
			s.fail("sh: too many subshells", 2)
		}
		return b.fail(2, "can't fork: Resource temporarily unavailable")
	}
	s.work.Add(1)
	defer func() {
		s.subshells.Add(-1)
		s.work.Done()
	}()
	return eval(ctx, b)
}

// source runs a script of the container in the shell that calls.
func source(ctx context.Context, b *builtin) error {
	if len(b.args) == 0 {
		return b.fail(2, ".: filename argument required")
	}
	at := &process{container: b.container, dir: b.hc.Dir, env: []string{"PATH=" + b.hc.Env.Get("PATH").String()}}
	name := at.path(b.args[0])
	if !strings.Contains(b.args[0], "/") {
		for dir := range strings.SplitSeq(at.env[0][len("PATH="):], ":") {
			file := at.path(orElse(dir, ".") + "/" + b.args[0])
			if info, err := b.container.files.stat(b.user(), file); err == nil && !info.IsDir() {
				name = file
				break
			}
		}
	}
	content, err := b.container.files.content(b.user(), name)
	if err != nil {
		return b.fail(2, ".: can't open '%s': %v", b.args[0], err)
	}
	text, err := guardedText(string(content))
	if err != nil {
		return b.refused(err)
	}
	return b.hc.Builtin(context.WithValue(ctx, sourcedKey{}, text), append([]string{"source", sourced}, b.args[1:]...))
}

func changeDirectory(ctx context.Context, b *builtin) error {
	args := slices.DeleteFunc(slices.Clone(b.args), func(arg string) bool { return arg == "-P" || arg == "-L" || arg == "--" })
	to := b.hc.Env.Get("HOME").String()
	if len(args) > 0 {
		to = args[0]
	}
	if to == "-" {
		if to = b.hc.Env.Get("OLDPWD").String(); to == "" {
			return b.fail(2, "cd: OLDPWD not set")
		}
		if err := b.out(to + "\n"); err != nil {
			return err
		}
	}
	at := &process{dir: b.hc.Dir}
	dir := at.path(to)
	info, err := b.container.files.stat(b.user(), dir)
	if err == nil && !info.IsDir() {
		err = errNotDirectory
	}
	if err == nil {
		err = b.container.files.access(b.user(), dir, mayExec)
	}
	if err != nil {
		return b.fail(2, "cd: can't cd to %s: %v", to, err)
	}
	return b.hc.Builtin(ctx, []string{"cd", dir})
}

// declare gives export, readonly and local, for words that are not plain names and values, or none.
func declare(as string) func(context.Context, *builtin) error {
	return func(ctx context.Context, b *builtin) error {
		var text strings.Builder
		for _, arg := range b.args {
			name, value, hasValue := strings.Cut(arg, "=")
			switch {
			case strings.HasPrefix(arg, "-"):
				continue
			case !syntax.ValidName(name):
				return b.fail(2, "%s: %s: bad variable name", as, name)
			}
			text.WriteString(as + " " + name)
			if hasValue {
				text.WriteString("=" + quoteText(value))
			}
			text.WriteString("\n")
		}
		if text.Len() > 0 {
			err := b.script(ctx, text.String())
			b.measure(b.hc.Env)
			return err
		}
		for _, entry := range exported(b.hc.Env) {
			if as != "export" {
				break
			}
			name, value, _ := strings.Cut(entry, "=")
			if err := b.out("export " + name + "=" + singleQuoted(value) + "\n"); err != nil {
				return err
			}
		}
		return nil
	}
}

func singleQuoted(text string) string { return "'" + strings.ReplaceAll(text, "'", `'"'"'`) + "'" }

func listVariables(_ context.Context, b *builtin) error {
	values := map[string]string{}
	for name, v := range b.hc.Env.Each {
		delete(values, name)
		if v.IsSet() && v.Kind == expand.String && !strings.HasPrefix(name, "__") {
			values[name] = v.Str
		}
	}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if err := b.out(name + "=" + singleQuoted(values[name]) + "\n"); err != nil {
			return err
		}
	}
	return nil
}

func unset(ctx context.Context, b *builtin) error {
	for _, arg := range b.args {
		if !strings.HasPrefix(arg, "-") && strings.ContainsAny(arg, "[]$`") { // an index would be evaluated
			return b.fail(2, "unset: %s: bad variable name", arg)
		}
	}
	return b.hc.Builtin(ctx, append([]string{"unset"}, b.args...))
}

// trap leaves EXIT and ERR to the interpreter; no other signal ever comes.
func trap(ctx context.Context, b *builtin) error {
	args := b.args
	if len(args) > 0 && args[0] == "--" {
		args = args[1:]
	}
	if len(args) < 2 {
		if len(args) == 0 {
			return b.hc.Builtin(ctx, []string{"trap"})
		}
		args = append([]string{"-"}, args...)
	}
	action := args[0]
	if action != "-" && action != "" {
		text, err := guardedText(action)
		if err != nil {
			return b.refused(err)
		}
		action = text
	}
	for _, signal := range args[1:] {
		if signal == "0" {
			signal = "EXIT"
		}
		if signal = strings.TrimPrefix(strings.ToUpper(signal), "SIG"); signal == "EXIT" || signal == "ERR" {
			if err := b.hc.Builtin(ctx, []string{"trap", "--", action, signal}); err != nil {
				return err
			}
		}
	}
	return nil
}

// describe is type, command -v and command -V.
func describe(_ context.Context, b *builtin) error {
	args, short := b.args, false
	if len(args) > 0 && (args[0] == "-v" || args[0] == "-V") {
		short = args[0] == "-v"
		args = args[1:]
	}
	p := &process{container: b.container, dir: b.hc.Dir, env: exported(b.hc.Env)}
	missing := false
	for _, arg := range args {
		what, brief := "", arg
		file, err := p.lookPath(arg)
		switch {
		case syntax.IsKeyword(arg):
			what = " is a shell keyword"
		case hasFunction(b.hc, arg):
			what = " is a shell function"
		case isBuiltin(b.hc, arg):
			what = " is a shell builtin"
		case err == nil:
			what, brief = " is "+file, file
		case short:
			missing = true
			continue
		default:
			missing = true
			what = ": not found"
		}
		if short {
			what = brief
		} else {
			what = arg + what
		}
		if err := b.out(what + "\n"); err != nil {
			return err
		}
	}
	if missing {
		return interp.ExitStatus(127)
	}
	return nil
}

func isBuiltin(hc interp.HandlerContext, name string) bool {
	switch name {
	case "export", "readonly", "local", "let":
		return true
	}
	return interp.IsBuiltin(name) && redirected(hc, []string{name}, true)[0] != nameMissing
}
