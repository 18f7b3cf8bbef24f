package shell

import (
	"context"
	"slices"
	"strings"

	"mvdan.cc/sh/v3/interp"
	"mvdan.cc/sh/v3/syntax"
)

// redirected returns the command to run instead of a command: the interpreter's builtin if that is safe, our builtin,
// or one that reports a missing command.
func redirected(hc interp.HandlerContext, args []string, noFunctions bool) []string {
	name := args[0]
	if !interp.IsBuiltin(name) && name != "chdir" || !noFunctions && hasFunction(hc, name) {
		return args
	}
	as := func(own string, args ...string) []string { return append([]string{hidden + own}, args...) }
	switch name {
	case ":", "true", "false", "exit", "shift", "break", "continue", "return", "getopts", "hash", "times", "wait",
		"exec":
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

// tested evaluates the tests that would otherwise use the host: -t its file descriptors, -O and -G its users.
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

// describe implements type, command -v and command -V.
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
