package shell

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"mvdan.cc/sh/v3/syntax"
)

// runShell implements sh: `sh -c text [name [parameters]]`, `sh file [parameters]`, `sh -s [parameters]`, or `sh`,
// which reads standard input, with a line editor if that is a terminal.
func runShell(ctx context.Context, p *process) int {
	args := p.args[1:]
	var options []string
	text, hasText, interactive, stdin := "", false, false, false
	for len(args) > 0 && len(args[0]) > 1 && (args[0][0] == '-' || args[0][0] == '+') {
		arg := args[0]
		args = args[1:]
		if arg == "--" {
			break
		}
		if strings.HasPrefix(arg, "--") { // --login, --norc and so on
			continue
		}
		for _, option := range arg[1:] {
			switch option {
			case 'c':
				hasText = true
			case 'i':
				interactive = true
			case 's':
				stdin = true
			case 'l':
			case 'o':
				if len(args) == 0 {
					return p.fail("-o: option requires an argument")
				}
				options = append(options, arg[:1]+"o", args[0])
				args = args[1:]
			case 'e', 'u', 'x', 'f', 'a', 'n':
				options = append(options, arg[:1]+string(option))
			default:
				p.fail("%c%c: invalid option", arg[0], option)
				return 2
			}
		}
	}
	name := p.args[0]
	var file *string
	switch {
	case hasText:
		if len(args) == 0 {
			p.fail("-c: option requires an argument")
			return 2
		}
		text = args[0]
		file = &text
		if args = args[1:]; len(args) > 0 {
			name, args = args[0], args[1:]
		}
	case !stdin && len(args) > 0:
		content, err := p.container.files.content(p.user(), p.path(args[0]))
		if err != nil {
			fmt.Fprintf(p.stderr, "sh: can't open '%s': %v\n", args[0], err)
			return 2
		}
		text = string(content)
		file = &text
		name, args = args[0], args[1:]
	}
	sh, err := newInterpreter(p, name, args)
	if err != nil {
		fmt.Fprintf(p.stderr, "sh: %v\n", err)
		return 2
	}
	defer sh.close()
	if len(options) > 0 {
		set := &syntax.CallExpr{Args: []*syntax.Word{word("set")}}
		for _, option := range options {
			set.Args = append(set.Args, quote(option))
		}
		if exit, _ := sh.run(ctx, set); exit != 0 {
			return exit
		}
	}
	if file != nil {
		script, err := guarded(text)
		if err != nil {
			return sh.complain(err)
		}
		script.Name = "sh"
		exit, _ := sh.run(ctx, script)
		return exit
	}
	if terminal := p.session.terminal; terminal != nil && isTerminal(p.stdin, terminal) {
		return sh.converse(ctx, terminal)
	}
	if interactive {
		fmt.Fprintln(p.stderr, "sh: can't access tty; job control turned off")
	}
	return sh.follow(ctx)
}

// isTerminal reports whether a process reads directly from the terminal.
func isTerminal(from io.Reader, terminal *terminal) bool {
	for {
		guarded, ok := from.(*guardedReader)
		if !ok {
			return from == io.Reader(terminal)
		}
		from = guarded.from
	}
}

func (sh *interpreter) complain(err error) int {
	if errors.Is(err, errTooDeep) {
		sh.session.fail("sh: "+err.Error(), 2)
	} else {
		sh.say("%s", complaint(err))
	}
	return 2
}

// follow runs standard input as a script while it arrives. Commands in it read from the same input.
func (sh *interpreter) follow(ctx context.Context) int {
	exit := 0
	text := ""
	for ended := false; !ended && ctx.Err() == nil; {
		var line string
		line, ended = readLine(sh.stdin, '\n', true, maxScript)
		if ended && line == "" && text == "" {
			break
		}
		text += line + "\n"
		script, more, err := complete(text, ended)
		if more {
			continue
		}
		text = ""
		if err != nil {
			return sh.complain(err)
		}
		for _, stmt := range script.Stmts {
			var over bool
			if exit, over = sh.run(ctx, stmt); over {
				return exit
			}
		}
	}
	sh.run(ctx, &syntax.File{Name: "sh"}) // to run its EXIT trap
	return exit
}

// complete parses a script that may be incomplete so far.
func complete(text string, last bool) (script *syntax.File, more bool, err error) {
	if !last && strings.HasSuffix(strings.ReplaceAll(strings.TrimSuffix(text, "\n"), `\\`, ""), `\`) &&
		len(text) < maxScript {
		return nil, true, nil
	}
	script, err = guarded(text)
	return script, !last && syntax.IsIncomplete(err), err
}
