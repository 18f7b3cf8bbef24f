package shell

import (
	"fmt"
	"strings"

	"mvdan.cc/sh/v3/syntax"
)

// runShell implements sh: `sh -c text [name [parameters]]`, `sh file [parameters]`, `sh -s [parameters]`, or `sh`,
// which reads standard input, with a line editor if that is a terminal.
func runShell(p *process) int {
	args := p.args[1:]
	given := map[rune]bool{}
	options := []string{"set"}
	for len(args) > 0 && len(args[0]) > 1 && (args[0][0] == '-' || args[0][0] == '+') {
		arg := args[0]
		if args = args[1:]; arg == "--" {
			break
		}
		if strings.HasPrefix(arg, "--") { // --login, --norc and so on
			continue
		}
		for _, option := range arg[1:] {
			switch {
			case strings.ContainsRune("csil", option):
				given[option] = true
			case option == 'o' && len(args) > 0:
				options = append(options, arg[:1]+"o", args[0])
				args = args[1:]
			default:
				options = append(options, arg[:1]+string(option))
			}
		}
	}
	name, text, isScript := p.args[0], "", true
	switch {
	case given['c'] && len(args) == 0:
		p.fail("-c: option requires an argument")
		return 2
	case given['c']:
		text, args = args[0], args[1:]
		if len(args) > 0 {
			name, args = args[0], args[1:]
		}
	case !given['s'] && len(args) > 0:
		content, err := p.container.files.script(p.path(args[0]))
		if err != nil {
			fmt.Fprintf(p.stderr, "sh: can't open '%s': %v\n", args[0], err)
			return 2
		}
		text, name, args = content, args[0], args[1:]
	default:
		isScript = false
	}
	sh := newInterpreter(p, name, args)
	defer sh.free()
	if len(options) > 1 && setOptions(sh, options) != 0 {
		return 2
	}
	switch terminal := terminalOf(p.stdin); {
	case isScript:
		sh.eval(text)
	case terminal != nil:
		sh.converse(terminal)
	default:
		sh.follow()
	}
	return sh.leave()
}

// follow runs standard input as a script while it arrives. The commands of the script read from standard input, too.
func (sh *interpreter) follow() {
	text := ""
	for ended := false; !ended && !sh.stopped(); {
		var line string
		before := sh.held
		line, ended = readLine(sh.stdin, true, maxScript)
		if ended && line == "" && text == "" {
			return
		}
		text += line + "\n"
		script, more, err := sh.complete(text, ended)
		if !more {
			text = ""
			if err != nil {
				sh.complain(err)
				return
			}
			sh.stmts(script.Stmts)
		}
		sh.giveBack(before)
	}
}

// complete tries to parse the lines of a script that have been read so far. The result "more" is true if the script
// needs another line.
func (sh *interpreter) complete(text string, last bool) (script *syntax.File, more bool, err error) {
	if !last && strings.HasSuffix(strings.ReplaceAll(strings.TrimSuffix(text, "\n"), `\\`, ""), `\`) &&
		len(text) < maxScript {
		return nil, true, nil
	}
	script, err = sh.parse(text)
	return script, !last && syntax.IsIncomplete(err), err
}
