package shell

import (
	"strings"
	"unicode/utf8"

	"mvdan.cc/sh/v3/syntax"
)

// change rewrites a checked script so that it can run safely; see guarded.
func change(file *syntax.File) {
	keep := map[*syntax.Word]bool{}      // words whose literals are not changed
	keepSlash := map[*syntax.Word]bool{} // words in which a backslash is kept
	syntax.Walk(file, func(node syntax.Node) bool {
		for _, pattern := range patterns(node) {
			looked(namePattern, pattern.Parts)
		}
		switch node := node.(type) {
		case *syntax.Stmt:
			return changeStatement(node)
		case *syntax.Redirect:
			if node.Op == syntax.Hdoc || node.Op == syntax.DashHdoc {
				keep[node.Word] = true
				if node.Hdoc != nil {
					keep[node.Hdoc] = true
				}
			}
		case *syntax.CmdSubst:
			capture(node)
		case *syntax.ParamExp:
			if node.Param != nil {
				node.Param.Value = renamed(node.Param.Value)
			}
			if node.Exp != nil && node.Exp.Word != nil && !isDefault(node.Exp.Op) {
				keepSlash[node.Exp.Word] = true
			}
		case *syntax.BinaryTest:
			if y, ok := node.Y.(*syntax.Word); ok && node.Op == syntax.TsReMatch {
				// The word is one text, backslashes included.
				whole := &syntax.DblQuoted{}
				for _, part := range y.Parts {
					switch part := part.(type) {
					case *syntax.DblQuoted:
						whole.Parts = append(whole.Parts, part.Parts...)
					default:
						whole.Parts = append(whole.Parts, part)
					}
				}
				y.Parts = []syntax.WordPart{look(nameRegexp, whole.Parts)}
			}
		case *syntax.UnaryTest:
			changeTest(node)
		case *syntax.ArithmExp:
			renameWord(node.X)
		case *syntax.ArithmCmd:
			renameWord(node.X)
		case *syntax.UnaryArithm:
			renameWord(node.X)
		case *syntax.BinaryArithm:
			renameWord(node.X)
			renameWord(node.Y)
		case *syntax.ParenArithm:
			renameWord(node.X)
		case *syntax.Word:
			if !keep[node] {
				node.Parts = literals(node.Parts, !keepSlash[node])
			}
		}
		return true
	})
}

// renamed returns our substitute for a variable whose value the interpreter would take from the host.
func renamed(name string) string {
	switch name {
	case "$":
		return variablePID
	case "PPID":
		return variableParent
	case "0":
		return variableName
	}
	return name
}

func renameWord(x syntax.ArithmExpr) {
	if literal(x) == "PPID" {
		x.(*syntax.Word).Parts = []syntax.WordPart{&syntax.Lit{Value: variableParent}}
	}
}

// changeTest replaces [[ -t ]], which would test a file descriptor of the host, and -O and -G, which would look up
// its users.
func changeTest(test *syntax.UnaryTest) {
	switch test.Op {
	case syntax.TsFdTerm:
		test.Op = syntax.TsNempStr
		test.X = &syntax.Word{Parts: []syntax.WordPart{&syntax.ParamExp{Param: &syntax.Lit{Value: "__terminal"}}}}
	case syntax.TsUsrOwn, syntax.TsGrpOwn:
		test.Op = syntax.TsExists
	}
}

// changeStatement changes a statement. It reports whether its children must be changed too.
func changeStatement(stmt *syntax.Stmt) bool {
	if stmt.Background || stmt.Disown {
		inner := *stmt
		inner.Background, inner.Disown = false, false
		stmt.Negated, stmt.Redirs = false, nil
		stmt.Cmd = subshell(&inner)
		return false
	}
	switch command := stmt.Cmd.(type) {
	case *syntax.BinaryCmd:
		if command.Op == syntax.Pipe || command.Op == syntax.PipeAll {
			command.X = &syntax.Stmt{Position: command.X.Position, Cmd: subshell(command.X)}
		}
	case *syntax.CallExpr:
		if len(command.Args) == 0 && len(command.Assigns) > 0 {
			measure(stmt)
		}
	case *syntax.ArithmCmd, *syntax.TestClause:
		measure(stmt)
	case *syntax.DeclClause:
		changeDeclaration(stmt, command)
	}
	return true
}

// subshell replaces a statement by a call of the builtin that runs it as text. A statement that cannot be printed
// does not run.
func subshell(stmt *syntax.Stmt) syntax.Command {
	text, err := printed(&syntax.File{Stmts: []*syntax.Stmt{stmt}})
	if err != nil {
		return &syntax.CallExpr{Args: []*syntax.Word{word(nameMissing), quote(err.Error())}}
	}
	return &syntax.CallExpr{Args: []*syntax.Word{word(nameSubshell), quote(text)}}
}

// looked passes the expansions in a pattern through a builtin that checks their length.
func looked(command string, parts []syntax.WordPart) {
	for i, part := range parts {
		switch part := part.(type) {
		case *syntax.Lit, *syntax.SglQuoted, *syntax.ExtGlob, *syntax.ArithmExp:
		case *syntax.DblQuoted:
			looked(command, part.Parts)
		default:
			parts[i] = look(command, []syntax.WordPart{part})
		}
	}
}

// look returns an expansion with the output of a builtin that gets a text.
func look(command string, text []syntax.WordPart) *syntax.CmdSubst {
	argument := &syntax.Word{}
	for _, part := range text {
		if lit, ok := part.(*syntax.Lit); ok {
			argument.Parts = append(argument.Parts, quote(lit.Value).Parts...)
		} else if _, ok := part.(*syntax.SglQuoted); ok {
			argument.Parts = append(argument.Parts, part)
		} else {
			argument.Parts = append(argument.Parts, &syntax.DblQuoted{Parts: []syntax.WordPart{part}})
		}
	}
	return &syntax.CmdSubst{Stmts: []*syntax.Stmt{{Cmd: &syntax.CallExpr{Args: []*syntax.Word{word(command),
		argument}}}}}
}

// measure adds a redirection to a statement. When it is closed, after the statement has run, the variables are
// measured.
func measure(stmt *syntax.Stmt) {
	stmt.Redirs = append([]*syntax.Redirect{{Op: syntax.RdrOut, N: &syntax.Lit{Value: "2"}, Word: word(fileMemory)}},
		stmt.Redirs...)
}

// capture limits the output of a $( ).
func capture(subst *syntax.CmdSubst) {
	if len(subst.Stmts) == 0 {
		return
	}
	if only := subst.Stmts[0]; len(subst.Stmts) == 1 && only.Cmd == nil && len(only.Redirs) == 1 &&
		only.Redirs[0].Op == syntax.RdrIn {
		only.Cmd = &syntax.CallExpr{Args: []*syntax.Word{word("cat")}}
	}
	subst.Stmts = []*syntax.Stmt{{
		Cmd:    &syntax.Block{Stmts: subst.Stmts},
		Redirs: []*syntax.Redirect{{Op: syntax.RdrOut, Word: word(fileCapture)}},
	}}
}

// changeDeclaration keeps literal names (export A B=$x). Other words (export "$@", export -p) are passed to a builtin
// after their expansion, because the interpreter would expand a ~name in them.
func changeDeclaration(stmt *syntax.Stmt, decl *syntax.DeclClause) {
	switch decl.Variant.Value {
	case "export", "readonly", "local":
	default:
		stmt.Cmd = &syntax.CallExpr{Args: []*syntax.Word{word(nameMissing), quote(decl.Variant.Value + ": not found")}}
		return
	}
	call := &syntax.CallExpr{Args: []*syntax.Word{word(hidden + decl.Variant.Value)}}
	var names []*syntax.Assign
	for _, assign := range decl.Args {
		if assign.Name == nil && assign.Value != nil {
			call.Args = append(call.Args, assign.Value)
		} else {
			names = append(names, assign)
		}
	}
	decl.Args = names
	switch {
	case len(names) == 0:
		stmt.Cmd = call
	case len(call.Args) == 1:
		measure(stmt)
	default:
		// The walk visits both nodes. Only the measuring is left to do.
		stmt.Cmd = &syntax.Block{Stmts: []*syntax.Stmt{{Cmd: call}, {Cmd: decl}}}
	}
}

// literals corrects the literals of a word where the interpreter differs from a shell. A backslash becomes a
// quotation if the interpreter does not do that itself. A ~ that would be a user's home directory becomes a plain
// character, except root's.
func literals(parts []syntax.WordPart, slashes bool) []syntax.WordPart {
	var made []syntax.WordPart
	for i, part := range parts {
		lit, ok := part.(*syntax.Lit)
		if !ok || !strings.ContainsAny(lit.Value, `~\`) {
			made = append(made, part)
			continue
		}
		text := lit.Value
		if rest, ok := strings.CutPrefix(text, "~root"); ok && i == 0 &&
			(rest == "" && len(parts) == 1 || strings.HasPrefix(rest, "/")) {
			text = "/root" + rest
		}
		start := 0
		split := func(at int, quoted string, next int) {
			if at > start {
				made = append(made, &syntax.Lit{Value: text[start:at]})
			}
			made = append(made, quote(quoted).Parts...)
			start = next
		}
		for at := 0; at < len(text); at++ {
			switch {
			case text[at] == '~':
				home := at == 0 && i == 0 && (len(text) == 1 && len(parts) == 1 || strings.HasPrefix(text, "~/"))
				if !home {
					split(at, "~", at+1)
				}
			case text[at] == '\\' && at+1 < len(text):
				_, size := utf8.DecodeRuneInString(text[at+1:])
				if slashes {
					split(at, text[at+1:at+1+size], at+1+size)
				}
				at += size
			}
		}
		if start < len(text) {
			made = append(made, &syntax.Lit{Value: text[start:]})
		}
	}
	return made
}
