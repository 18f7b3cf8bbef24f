package shell

import (
	"cmp"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"mvdan.cc/sh/v3/expand"
	"mvdan.cc/sh/v3/syntax"
)

// builtins are the commands that read or change the state of the shell. Each function returns an exit code.
var builtins map[string]func(sh *interpreter, args []string) int

// shellCommands are the programs in /bin that are also builtins of the shell. The shell runs them even if PATH does not
// contain /bin.
var shellCommands = map[string]bool{"[": true, "echo": true, "false": true, "kill": true, "printf": true, "test": true,
	"true": true}

// This function fills the map of builtins. The variable cannot have an initializer, because builtins such as eval run
// other builtins, and Go rejects an initializer that refers to the variable itself.
func init() {
	builtins = map[string]func(*interpreter, []string) int{
		":":        func(*interpreter, []string) int { return 0 },
		".":        source,
		"break":    leaveLoop(breakLoop),
		"cd":       changeDirectory,
		"command":  runCommand,
		"continue": leaveLoop(continueLoop),
		"eval":     evaluate,
		"exec":     execute,
		"exit":     jumpWith(exitShell),
		"pwd":      func(sh *interpreter, _ []string) int { return sh.print(sh.dir + "\n") },
		"read":     readVariables,
		"return":   jumpWith(returnFunction),
		"set":      setOptions,
		"shift":    shift,
		"source":   source,
		"trap":     setTrap,
		"type":     func(sh *interpreter, args []string) int { return sh.describe(args[1:], "-V") },
		"unset":    unset,
		"wait":     await,
	}
}

// print writes to the shell's standard output and returns the exit code.
func (sh *interpreter) print(text string) int {
	_, err := io.WriteString(sh.stdout, text)
	return oneIf(err != nil)
}

// usage prints an error about the arguments of a builtin, and returns exit code 2.
func (sh *interpreter) usage(format string, args ...any) int {
	sh.say(format, args...)
	return 2
}

// number parses the number after a builtin such as exit. If there is none, it returns the fallback.
func (sh *interpreter) number(args []string, fallback int) (n int, ok bool) {
	if len(args) < 2 {
		return fallback, true
	}
	n, err := strconv.Atoi(args[1])
	if err != nil || n < 0 {
		return sh.usage("%s: Illegal number: %s", args[0], args[1]), false
	}
	return n, true
}

func jumpWith(to jump) func(*interpreter, []string) int {
	return func(sh *interpreter, args []string) int {
		n, _ := sh.number(args, sh.status)
		sh.jump = to
		return n & 0xff
	}
}

func leaveLoop(to jump) func(*interpreter, []string) int {
	return func(sh *interpreter, args []string) int {
		n, ok := sh.number(args, 1)
		if ok && sh.loops > 0 {
			sh.jump, sh.levels = to, min(max(n, 1), sh.loops)
		}
		return oneIf(!ok)
	}
}

func shift(sh *interpreter, args []string) int {
	n, ok := sh.number(args, 1)
	if !ok || n > len(sh.params) {
		return 1
	}
	sh.params = sh.params[n:]
	return 0
}

func evaluate(sh *interpreter, args []string) int {
	sh.status = 0
	sh.eval(strings.Join(args[1:], " "))
	return sh.status
}

// source implements the builtins "." and "source": it runs a script file in this shell. Arguments after the file name
// become the parameters of the script. Without such arguments, the script uses the parameters of the shell, and may
// change them.
func source(sh *interpreter, args []string) int {
	if len(args) < 2 {
		return sh.usage(".: filename argument required")
	}
	text, err := sh.container.files.script(sh.path(args[1]))
	if err != nil {
		return sh.usage(".: can't open '%s': %v", args[1], err)
	}
	sh.status = 0
	if len(args) > 2 {
		sh.withParams(args[2:], func() { sh.eval(text) })
	} else {
		sh.eval(text)
	}
	if sh.jump == returnFunction {
		sh.jump = noJump
	}
	return sh.status
}

// runCommand implements the builtin "command": it runs a builtin or program even if a function has the same name.
func runCommand(sh *interpreter, args []string) int {
	for len(args) > 1 && strings.HasPrefix(args[1], "-") {
		switch option := args[1]; {
		case option == "-v" || option == "-V":
			return sh.describe(args[2:], option)
		case option != "--" && option != "-p":
			return sh.usage("%s: %s: invalid option", args[0], option)
		}
		args = args[1:]
	}
	if len(args) < 2 {
		return 0
	}
	return sh.call(args[1:])
}

// describe implements the builtins "type" and "command -V", which print what each command is (for example, a shell
// function). It also implements "command -v", which prints only the path or the name of each command.
func (sh *interpreter) describe(names []string, option string) int {
	sh.env = sh.exported()
	exit := 0
	for _, name := range names {
		what, brief := "a shell builtin", name
		file, err := sh.lookPath(name)
		switch {
		case syntax.IsKeyword(name):
			what = "a shell keyword"
		case sh.funcs[name] != nil:
			what = "a shell function"
		case builtins[name] != nil || shellCommands[name] || slices.Contains(declarations, name):
		case err == nil:
			what, brief = file, file
		default:
			if exit = 127; option == "-V" {
				sh.say("%s: not found", name)
			}
			continue
		}
		if option == "-V" {
			brief = name + " is " + what
		}
		sh.print(brief + "\n")
	}
	return exit
}

// declarations are the builtins that the parser does not treat as ordinary commands. The method "declare" implements
// them.
var declarations = []string{"declare", "export", "local", "readonly"}

func changeDirectory(sh *interpreter, args []string) int {
	args = slices.DeleteFunc(args[1:], func(arg string) bool { return arg == "-P" || arg == "-L" || arg == "--" })
	to := sh.vars["HOME"].Str
	if len(args) > 0 {
		to = args[0]
	}
	if to == "-" {
		if to = sh.vars["OLDPWD"].Str; to == "" {
			return sh.usage("cd: OLDPWD not set")
		}
		sh.print(to + "\n")
	}
	dir := sh.path(cmp.Or(to, "."))
	info, err := sh.stat(dir)
	if err == nil && !info.IsDir() {
		err = errNotDirectory
	}
	if err != nil {
		return sh.usage("cd: can't cd to %s: %v", to, err)
	}
	old := sh.dir
	sh.dir = dir
	_ = sh.set("OLDPWD", old)
	_ = sh.set("PWD", sh.dir)
	return 0
}

// execute implements the builtin "exec". With a command, it runs the command and then ends the shell. Without a
// command, it makes the redirections permanent.
func execute(sh *interpreter, args []string) int {
	if len(args) < 2 {
		sh.keepFiles = true
		return 0
	}
	exit := sh.call(args[1:])
	sh.exitAction, sh.jump = "", exitShell
	return exit
}

// setFlags maps each option letter of the builtin set to the name of the option, for example e to errexit.
var setFlags = map[rune]string{'a': "allexport", 'e': "errexit", 'f': "noglob", 'u': "nounset", 'x': "xtrace"}

func setOptions(sh *interpreter, args []string) int {
	args = args[1:]
	for len(args) > 0 && len(args[0]) > 1 && (args[0][0] == '-' || args[0][0] == '+') {
		arg := args[0]
		args = args[1:]
		if arg == "--" {
			sh.setParams(args)
			return 0
		}
		for _, letter := range arg[1:] {
			name := setFlags[letter]
			if letter == 'o' && len(args) > 0 {
				name, args = args[0], args[1:]
			}
			if name != "pipefail" && !slices.Contains(slices.Collect(maps.Values(setFlags)), name) {
				return sh.usage("set: %c%c: invalid option", arg[0], letter)
			}
			sh.flags[name] = arg[0] == '-'
		}
	}
	if len(args) > 0 {
		sh.setParams(args)
	}
	return 0
}

// setTrap implements the builtin "trap". It keeps only the action for EXIT, because no shell handles signals here.
func setTrap(sh *interpreter, args []string) int {
	args = slices.DeleteFunc(args[1:], func(arg string) bool { return arg == "--" })
	if slices.Contains(args, "EXIT") || slices.Contains(args, "0") {
		action := args[0]
		if len(args) == 1 || action == "-" {
			action = ""
		}
		if sh.keep(len(action) - len(sh.exitAction)) {
			sh.exitAction = action
		}
	}
	return 0
}

func unset(sh *interpreter, args []string) int {
	functions := false
	for _, arg := range args[1:] {
		switch {
		case arg == "-f" || arg == "-v":
			functions = arg == "-f"
		case functions:
			sh.define(arg, nil)
		case sh.vars[arg].ReadOnly:
			return sh.usage("unset: %s: readonly variable", arg)
		case !syntax.ValidName(arg):
			return sh.usage("unset: %s: bad variable name", arg)
		default:
			sh.put(arg, expand.Variable{})
		}
	}
	return 0
}

// await implements the builtin "wait". It waits for all background commands, or for those with the given PIDs.
func await(sh *interpreter, args []string) int {
	defer sh.meter.skip()
	exit := 0
	for _, job := range sh.jobs {
		if len(args) > 1 && !slices.Contains(args[1:], strconv.Itoa(job.pid)) {
			continue
		}
		select {
		case <-job.done:
			if len(args) > 1 {
				exit = job.exit
			}
		case <-sh.ctx.Done():
			return 1
		}
	}
	return exit
}

// readVariables implements the builtin "read". It reads byte by byte, so that the next command gets the rest of the
// input.
func readVariables(sh *interpreter, args []string) int {
	p := sh.process
	p.args = args
	if !p.parse("+rp:", args[1:]) {
		return 2
	}
	o, names := p.options, p.operands
	_, _ = io.WriteString(sh.stderr, o['p'])
	line, ended := readLine(&guardedReader{sh.ctx, sh.stdin, sh.meter}, o.has('r'), maxCapture)
	if len(line) >= maxCapture {
		sh.session.fail("sh: out of memory: read: the line is too long", 2)
		return 2
	}
	if !sh.take(byteOfExpansion * len(line)) {
		return 2
	}
	line = strings.ReplaceAll(line, "\x00", "")
	values := []string{line}
	if len(names) == 0 {
		names = []string{"REPLY"}
	} else {
		values = expand.ReadFields(&expand.Config{Env: environment{sh}}, line, len(names), o.has('r'))
	}
	values = append(values, make([]string, len(names))...)
	for i, name := range names {
		if err := sh.set(name, values[i]); err != nil {
			return sh.usage("read: %v", err)
		}
	}
	return oneIf(ended)
}

// readLine returns a line without its line end. The second result is true if the input ended before the end of the
// line.
func readLine(in io.Reader, raw bool, most int) (string, bool) {
	var line []byte
	escaped := false
	for len(line) < most {
		var c [1]byte
		if n, err := in.Read(c[:]); n == 0 {
			if err == nil {
				continue
			}
			return string(line), true
		}
		switch {
		case !raw && escaped && c[0] == '\n':
			line = line[:len(line)-1]
			escaped = false
			continue
		case c[0] == '\n':
			return string(line), false
		}
		escaped = !raw && c[0] == '\\' && !escaped
		line = append(line, c[0])
	}
	return string(line), false
}
