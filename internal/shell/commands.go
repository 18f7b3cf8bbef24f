package shell

import (
	"bufio"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"fmt"
	"io"
	"iter"
	"path"
	"strconv"
	"strings"
)

// command is a program in /bin.
type command struct {
	// options are the letters of the known options. A colon follows an option that takes a value. A + at the beginning
	// means that options end at the first argument that is not an option.
	options string
	// run runs the command. It returns when the command has ended or p.ctx is done. The command's exit code is the
	// larger one of p.exit and the result of run.
	run func(p *process) int
}

// The constant "own", as the value of command.options, marks a command that parses its arguments itself.
const own = "own"

// commands are the programs in /bin. They print busybox's messages. No command uses a network.
var commands map[string]command

// This function fills the map of commands. The variable cannot have an initializer, because programs such as env run
// other programs, and Go rejects an initializer that refers to the variable itself.
func init() {
	sh := command{own, runShell}
	commands = map[string]command{
		"[":         {own, test},
		"arch":      {own, func(p *process) int { return p.print(machine + "\n") }},
		"ash":       sh,
		"base64":    {"dw:", encodeBase64},
		"basename":  {own, baseName},
		"bash":      sh,
		"cat":       {"u", cat},
		"chmod":     {own, chmod},
		"clear":     {own, func(p *process) int { return p.print("\x1b[H\x1b[J") }},
		"cp":        {"rRafPd", copyFiles},
		"cut":       {"d:f:c:", cut},
		"date":      {"u", date},
		"df":        {"hkT", diskFree},
		"dirname":   {own, func(p *process) int { return p.print(path.Dir(path.Clean(p.arg(1))) + "\n") }},
		"echo":      {own, echo},
		"egrep":     {grepOptions, grepAs('E')},
		"env":       {"+i", env},
		"false":     {own, func(*process) int { return 1 }},
		"fgrep":     {grepOptions, grepAs('F')},
		"find":      {own, find},
		"grep":      {grepOptions, grep},
		"head":      {own, head},
		"hostname":  {"ifs", hostName},
		"id":        {"ugnG", id},
		"kill":      {own, kill},
		"ln":        {"sfn", link},
		"ls":        {"laA1Rdrt", list},
		"md5sum":    {"", digest(md5.New)},
		"mkdir":     {"pm:", makeDirectory},
		"mktemp":    {"d", makeTemporary},
		"mv":        {"f", move},
		"nproc":     {own, func(p *process) int { return p.print(strconv.Itoa(processors) + "\n") }},
		"printenv":  {own, printEnv},
		"printf":    {own, printFormatted},
		"ps":        {own, listProcesses},
		"pwd":       {own, func(p *process) int { return p.print(p.dir + "\n") }},
		"readlink":  {"f", readLink},
		"rm":        {"rRf", removeFiles},
		"rmdir":     {"", removeDirectory},
		"sed":       {"ne:irE", edit},
		"seq":       {"s:", sequence},
		"sh":        sh,
		"sha1sum":   {"", digest(sha1.New)},
		"sha256sum": {"", digest(sha256.New)},
		"sha512sum": {"", digest(sha512.New)},
		"sleep":     {own, sleep},
		"sort":      {"bfnruk:t:", sortLines},
		"stty":      {own, terminalSize},
		"sync":      {own, func(*process) int { return 0 }},
		"tail":      {own, tail},
		"tar":       {own, archive},
		"tee":       {"a", tee},
		"test":      {own, test},
		"timeout":   {"+s:k:", timeout},
		"touch":     {"c", touch},
		"tr":        {"+ds", translate},
		"true":      {own, func(*process) int { return 0 }},
		"tty":       {own, terminalName},
		"uname":     {"asnrvm", systemName},
		"uniq":      {"cdu", unique},
		"uptime":    {own, uptime},
		"wc":        {"lwc", count},
		"which":     {"a", which},
		"whoami":    {own, func(p *process) int { return p.print(userName(p.container.config.UID) + "\n") }},
		"xargs":     {"+0rn:I:", repeat},
		"yes":       {own, yes},
	}
}

// run runs a program in /bin and returns its exit code.
func (p *process) run(name string) (exit int) {
	p.out, p.exit, p.held = bufio.NewWriter(p.stdout), 0, 0
	size := 0
	for _, text := range p.args {
		size += 8*len(text) + 64 // a command may copy its arguments
	}
	for _, text := range p.env {
		size += len(text) + 16
	}
	if !p.take(commandMemory + size) {
		return 1
	}
	defer p.giveBack(0)
	defer func() {
		if failure := recover(); failure != nil {
			exit = p.fail("internal error: %v", failure)
		}
	}()
	command := commands[name]
	if command.options != own && !p.parse(command.options, p.args[1:]) {
		return 1
	}
	exit = max(command.run(p), p.exit)
	if err := p.out.Flush(); err != nil {
		exit = p.writeError(err)
	}
	return exit
}

// print writes to the output of a command. It returns exit code 0.
func (p *process) print(text string) int {
	_, _ = p.out.WriteString(text)
	return 0
}

// writeError prints the error of a failed write. It prints nothing if the reader of the output is gone or the command
// must end.
func (p *process) writeError(err error) int {
	if p.broken.Load() || p.ctx.Err() != nil {
		return 1
	}
	return p.fail("write error: %v", err)
}

// printf writes to the output of a command. It returns false if the reader of the output has gone or the command must
// end.
func (p *process) printf(format string, args ...any) bool {
	_, err := fmt.Fprintf(p.out, format, args...)
	return err == nil && p.ctx.Err() == nil
}

// fail prints an error message and returns 1. It also makes the exit code of the command at least 1.
func (p *process) fail(format string, args ...any) int {
	if p.out != nil {
		_ = p.out.Flush()
	}
	if p.ctx.Err() != nil { // the error may result from the end of the command
		return 1
	}
	fmt.Fprintf(p.stderr, path.Base(p.args[0])+": "+format+"\n", args...)
	p.exit = 1
	return 1
}

// arg returns an argument, or an empty text if it is missing.
func (p *process) arg(i int) string {
	if i < len(p.args) {
		return p.args[i]
	}
	return ""
}

// options maps the letter of each given option to its argument. If an option is given twice, its last argument counts.
type options map[rune]string

func (o options) has(option rune) bool { _, found := o[option]; return found }

// number returns an option's value as a number: fallback if the option is missing, and -1 if the value is not a number.
func (o options) number(option rune, fallback int) int {
	value, found := o[option]
	if !found {
		return fallback
	}
	n, err := strconv.Atoi(value)
	if err != nil {
		return -1
	}
	return n
}

// longOptions maps each long option to the letter of the short option with the same meaning.
var longOptions = map[string]string{
	"all": "a", "decode": "d", "utc": "u", "recursive": "r", "ignore-case": "i",
	"create": "c", "extract": "x", "list": "t", "file": "f", "directory": "C", "gzip": "z", "verbose": "v",
	"no-same-owner": "o", "no-same-permissions": "p",
}

// parse parses the options and operands of a command. It returns false, and prints an error, if an option is unknown or
// its argument is missing.
func (p *process) parse(known string, args []string) bool {
	p.options, p.operands = options{}, nil
	known, inOrder := strings.CutPrefix(known, "+")
	for len(args) > 0 {
		arg := args[0]
		args = args[1:]
		switch {
		case arg == "--":
			p.operands = append(p.operands, args...)
			return true
		case len(arg) < 2 || arg[0] != '-':
			p.operands = append(p.operands, arg)
			if inOrder {
				p.operands = append(p.operands, args...)
				return true
			}
			continue
		}
		if name, value, valued := strings.Cut(strings.TrimPrefix(arg, "--"), "="); longOptions[name] != "" {
			if arg = "-" + longOptions[name]; valued {
				arg += value
			}
		}
		for i, option := range arg[1:] {
			_, after, found := strings.Cut(known, string(option))
			if !found || option == ':' {
				p.fail("unrecognized option: %s", strings.TrimPrefix(arg[1+i:], "-"))
				return false
			}
			p.options[option] = ""
			if !strings.HasPrefix(after, ":") {
				continue
			}
			value := arg[1+i+1:]
			if value == "" {
				if len(args) == 0 {
					p.fail("option requires an argument: %c", option)
					return false
				}
				value, args = args[0], args[1:]
			}
			p.options[option] = value
			break
		}
	}
	return true
}

// each calls the function "do" for each operand, and prints the errors that the function returns. The argument "format"
// is the format of a message that consists of the operand and the error.
func (p *process) each(format string, do func(name string) error) int {
	if len(p.operands) == 0 {
		return p.fail("missing operand")
	}
	for _, name := range p.operands {
		if err := do(name); err != nil {
			p.fail(format, name, err)
		}
	}
	return p.exit
}

// flusher is an input that flushes the command's output whenever the next Read may block.
type flusher struct {
	from io.Reader
	to   *bufio.Writer
}

func (f flusher) Read(b []byte) (int, error) {
	if err := f.to.Flush(); err != nil {
		return 0, err
	}
	return f.from.Read(b)
}

// inputs opens files and yields their names and contents. Without names it yields stdin. It prints an error for each
// file that cannot be opened.
func (p *process) inputs(names []string) iter.Seq2[string, io.Reader] {
	if len(names) == 0 {
		names = []string{"-"}
	}
	return func(yield func(string, io.Reader) bool) {
		for _, name := range names {
			file, err := p.open(name)
			if err != nil {
				p.fail("can't open '%s': %v", name, err)
				continue
			}
			more := yield(name, flusher{file, p.out})
			if handleOf(file).close(); !more {
				return
			}
		}
	}
}

// lines yields the names and lines of files, or the lines of stdin if there are no names. Each line includes its line
// end, if it has one. Errors are printed.
func (p *process) lines(names []string) iter.Seq2[string, string] {
	return func(yield func(name, line string) bool) {
		for name, file := range p.inputs(names) {
			for line := range p.linesOf(name, file) {
				if !yield(name, line) {
					return
				}
			}
		}
	}
}

// linesOf yields the lines of one input, including their line ends.
func (p *process) linesOf(name string, from io.Reader) iter.Seq[string] {
	return func(yield func(line string) bool) {
		in := bufio.NewReader(from)
		var line []byte
		const short = 1000 // needs no memory of its own
		longest := short
		defer func() { p.giveBack(p.held - byteOfLine*(longest-short)) }()
		for p.ctx.Err() == nil && !p.broken.Load() {
			part, err := in.ReadSlice('\n')
			p.meter.tick(p.ctx)
			if line = append(line, part...); len(line) > maxLine {
				err = errTooLong
			}
			if len(line) > longest {
				if !p.take(byteOfLine * (len(line) - longest)) {
					return
				}
				longest = len(line)
			}
			switch {
			case err == bufio.ErrBufferFull:
				continue
			case err != nil && err != io.EOF:
				p.fail("%s: %v", name, err)
				return
			case len(line) > 0 && !yield(string(line)) || err == io.EOF:
				return
			}
			line = line[:0]
		}
	}
}
