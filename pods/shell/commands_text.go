package shell

import (
	"bufio"
	"context"
	"encoding/base64"
	"fmt"
	"hash"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
)

func echo(_ context.Context, p *process) int {
	args, end, escapes := p.args[1:], "\n", false
	for len(args) > 0 && len(args[0]) > 1 && args[0][0] == '-' && strings.Trim(args[0][1:], "neE") == "" {
		for _, option := range args[0][1:] {
			switch option {
			case 'n':
				end = ""
			case 'e':
				escapes = true
			case 'E':
				escapes = false
			}
		}
		args = args[1:]
	}
	text := strings.Join(args, " ")
	if escapes {
		var stop bool
		if text, stop = unescape(text, true); stop {
			end = ""
		}
	}
	return p.print(text + end)
}

// unescape does the escapes of echo -e and of printf; \c says to stop. With zero an octal number begins with a 0.
func unescape(text string, zero bool) (string, bool) {
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] != '\\' || i+1 == len(text) {
			b.WriteByte(text[i])
			continue
		}
		i++
		if at := strings.IndexByte(`abefnrtv\"'`, text[i]); at >= 0 {
			b.WriteByte("\a\b\x1b\f\n\r\t\v\\\"'"[at])
			continue
		}
		digits, base := "", 8
		switch c := text[i]; {
		case c == 'c':
			return b.String(), true
		case c == 'x':
			digits, base = prefix(text[i+1:], 2, "0123456789abcdefABCDEF"), 16
			i += len(digits)
		case c == '0' && zero:
			digits = "0" + prefix(text[i+1:], 3, "01234567")
			i += len(digits) - 1
		case c >= '0' && c <= '7':
			digits = prefix(text[i:], 3, "01234567")
			i += len(digits) - 1
		}
		if n, err := strconv.ParseUint(digits, base, 16); err == nil {
			b.WriteByte(byte(n))
		} else {
			b.WriteString(`\` + text[i:i+1])
		}
	}
	return b.String(), false
}

func prefix(text string, most int, of string) string {
	n := 0
	for n < len(text) && n < most && strings.IndexByte(of, text[n]) >= 0 {
		n++
	}
	return text[:n]
}

// maxWidth is the widest field of printf.
const maxWidth = 4096

func printFormatted(ctx context.Context, p *process) int {
	args := p.args[1:]
	if len(args) > 0 && args[0] == "--" {
		args = args[1:]
	}
	if len(args) == 0 {
		p.fail("usage: printf FORMAT [ARG]...")
		return 2
	}
	format, args := args[0], args[1:]
	out := p.buffered()
	exit := 0
	for {
		used, stop, err := p.formatOnce(out, format, args)
		if err != nil {
			_ = out.Flush()
			exit = p.fail("%v", err)
		}
		if args = args[used:]; used == 0 || len(args) == 0 || stop || ctx.Err() != nil {
			return p.finish(out, exit)
		}
	}
}

// formatOnce goes once over a format, and says how many arguments that took.
func (p *process) formatOnce(out *bufio.Writer, format string, args []string) (used int, stop bool, failed error) {
	next := func() string {
		if used < len(args) {
			used++
			return args[used-1]
		}
		return ""
	}
	for i := 0; i < len(format); i++ {
		switch {
		case format[i] == '\\':
			// The longest escape has four characters.
			end := min(i+4, len(format))
			for end > i+1 {
				text, stop := unescape(format[i:end], false)
				if stop {
					return used, true, failed
				}
				if len(text) == 1 || end == i+2 {
					_, _ = out.WriteString(text)
					break
				}
				end--
			}
			if end == i+1 {
				_ = out.WriteByte('\\')
			}
			i = end - 1
		case format[i] != '%':
			_ = out.WriteByte(format[i])
		case strings.HasPrefix(format[i:], "%%"):
			_ = out.WriteByte('%')
			i++
		default:
			spec := "%"
			for i++; i < len(format) && strings.IndexByte("-+ #0123456789.*", format[i]) >= 0; i++ {
				if format[i] == '*' {
					spec += next()
				} else {
					spec += format[i : i+1]
				}
			}
			for i < len(format) && strings.IndexByte("hlLqjzt", format[i]) >= 0 {
				i++
			}
			if i >= len(format) || !validSpec(spec) {
				return used, true, fmt.Errorf("%s: invalid format", spec)
			}
			verb := format[i]
			switch verb {
			case 's':
				fmt.Fprintf(out, spec+"s", next())
			case 'c':
				fmt.Fprintf(out, spec+"s", prefixRune(next()))
			case 'b':
				text, end := unescape(next(), true)
				fmt.Fprintf(out, spec+"s", text)
				if end {
					return used, true, failed
				}
			case 'd', 'i', 'u', 'o', 'x', 'X':
				text := next()
				n, err := integer(text)
				if err != nil {
					failed = fmt.Errorf("invalid number '%s'", text)
				}
				if verb == 'i' || verb == 'u' {
					verb = 'd'
				}
				if verb != 'd' && n < 0 {
					fmt.Fprintf(out, spec+string(verb), uint64(n))
				} else {
					fmt.Fprintf(out, spec+string(verb), n)
				}
			case 'f', 'F', 'e', 'E', 'g', 'G':
				text := next()
				n, err := strconv.ParseFloat(orElse(text, "0"), 64)
				if err != nil {
					failed = fmt.Errorf("invalid number '%s'", text)
				}
				fmt.Fprintf(out, spec+string(verb), n)
			default:
				return used, true, fmt.Errorf("%s%c: invalid format", spec, verb)
			}
		}
	}
	return used, false, failed
}

// validSpec says whether the numbers of a format are not too large, and stand where they may.
func validSpec(spec string) bool {
	numbers := strings.TrimLeft(spec, "%-+ #0")
	width, precision, _ := strings.Cut(numbers, ".")
	for _, text := range []string{width, precision} {
		if n, err := strconv.Atoi(orElse(text, "0")); err != nil || n < 0 || n > maxWidth {
			return false
		}
	}
	return true
}

func prefixRune(text string) string {
	for _, r := range text {
		return string(r)
	}
	return ""
}

// integer reads a number as printf does: also 0x1f, 017 and 'c.
func integer(text string) (int64, error) {
	text = strings.TrimSpace(text)
	if text == "" {
		return 0, nil
	}
	if (text[0] == '\'' || text[0] == '"') && len(text) > 1 {
		for _, r := range text[1:] {
			return int64(r), nil
		}
	}
	return strconv.ParseInt(text, 0, 64)
}

// lineCount takes the number of -n or -c, also as in head -5.
func (p *process) lineCount() (o options, names []string, ok bool) {
	args := slices.Clone(p.args)
	for i, arg := range args[1:] {
		if len(arg) > 1 && arg[0] == '-' && strings.Trim(arg[1:], "0123456789") == "" {
			args[i+1] = "-n" + arg[1:]
		}
	}
	return (&process{args: args, stderr: p.stderr}).parse("n:c:qvfFs:", nil)
}

func head(_ context.Context, p *process) int {
	o, names, ok := p.lineCount()
	if !ok {
		return 1
	}
	lines, good := o.number('n', 10)
	bytes, alsoGood := o.number('c', -1)
	if !good || !alsoGood {
		return p.fail("invalid number '%s'", orElse(o.value['n'], o.value['c']))
	}
	if len(names) == 0 {
		names = []string{"-"}
	}
	exit := 0
	for i, name := range names {
		from, err := p.open(name)
		if err != nil {
			exit = p.fail("%s: %v", name, err)
			continue
		}
		p.header(i, name, len(names) > 1 && !o.has('q') || o.has('v'))
		if bytes >= 0 {
			_, err = io.Copy(onlyWriter{p.stdout}, io.LimitReader(from, int64(bytes)))
		} else {
			out := p.buffered()
			in := p.lines(from, out)
			for range lines {
				var line string
				if line, err = in.next(); err != nil {
					break
				}
				if _, err = out.WriteString(line); err != nil {
					break
				}
			}
			_ = out.Flush()
		}
		switch {
		case p.broken.Load():
			return 128 + sigPipe
		case err != nil && err != io.EOF:
			exit = p.fail("%s: %v", name, err)
		}
	}
	return exit
}

func (p *process) header(i int, name string, show bool) {
	if !show {
		return
	}
	gap := ""
	if i > 0 {
		gap = "\n"
	}
	if name == "-" {
		name = "standard input"
	}
	p.print(gap + "==> " + name + " <==\n")
}

func tail(ctx context.Context, p *process) int {
	o, names, ok := p.lineCount()
	if !ok {
		return 1
	}
	unit := 'n'
	if o.has('c') {
		unit = 'c'
	}
	text := orElse(o.value[unit], "10")
	fromStart := strings.HasPrefix(text, "+")
	most, err := strconv.Atoi(strings.TrimLeft(text, "+-"))
	if err != nil {
		return p.fail("invalid number '%s'", text)
	}
	if len(names) == 0 {
		names = []string{"-"}
	}
	exit := 0
	var followed []io.Reader
	for i, name := range names {
		from, err := p.open(name)
		if err != nil {
			exit = p.fail("%s: %v", name, err)
			continue
		}
		p.header(i, name, len(names) > 1 && !o.has('q') || o.has('v'))
		if err = p.tailOne(from, most, unit == 'c', fromStart); err != nil {
			exit = p.fail("%s: %v", name, err)
			continue
		}
		if from != p.stdin {
			followed = append(followed, from)
		}
	}
	if !o.has('f') && !o.has('F') {
		return exit
	}
	for ctx.Err() == nil && len(followed) > 0 {
		change := p.container.files.change()
		for _, from := range followed {
			if _, err := io.Copy(onlyWriter{p.stdout}, onlyReader{from}); err != nil {
				return p.writeError(err)
			}
		}
		select {
		case <-change:
		case <-ctx.Done():
		}
	}
	return exit
}

// tailOne writes the end of what it reads, or all from a line or byte on.
func (p *process) tailOne(from io.Reader, most int, bytes, fromStart bool) error {
	if fromStart {
		in := bufio.NewReader(from)
		for skip := most - 1; skip > 0; {
			c, err := in.ReadByte()
			if err == io.EOF {
				return nil
			} else if err != nil {
				return err
			}
			if bytes || c == '\n' {
				skip--
			}
		}
		_, err := io.Copy(onlyWriter{p.stdout}, onlyReader{in})
		return err
	}
	var kept []byte
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		kept = append(kept, buffer[:n]...)
		if len(kept) > maxBuffer || err == io.EOF {
			if start := tailStart(kept, most, bytes); start > 0 {
				kept = append([]byte(nil), kept[start:]...)
			}
			if len(kept) > maxBuffer {
				return errTooLong
			}
		}
		if err == io.EOF {
			_, err = p.stdout.Write(kept)
			return err
		}
		if err != nil {
			return err
		}
	}
}

func tailStart(kept []byte, most int, bytes bool) int {
	if bytes {
		return max(0, len(kept)-most)
	}
	if most == 0 {
		return len(kept)
	}
	found := 0
	for i := len(kept) - 2; i >= 0; i-- {
		if kept[i] == '\n' {
			if found++; found == most {
				return i + 1
			}
		}
	}
	return 0
}

func count(_ context.Context, p *process) int {
	o, names, ok := p.parse("lwcmL", nil)
	if !ok {
		return 1
	}
	if len(o.count) == 0 {
		o.count = map[rune]int{'l': 1, 'w': 1, 'c': 1}
	}
	show := func(lines, words, bytes int, name string) {
		var columns []string
		for _, c := range []struct {
			option rune
			n      int
		}{{'l', lines}, {'w', words}, {'m', bytes}, {'c', bytes}} {
			if o.has(c.option) {
				if len(o.count) > 1 || len(names) > 1 {
					columns = append(columns, fmt.Sprintf("%9d", c.n))
				} else {
					columns = append(columns, strconv.Itoa(c.n))
				}
			}
		}
		if name != "" {
			name = " " + name
		}
		p.print(strings.Join(columns, " ") + name + "\n")
	}
	inputs := names
	if len(inputs) == 0 {
		inputs = []string{"-"}
	}
	exit, lines, words, bytes := 0, 0, 0, 0
	for _, name := range inputs {
		from, err := p.open(name)
		if err != nil {
			exit = p.fail("%s: %v", name, err)
			continue
		}
		l, w, b, within := 0, 0, 0, false
		in := bufio.NewReader(from)
		var c byte
		for c, err = in.ReadByte(); err == nil; c, err = in.ReadByte() {
			b++
			if c == '\n' {
				l++
			}
			blank := c == ' ' || c >= '\t' && c <= '\r'
			if !blank && !within {
				w++
			}
			within = !blank
		}
		if err != io.EOF {
			exit = p.fail("%s: %v", name, err)
		}
		if len(names) == 0 {
			name = ""
		}
		show(l, w, b, name)
		lines, words, bytes = lines+l, words+w, bytes+b
	}
	if len(names) > 1 {
		show(lines, words, bytes, "total")
	}
	return exit
}

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

// trSet gives the characters of a set as of tr.
func trSet(text string) []byte {
	for class, characters := range map[string]string{
		"[:upper:]": "A-Z", "[:lower:]": "a-z", "[:digit:]": "0-9", "[:alpha:]": "A-Za-z", "[:alnum:]": "A-Za-z0-9", "[:space:]": `\t-\r `, "[:blank:]": `\t `,
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

func sequence(ctx context.Context, p *process) int {
	args, separator, equal := p.args[1:], "\n", false
	for len(args) > 0 && (args[0] == "-w" || args[0] == "-s" && len(args) > 1 || args[0] == "--") {
		switch args[0] {
		case "-w":
			equal = true
		case "-s":
			separator = args[1]
			args = args[1:]
		}
		args = args[1:]
	}
	var numbers []float64
	for i, arg := range args {
		n, err := strconv.ParseFloat(arg, 64)
		if err != nil || i > 2 || math.IsNaN(n) {
			return p.fail("invalid number '%s'", arg)
		}
		numbers = append(numbers, n)
	}
	first, step, last := 1.0, 1.0, 0.0
	switch len(args) {
	case 0:
		return p.fail("missing operand")
	case 1:
		last = numbers[0]
	case 2:
		first, last = numbers[0], numbers[1]
	case 3:
		first, step, last = numbers[0], numbers[1], numbers[2]
	}
	if step == 0 {
		return p.fail("invalid increment '0'")
	}
	places := 0
	for _, arg := range args {
		if _, fraction, found := strings.Cut(arg, "."); found {
			places = max(places, min(len(fraction), 17))
		}
	}
	width := 0
	if equal {
		width = max(len(strconv.FormatFloat(first, 'f', places, 64)), len(strconv.FormatFloat(last, 'f', places, 64)))
	}
	out := p.buffered()
	for i := 0.0; ctx.Err() == nil; i++ {
		n := first + i*step
		if step > 0 && n > last || step < 0 && n < last {
			if i > 0 {
				_, _ = out.WriteString("\n")
			}
			break
		}
		if i > 0 {
			_, _ = out.WriteString(separator)
		}
		text := strconv.FormatFloat(n, 'f', places, 64)
		if _, err := out.WriteString(strings.Repeat("0", max(0, width-len(text))) + text); err != nil {
			break
		}
	}
	return p.finish(out, 0)
}

func encodeBase64(_ context.Context, p *process) int {
	o, names, ok := p.parse("diw:", map[string]rune{"decode": 'd'})
	if !ok {
		return 1
	}
	width, good := o.number('w', 76)
	if !good {
		return p.fail("invalid number '%s'", o.value['w'])
	}
	from, err := p.open(orElse(strings.Join(names[:min(1, len(names))], ""), "-"))
	if err != nil {
		return p.fail("%s: %v", names[0], err)
	}
	if o.has('d') {
		_, err = io.Copy(onlyWriter{p.stdout}, base64.NewDecoder(base64.StdEncoding, onlyReader{from}))
		if err != nil && !p.broken.Load() {
			return p.fail("invalid input")
		}
		return 0
	}
	out := p.buffered()
	wrapped := &wrapper{to: out, width: width}
	encoder := base64.NewEncoder(base64.StdEncoding, wrapped)
	if _, err = io.Copy(encoder, onlyReader{from}); err == nil {
		err = encoder.Close()
	}
	if err != nil {
		_ = out.Flush()
		return p.fail("%v", err)
	}
	if wrapped.column > 0 {
		_, _ = out.WriteString("\n")
	}
	return p.finish(out, 0)
}

// wrapper breaks lines.
type wrapper struct {
	to            *bufio.Writer
	width, column int
}

func (w *wrapper) Write(p []byte) (int, error) {
	for _, c := range p {
		if w.width > 0 && w.column == w.width {
			_ = w.to.WriteByte('\n')
			w.column = 0
		}
		if err := w.to.WriteByte(c); err != nil {
			return 0, err
		}
		w.column++
	}
	return len(p), nil
}

func digest(sum func() hash.Hash) func(context.Context, *process) int {
	return func(_ context.Context, p *process) int {
		_, names, ok := p.parse("bt", nil)
		if !ok {
			return 1
		}
		if len(names) == 0 {
			names = []string{"-"}
		}
		exit := 0
		for _, name := range names {
			from, err := p.open(name)
			h := sum()
			if err == nil {
				_, err = io.Copy(h, onlyReader{from})
			}
			if err != nil {
				exit = p.fail("can't open '%s': %v", name, err)
				continue
			}
			p.print(fmt.Sprintf("%x  %s\n", h.Sum(nil), name))
		}
		return exit
	}
}

// repeat is xargs.
func repeat(ctx context.Context, p *process) int {
	o, args, ok := p.parse("+0rn:I:tL:", nil)
	if !ok {
		return 1
	}
	if len(args) == 0 {
		args = []string{"echo"}
	}
	most, good := o.number('n', 1<<20)
	if !good || most == 0 {
		return p.fail("invalid number '%s'", o.value['n'])
	}
	text, err := io.ReadAll(io.LimitReader(p.stdin, maxBuffer+1))
	if err != nil || len(text) > maxBuffer {
		return p.fail("%v", errTooLong)
	}
	var words []string
	switch {
	case o.has('0'):
		words = strings.FieldsFunc(string(text), func(r rune) bool { return r == 0 })
	case o.has('I'):
		words = strings.FieldsFunc(string(text), func(r rune) bool { return r == '\n' })
	default:
		words = strings.Fields(string(text))
	}
	exit := 0
	run := func(args []string) bool {
		switch code := p.child(ctx, args, p.env); {
		case code == 126 || code == 127:
			exit = code
			return false
		case code != 0:
			exit = 123
		}
		return ctx.Err() == nil
	}
	if mark, found := o.value['I']; found {
		for _, word := range words {
			replaced := slices.Clone(args)
			for i := range replaced {
				if len(word)*strings.Count(replaced[i], mark) > maxArguments {
					return p.fail("argument line too long")
				}
				replaced[i] = strings.ReplaceAll(replaced[i], mark, strings.TrimSpace(word))
			}
			if !run(replaced) {
				break
			}
		}
		return exit
	}
	for first := true; len(words) > 0 || first && !o.has('r'); first = false {
		n, size := 0, 0
		for n < len(words) && n < most && size+len(words[n]) < maxArguments {
			size += len(words[n]) + 1
			n++
		}
		if n == 0 && len(words) > 0 {
			return p.fail("argument line too long")
		}
		if !run(slices.Concat(args, words[:n])) {
			break
		}
		words = words[n:]
	}
	return exit
}
