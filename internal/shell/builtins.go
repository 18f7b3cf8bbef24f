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

// builtin is one call of a builtin command.
type builtin struct {
	*interpreter
	hc   interp.HandlerContext
	args []string
}

// builtins are the builtin commands that the interpreter lacks, or that would use the host in the interpreter's
// version. Scripts call them under the names that redirected and guarded insert. They return what an
// interp.ExecHandlerFunc returns.
var builtins map[string]func(context.Context, *builtin) error

// The table is filled in init, because some builtins run scripts, which may call every builtin.
func init() {
	builtins = map[string]func(context.Context, *builtin) error{
		".":        source,
		"cd":       changeDirectory,
		"eval":     eval,
		"export":   declare("export"),
		"jobs":     func(context.Context, *builtin) error { return nil },
		"local":    declare("local"),
		"missing":  func(_ context.Context, b *builtin) error { return b.fail(127, "%s", strings.Join(b.args, " ")) },
		"pattern":  lookAtPattern,
		"pwd":      func(_ context.Context, b *builtin) error { return b.out(b.hc.Dir + "\n") },
		"read":     read,
		"readonly": declare("readonly"),
		"regexp":   lookAtRegexp,
		"set":      listVariables,
		"subshell": runSubshell,
		"trap":     trap,
		"type":     describe,
		"ulimit":   func(_ context.Context, b *builtin) error { return b.out("unlimited\n") },
		"umask":    func(_ context.Context, b *builtin) error { return b.out("0022\n") },
		"unset":    unset,
	}
}

func (b *builtin) fail(exit int, format string, args ...any) error {
	fmt.Fprintf(b.hc.Stderr, "sh: "+format+"\n", args...)
	return interp.ExitStatus(exit)
}

// errBrokenPipe means that the reader of a builtin's output has gone.
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

// done ends the subshell after a broken pipe.
func (b *builtin) done(ctx context.Context, err error) error {
	if err == errBrokenPipe {
		return b.hc.Builtin(ctx, []string{"exit", strconv.Itoa(128 + sigPipe)})
	}
	return err
}

// script runs a text in the calling shell.
func (b *builtin) script(ctx context.Context, text string) error {
	return b.hc.Builtin(ctx, []string{"eval", text})
}

// refused writes why a script does not run.
func (b *builtin) refused(err error) error {
	if err == errTooDeep {
		b.session.fail("sh: "+err.Error(), 2)
	}
	return b.fail(2, "%s", complaint(err))
}

// complaint returns the shell's message about a script with a syntax error.
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

// runSubshell runs the left side of a pipe, or a background command, in the runner that the interpreter made for it.
func runSubshell(ctx context.Context, b *builtin) error {
	s := b.session
	if !s.enter() {
		return context.Canceled
	}
	defer s.work.Done()
	if s.subshells.Add(1) > maxSubshells {
		s.subshells.Add(-1)
		if s.refused.Add(1) > maxRefusals {
			s.fail("sh: too many subshells", 2)
		}
		return b.fail(2, "can't fork: Resource temporarily unavailable")
	}
	defer s.subshells.Add(-1)
	return eval(ctx, b)
}

// lookAtPattern returns a part of a pattern. It ends the command if the part is too long.
func lookAtPattern(_ context.Context, b *builtin) error {
	text := strings.Join(b.args, "")
	if len(text) > maxPattern {
		b.session.fail("sh: the pattern is too long", 2)
		return interp.ExitStatus(2)
	}
	return b.out(text)
}

// lookAtRegexp returns a regular expression unless it is too large. It also returns text that is no valid expression.
func lookAtRegexp(_ context.Context, b *builtin) error {
	text := strings.Join(b.args, "")
	if _, err := compile(text, text); err != nil {
		text = "("
	}
	return b.out(text)
}

// source runs a script file of the container in the calling shell.
func source(ctx context.Context, b *builtin) error {
	if len(b.args) == 0 {
		return b.fail(2, ".: filename argument required")
	}
	at := &process{ctx: ctx, container: b.container, dir: b.hc.Dir,
		env: []string{"PATH=" + b.hc.Env.Get("PATH").String()}}
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
	args := slices.DeleteFunc(slices.Clone(b.args),
		func(arg string) bool { return arg == "-P" || arg == "-L" || arg == "--" })
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

// declare implements export, readonly and local for words that are not plain NAME=VALUE, and without words.
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
		if !strings.HasPrefix(arg, "-") && strings.ContainsAny(arg, "[]$`") { // the interpreter would evaluate an index
			return b.fail(2, "unset: %s: bad variable name", arg)
		}
	}
	return b.hc.Builtin(ctx, append([]string{"unset"}, b.args...))
}

// trap passes EXIT and ERR to the interpreter. No other signal is ever delivered.
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
