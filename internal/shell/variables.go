package shell

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"mvdan.cc/sh/v3/expand"
	"mvdan.cc/sh/v3/pattern"
	"mvdan.cc/sh/v3/syntax"
)

// The function "parse" adds the prefix inPattern to the names of variables in a pattern of ${ }, and the prefix
// inReplacement to the names of variables in a replacement of ${ }.
const (
	inPattern     = "\x01"
	inReplacement = "\x02"
)

// parse parses a script. If [syntax.IsIncomplete] is true for the error, more input may complete the script.
//
// Patterns and replacements in ${ } must be short, because the value of the variable may be long: matching it with a
// long pattern would take too much time, and a long replacement could make it many times longer. parse gives
// the variables in patterns and replacements a prefix. environment.Get recognizes the prefix, and limits the length of
// their values.
func parse(text string) (*syntax.File, error) {
	if len(text) > maxScript {
		return nil, errTooLong
	}
	file, err := syntax.NewParser().Parse(&sourceReader{text: text}, "sh")
	if err != nil {
		return nil, err
	}
	syntax.Walk(file, func(node syntax.Node) bool {
		words := map[string]*syntax.Word{}
		switch node := node.(type) {
		case *syntax.CmdSubst: // $(<file)
			if len(node.Stmts) == 1 && node.Stmts[0].Cmd == nil && len(node.Stmts[0].Redirs) == 1 {
				cat := &syntax.Word{Parts: []syntax.WordPart{&syntax.Lit{Value: "cat"}}}
				node.Stmts[0].Cmd = &syntax.CallExpr{Args: []*syntax.Word{cat}}
			}
		case *syntax.ParamExp:
			if node.Repl != nil {
				words[inPattern], words[inReplacement] = node.Repl.Orig, node.Repl.With
			}
			if node.Exp != nil && !isDefault(node.Exp.Op) {
				words[inPattern] = node.Exp.Word
			}
		}
		for prefix, word := range words {
			if word == nil {
				continue
			}
			what, most := "pattern", maxPattern
			if prefix == inReplacement {
				what, most = "replacement", maxReplace
			}
			if int(word.End().Offset()-word.Pos().Offset()) > most {
				err = fmt.Errorf("the %s is too long: more than %d bytes", what, most)
			}
			syntax.Walk(word, func(inner syntax.Node) bool {
				switch inner := inner.(type) {
				case *syntax.ParamExp:
					inner.Param.Value = prefix + strings.TrimLeft(inner.Param.Value, inPattern+inReplacement)
				case *syntax.CmdSubst:
					err = fmt.Errorf("syntax error: $( ) in a pattern of ${ } is not supported")
				}
				return true
			})
		}
		return err == nil
	})
	return file, err
}

// isDefault reports whether an operator in ${ } takes a value, as in ${x:-y}, and not a pattern, as in ${x#y}.
func isDefault(op syntax.ParExpOperator) bool {
	return op >= syntax.AlternateUnset && op <= syntax.AssignUnsetOrNull
}

// syntaxMessage returns the shell's message about a script that cannot be parsed.
func syntaxMessage(err error) string {
	if parsed, ok := errors.AsType[syntax.ParseError](err); ok {
		return fmt.Sprintf("line %d: syntax error: %s", parsed.Pos.Line(), parsed.Text)
	}
	return err.Error()
}

// environment gives package expand access to a shell's variables. Their sizes count towards the limit maxExpansion.
type environment struct{ *interpreter }

// cutPrefix cuts inPattern or inReplacement from the name of a variable. It also returns a factor: each byte of the
// variable's value must count as this number of bytes. Without a prefix, the factor is 1. With a prefix it is so large
// that a value longer than maxPattern or maxReplace exceeds maxExpansion.
func cutPrefix(name string) (cut string, factor int) {
	if cut, found := strings.CutPrefix(name, inPattern); found {
		return cut, maxExpansion / maxPattern
	}
	if cut, found := strings.CutPrefix(name, inReplacement); found {
		return cut, maxExpansion / maxReplace
	}
	return name, 1
}

// Get implements expand.Environ.
func (e environment) Get(name string) expand.Variable {
	name, factor := cutPrefix(name)
	v := e.lookup(name)
	if strings.HasPrefix(name, "HOME ") {
		return v
	}
	size := len(v.Str)
	for _, element := range v.List {
		size += len(element) + 16
	}
	if !e.charge(size * factor) {
		return expand.Variable{}
	}
	return v
}

// charge adds to the size of the current statement's expansions. It ends the whole command above maxExpansion bytes.
func (sh *interpreter) charge(size int) bool {
	if sh.budget -= size; sh.budget < 0 {
		sh.session.fail("sh: out of memory: a statement expands to too much", 2)
	}
	return sh.budget >= 0 && sh.take(byteOfExpansion*size)
}

// lookup returns a variable or a special parameter.
func (sh *interpreter) lookup(name string) expand.Variable {
	text := func(s string) expand.Variable { return expand.Variable{Set: true, Kind: expand.String, Str: s} }
	switch name {
	case "#":
		return text(strconv.Itoa(len(sh.params)))
	case "@", "*":
		return expand.Variable{Set: true, Kind: expand.Indexed, List: sh.params}
	case "?":
		return text(strconv.Itoa(sh.status))
	case "-":
		return text("")
	case "$":
		return text(strconv.Itoa(sh.pid))
	case "!":
		if len(sh.jobs) == 0 {
			return expand.Variable{}
		}
		return text(strconv.Itoa(sh.jobs[len(sh.jobs)-1].pid))
	case "PPID":
		return text("0")
	case "RANDOM":
		return text(strconv.Itoa(rand.IntN(1 << 15)))
	case "UID":
		return text(strconv.FormatInt(sh.container.config.UID, 10))
	case "0":
		return text(sh.name)
	case "HOME root":
		return text("/root")
	}
	// For ~user, package expand reads the variable "HOME user". If the variable has no value, package expand looks up
	// the user on the host. environment.Get returns no value when maxExpansion is exceeded, so it does not count this
	// variable.
	if user, ok := strings.CutPrefix(name, "HOME "); ok {
		return text("~" + user)
	}
	if n, err := strconv.Atoi(name); err == nil && n > 0 && n <= len(sh.params) {
		return text(sh.params[n-1])
	}
	return sh.vars[name]
}

// Each implements expand.Environ.
func (e environment) Each(do func(string, expand.Variable) bool) {
	for name, v := range e.vars {
		if !do(name, v) {
			return
		}
	}
}

// Set implements expand.WriteEnviron.
func (e environment) Set(name string, v expand.Variable) error {
	name, _ = cutPrefix(name)
	old := e.vars[name]
	if old.ReadOnly {
		return fmt.Errorf("%s: readonly variable", name)
	}
	if !syntax.ValidName(name) {
		return fmt.Errorf("%s: bad variable name", name)
	}
	v.Exported = v.Exported || old.Exported || e.flags["allexport"]
	e.put(name, v)
	return nil
}

func (sh *interpreter) set(name, value string) error {
	return environment{sh}.Set(name, expand.Variable{Set: true, Kind: expand.String, Str: value})
}

// put sets or removes a variable. It ends the whole command if the variables become too large.
func (sh *interpreter) put(name string, v expand.Variable) {
	if !sh.resize(variableSize(name, v)-variableSize(name, sh.vars[name]), 2) {
		return
	}
	if sh.vars[name] = v; !v.Set {
		delete(sh.vars, name)
	}
}

// define sets a function, or removes it if the parameter "body" is nil. It ends the whole command if the functions
// become too large.
func (sh *interpreter) define(name string, body *syntax.Stmt) {
	size := func(body *syntax.Stmt) int {
		if body == nil {
			return 0
		}
		size := len(name) + int(body.End().Offset()-body.Pos().Offset()) + 64
		syntax.Walk(body, func(node syntax.Node) bool {
			if redir, ok := node.(*syntax.Redirect); ok && redir.Hdoc != nil { // it may begin after body.End
				size += int(redir.Hdoc.End().Offset() - redir.Hdoc.Pos().Offset())
			}
			return true
		})
		return size
	}
	const memoryOfByte = 100 // of the parsed script
	if !sh.resize(size(body)-size(sh.funcs[name]), memoryOfByte) {
		return
	}
	if sh.funcs[name] = body; body == nil {
		delete(sh.funcs, name)
	}
}

// resize adds the number "by" to the size of the shell's variables and functions, and adds memoryOfByte bytes of memory
// for each byte of the size. If the size exceeds maxVariables, it ends the whole command and returns false.
func (sh *interpreter) resize(by, memoryOfByte int) bool {
	if sh.variables += by; sh.variables > maxVariables {
		sh.session.fail("sh: out of memory: variables and functions are too large", 2)
	}
	return sh.variables <= maxVariables && sh.keep(by*memoryOfByte)
}

func variableSize(name string, v expand.Variable) int {
	return oneIf(v.Set) * (len(name) + len(v.Str) + 64)
}

// hide counts the size of a variable's previous value while a local variable, or an assignment before a command,
// replaces the value. unhide ends this, and gives the variable its previous value again.
func (sh *interpreter) hide(name string, old expand.Variable) { sh.resize(variableSize(name, old), 2) }

func (sh *interpreter) unhide(name string, old expand.Variable) {
	sh.resize(-variableSize(name, old), 2)
	sh.put(name, old)
}

// The method "exported" returns the exported variables as NAME=value, sorted by name.
func (sh *interpreter) exported() []string {
	var list []string
	for _, name := range slices.Sorted(maps.Keys(sh.vars)) {
		if v := sh.vars[name]; v.Exported {
			list = append(list, name+"="+v.Str)
		}
	}
	return list
}

// sizeOf returns the length of all variables together.
func sizeOf(env []string) int {
	size := 0
	for _, variable := range env {
		size += len(variable)
	}
	return size
}

// expanded calls a function of package expand and returns a panic as an error. Package expand panics if arithmetic
// assigns to an array element.
func expanded[T any](sh *interpreter, do func(*expand.Config) (T, error)) (result T, err error) {
	config := &expand.Config{Env: environment{sh}, CmdSubst: sh.substitute, NoUnset: sh.flags["nounset"]}
	config.ProcSubst = func(*syntax.ProcSubst) (string, error) {
		return "", fmt.Errorf("syntax error: process substitution is not supported")
	}
	if !sh.flags["noglob"] {
		config.ReadDir2 = sh.readDir
	}
	defer func() {
		if failure := recover(); failure != nil {
			err = fmt.Errorf("syntax error: bad expression")
		}
	}()
	return do(config)
}

// failed prints an error of an expansion or assignment. If the error is an unset variable, it also ends the shell.
func (sh *interpreter) failed(err error) {
	sh.say("%v", err)
	sh.status = max(sh.status, 1)
	if _, unset := errors.AsType[expand.UnsetParameterError](err); unset {
		sh.jump = exitShell
	}
}

// fields expands words to the arguments of a command.
func (sh *interpreter) fields(words []*syntax.Word) ([]string, error) {
	sum := 0
	for _, word := range words {
		split, size := *word, int(word.End().Offset()-word.Pos().Offset())
		if !syntax.SplitBraces(&split) {
			continue
		}
		for _, err := range expand.BracesSeq(nil, &split) {
			if sum += size + 64; err != nil || sum > maxBraces {
				return nil, fmt.Errorf("braces: too many words; use fewer or shorter braces")
			}
		}
	}
	args, err := expanded(sh, func(c *expand.Config) ([]string, error) {
		c.Env = &globBase{environment: environment{sh}}
		return expand.Fields(c, words...)
	})
	size := 0
	for _, arg := range args {
		size += len(arg) + 1
	}
	if size > maxArguments {
		return nil, errTooManyWords
	}
	return args, err
}

// literal expands a word to one text, without field splitting and globs. An unquoted backslash quotes the next
// character.
func (sh *interpreter) literal(word *syntax.Word) (string, error) {
	if word == nil {
		return "", nil
	}
	unescaped := &syntax.Word{}
	for _, part := range word.Parts {
		lit, ok := part.(*syntax.Lit)
		if !ok {
			unescaped.Parts = append(unescaped.Parts, part)
			continue
		}
		rest := lit.Value
		for at := strings.IndexByte(rest, '\\'); at >= 0 && at+1 < len(rest); at = strings.IndexByte(rest, '\\') {
			unescaped.Parts = append(unescaped.Parts, &syntax.Lit{Value: rest[:at]},
				&syntax.SglQuoted{Value: rest[at+1 : at+2]})
			rest = rest[at+2:]
		}
		unescaped.Parts = append(unescaped.Parts, &syntax.Lit{Value: rest})
	}
	return expanded(sh, func(c *expand.Config) (string, error) { return expand.Literal(c, unescaped) })
}

func (sh *interpreter) arithmetic(x syntax.ArithmExpr) (int, error) {
	return expanded(sh, func(c *expand.Config) (int, error) { return expand.Arithm(c, x) })
}

// matches reports whether a text matches a shell pattern.
func (sh *interpreter) matches(word *syntax.Word, text string) (bool, error) {
	glob, err := expanded(sh, func(c *expand.Config) (string, error) { return expand.Pattern(c, word) })
	if err == nil && len(glob) > maxPattern && pattern.HasMeta(glob, 0) {
		err = fmt.Errorf("the pattern is too long: more than %d bytes", maxPattern)
	}
	if err != nil {
		return false, err
	}
	expression, err := pattern.Regexp(glob, pattern.EntireString|pattern.ExtendedOperators)
	if err != nil { // a malformed pattern
		return false, nil
	}
	re, err := regexp.Compile(expression)
	return err == nil && re.MatchString(text), nil
}

// globBase is the environment for calls of expand.Fields. At its beginning, Fields looks up PWD, to resolve relative
// globs against it. The script may have set PWD to a different directory. Therefore globBase returns no value for the
// first lookup of PWD, and Fields leaves relative globs relative to the working directory.
type globBase struct {
	environment
	passed bool
}

// Get implements expand.Environ.
func (g *globBase) Get(name string) expand.Variable {
	if name == "PWD" && !g.passed {
		g.passed = true
		return expand.Variable{}
	}
	return g.environment.Get(name)
}

// readDir returns the entries of a directory, for package expand to compare with a glob. A glob in a working directory
// that has been removed matches nothing.
func (sh *interpreter) readDir(name string) ([]fs.DirEntry, error) {
	infos, err := sh.container.files.readDir(sh.path(cmp.Or(name, ".")))
	if err == errNotExist && strings.Trim(name, "./") == "" {
		return nil, nil
	}
	entries := make([]fs.DirEntry, 0, len(infos))
	for _, info := range infos {
		if !sh.charge(len(info.name) + 8) {
			return nil, errTooLong
		}
		entries = append(entries, globbed{info, sh})
	}
	return entries, err
}

// globbed is a directory entry that is compared with a glob. Its name becomes empty when the context ends, because a
// comparison with a long pattern takes time.
type globbed struct {
	fileInfo
	sh *interpreter
}

func (g globbed) Name() string {
	if g.sh.ctx.Err() != nil {
		return ""
	}
	return g.name
}

// assign runs one assignment, NAME=value or NAME+=value.
func (sh *interpreter) assign(assign *syntax.Assign) error {
	name := assign.Name.Value
	if assign.Array != nil || assign.Index != nil {
		return fmt.Errorf("%s: arrays are not supported", name)
	}
	value, err := sh.literal(assign.Value)
	if err != nil {
		return err
	}
	if assign.Append {
		value = sh.vars[name].Str + value
	}
	return sh.set(name, value)
}

// declare implements export, readonly, local and declare. Arguments may come from an expansion, as in export $NAMES.
func (sh *interpreter) declare(clause *syntax.DeclClause) error {
	export, readonly := clause.Variant.Value == "export", clause.Variant.Value == "readonly"
	for _, assign := range clause.Args {
		words := []string{""}
		var err error
		if assign.Name != nil {
			words[0] = assign.Name.Value
		} else if words, err = sh.fields([]*syntax.Word{assign.Value}); err != nil {
			return err
		}
		for _, word := range words {
			name, value, valued := strings.Cut(word, "=")
			if strings.HasPrefix(word, "-") {
				continue
			}
			if _, saved := sh.locals[name]; sh.locals != nil && !saved && !export && !readonly {
				sh.locals[name] = sh.vars[name]
				sh.hide(name, sh.vars[name])
			}
			if assign.Name != nil && !assign.Naked {
				err = sh.assign(assign)
			} else if valued || !sh.vars[name].Set {
				err = sh.set(name, value)
			}
			if err != nil {
				return err
			}
			v := sh.vars[name]
			v.Exported, v.ReadOnly = v.Exported || export, v.ReadOnly || readonly
			sh.put(name, v)
		}
	}
	return nil
}
