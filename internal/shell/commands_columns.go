package shell

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

func sortLines(_ context.Context, p *process) int {
	o, names, ok := p.parse("nrufk:t:bgo:sh", nil)
	if !ok {
		return 1
	}
	var all []string
	size := 0
	out := p.buffered()
	exit := p.each(names, out, func(_, line string) bool {
		size += len(line) + 16
		all = append(all, strings.TrimSuffix(line, "\n"))
		return size <= maxBuffer
	})
	if size > maxBuffer {
		return p.fail("%v", errTooLong)
	}
	field, _ := strconv.Atoi(prefix(o.value['k'], 9, "0123456789"))
	numeric := o.has('n') || o.has('g') || strings.Contains(o.value['k'], "n")
	key := func(line string) string {
		if field > 0 {
			var fields []string
			if separator := o.value['t']; separator != "" {
				fields = strings.Split(line, separator)
			} else {
				fields = strings.Fields(line)
			}
			if field > len(fields) {
				return ""
			}
			line = strings.Join(fields[field-1:], " ")
		}
		if o.has('f') {
			line = strings.ToUpper(line)
		}
		return line
	}
	order := func(a, b string) int {
		a, b = key(a), key(b)
		if numeric {
			x, y := leadingNumber(a), leadingNumber(b)
			switch {
			case x < y:
				return -1
			case x > y:
				return 1
			case o.has('u'):
				return 0
			}
		}
		return strings.Compare(a, b)
	}
	reverse := o.has('r') || strings.Contains(o.value['k'], "r")
	slices.SortStableFunc(all, func(a, b string) int {
		if reverse {
			return order(b, a)
		}
		return order(a, b)
	})
	if o.has('u') {
		all = slices.CompactFunc(all, func(a, b string) bool { return order(a, b) == 0 })
	}
	for _, line := range all {
		if _, err := out.WriteString(line + "\n"); err != nil {
			break
		}
	}
	return p.finish(out, exit)
}

func leadingNumber(text string) float64 {
	text = strings.TrimSpace(text)
	sign := prefix(text, 1, "-+")
	n, _ := strconv.ParseFloat(sign+prefix(text[len(sign):], 30, "0123456789."), 64)
	return n
}

func unique(_ context.Context, p *process) int {
	o, names, ok := p.parse("cduif:s:", nil)
	if !ok {
		return 1
	}
	out := p.buffered()
	last, times := "", 0
	show := func() {
		switch {
		case times == 0 || o.has('d') && times == 1 || o.has('u') && times > 1:
		case o.has('c'):
			fmt.Fprintf(out, "%7d %s\n", times, last)
		default:
			_, _ = out.WriteString(last + "\n")
		}
	}
	exit := p.each(names[:min(1, len(names))], out, func(_, line string) bool {
		line = strings.TrimSuffix(line, "\n")
		if times > 0 && (line == last || o.has('i') && strings.EqualFold(line, last)) {
			times++
			return true
		}
		show()
		last, times = line, 1
		return !p.broken.Load()
	})
	show()
	return p.finish(out, exit)
}

func cut(_ context.Context, p *process) int {
	o, names, ok := p.parse("d:f:c:b:s", nil)
	if !ok {
		return 1
	}
	text := orElse(o.value['f'], orElse(o.value['c'], o.value['b']))
	if text == "" {
		return p.fail("expected a list of bytes, characters, or fields")
	}
	type span struct{ from, to int }
	var spans []span
	for part := range strings.SplitSeq(text, ",") {
		first, last, ranged := strings.Cut(part, "-")
		from, err1 := strconv.Atoi(orElse(first, "1"))
		to, err2 := strconv.Atoi(orElse(last, strconv.Itoa(1<<30)))
		if !ranged {
			to, err2 = from, nil
		}
		if err1 != nil || err2 != nil || from < 1 || to < from {
			return p.fail("invalid range '%s'", part)
		}
		spans = append(spans, span{from, to})
	}
	chosen := func(i int) bool {
		return slices.ContainsFunc(spans, func(s span) bool { return i >= s.from && i <= s.to })
	}
	delimiter := orElse(o.value['d'], "\t")
	out := p.buffered()
	exit := p.each(names, out, func(_, line string) bool {
		line = strings.TrimSuffix(line, "\n")
		if _, byField := o.value['f']; byField {
			if !strings.Contains(line, delimiter) {
				if o.has('s') {
					return true
				}
			} else {
				var kept []string
				for i, field := range strings.Split(line, delimiter) {
					if chosen(i + 1) {
						kept = append(kept, field)
					}
				}
				line = strings.Join(kept, delimiter)
			}
		} else {
			kept := make([]byte, 0, len(line))
			for i := range len(line) {
				if chosen(i + 1) {
					kept = append(kept, line[i])
				}
			}
			line = string(kept)
		}
		_, err := out.WriteString(line + "\n")
		return err == nil
	})
	return p.finish(out, exit)
}

func translate(_ context.Context, p *process) int {
	o, sets, ok := p.parse("+dscC", nil)
	if !ok {
		return 1
	}
	if len(sets) == 0 || len(sets) == 1 && !o.has('d') && !o.has('s') {
		return p.fail("missing operand")
	}
	from := trSet(sets[0])
	if o.has('c') || o.has('C') {
		var rest []byte
		for c := range 256 {
			if !slices.Contains(from, byte(c)) {
				rest = append(rest, byte(c))
			}
		}
		from = rest
	}
	var table [256]byte
	var drop, squeeze [256]bool
	for c := range 256 {
		table[c] = byte(c)
	}
	var to []byte
	if len(sets) > 1 {
		to = trSet(sets[1])
	}
	for i, c := range from {
		switch {
		case o.has('d'):
			drop[c] = true
		case len(to) > 0:
			table[c] = to[min(i, len(to)-1)]
		}
	}
	if o.has('s') {
		if len(to) == 0 {
			to = from
		}
		for _, c := range to {
			squeeze[c] = true
		}
	}
	buffer, last := make([]byte, 32<<10), -1
	for {
		n, err := p.stdin.Read(buffer)
		made := buffer[:0]
		for _, c := range buffer[:n] {
			if drop[c] {
				continue
			}
			c = table[c]
			if squeeze[c] && int(c) == last {
				continue
			}
			last = int(c)
			made = append(made, c)
		}
		if len(made) > 0 {
			if _, err := p.stdout.Write(made); err != nil {
				return p.writeError(err)
			}
		}
		if err != nil {
			return 0
		}
	}
}

// trSet returns the characters of a set in the syntax of tr.
func trSet(text string) []byte {
	for class, characters := range map[string]string{
		"[:upper:]": "A-Z", "[:lower:]": "a-z", "[:digit:]": "0-9", "[:alpha:]": "A-Za-z", "[:alnum:]": "A-Za-z0-9",
		"[:space:]": `\t-\r `, "[:blank:]": `\t `,
		"[:punct:]": "!-/:-@[-`{-~",
	} {
		text = strings.ReplaceAll(text, class, characters)
	}
	text, _ = unescape(text, false)
	var set []byte
	for i := 0; i < len(text); i++ {
		if i+2 < len(text) && text[i+1] == '-' && text[i+2] >= text[i] {
			for c := int(text[i]); c <= int(text[i+2]); c++ {
				set = append(set, byte(c))
			}
			i += 2
			continue
		}
		set = append(set, text[i])
	}
	return set
}
