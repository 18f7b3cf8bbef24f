package shell

import (
	"fmt"
	"regexp"
	"regexp/syntax"
	"strings"
)

const grepOptions = "ivncrEFqlowhHxe:"

// grepAs returns grep with an option that is always on.
func grepAs(option rune) func(*process) int {
	return func(p *process) int {
		p.options[option] = ""
		return grep(p)
	}
}

func grep(p *process) int {
	o, names := p.options, p.operands
	pattern, found := o['e']
	if !found {
		if len(names) == 0 {
			p.fail("usage: grep [-cEFhHilnoqrvwx] PATTERN [FILE]...")
			return 2
		}
		pattern, names = names[0], names[1:]
	}
	re, err := grepExpression(pattern, o)
	if err != nil {
		p.fail("%v", err)
		return 2
	}
	if o.has('r') {
		names = p.filesBelow(names)
	}
	labelled := (len(names) > 1 || o.has('r') || o.has('H')) && !o.has('h')
	hits, number, last := map[string]int{}, 0, ""
	if len(names) == 0 && !o.has('r') {
		names = []string{"-"}
	}
	for name, line := range p.lines(names) {
		if name != last {
			number, last = 0, name
		}
		number++
		line = strings.TrimSuffix(line, "\n")
		if re.MatchString(line) == o.has('v') {
			continue
		}
		if hits[name]++; o.has('q') {
			return 0
		}
		matches := []string{line}
		if o.has('o') {
			matches = re.FindAllString(line, 1000)
		}
		for _, match := range matches {
			if o.has('c') || o.has('l') {
				break
			}
			if labelled {
				p.print(name + ":")
			}
			if o.has('n') {
				p.printf("%d:", number)
			}
			p.print(match + "\n")
		}
	}
	for _, name := range names {
		switch {
		case o.has('l') && hits[name] > 0:
			p.print(name + "\n")
		case o.has('c') && labelled:
			p.printf("%s:%d\n", name, hits[name])
		case o.has('c'):
			p.printf("%d\n", hits[name])
		}
	}
	if p.exit != 0 {
		return 2
	}
	return oneIf(len(hits) == 0)
}

// filesBelow returns the regular files below the given directories, or below the working directory if none is given.
func (p *process) filesBelow(roots []string) (names []string) {
	if len(roots) == 0 {
		roots = []string{"."}
	}
	for _, root := range roots {
		p.walk(root, func(name string, info fileInfo, err error) bool {
			if err == nil && info.mode.IsRegular() {
				names = append(names, name)
				return p.take(len(name) + 32)
			} else if err != nil {
				p.fail("%s: %v", name, err)
			}
			return true
		})
	}
	return names
}

// grepExpression compiles the pattern of grep according to the options.
func grepExpression(pattern string, o options) (*regexp.Regexp, error) {
	flags := "s"
	if o.has('i') {
		flags = "si"
	}
	text := regexp.QuoteMeta(pattern)
	switch {
	case o.has('F'):
	case o.has('w'):
		text = translated(`\<`+pattern+`\>`, o.has('E'))
	default:
		text = translated(pattern, o.has('E'))
	}
	if o.has('x') {
		text = "^(?:" + text + ")$"
	}
	return compile("(?"+flags+":"+text+")", pattern)
}

// basicSpecial are the characters that are special in a basic POSIX expression only after a backslash.
const basicSpecial = "(){}|+?"

var basicEscapes = regexp.MustCompile(`\\.|[(){}|+?]`)

// expression compiles a basic or extended POSIX regular expression with package regexp, which matches in linear time.
func expression(pattern string, extended bool, flags string) (*regexp.Regexp, error) {
	return compile("(?"+flags+":"+translated(pattern, extended)+")", pattern)
}

// The function "translated" returns the text of a POSIX regular expression in the syntax of package regexp.
func translated(pattern string, extended bool) string {
	return basicEscapes.ReplaceAllStringFunc(pattern, func(found string) string {
		switch last := found[len(found)-1:]; {
		case found == `\<` || found == `\>`:
			return `\b`
		case extended || !strings.Contains(basicSpecial, last):
			return found
		case len(found) == 2:
			return last
		default:
			return `\` + found
		}
	})
}

// compile compiles a regular expression in Go's syntax, and refuses a large one. Errors contain the text "shown".
func compile(text, shown string) (*regexp.Regexp, error) {
	var parsed *syntax.Regexp
	err := errTooLong
	if len(text) <= 2*maxProgram {
		parsed, err = syntax.Parse(text, syntax.Perl)
	}
	if err != nil || instructions(parsed) > maxProgram || instructions(parsed)*parsed.MaxCap() > maxGroups {
		return nil, fmt.Errorf("bad regex '%.100s': Invalid regexp", shown)
	}
	return regexp.Compile(text)
}

// instructions returns about how many instructions the program of a regular expression has.
func instructions(re *syntax.Regexp) int {
	n := 1 + len(re.Rune)*oneIf(re.Op == syntax.OpLiteral)
	for _, sub := range re.Sub {
		n += instructions(sub)
	}
	switch re.Op {
	case syntax.OpRepeat:
		n *= max(re.Min, re.Max, 1)
	case syntax.OpCapture:
		n++
	}
	return n
}
