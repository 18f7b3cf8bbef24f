package shell

import (
	"context"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"strconv"
	"strings"
)

// expression makes a regular expression of Go of one of POSIX, basic or extended. Go's take time that is linear in the text,
// and bound their own size.
func expression(pattern string, extended bool, flags string) (*regexp.Regexp, error) {
	var b strings.Builder
	for i := 0; i < len(pattern); i++ {
		c := pattern[i]
		switch {
		case c == '[':
			end := bracketEnd(pattern, i)
			if end < 0 {
				return nil, fmt.Errorf("bad regex '%s': Unmatched [", pattern)
			}
			b.WriteString(strings.ReplaceAll(pattern[i:end+1], `\`, `\\`))
			i = end
		case c == '\\' && i+1 < len(pattern):
			i++
			switch next := pattern[i]; {
			case next == '<' || next == '>':
				b.WriteString(`\b`)
			case strings.IndexByte("wWsSbB", next) >= 0:
				b.WriteString(`\` + string(next))
			case !extended && strings.IndexByte("(){}|+?", next) >= 0:
				b.WriteByte(next)
			case next >= '1' && next <= '9':
				return nil, fmt.Errorf("bad regex '%s': back references are not supported", pattern)
			default:
				b.WriteString(regexp.QuoteMeta(string(next)))
			}
		case !extended && strings.IndexByte("(){}|+?", c) >= 0:
			b.WriteString(`\` + string(c))
		case !extended && c == '*' && (i == 0 || pattern[i-1] == '^' && i == 1 || strings.HasSuffix(pattern[:i], `\(`) || strings.HasSuffix(pattern[:i], `\|`)):
			b.WriteString(`\*`)
		case !extended && c == '^' && i > 0 && !strings.HasSuffix(pattern[:i], `\(`) && !strings.HasSuffix(pattern[:i], `\|`),
			!extended && c == '$' && i+1 < len(pattern) && !strings.HasPrefix(pattern[i+1:], `\)`) && !strings.HasPrefix(pattern[i+1:], `\|`):
			b.WriteString(`\` + string(c))
		default:
			b.WriteByte(c)
		}
	}
	made, err := regexp.Compile("(?" + flags + ":" + b.String() + ")")
	if err != nil {
		return nil, fmt.Errorf("bad regex '%s': Invalid regexp", pattern)
	}
	return made, nil
}

// bracketEnd finds the ] of a bracket expression; -1 if there is none.
func bracketEnd(pattern string, start int) int {
	i := start + 1
	if i < len(pattern) && pattern[i] == '^' {
		i++
	}
	if i < len(pattern) && pattern[i] == ']' {
		i++
	}
	for ; i < len(pattern); i++ {
		if pattern[i] == ']' {
			return i
		}
		if strings.HasPrefix(pattern[i:], "[:") {
			if end := strings.Index(pattern[i:], ":]"); end > 0 {
				i += end + 1
			}
		}
	}
	return -1
}

func grep(ctx context.Context, p *process) int {
	o, names, ok := p.parse("ivncrREFGqlLoxwhHse:m:A:B:C:", map[string]rune{"color": 0, "line-buffered": 0})
	if !ok {
		return 2
	}
	pattern, found := o.value['e']
	if !found {
		if len(names) == 0 {
			p.fail("usage: grep [-HhnlLoqvsrRiwFEmABC] PATTERN [FILE]...")
			return 2
		}
		pattern, names = names[0], names[1:]
	}
	name := path.Base(p.args[0])
	flags := "s"
	if o.has('i') {
		flags += "i"
	}
	var alternatives []string
	for part := range strings.SplitSeq(pattern, "\n") {
		if o.has('F') || name == "fgrep" {
			part = regexp.QuoteMeta(part)
		} else {
			made, err := expression(part, o.has('E') || name == "egrep", flags)
			if err != nil {
				p.fail("%v", err)
				return 2
			}
			part = made.String()
		}
		switch {
		case o.has('x'):
			part = "^(?:" + part + ")$"
		case o.has('w'):
			part = `\b(?:` + part + `)\b`
		}
		alternatives = append(alternatives, part)
	}
	re, err := regexp.Compile("(?" + flags + ":" + strings.Join(alternatives, "|") + ")")
	if err != nil {
		p.fail("bad regex '%s'", pattern)
		return 2
	}
	most, good := o.number('m', 1<<30)
	after, good2 := o.number('A', 0)
	before, good3 := o.number('B', 0)
	if around, good4 := o.number('C', 0); !good || !good2 || !good3 || !good4 {
		p.fail("invalid number")
		return 2
	} else if o.has('C') {
		after, before = around, around
	}
	before = min(before, 1000)
	recursive := o.has('r') || o.has('R')
	if recursive && len(names) == 0 {
		names = []string{"."}
	}
	exit := 1
	failed := false
	if recursive {
		var files []string
		for _, root := range names {
			base := p.path(root)
			p.container.files.walk(p.user(), base, func(at string, info fileInfo, err error) bool {
				if err == nil && info.mode.IsRegular() {
					files = append(files, strings.TrimSuffix(root, "/")+strings.TrimPrefix(at, base))
				} else if err != nil && !o.has('s') {
					p.fail("%s: %v", root, err)
					failed = true
				}
				return ctx.Err() == nil && info.Type()&fs.ModeDevice == 0
			})
		}
		if names = files; len(names) == 0 {
			return exit
		}
	}
	withName := (len(names) > 1 || recursive || o.has('H')) && !o.has('h')
	out := p.buffered()
	if len(names) == 0 {
		names = []string{"-"}
	}
	for _, name := range names {
		shown := name
		if name == "-" {
			shown = "(standard input)"
		}
		label := ""
		if withName {
			label = shown
		}
		write := func(separator string, number int, text string) bool {
			if label != "" {
				_, _ = out.WriteString(label + separator)
			}
			if o.has('n') {
				_, _ = out.WriteString(strconv.Itoa(number) + separator)
			}
			_, err := out.WriteString(text + "\n")
			return err == nil
		}
		number, hits, follow, last := 0, 0, 0, 0
		var earlier []string
		quiet := o.has('c') || o.has('l') || o.has('L') || o.has('q')
		code := p.each([]string{name}, out, func(_, line string) bool {
			line = strings.TrimSuffix(line, "\n")
			number++
			if re.MatchString(line) == o.has('v') {
				switch {
				case quiet:
				case follow > 0:
					follow--
					last = number
					return write("-", number, line)
				case before > 0:
					earlier = append(earlier[max(0, len(earlier)-before+1):], line)
				}
				return true
			}
			hits++
			exit = 0
			switch {
			case o.has('q') || o.has('l') || o.has('L'):
				return false
			case o.has('c'):
			case o.has('o') && !o.has('v'):
				for _, match := range re.FindAllString(line, 1000) {
					if match != "" && !write(":", number, match) {
						return false
					}
				}
			default:
				if (after > 0 || before > 0) && last > 0 && number-len(earlier) > last+1 {
					_, _ = out.WriteString("--\n")
				}
				for i, text := range earlier {
					write("-", number-len(earlier)+i, text)
				}
				earlier, last, follow = nil, number, after
				if !write(":", number, line) {
					return false
				}
			}
			return hits < most
		})
		failed = failed || code != 0
		switch {
		case o.has('q') && hits > 0:
			return 0
		case o.has('l') && hits > 0 || o.has('L') && hits == 0 && code == 0:
			_, _ = out.WriteString(shown + "\n")
		case o.has('c') && !o.has('l') && !o.has('q') && code == 0:
			if label != "" {
				_, _ = out.WriteString(label + ":")
			}
			_, _ = out.WriteString(strconv.Itoa(hits) + "\n")
		}
	}
	if failed && exit != 0 {
		exit = 2
	}
	return p.finish(out, exit)
}

// edit is sed with s, p, d, q and =, each of them with up to two addresses.
func edit(_ context.Context, p *process) int {
	o, names, ok := p.parse("ne:irE", nil)
	if !ok {
		return 1
	}
	script, found := o.value['e']
	if !found {
		if len(names) == 0 {
			return p.fail("usage: sed [-nrEi] [-e CMD]... [CMD] [FILE]...")
		}
		script, names = names[0], names[1:]
	}
	var edits []*sedCommand
	for rest := script; ; {
		rest = strings.TrimLeft(rest, "; \n\t")
		if rest == "" {
			break
		}
		var one *sedCommand
		var err error
		if one, rest, err = parseSed(rest, o.has('r') || o.has('E')); err != nil {
			return p.fail("%v", err)
		}
		edits = append(edits, one)
	}
	run := func(names []string, write func(string) error) int {
		number := 0
		out := p.buffered()
		// Whether a line is the last one is known only with the next.
		pending, has := "", false
		one := func(line string, last bool) bool {
			number++
			text, end := strings.CutSuffix(line, "\n")
			keep, quit := true, false
			for _, e := range edits {
				if !e.selects(number, text, last) {
					continue
				}
				switch e.name {
				case 's':
					var changed bool
					if text, changed = e.substitute(text); changed && e.print {
						_ = write(text + "\n")
					}
				case 'p':
					_ = write(text + "\n")
				case '=':
					_ = write(strconv.Itoa(number) + "\n")
				case 'd':
					keep = false
				case 'q':
					quit = true
				}
				if !keep || quit {
					break
				}
			}
			if keep && !o.has('n') {
				if end || !last {
					text += "\n"
				}
				if write(text) != nil {
					return false
				}
			}
			return !quit
		}
		quit := false
		exit := p.each(names, out, func(_, line string) bool {
			if has && !one(pending, false) {
				has, quit = false, true
				return false
			}
			pending, has = line, true
			return !p.broken.Load()
		})
		if has && !quit {
			one(pending, true)
		}
		return exit
	}
	if !o.has('i') {
		out := p.buffered()
		exit := run(names, func(text string) error {
			if _, err := out.WriteString(text); err != nil {
				return err
			}
			return out.Flush()
		})
		return p.finish(out, exit)
	}
	exit := 0
	for _, name := range names {
		var made strings.Builder
		exit |= run([]string{name}, func(text string) error {
			if made.Len()+len(text) > maxBuffer {
				return errTooLong
			}
			_, err := made.WriteString(text)
			return err
		})
		if exit != 0 {
			continue
		}
		file, err := p.create(name, openTruncate)
		if err == nil {
			_, err = file.Write([]byte(made.String()))
		}
		if err != nil {
			exit = p.fail("%s: %v", name, err)
		}
	}
	return exit
}

// sedAddress is a line by its number, its text, or the last one.
type sedAddress struct {
	number int
	re     *regexp.Regexp
	last   bool
}

func (a *sedAddress) matches(number int, text string, last bool) bool {
	switch {
	case a.re != nil:
		return a.re.MatchString(text)
	case a.last:
		return last
	}
	return number == a.number
}

type sedCommand struct {
	from, to *sedAddress
	within   bool
	negated  bool
	name     byte

	re            *regexp.Regexp
	with          []string // the replacement: texts, and "\x00" with a group's number
	global, print bool
	nth           int
}

func (e *sedCommand) selects(number int, text string, last bool) bool {
	selected := true
	switch {
	case e.from == nil:
	case e.to == nil:
		selected = e.from.matches(number, text, last)
	case e.within:
		e.within = !e.to.matches(number, text, last) && (e.to.number == 0 || number < e.to.number)
	default:
		selected = e.from.matches(number, text, last)
		e.within = selected && (e.to.number == 0 || number < e.to.number)
	}
	return selected != e.negated
}

// substitute replaces; a line that gets too long stays as it is.
func (e *sedCommand) substitute(text string) (string, bool) {
	var b strings.Builder
	end, n := 0, 0
	for _, at := range e.re.FindAllStringSubmatchIndex(text, -1) {
		if n++; n < e.nth || n > e.nth && !e.global {
			continue
		}
		b.WriteString(text[end:at[0]])
		for _, part := range e.with {
			group, ok := strings.CutPrefix(part, "\x00")
			if i, _ := strconv.Atoi(group); ok && 2*i+1 < len(at) && at[2*i] >= 0 {
				part = text[at[2*i]:at[2*i+1]]
			} else if ok {
				part = ""
			}
			b.WriteString(part)
		}
		if end = at[1]; b.Len() > maxLine {
			return text, false
		}
	}
	if b.Len() == 0 && end == 0 {
		return text, false
	}
	return b.String() + text[end:], true
}

// parseSed takes one command from a script.
func parseSed(text string, extended bool) (*sedCommand, string, error) {
	e := &sedCommand{nth: 1}
	var err error
	if e.from, text, err = parseAddress(text, extended); err != nil {
		return nil, "", err
	}
	if rest, ok := strings.CutPrefix(text, ","); ok && e.from != nil {
		if e.to, text, err = parseAddress(rest, extended); err != nil || e.to == nil {
			return nil, "", fmt.Errorf("no address after comma")
		}
	}
	text = strings.TrimLeft(text, " ")
	for strings.HasPrefix(text, "!") {
		e.negated, text = true, strings.TrimLeft(text[1:], " ")
	}
	if text == "" {
		return nil, "", fmt.Errorf("missing command")
	}
	e.name, text = text[0], text[1:]
	switch e.name {
	case 'p', 'd', 'q', '=':
		return e, text, nil
	case 's':
	default:
		return nil, "", fmt.Errorf("unsupported command %c", e.name)
	}
	if text == "" {
		return nil, "", fmt.Errorf("bad format in substitution expression")
	}
	delimiter := text[:1]
	pattern, rest, ok := untilDelimiter(text[1:], delimiter)
	with, rest, ok2 := untilDelimiter(rest, delimiter)
	if !ok || !ok2 {
		return nil, "", fmt.Errorf("unterminated s")
	}
	flags := "s"
	for rest != "" && strings.IndexByte("gpiI123456789", rest[0]) >= 0 {
		switch c := rest[0]; c {
		case 'g':
			e.global = true
		case 'p':
			e.print = true
		case 'i', 'I':
			flags = "si"
		default:
			e.nth = int(c - '0')
		}
		rest = rest[1:]
	}
	if e.re, err = expression(pattern, extended, flags); err != nil {
		return nil, "", err
	}
	plain := ""
	for i := 0; i < len(with); i++ {
		switch {
		case with[i] == '&':
			e.with = append(e.with, plain, "\x000")
			plain = ""
		case with[i] == '\\' && i+1 < len(with):
			i++
			switch c := with[i]; {
			case c >= '0' && c <= '9':
				e.with = append(e.with, plain, "\x00"+string(c))
				plain = ""
			case c == 'n':
				plain += "\n"
			case c == 't':
				plain += "\t"
			default:
				plain += string(c)
			}
		default:
			plain += with[i : i+1]
		}
	}
	e.with = append(e.with, plain)
	return e, rest, nil
}

func parseAddress(text string, extended bool) (*sedAddress, string, error) {
	digits := prefix(text, 9, "0123456789")
	switch {
	case digits != "":
		n, _ := strconv.Atoi(digits)
		return &sedAddress{number: n}, text[len(digits):], nil
	case strings.HasPrefix(text, "$"):
		return &sedAddress{last: true}, text[1:], nil
	case strings.HasPrefix(text, "/"):
		pattern, rest, ok := untilDelimiter(text[1:], "/")
		if !ok {
			return nil, "", fmt.Errorf("unterminated address regex")
		}
		re, err := expression(pattern, extended, "s")
		return &sedAddress{re: re}, rest, err
	}
	return nil, text, nil
}

// untilDelimiter cuts at a delimiter that has no backslash before it.
func untilDelimiter(text, delimiter string) (before, after string, ok bool) {
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		switch {
		case text[i] == '\\' && strings.HasPrefix(text[i+1:], delimiter):
			b.WriteString(delimiter)
			i++
		case text[i] == '\\' && i+1 < len(text):
			b.WriteString(text[i : i+2])
			i++
		case text[i:i+1] == delimiter:
			return b.String(), text[i+1:], true
		default:
			b.WriteByte(text[i])
		}
	}
	return "", "", false
}
