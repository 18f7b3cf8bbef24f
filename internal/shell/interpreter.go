package shell

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"strings"
	"sync/atomic"

	"mvdan.cc/sh/v3/expand"
	"mvdan.cc/sh/v3/syntax"
)

// interpreter is one shell or subshell: it runs what package syntax has parsed, with the help of package expand.
type interpreter struct {
	process
	life   context.Context // when the shell ends; ctx may end earlier, with a line on a terminal
	name   string          // $0
	params []string
	vars   map[string]expand.Variable
	funcs  map[string]*syntax.Stmt
	locals map[string]expand.Variable // what a function's local variables hide; nil outside of functions
	flags  map[string]bool            // options of the builtin set, such as errexit
	jobs   []*job
	// exitAction is what runs at the end of the shell; see trap.
	exitAction string

	status      int // $?
	substituted int // the exit code of the last $( )
	unchecked   int // above 0 where a failure must not end the shell in spite of errexit
	loops       int // the loops around the command
	jump        jump
	levels      int  // the number of loops that break or continue ends
	keepFiles   bool // exec has made the redirections of its statement permanent
	budget      int  // what the expansions of the statement may still use
	variables   int  // the size of all variables beyond the initial environment
}

// jump is how the shell leaves the sequence of statements.
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

// newInterpreter makes the shell of a process.
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
	return sh
}

// subshell returns a copy of the shell for ( ), $( ), a side of a pipe, or a background command.
func (sh *interpreter) subshell() *interpreter {
	sub := *sh
	sub.vars, sub.funcs, sub.flags = maps.Clone(sh.vars), maps.Clone(sh.funcs), maps.Clone(sh.flags)
	if sh.locals != nil {
		sub.locals = map[string]expand.Variable{}
	}
	sub.exitAction, sub.jobs = "", nil
	return &sub
}

// say writes an error message, unless the shell has been ended.
func (sh *interpreter) say(format string, args ...any) {
	if sh.ctx.Err() != nil {
		return
	}
	fmt.Fprintf(sh.stderr, "sh: "+format+"\n", args...)
}

// stopped reports whether no more statements may run.
func (sh *interpreter) stopped() bool {
	return sh.jump != noJump || sh.ctx.Err() != nil || sh.broken.Load()
}

// leave runs the action for the end of the shell and returns the exit code.
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

// eval runs a text in this shell.
func (sh *interpreter) eval(text string) {
	file, err := parse(text)
	if err != nil {
		sh.complain(err)
		return
	}
	sh.stmts(file.Stmts)
}

func (sh *interpreter) stmts(stmts []*syntax.Stmt) {
	for _, stmt := range stmts {
		sh.stmt(stmt)
	}
}

// condition runs statements whose failure does not end the shell, and reports whether they succeed.
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
	if stmt.Background || stmt.Disown {
		sh.background(stmt)
		return
	}
	sh.budget = maxExpansion
	stdin, stdout, stderr := sh.stdin, sh.stdout, sh.stderr
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
	if len(stmt.Redirs) > 0 && !sh.keepFiles {
		sh.stdin, sh.stdout, sh.stderr = stdin, stdout, stderr
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

// background starts a command in a goroutine. It can be killed by its PID.
func (sh *interpreter) background(stmt *syntax.Stmt) {
	inner := *stmt
	inner.Background, inner.Disown = false, false
	sub := sh.subshell()
	sub.stdin, sub.args = nothing{}, []string{"sh"}
	sub.life, sub.kill = context.WithCancelCause(sh.life)
	sub.ctx = sub.life
	sub.broken = new(atomic.Bool)
	sub.stdout = &guardedWriter{sub.ctx, sh.stdout, sub.broken}
	started := &job{pid: sh.container.register(&sub.process), done: make(chan struct{})}
	sh.jobs = append(sh.jobs, started)
	sh.status = 0
	end := func() {
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

// redirect opens the files of redirections. It reports errors and returns whether there were none.
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
		sh.stdin = sh.container.files.textFile(text)
		return err
	}
	name, err := sh.literal(redir.Word)
	if err != nil {
		return err
	}
	var to io.Writer
	all := redir.Op == syntax.RdrAll || redir.Op == syntax.AppAll
	switch redir.Op {
	case syntax.Hdoc, syntax.DashHdoc: // without a line
		sh.stdin = nothing{}
	case syntax.WordHdoc:
		sh.stdin = sh.container.files.textFile(name + "\n")
	case syntax.RdrIn, syntax.RdrInOut:
		if sh.stdin, err = sh.open(name); err != nil {
			return fmt.Errorf("can't open %s: %w", name, err)
		}
	case syntax.DplIn, syntax.DplOut:
		to = map[string]io.Writer{"1": sh.stdout, "2": sh.stderr, "-": io.Discard}[name]
		switch {
		case input && name == "-":
			sh.stdin = nothing{}
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
	if !input && (fd == "1" || all) {
		sh.stdout = to
	}
	if !input && (fd == "2" || all) {
		sh.stderr = to
	}
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
		sub := sh.subshell()
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
		sh.funcs[command.Name.Value] = command.Body
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

// errUnsupported is the error of commands such as select, let, coproc and time.
var errUnsupported = errors.New("syntax error: this command is not supported")

// finish sets $?. It reports an error.
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
	left, right := sh.subshell(), sh.subshell()
	left.broken = new(atomic.Bool)
	left.stdout = &guardedWriter{sh.ctx, out, left.broken}
	if command.Op == syntax.PipeAll {
		left.stderr = left.stdout
	}
	leftExit := make(chan int, 1)
	if !sh.session.spawn(func() {
		defer close(leftExit)
		defer out.Close()
		left.stmt(command.X)
		leftExit <- left.leave()
	}) {
		return
	}
	right.stdin = in
	right.stmt(command.Y)
	sh.status = right.leave()
	_ = in.Close()
	if exit := <-leftExit; sh.flags["pipefail"] && sh.status == 0 {
		sh.status = exit
	}
}

// loop runs the body of a loop. It reports whether the loop goes on.
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
			if found {
				sh.stmts(item.Stmts)
				return
			}
		}
	}
}

// simple runs assignments and a command with its arguments.
func (sh *interpreter) simple(command *syntax.CallExpr) {
	sh.substituted = 0
	args, err := sh.fields(command.Args)
	if err != nil {
		sh.finish(1, err)
		return
	}
	hidden := map[string]expand.Variable{} // what the assignments before the command hide
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
		sh.put(name, old)
	}
}

// function calls a function.
func (sh *interpreter) function(body *syntax.Stmt, args []string) {
	params, locals, loops := sh.params, sh.locals, sh.loops
	sh.params, sh.locals, sh.loops = args, map[string]expand.Variable{}, 0
	sh.stmt(body)
	if sh.jump == returnFunction {
		sh.jump = noJump
	}
	for name, old := range sh.locals {
		sh.put(name, old)
	}
	sh.params, sh.locals, sh.loops = params, locals, loops
}

// call runs a command that is no function: a builtin, or a program. It returns the exit code.
func (sh *interpreter) call(args []string) int {
	name := args[0]
	if builtin, found := builtins[name]; found {
		return builtin(sh, args)
	}
	p := sh.process
	p.args, p.env = args, sh.exported()
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

// substitute runs a $( ) and writes its output.
func (sh *interpreter) substitute(to io.Writer, subst *syntax.CmdSubst) error {
	sub := sh.subshell()
	out := &buffer{left: maxCapture, full: func() { sh.session.fail("sh: out of memory: $( ) gives too much", 2) }}
	sub.broken = new(atomic.Bool)
	sub.stdout = out
	sub.stmts(subst.Stmts)
	sh.substituted = sub.leave()
	text := out.String()
	sh.charge(len(text))
	_, err := io.WriteString(to, text)
	return err
}

// complain reports a script that cannot be parsed.
func (sh *interpreter) complain(err error) {
	sh.status = 2
	if err == errTooDeep {
		sh.session.fail("sh: "+err.Error(), 2)
		return
	}
	sh.say("%s", syntaxMessage(err))
}
