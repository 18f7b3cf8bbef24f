package shell

import (
	"bufio"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// edit implements sed with the commands s, p, d and q, each with up to two addresses.
func edit(p *process) int {
	script, found := p.options['e']
	names := p.operands
	if !found {
		if len(names) == 0 {
			return p.fail("usage: sed [-nrEi] [-e CMD] [CMD] [FILE]...")
		}
		script, names = names[0], names[1:]
	}
	edits, err := parseSed(script, p.options.has('r') || p.options.has('E'))
	if err != nil {
		return p.fail("%v", err)
	}
	if !p.options.has('i') {
		p.edit(edits, names, p.out)
		return p.exit
	}
	for _, name := range names {
		if err := p.editInPlace(edits, name); err != nil {
			p.fail("%s: %v", name, err)
		}
		if p.exit != 0 {
			break
		}
	}
	return p.exit
}

// editInPlace implements sed -i: it writes the output to a temporary file that has no name, and then exchanges the
// contents of the temporary file and the original file.
func (p *process) editInPlace(edits []*sedCommand, name string) error {
	quota := p.container.files.quota
	if info, err := p.stat(name); err == nil {
		quota = info.node.quota
	}
	made, err := p.container.files.textFile("", quota)
	if err != nil {
		return err
	}
	defer made.close()
	out := bufio.NewWriter(made)
	p.edit(edits, []string{name}, out)
	if err := out.Flush(); err != nil || p.exit != 0 || p.ctx.Err() != nil {
		return err
	}
	file, err := p.container.files.open(p.path(name), openAppend, 0o644)
	if err != nil {
		return err
	}
	defer file.close()
	return file.swap(made)
}

// edit runs the sed commands for each line of the files.
func (p *process) edit(edits []*sedCommand, names []string, out *bufio.Writer) {
	number := 0
	write := func(text string) { _, _ = out.WriteString(text) }
	// The function "one" runs the sed commands for a single line. It returns false after the command q.
	one := func(line string, last bool) bool {
		number++
		text := strings.TrimSuffix(line, "\n")
		end, quit := line[len(text):], false
		for _, e := range edits {
			if !e.selects(number, text, last) {
				continue
			}
			printed := e.name == "p"
			if e.name == "s" {
				var changed bool
				before := p.held
				if e.global && !p.take((len(text)+1)*(matchMemory+16*e.re.NumSubexp())) {
					return false
				}
				text, changed = e.substitute(text)
				p.giveBack(before)
				printed = changed && e.print
			}
			if printed {
				write(text + "\n")
			}
			if e.name == "d" {
				return true
			}
			if quit = e.name == "q"; quit {
				break
			}
		}
		if !p.options.has('n') {
			write(text + end)
		}
		return !quit
	}
	// Read one line ahead, because the address $ matches only the last line.
	pending := ""
	for _, line := range p.lines(names) {
		if pending != "" && !one(pending, false) {
			return
		}
		pending = line
	}
	if pending != "" {
		one(pending, true)
	}
}

// sedAddress is an address of a sed command: a line number, a pattern, or $ for the last line.
type sedAddress struct {
	number int
	re     *regexp.Regexp
	last   bool
}

func (a *sedAddress) matches(number int, text string, last bool) bool {
	return a.re != nil && a.re.MatchString(text) || a.last && last || number == a.number
}

type sedCommand struct {
	from, to *sedAddress
	within   bool // true after a line that matches "from", until a line that matches "to"
	negated  bool
	name     string

	re            *regexp.Regexp
	with          string // the replacement as a template of package regexp
	global, print bool
}

func (e *sedCommand) selects(number int, text string, last bool) bool {
	selected := e.from == nil || e.within || e.from.matches(number, text, last)
	if selected && e.to != nil {
		ends := e.within && e.to.matches(number, text, last) || e.to.number > 0 && number >= e.to.number
		e.within = !ends
	}
	return selected != e.negated
}

// substitute applies a sed command such as s/old/new/. It does not change a line that would become too long.
func (e *sedCommand) substitute(text string) (string, bool) {
	var made []byte
	most, end := 1, 0
	if e.global {
		most = -1
	}
	found := e.re.FindAllStringSubmatchIndex(text, most)
	for _, at := range found {
		made = append(made, text[end:at[0]]...)
		// Each group in the replacement may be as long as the whole match.
		if longest := strings.Count(e.with, "${")*(at[1]-at[0]) + len(e.with); len(made)+longest > maxLine {
			return text, false
		}
		made, end = e.re.ExpandString(made, e.with, text, at), at[1]
	}
	return string(made) + text[end:], len(found) > 0
}

// sedHead matches the beginning of a sed command: the addresses, an optional !, and the command's name.
var sedHead = regexp.MustCompile(`^(\d+|\$|/(?:[^/\\]|\\.)*/)?(?:,(\d+|\$|/(?:[^/\\]|\\.)*/))? *(!?) *([spdq])`)

func parseSed(text string, extended bool) (edits []*sedCommand, err error) {
	for {
		if text = strings.TrimLeft(text, "; \n\t"); text == "" {
			return edits, nil
		}
		found := sedHead.FindStringSubmatch(text)
		if found == nil {
			return nil, fmt.Errorf("unsupported command %s", text)
		}
		e := &sedCommand{negated: found[3] != "", name: found[4]}
		text = text[len(found[0]):]
		if e.from, err = parseAddress(found[1], extended); err == nil {
			e.to, err = parseAddress(found[2], extended)
		}
		if err == nil && e.name == "s" {
			text, err = e.parseSubstitute(text, extended)
		}
		if err != nil {
			return nil, err
		}
		edits = append(edits, e)
	}
}

// sedEscapes matches the parts of a sed replacement that package regexp writes differently, such as & and \1.
var sedEscapes = regexp.MustCompile(`\\[0-9]|\\.|&|\$`)

// parseSubstitute parses a command such as s/old/new/ from the first delimiter on, and returns the rest of the script.
func (e *sedCommand) parseSubstitute(text string, extended bool) (rest string, err error) {
	if text == "" {
		return "", errors.New("bad format in substitution expression")
	}
	delimiter := text[:1]
	pattern, rest, ok := untilDelimiter(text[1:], delimiter)
	with, rest, ok2 := untilDelimiter(rest, delimiter)
	if !ok || !ok2 {
		return "", errors.New("unterminated s")
	}
	given := prefix(rest, 4, "gpiI")
	e.global, e.print = strings.Contains(given, "g"), strings.Contains(given, "p")
	flags := "s"
	if strings.ContainsAny(given, "iI") {
		flags = "si"
	}
	e.with = sedEscapes.ReplaceAllStringFunc(with, func(found string) string {
		switch c := found[len(found)-1]; {
		case found == "&":
			return "${0}"
		case found == "$":
			return "$$"
		case c >= '0' && c <= '9':
			return "${" + string(c) + "}"
		case c == 'n':
			return "\n"
		default:
			return found[1:]
		}
	})
	e.re, err = expression(pattern, extended, flags)
	return rest[len(given):], err
}

// parseAddress parses an address of a sed command. It returns nil for an empty text.
func parseAddress(text string, extended bool) (*sedAddress, error) {
	switch {
	case text == "":
		return nil, nil
	case text == "$":
		return &sedAddress{last: true}, nil
	case text[0] == '/':
		re, err := expression(text[1:len(text)-1], extended, "s")
		return &sedAddress{re: re}, err
	}
	n, _ := strconv.Atoi(text)
	return &sedAddress{number: n}, nil
}

// untilDelimiter cuts a text at the first delimiter that has no backslash before it.
func untilDelimiter(text, delimiter string) (before, after string, ok bool) {
	for i := 0; i < len(text); i++ {
		switch {
		case text[i] == '\\':
			i++
		case text[i:i+1] == delimiter:
			return strings.ReplaceAll(text[:i], `\`+delimiter, delimiter), text[i+1:], true
		}
	}
	return "", "", false
}
