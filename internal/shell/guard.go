package shell

import (
	"fmt"
	"strings"

	"mvdan.cc/sh/v3/expand"
	"mvdan.cc/sh/v3/syntax"
)

// Names that only rewritten scripts use. They contain a control character, which guarded refuses in names of functions.
const (
	hidden = "\x01" // prefix of the names of our builtins (builtins.go)

	nameSubshell = hidden + "subshell"
	nameMissing  = hidden + "missing"
	namePattern  = hidden + "pattern"
	nameRegexp   = hidden + "regexp"

	fileCapture = "/dev/.capture" // the limited standard output of a $( )
	fileMemory  = "/dev/.memory"  // standard error; when it is closed the variables are measured

	// Substitutes for variables whose values the interpreter would take from the host.
	variablePID    = "__pid"
	variableParent = "__ppid"
	variableName   = "__name"
)

// parse parses a script. If [syntax.IsIncomplete] is true for its error, more input may complete the script.
func parse(text string) (*syntax.File, error) {
	if len(text) > maxScript {
		return nil, errTooLong
	}
	return syntax.NewParser().Parse(&sourceReader{text: text}, "sh")
}

// guarded parses a script and rewrites it so that it can run safely. It refuses constructs for which the interpreter
// would use the host, or which might never end:
//
//   - process substitution (makes a named pipe on the host); arithmetic for-loops (do not end at return, exit or the end of
//     the context); select (reads standard input by itself); coproc;
//   - arithmetic that assigns to an array element (panics); replacements by long texts, many braces, and too many expansions
//     in a statement (make words of unlimited length); long patterns (take long to match).
//
// It rewrites:
//
//   - the left side of a pipe and a background command, which run in a goroutine: a call of our builtin counts them and
//     recovers from a panic. Their text is guarded when it runs;
//   - $( ), to limit its output; $(<file), to a call of cat;
//   - expansions in patterns, and regular expressions, to check them before they are matched;
//   - assignments, to measure the variables afterwards;
//   - ~name, which looks up users of the host; $$, $PPID and $0, which are values of the host; the tests -t, -O and -G;
//   - declare and similar commands, which are missing; export, readonly and local with words that are not names yet;
//   - a backslash in a word, which the interpreter keeps in assignments.
func guarded(text string) (*syntax.File, error) {
	file, err := parse(text)
	if err != nil {
		return nil, err
	}
	if err := check(file); err != nil {
		return nil, err
	}
	change(file)
	return file, nil
}

// guardedText returns the guarded script as text, for builtins of the interpreter that parse it again.
func guardedText(text string) (string, error) {
	file, err := guarded(text)
	if err != nil {
		return "", err
	}
	return printed(file)
}

func printed(node syntax.Node) (string, error) {
	var b strings.Builder
	if err := syntax.NewPrinter().Print(&b, node); err != nil {
		return "", err
	}
	return b.String(), nil
}

type refusal struct {
	at   syntax.Pos
	what string
}

func (r refusal) Error() string { return fmt.Sprintf("line %d: %s", r.at.Line(), r.what) }

// check returns an error for constructs that are refused.
func check(file *syntax.File) error {
	var found error
	depth := 0
	syntax.Walk(file, func(node syntax.Node) bool {
		if node == nil {
			depth--
			return true
		}
		if found != nil {
			return false
		}
		refuse := func(what string) { found = refusal{node.Pos(), what} }
		switch node := node.(type) {
		case *syntax.Stmt:
			found = weigh(node)
		case *syntax.ProcSubst:
			refuse("syntax error: process substitution is not supported")
		case *syntax.CoprocClause:
			refuse("syntax error: coproc is not supported")
		case *syntax.CStyleLoop:
			refuse("syntax error: bad for loop variable")
		case *syntax.ForClause:
			if node.Select {
				refuse("syntax error: select is not supported")
			}
		case *syntax.FuncDecl:
			if node.Name == nil || strings.ContainsFunc(node.Name.Value,
				func(r rune) bool { return r < ' ' || r == 0x7f }) {
				refuse("syntax error: bad function name")
			}
		case *syntax.UnaryArithm:
			if (node.Op == syntax.Inc || node.Op == syntax.Dec) && literal(node.X) == "" {
				refuse("arithmetic syntax error")
			}
		case *syntax.BinaryArithm:
			if assigns(node.Op) && literal(node.X) == "" {
				refuse("arithmetic syntax error")
			}
		}
		for _, pattern := range patterns(node) {
			if expansions, length := patternSize(pattern.Parts); expansions > 4 || length > maxPattern {
				refuse("the pattern is too long")
			}
		}
		if depth++; depth > maxNodes {
			found = errTooDeep
		}
		if found != nil {
			depth--
		}
		return found == nil
	})
	return found
}

func assigns(op syntax.BinAritOperator) bool {
	switch op {
	case syntax.Assgn, syntax.AddAssgn, syntax.SubAssgn, syntax.MulAssgn, syntax.QuoAssgn, syntax.RemAssgn,
		syntax.AndAssgn,
		syntax.OrAssgn, syntax.XorAssgn, syntax.ShlAssgn, syntax.ShrAssgn:
		return true
	}
	return false
}

func literal(x syntax.ArithmExpr) string {
	if word, ok := x.(*syntax.Word); ok {
		return word.Lit()
	}
	return ""
}

// weigh limits the memory that the words of a statement can expand to. It counts the expansions in the statement,
// without nested statements. One expansion is at most as long as all variables, all arguments, or the limit of a $(
// ). An unquoted expansion may split into very many fields and counts 16 times.
func weigh(stmt *syntax.Stmt) error {
	weight, braces, assigned := 0, 0, 0
	var found error
	quoted := map[syntax.Node]bool{}
	mark := func(parts []syntax.WordPart) {
		for _, part := range parts {
			quoted[part] = true
		}
	}
	markWithin := func(node syntax.Node) {
		syntax.Walk(node, func(inner syntax.Node) bool {
			quoted[inner] = true
			return true
		})
	}
	syntax.Walk(stmt, func(node syntax.Node) bool {
		one := 16
		if quoted[node] {
			one = 1
		}
		switch node := node.(type) {
		case *syntax.Stmt:
			return node == stmt
		case *syntax.Assign:
			if node.Value != nil {
				mark(node.Value.Parts)
			}
		case *syntax.DblQuoted:
			mark(node.Parts)
		case *syntax.Redirect:
			mark(node.Word.Parts)
			if node.Hdoc != nil {
				mark(node.Hdoc.Parts)
			}
		case *syntax.CaseClause:
			mark(node.Word.Parts)
		case *syntax.ArithmExp:
			markWithin(node.X)
		case *syntax.ArithmCmd:
			markWithin(node.X)
		case *syntax.TestClause:
			markWithin(node.X)
		case *syntax.CmdSubst:
			weight += one
		case *syntax.ParamExp:
			weight += one
			if node.Exp != nil {
				switch node.Exp.Op {
				case syntax.AssignUnset, syntax.AssignUnsetOrNull:
					if node.Exp.Word != nil && node.Exp.Word.Lit() == "" {
						assigned++
					}
				case syntax.OtherParamOps:
					weight += 8
				}
				if node.Exp.Word != nil {
					mark(node.Exp.Word.Parts)
				}
			}
			if node.Repl != nil && node.Repl.With != nil {
				text, ok := plain(node.Repl.With)
				if !ok || len(text) > 16 {
					found = refusal{node.Pos(),
						"bad substitution: the replacement must be a text of at most 16 characters"}
				}
				weight += one * len(text)
			}
		case *syntax.Word:
			split := *node
			if !syntax.SplitBraces(&split) {
				break
			}
			length := 0
			syntax.Walk(node, func(inner syntax.Node) bool {
				switch inner := inner.(type) {
				case *syntax.Lit:
					length += len(inner.Value)
				case *syntax.SglQuoted:
					length += len(inner.Value)
				case *syntax.ParamExp, *syntax.CmdSubst:
					length += maxVariables
				}
				return true
			})
			for range expand.BracesSeq(nil, &split) {
				if braces++; braces > maxBraces || braces*length > maxBuffer {
					found = refusal{node.Pos(), "braces: too many words"}
					break
				}
			}
		}
		return found == nil
	})
	if found == nil && (weight > maxExpansion || assigned > 1 || assigned == 1 && weight > 4*16) {
		found = refusal{stmt.Pos(), "too many expansions in one statement"}
	}
	return found
}

// patterns returns the words of a node that are patterns.
func patterns(node syntax.Node) []*syntax.Word {
	switch node := node.(type) {
	case *syntax.CaseItem:
		return node.Patterns
	case *syntax.BinaryTest:
		if y, ok := node.Y.(*syntax.Word); ok &&
			(node.Op == syntax.TsMatch || node.Op == syntax.TsMatchShort || node.Op == syntax.TsNoMatch) {
			return []*syntax.Word{y}
		}
	case *syntax.ParamExp:
		if node.Repl != nil && node.Repl.Orig != nil {
			return []*syntax.Word{node.Repl.Orig}
		}
		if node.Exp != nil && node.Exp.Word != nil && !isDefault(node.Exp.Op) {
			return []*syntax.Word{node.Exp.Word}
		}
	}
	return nil
}

// isDefault reports whether the operator of ${x:-y} is followed by a value and not by a pattern.
func isDefault(op syntax.ParExpOperator) bool {
	switch op {
	case syntax.AlternateUnset, syntax.AlternateUnsetOrNull, syntax.DefaultUnset, syntax.DefaultUnsetOrNull,
		syntax.AssignUnset,
		syntax.AssignUnsetOrNull, syntax.ErrorUnset, syntax.ErrorUnsetOrNull:
		return true
	}
	return false
}

func patternSize(parts []syntax.WordPart) (expansions, length int) {
	for _, part := range parts {
		switch part := part.(type) {
		case *syntax.Lit:
			length += len(part.Value)
		case *syntax.SglQuoted:
			length += len(part.Value)
		case *syntax.ExtGlob:
			length += len(part.Pattern.Value)
		case *syntax.DblQuoted:
			e, l := patternSize(part.Parts)
			expansions, length = expansions+e, length+l
		default:
			expansions++
		}
	}
	return expansions, length
}

// plain returns the text of a word that has no expansions.
func plain(word *syntax.Word) (string, bool) {
	text := ""
	for _, part := range word.Parts {
		switch part := part.(type) {
		case *syntax.Lit:
			text += part.Value
		case *syntax.SglQuoted:
			text += part.Value
		case *syntax.DblQuoted:
			inner, ok := plain(&syntax.Word{Parts: part.Parts})
			if !ok {
				return "", false
			}
			text += inner
		default:
			return "", false
		}
	}
	return text, true
}

// quote returns a text as a quoted word, $'…'. It can contain every byte except NUL.
func quote(text string) *syntax.Word {
	var b strings.Builder
	for i := range len(text) {
		switch c := text[i]; {
		case c == '\\' || c == '\'':
			b.WriteByte('\\')
			b.WriteByte(c)
		case c == 0:
		case c < ' ' && c != '\n' && c != '\t', c >= 0x7f:
			fmt.Fprintf(&b, `\x%02x`, c)
		default:
			b.WriteByte(c)
		}
	}
	return &syntax.Word{Parts: []syntax.WordPart{&syntax.SglQuoted{Dollar: true, Value: b.String()}}}
}

// quoteText returns the quoted word as script text.
func quoteText(text string) string {
	return "$'" + quote(text).Parts[0].(*syntax.SglQuoted).Value + "'"
}

func word(text string) *syntax.Word {
	return &syntax.Word{Parts: []syntax.WordPart{&syntax.Lit{Value: text}}}
}
