package shell

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync/atomic"

	"mvdan.cc/sh/v3/expand"
	"mvdan.cc/sh/v3/syntax"
)

// interpreter is a shell or subshell. It runs scripts parsed by package syntax, and expands words with package expand.
type interpreter struct {
	process
	// life is a context that is done when the shell ends. On a terminal, process.ctx is done earlier: at the end of the
	// current line's commands, for example after ^C.
	life   context.Context
	name   string // $0
	params []string
	// The field "paramsMemory" is the memory of params. It is a part of the memory in the field "kept".
	paramsMemory int
	vars         map[string]expand.Variable
	funcs        map[string]*syntax.Stmt
	// locals are the values that local variables of the current function hide. It is nil outside of functions.
	locals map[string]expand.Variable
	flags  map[string]bool // options of the builtin set, such as errexit
	jobs   []*job
	// exitAction is the script that runs at the end of the shell, as set with trap.
	exitAction string

	status      int // $?
	substituted int // the exit code of the last $( )
	// While the field "unchecked" is above 0, a failing command does not end the shell, even if errexit is set.
	unchecked int
	loops     int // the number of loops around the current command
	jump      jump
	levels    int  // the number of loops that a pending break or continue still has to leave
	keepFiles bool // exec has made the redirections of its statement permanent
	budget    int  // the bytes that the expansions of the current statement may still use
	kept      int  // the memory of variables, functions, parameters and jobs; process.held has the rest
	variables int  // the size of all functions, and of all variables beyond the initial environment
}

// jump is a pending break, continue, return or exit. While a jump is pending, statements do not run.
type jump int

const (
	noJump jump = iota
	breakLoop
	continueLoop
	returnFunction
	exitShell
)

// job is a background command.
type job struct {
	pid  int
	done chan struct{}
	exit int
}

// newInterpreter returns a shell for a process such as sh. The environment of the process becomes its variables. The
// caller must call free when the shell has ended.
func newInterpreter(p *process, name string, params []string) *interpreter {
	sh := &interpreter{
		process: *p, life: p.ctx, name: name, params: params, vars: map[string]expand.Variable{},
		funcs: map[string]*syntax.Stmt{}, flags: map[string]bool{},
	}
	for _, entry := range p.env {
		name, value, _ := strings.Cut(entry, "=")
		sh.vars[name] = expand.Variable{Set: true, Kind: expand.String, Str: value, Exported: true}
	}
	sh.vars["PWD"] = expand.Variable{Set: true, Kind: expand.String, Str: p.dir, Exported: true}
	sh.held = 0
	sh.take(200 * len(sh.vars))
	sh.retain()
	return sh
}

// subshell returns a copy of the shell with other streams, to run a ( ), a $( ), a side of a pipe, or a background
// command. The caller must call free when the subshell has ended.
func (sh *interpreter) subshell(stdin io.Reader, stdout, stderr io.Writer) *interpreter {
	sub := *sh
	sub.stdin, sub.stdout, sub.stderr, sub.held, sub.kept, sub.paramsMemory = stdin, stdout, stderr, 0, 0, 0
	sub.take(subshellMemory + 200*(len(sh.vars)+len(sh.funcs)))
	sub.retain()
	sub.vars, sub.funcs, sub.flags = maps.Clone(sh.vars), maps.Clone(sh.funcs), maps.Clone(sh.flags)
	if sh.locals != nil {
		sub.locals = map[string]expand.Variable{}
	}
	sub.exitAction, sub.jobs = "", nil
	return &sub
}

// retain keeps the files that the shell uses as its streams open until closeStreams is called.
func (sh *interpreter) retain() {
	for _, h := range sh.handles() {
		h.retain()
	}
}

func (sh *interpreter) closeStreams() {
	for _, h := range sh.handles() {
		h.close()
	}
}

func (sh *interpreter) handles() [3]*handle {
	return [3]*handle{handleOf(sh.stdin), handleOf(sh.stdout), handleOf(sh.stderr)}
}

// free releases the files and the memory of a shell that has ended.
func (sh *interpreter) free() {
	sh.closeStreams()
	sh.giveBack(0)
	sh.keep(-sh.kept)
}

// keep adds a number of bytes, which may be negative, to the memory that the shell takes until it ends. It never gives
// back more than the shell itself has taken: if a subshell removes a variable, the outer shell still has the variable.
func (sh *interpreter) keep(n int) bool {
	n = max(n, -sh.kept)
	switch {
	case n < 0:
		sh.session.give(-n)
	case !sh.session.take(n):
		return false
	}
	sh.kept += n
	return true
}

func (sh *interpreter) setParams(params []string) {
	size := 0
	for _, param := range params {
		size += len(param) + 32
	}
	if sh.keep(size - sh.paramsMemory) {
		sh.params, sh.paramsMemory = params, size
	}
}

// say prints an error message of the shell. It prints nothing after the end of the context.
func (sh *interpreter) say(format string, args ...any) {
	if sh.ctx.Err() != nil {
		return
	}
	fmt.Fprintf(sh.stderr, "sh: "+format+"\n", args...)
}

// stopped reports whether the shell must skip the next statements, for example after break or exit.
func (sh *interpreter) stopped() bool {
	return sh.jump != noJump || sh.ctx.Err() != nil || sh.broken.Load()
}

// leave runs the action that trap has set for EXIT, and returns the exit code of the shell.
func (sh *interpreter) leave() int {
	if action := sh.exitAction; action != "" {
		status := sh.status
		sh.exitAction, sh.jump = "", noJump
		if sh.eval(action); sh.jump != exitShell {
			sh.status = status
		}
	}
	if sh.broken.Load() {
		return 128 + sigPipe
	}
	return sh.status
}

// eval parses a script and runs it in this shell.
func (sh *interpreter) eval(text string) {
	file, err := sh.parse(text)
	if err != nil {
		sh.complain(err)
		return
	}
	sh.stmts(file.Stmts)
}

// parse parses a script. The script takes memory until the current statement ends.
func (sh *interpreter) parse(text string) (*syntax.File, error) {
	before := sh.held
	if !sh.take(byteOfScript * min(len(text), maxScript)) {
		return nil, errTooLong
	}
	file, err := parse(text)
	sh.giveBack(before)
	if err == nil && !sh.take(len(text)+nodeOfScript*nodes(file)) {
		err = errTooLong
	}
	return file, err
}

// nodes returns the number of nodes in a part of a parsed script.
func nodes(of syntax.Node) (n int) {
	syntax.Walk(of, func(syntax.Node) bool {
		n++
		return true
	})
	return n
}

func (sh *interpreter) stmts(stmts []*syntax.Stmt) {
	for _, stmt := range stmts {
		sh.stmt(stmt)
	}
}

// The method "condition" runs statements, and reports whether they succeeded. Their failure does not end the shell.
func (sh *interpreter) condition(stmts ...*syntax.Stmt) bool {
	sh.unchecked++
	sh.stmts(stmts)
	sh.unchecked--
	return (sh.status == 0 || len(stmts) == 0) && !sh.stopped()
}

func (sh *interpreter) stmt(stmt *syntax.Stmt) {
	if sh.stopped() {
		return
	}
	if tooDeep() {
		sh.session.fail("sh: "+errTooDeep.Error(), 2)
		return
	}
	sh.meter.tick(sh.ctx)
	if stmt.Background || stmt.Disown {
		sh.background(stmt)
		return
	}
	before := sh.held
	if sh.take(statementMemory) {
		sh.run(stmt)
	}
	sh.giveBack(before)
}

// run runs a statement in the foreground.
func (sh *interpreter) run(stmt *syntax.Stmt) {
	sh.budget = maxExpansion
	outer := sh.process
	if len(stmt.Redirs) > 0 {
		sh.retain()
	}
	switch {
	case !sh.redirect(stmt.Redirs):
		sh.status = 1
	case stmt.Negated:
		sh.unchecked++
		sh.command(stmt.Cmd)
		sh.unchecked--
		sh.status = oneIf(sh.status == 0)
	case stmt.Cmd == nil:
		sh.status = 0
	default:
		sh.command(stmt.Cmd)
	}
	if len(stmt.Redirs) > 0 && sh.keepFiles {
		for _, stream := range []any{outer.stdin, outer.stdout, outer.stderr} {
			handleOf(stream).close()
		}
	} else if len(stmt.Redirs) > 0 {
		sh.closeStreams()
		sh.stdin, sh.stdout, sh.stderr = outer.stdin, outer.stdout, outer.stderr
	}
	sh.keepFiles = false
	if list, ok := stmt.Cmd.(*syntax.BinaryCmd); ok && (list.Op == syntax.AndStmt || list.Op == syntax.OrStmt) {
		return
	}
	if sh.flags["errexit"] && sh.status != 0 && !stmt.Negated && sh.unchecked == 0 && sh.jump == noJump {
		sh.jump = exitShell
	}
}

func oneIf(b bool) int {
	if b {
		return 1
	}
	return 0
}

// background starts a background command in a goroutine, and gives it a PID with which kill can end it.
func (sh *interpreter) background(stmt *syntax.Stmt) {
	inner := *stmt
	inner.Background, inner.Disown = false, false
	life, kill := context.WithCancelCause(sh.life)
	broken := new(atomic.Bool)
	meter := newMeter(sh.session)
	stdout := &guardedWriter{life, unmeteredWriter(sh.stdout), broken, meter}
	sub := sh.subshell(nothing{}, stdout, unmeteredWriter(sh.stderr))
	sub.args, sub.life, sub.ctx, sub.kill, sub.broken, sub.meter = []string{"sh"}, life, life, kill, broken, meter
	// Keep the exit codes of the newest commands only.
	const most = 1000
	if len(sh.jobs) >= most {
		sh.jobs = slices.Delete(sh.jobs, 0, 1)
	}
	started := &job{pid: sh.container.register(&sub.process), done: make(chan struct{})}
	sh.jobs = append(sh.jobs, started)
	sh.status = 0
	end := func() {
		sub.free()
		sh.container.unregister(started.pid)
		sub.kill(nil)
		close(started.done)
	}
	if !sh.session.spawn(func() {
		defer end()
		sub.stmt(&inner)
		started.exit = sub.leave()
		if killed, ok := context.Cause(sub.ctx).(signal); ok {
			started.exit = 128 + int(killed)
		}
	}) {
		end()
	}
}

// redirect opens the files of redirections. After an error it prints the error and returns false.
func (sh *interpreter) redirect(redirs []*syntax.Redirect) bool {
	for _, redir := range redirs {
		if err := sh.redirectOne(redir); err != nil {
			sh.say("%v", err)
			return false
		}
	}
	return true
}

func (sh *interpreter) redirectOne(redir *syntax.Redirect) error {
	fd := "1"
	switch redir.Op {
	case syntax.RdrIn, syntax.DplIn, syntax.Hdoc, syntax.DashHdoc, syntax.WordHdoc, syntax.RdrInOut:
		fd = "0"
	}
	input := fd == "0"
	if redir.N != nil {
		fd = redir.N.Value
	}
	if fd != "0" && fd != "1" && fd != "2" || (fd == "0") != input {
		return fmt.Errorf("%s: only the file descriptors 0, 1 and 2 are supported", fd)
	}
	if redir.Hdoc != nil {
		text, err := expanded(sh, func(c *expand.Config) (string, error) { return expand.Document(c, redir.Hdoc) })
		if err != nil {
			return err
		}
		return sh.readText(text)
	}
	name, err := sh.literal(redir.Word)
	if err != nil {
		return err
	}
	var to io.Writer
	all := redir.Op == syntax.RdrAll || redir.Op == syntax.AppAll
	switch redir.Op {
	case syntax.Hdoc, syntax.DashHdoc: // without a line
		sh.setStdin(nothing{})
	case syntax.WordHdoc:
		return sh.readText(name + "\n")
	case syntax.RdrIn, syntax.RdrInOut:
		from, err := sh.open(name)
		if err != nil {
			return fmt.Errorf("can't open %s: %w", name, err)
		}
		sh.setStdin(from)
	case syntax.DplIn, syntax.DplOut:
		to = map[string]io.Writer{"1": sh.stdout, "2": sh.stderr, "-": io.Discard}[name]
		if !input {
			handleOf(to).retain()
		}
		switch {
		case input && name == "-":
			sh.setStdin(nothing{})
		case !input && to == nil || input && name != "0":
			return fmt.Errorf("%s: bad file descriptor", name)
		}
	case syntax.AppOut, syntax.AppAll:
		to, err = sh.create(name, openAppend)
	default:
		to, err = sh.create(name, openNew)
	}
	if err != nil {
		return fmt.Errorf("can't create %s: %w", name, err)
	}
	if all {
		handleOf(to).retain()
	}
	if !input && (fd == "1" || all) {
		handleOf(sh.stdout).close()
		sh.stdout = to
	}
	if !input && (fd == "2" || all) {
		handleOf(sh.stderr).close()
		sh.stderr = to
	}
	return nil
}

func (sh *interpreter) setStdin(from io.Reader) {
	handleOf(sh.stdin).close()
	sh.stdin = from
}

// readText makes a text the standard input of the shell, for a here-document.
func (sh *interpreter) readText(text string) error {
	file, err := sh.container.files.textFile(text, sh.container.files.quota)
	if err != nil {
		return fmt.Errorf("can't create a here-document: %w", err)
	}
	sh.setStdin(file)
	return nil
}

// command runs one command and sets $?.
func (sh *interpreter) command(command syntax.Command) {
	switch command := command.(type) {
	case *syntax.CallExpr:
		sh.simple(command)
	case *syntax.Block:
		sh.stmts(command.Stmts)
	case *syntax.Subshell:
		sub := sh.subshell(sh.stdin, sh.stdout, sh.stderr)
		defer sub.free()
		sub.stmts(command.Stmts)
		sh.status = sub.leave()
	case *syntax.BinaryCmd:
		sh.binary(command)
	case *syntax.IfClause:
		for clause := command; clause != nil; clause = clause.Else {
			if sh.condition(clause.Cond...) {
				sh.stmts(clause.Then)
				return
			}
			if sh.stopped() {
				return
			}
		}
		sh.status = 0
	case *syntax.WhileClause:
		status := 0
		for sh.condition(command.Cond...) != command.Until && !sh.stopped() {
			again := sh.loop(command.Do)
			if status = sh.status; !again {
				break
			}
		}
		if sh.jump == noJump {
			sh.status = status
		}
	case *syntax.ForClause:
		sh.forLoop(command)
	case *syntax.CaseClause:
		sh.choose(command)
	case *syntax.FuncDecl:
		sh.define(command.Name.Value, command.Body)
		sh.status = 0
	case *syntax.TestClause:
		yes, err := sh.condTest(command.X)
		sh.finish(oneIf(!yes)+oneIf(err != nil), err)
	case *syntax.ArithmCmd:
		n, err := sh.arithmetic(command.X)
		sh.finish(oneIf(n == 0), err)
	case *syntax.DeclClause:
		sh.finish(0, sh.declare(command))
	default:
		sh.finish(2, errUnsupported)
	}
}

// errUnsupported is the error for unsupported parts of bash, such as select, let, coproc and time.
var errUnsupported = errors.New("syntax error: select, let, coproc, time, for (( )), ;& and ;;& are not supported")

// finish sets $? to an exit code. If err is not nil, finish also prints it.
func (sh *interpreter) finish(status int, err error) {
	if sh.status = status; err != nil {
		sh.failed(err)
	}
}

func (sh *interpreter) binary(command *syntax.BinaryCmd) {
	switch command.Op {
	case syntax.AndStmt, syntax.OrStmt:
		if ok := sh.condition(command.X); ok == (command.Op == syntax.AndStmt) {
			sh.stmt(command.Y)
		}
		return
	}
	in, out := io.Pipe()
	defer in.Close() // ends the left side even if the right side panics
	broken := new(atomic.Bool)
	meter := newMeter(sh.session)
	leftOut, leftErr := io.Writer(&guardedWriter{sh.ctx, out, broken, meter}), unmeteredWriter(sh.stderr)
	if command.Op == syntax.PipeAll {
		leftErr = leftOut
	}
	left := sh.subshell(unmeteredReader(sh.stdin), leftOut, leftErr)
	right := sh.subshell(in, sh.stdout, sh.stderr)
	left.broken, left.meter = broken, meter
	defer right.free()
	leftExit := make(chan int, 1)
	if !sh.session.spawn(func() {
		defer close(leftExit)
		defer out.Close()
		defer left.free()
		left.stmt(command.X)
		leftExit <- left.leave()
	}) {
		left.free()
		return
	}
	right.stmt(command.Y)
	sh.status = right.leave()
	_ = in.Close()
	exit := <-leftExit
	sh.meter.skip()
	if sh.flags["pipefail"] && sh.status == 0 {
		sh.status = exit
	}
}

// loop runs one iteration of a loop. It reports whether more iterations may follow.
func (sh *interpreter) loop(body []*syntax.Stmt) bool {
	sh.loops++
	sh.stmts(body)
	sh.loops--
	if sh.jump == breakLoop || sh.jump == continueLoop {
		if sh.levels--; sh.levels > 0 {
			return false
		}
		goesOn := sh.jump == continueLoop
		sh.jump = noJump
		return goesOn
	}
	return !sh.stopped()
}

func (sh *interpreter) forLoop(command *syntax.ForClause) {
	loop, ok := command.Loop.(*syntax.WordIter)
	if !ok || command.Select {
		sh.finish(2, errUnsupported)
		return
	}
	items, err := sh.params, error(nil)
	if loop.InPos.IsValid() {
		items, err = sh.fields(loop.Items)
	}
	sh.finish(0, err)
	for _, item := range items {
		if err := sh.set(loop.Name.Value, item); err != nil {
			sh.finish(1, err)
			return
		}
		if !sh.loop(command.Do) {
			return
		}
	}
}

func (sh *interpreter) choose(command *syntax.CaseClause) {
	text, err := sh.literal(command.Word)
	sh.finish(0, err)
	for _, item := range command.Items {
		for _, pattern := range item.Patterns {
			found, err := sh.matches(pattern, text)
			if err != nil {
				sh.finish(1, err)
				return
			}
			if found && item.Op != syntax.Break { // ;& or ;;&
				sh.finish(2, errUnsupported)
				return
			}
			if found {
				sh.stmts(item.Stmts)
				return
			}
		}
	}
}

// simple runs a simple command: assignments, or a command with its arguments, or both.
func (sh *interpreter) simple(command *syntax.CallExpr) {
	sh.substituted = 0
	args, err := sh.fields(command.Args)
	if err != nil {
		sh.finish(1, err)
		return
	}
	// An assignment before a command, as in LANG=C sort, applies to this command only. The map "hidden" keeps the
	// previous values of the assigned variables, which are restored afterwards.
	hidden := map[string]expand.Variable{}
	for _, assign := range command.Assigns {
		name := assign.Name.Value
		old := sh.vars[name]
		if err := sh.assign(assign); err != nil {
			sh.finish(1, err)
			return
		}
		if len(args) > 0 {
			if _, found := hidden[name]; !found {
				hidden[name] = old
				sh.hide(name, old)
			}
			v := sh.vars[name]
			v.Exported = true
			sh.vars[name] = v
		}
	}
	if len(args) == 0 {
		sh.status = sh.substituted
		return
	}
	if sh.flags["xtrace"] {
		fmt.Fprintln(sh.stderr, "+ "+strings.Join(args, " "))
	}
	if body := sh.funcs[args[0]]; body != nil {
		sh.function(body, args[1:])
	} else {
		sh.status = sh.call(args)
	}
	for name, old := range hidden {
		sh.unhide(name, old)
	}
}

// function calls a shell function.
func (sh *interpreter) function(body *syntax.Stmt, args []string) {
	locals, loops := sh.locals, sh.loops
	sh.locals, sh.loops = map[string]expand.Variable{}, 0
	sh.withParams(args, func() { sh.stmt(body) })
	if sh.jump == returnFunction {
		sh.jump = noJump
	}
	for name, old := range sh.locals {
		sh.unhide(name, old)
	}
	sh.locals, sh.loops = locals, loops
}

// withParams replaces the parameters of the shell, calls the function "do", and then restores the previous parameters.
// The function "do" may change the parameters, too.
func (sh *interpreter) withParams(params []string, do func()) {
	outer, outerMemory := sh.params, sh.paramsMemory
	sh.params, sh.paramsMemory = params, 0
	do()
	sh.keep(-sh.paramsMemory)
	sh.params, sh.paramsMemory = outer, outerMemory
}

// call runs a builtin or a program, and returns the exit code.
func (sh *interpreter) call(args []string) int {
	name := args[0]
	if builtin, found := builtins[name]; found {
		return builtin(sh, args)
	}
	p := sh.process
	p.args, p.env = args, sh.exported()
	defer sh.giveBack(sh.held)
	if !sh.take(sizeOf(p.env)) {
		return 2
	}
	if shellCommands[name] {
		return p.run(name)
	}
	switch exit, err := sh.session.start(sh.ctx, &p); {
	case err == errPermission || err == errIsDirectory:
		sh.say("%s: %v", name, errPermission)
		return 126
	case err == errFormat:
		sh.say("%s: %v", name, err)
		return 126
	case err != nil:
		sh.say("%s: not found", name)
		return 127
	default:
		return exit
	}
}

// substitute runs the commands in a $( ) and writes their output to a writer.
func (sh *interpreter) substitute(to io.Writer, subst *syntax.CmdSubst) error {
	out := &buffer{session: sh.session, left: maxCapture,
		full: func() { sh.session.fail("sh: out of memory: $( ) gives too much", 2) }}
	defer out.close()
	sub := sh.subshell(sh.stdin, out, sh.stderr)
	defer sub.free()
	sub.broken = new(atomic.Bool)
	sub.stmts(subst.Stmts)
	sh.substituted = sub.leave()
	text := out.String()
	sh.charge(len(text))
	_, err := io.WriteString(to, text)
	return err
}

// complain prints the error of a script that cannot be parsed, and sets $? to 2.
func (sh *interpreter) complain(err error) {
	sh.status = 2
	if err == errTooDeep {
		sh.session.fail("sh: "+err.Error(), 2)
		return
	}
	sh.say("%s", syntaxMessage(err))
}
