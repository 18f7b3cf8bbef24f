package shell

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// edit implements sed with the commands s, p, d, q and =, each with up to two addresses.
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
		// Read one line ahead, to know which line is the last.
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

// sedAddress selects a line by its number, by a pattern, or the last line.
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

// substitute applies an s command. A line that would become too long is not changed.
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

// parseSed parses the first command of a script and returns the rest.
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

// untilDelimiter cuts at the first delimiter without a backslash before it.
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
