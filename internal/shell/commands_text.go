package shell

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/base64"
	"fmt"
	"hash"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

func cat(p *process) int {
	for _, from := range p.inputs(p.operands) {
		if err := copyAll(p.out, from); err != nil {
			return p.writeError(err)
		}
	}
	return 0
}

// copyAll copies like io.Copy, but never calls the methods WriteTo and ReadFrom. With these methods, the copy would
// bypass the flusher of the input and would not stop when the command must end.
func copyAll(to io.Writer, from io.Reader) error {
	_, err := io.Copy(struct{ io.Writer }{to}, struct{ io.Reader }{from})
	return err
}

// readAll reads the whole input into memory. It fails if the input is larger than maxBuffer.
func readAll(from io.Reader) ([]byte, error) {
	content, err := io.ReadAll(io.LimitReader(from, maxBuffer+1))
	if len(content) > maxBuffer {
		return nil, errTooLong
	}
	return content, err
}

func tee(p *process) int {
	flags := openNew
	if p.options.has('a') {
		flags = openAppend
	}
	to := []io.Writer{p.stdout}
	for _, name := range p.operands {
		if file, err := p.create(name, flags); err != nil {
			p.fail("%s: %v", name, err)
		} else {
			to = append(to, file)
		}
	}
	if err := copyAll(io.MultiWriter(to...), p.stdin); err != nil {
		return p.writeError(err)
	}
	return 0
}

// counted parses the options of head and tail: -n and -c, and the old form, as in head -5. The sign + means that the
// number counts from the beginning.
func (p *process) counted() (number int, sign string, ok bool) {
	args := slices.Clone(p.args[1:])
	for i, arg := range args {
		if len(arg) > 1 && arg[0] == '-' && strings.Trim(arg[1:], "0123456789") == "" {
			args[i] = "-n" + arg[1:]
		}
	}
	if !p.parse("n:c:qfF", args) {
		return 0, "", false
	}
	text := cmp.Or(p.options['c'], p.options['n'], "10")
	sign = prefix(text, 1, "+-")
	number, err := strconv.Atoi(text[len(sign):])
	if err != nil || number < 0 {
		p.fail("invalid number '%s'", text)
		return 0, "", false
	}
	return number, sign, true
}

// header prints the name of a file, if there are several files. The content of the file follows.
func (p *process) header(name string) {
	if len(p.operands) < 2 || p.options.has('q') {
		return
	}
	if name != p.operands[0] {
		p.print("\n")
	}
	p.print("==> " + name + " <==\n")
}

func head(p *process) int {
	number, _, ok := p.counted()
	if !ok {
		return 1
	}
	for name, from := range p.inputs(p.operands) {
		p.header(name)
		if p.options.has('c') {
			_ = copyAll(p.out, io.LimitReader(from, int64(number)))
			continue
		}
		left := number
		for line := range p.linesOf(name, from) {
			if left > 0 {
				p.print(line)
			}
			if left--; left <= 0 {
				break
			}
		}
	}
	return 0
}

func tail(p *process) int {
	number, sign, ok := p.counted()
	if !ok {
		return 1
	}
	var followed []io.Reader
	for name, from := range p.inputs(p.operands) {
		p.header(name)
		if err := p.tailOne(from, number, sign == "+"); err != nil && err != io.EOF {
			p.fail("%s: %v", name, err)
		}
		followed = append(followed, from)
	}
	for p.options.has('f') || p.options.has('F') {
		for _, from := range followed {
			if copyAll(p.out, from) != nil || p.out.Flush() != nil {
				return 1
			}
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-p.ctx.Done():
			return 1
		}
	}
	return 0
}

// tailOne prints the end of one input of tail: the last bytes or lines or, with fromStart, everything from the byte or
// line with the given number on.
func (p *process) tailOne(from io.Reader, number int, fromStart bool) error {
	bytewise := p.options.has('c')
	if fromStart {
		in := bufio.NewReader(from)
		for left := number - 1; left > 0; {
			c, err := in.ReadByte()
			if err != nil {
				return err
			}
			left -= oneIf(bytewise || c == '\n')
		}
		return copyAll(p.out, in)
	}
	var end []byte
	for {
		piece, err := io.ReadAll(io.LimitReader(from, maxBuffer))
		end = append(end, piece...)
		start := max(0, len(end)-number)
		if !bytewise {
			start = len(end)
			for left := number; left > 0 && start > 0; left-- {
				start = bytes.LastIndexByte(end[:start-1], '\n') + 1
			}
		}
		switch end = end[start:]; {
		case err != nil || len(piece) < maxBuffer:
			p.print(string(end))
			return err
		case len(end) > maxBuffer:
			return errTooLong
		}
	}
}

func count(p *process) int {
	if len(p.options) == 0 {
		p.options = options{'l': "", 'w': "", 'c': ""}
	}
	show := func(counts [3]int, name string) {
		format := "%d"
		if len(p.options) > 1 || len(p.operands) > 1 {
			format = "%9d"
		}
		var columns []string
		for i, option := range "lwc" {
			if p.options.has(option) {
				columns = append(columns, fmt.Sprintf(format, counts[i]))
			}
		}
		if len(p.operands) > 0 {
			columns = append(columns, name)
		}
		p.print(strings.Join(columns, " ") + "\n")
	}
	var total [3]int
	space := func(c byte) bool { return strings.IndexByte(" \t\n\v\f\r", c) >= 0 }
	for name, from := range p.inputs(p.operands) {
		var counts [3]int
		in, before := bufio.NewReader(from), byte(' ')
		for c, err := in.ReadByte(); err == nil; c, err = in.ReadByte() {
			counts[0] += oneIf(c == '\n')
			counts[1] += oneIf(space(before) && !space(c))
			counts[2]++
			before = c
		}
		for i := range total {
			total[i] += counts[i]
		}
		show(counts, name)
	}
	if len(p.operands) > 1 {
		show(total, "total")
	}
	return 0
}

func sortLines(p *process) int {
	var all []string
	size := 0
	for name, from := range p.inputs(p.operands) {
		content, err := readAll(from)
		size += len(content) + 24*bytes.Count(content, []byte("\n")) // 24 bytes for each line in the slice
		if err == nil && size > maxBuffer {
			err = errTooLong
		}
		if err != nil {
			return p.fail("%s: %v", name, err)
		}
		for line := range strings.Lines(string(content)) {
			all = append(all, strings.TrimSuffix(line, "\n"))
		}
	}
	field, _ := strconv.Atoi(prefix(p.options['k'], 9, "0123456789"))
	flag := func(option rune) bool { return p.options.has(option) || strings.ContainsRune(p.options['k'], option) }
	key := func(line string) string {
		if flag('b') {
			line = strings.TrimLeft(line, " \t")
		}
		if flag('f') {
			line = strings.ToUpper(line)
		}
		if field == 0 {
			return line
		}
		fields := strings.Fields(line)
		if separator := p.options['t']; separator != "" {
			fields = strings.Split(line, separator)
		}
		return strings.Join(fields[min(field-1, len(fields)):], " ")
	}
	order := func(a, b string) int {
		if a, b = key(a), key(b); flag('n') {
			return cmp.Compare(leadingNumber(a), leadingNumber(b))
		}
		return strings.Compare(a, b)
	}
	slices.SortStableFunc(all, func(a, b string) int {
		if flag('r') {
			a, b = b, a
		}
		return order(a, b)
	})
	if flag('u') {
		all = slices.CompactFunc(all, func(a, b string) bool { return order(a, b) == 0 })
	}
	for _, line := range all {
		p.print(line + "\n")
	}
	return 0
}

// leadingNumber returns the number at the beginning of a text, or 0.
func leadingNumber(text string) float64 {
	n, _ := strconv.ParseFloat(prefix(strings.TrimSpace(text), 30, "-0123456789."), 64)
	return n
}

// prefix returns the longest beginning of a text that has only the given characters and at most "most" bytes.
func prefix(text string, most int, of string) string {
	n := 0
	for n < len(text) && n < most && strings.IndexByte(of, text[n]) >= 0 {
		n++
	}
	return text[:n]
}

func unique(p *process) int {
	last, times := "", 0
	show := func() {
		switch {
		case times == 0 || p.options.has('d') && times == 1 || p.options.has('u') && times > 1:
		case p.options.has('c'):
			p.printf("%7d %s\n", times, last)
		default:
			p.print(last + "\n")
		}
	}
	for _, line := range p.lines(p.operands) {
		if line = strings.TrimSuffix(line, "\n"); times == 0 || line != last {
			show()
			last, times = line, 0
		}
		times++
	}
	show()
	return 0
}

func cut(p *process) int {
	list := cmp.Or(p.options['f'], p.options['c'])
	if list == "" {
		return p.fail("expected a list of characters or fields")
	}
	var spans [][2]int
	for part := range strings.SplitSeq(list, ",") {
		first, last, ranged := strings.Cut(part, "-")
		if !ranged {
			last = first
		}
		from, err1 := strconv.Atoi(cmp.Or(first, "1"))
		to, err2 := strconv.Atoi(cmp.Or(last, "1000000000"))
		if err1 != nil || err2 != nil || from < 1 || to < from {
			return p.fail("invalid range '%s'", part)
		}
		spans = append(spans, [2]int{from, to})
	}
	delimiter := ""
	if p.options.has('f') {
		delimiter = cmp.Or(p.options['d'], "\t")
	}
	for _, line := range p.lines(p.operands) {
		line = strings.TrimSuffix(line, "\n")
		if delimiter != "" && !strings.Contains(line, delimiter) {
			p.print(line + "\n")
			continue
		}
		var kept []string
		for i, field := range strings.Split(line, delimiter) {
			if slices.ContainsFunc(spans, func(s [2]int) bool { return i+1 >= s[0] && i+1 <= s[1] }) {
				kept = append(kept, field)
			}
		}
		p.print(strings.Join(kept, delimiter) + "\n")
	}
	return 0
}

func translate(p *process) int {
	o, sets := p.options, p.operands
	if len(sets) == 0 || len(sets) == 1 && !o.has('d') && !o.has('s') {
		return p.fail("missing operand")
	}
	from := trSet(sets[0])
	to := from
	if len(sets) > 1 {
		to = trSet(sets[1])
	}
	in, last := bufio.NewReader(flusher{p.stdin, p.out}), -1
	for {
		c, err := in.ReadByte()
		if err != nil {
			return 0
		}
		i := bytes.IndexByte(from, c)
		if i >= 0 && o.has('d') {
			continue
		}
		if i >= 0 && len(to) > 0 {
			c = to[min(i, len(to)-1)]
		}
		if o.has('s') && int(c) == last && bytes.IndexByte(to, c) >= 0 {
			continue
		}
		if last = int(c); p.out.WriteByte(c) != nil {
			return 1
		}
	}
}

// trSet returns the characters of an operand of tr, such as a-z or [:digit:].
func trSet(text string) []byte {
	text = unescape(strings.NewReplacer("[:upper:]", "A-Z", "[:lower:]", "a-z", "[:digit:]", "0-9", "[:alpha:]",
		"A-Za-z", "[:alnum:]", "A-Za-z0-9", "[:space:]", `\t-\r `).Replace(text))
	var set []byte
	for i := 0; i < len(text); i++ {
		set = append(set, text[i])
		if i+2 < len(text) && text[i+1] == '-' {
			for c := int(text[i]) + 1; c <= int(text[i+2]); c++ {
				set = append(set, byte(c))
			}
			i += 2
		}
	}
	return set
}

func sequence(p *process) int {
	var numbers []int
	for _, operand := range p.operands {
		n, err := strconv.Atoi(operand)
		if err != nil {
			return p.fail("invalid number '%s'", operand)
		}
		numbers = append(numbers, n)
	}
	if len(numbers) == 0 || len(numbers) > 3 {
		return p.fail("usage: seq [FIRST [STEP]] LAST")
	}
	first, step, last := 1, 1, numbers[len(numbers)-1]
	if len(numbers) > 1 {
		first = numbers[0]
	}
	if len(numbers) > 2 {
		step = numbers[1]
	}
	separator, end := "", ""
	for n := first; step > 0 && n <= last || step < 0 && n >= last; n += step {
		if !p.printf("%s%d", separator, n) {
			break
		}
		separator, end = cmp.Or(p.options['s'], "\n"), "\n"
	}
	return p.print(end)
}

// repeat implements xargs.
func repeat(p *process) int {
	args := p.operands
	if len(args) == 0 {
		args = []string{"echo"}
	}
	most := p.options.number('n', 1<<20)
	text, err := readAll(p.stdin)
	if err != nil || most < 1 {
		return p.fail("%v", cmp.Or(err, error(errInvalid)))
	}
	words, mark := strings.Fields(string(text)), p.options['I']
	switch {
	case p.options.has('0'):
		words = strings.FieldsFunc(string(text), func(r rune) bool { return r == 0 })
	case mark != "":
		words, most = strings.FieldsFunc(string(text), func(r rune) bool { return r == '\n' }), 1
	}
	if len(words) == 0 && (p.options.has('r') || mark != "") {
		return 0
	}
	exit := 0
	for first := true; len(words) > 0 || first; first = false {
		n := min(most, len(words))
		argv := slices.Concat(args, words[:n])
		if mark != "" {
			argv = slices.Clone(args)
			for i := range argv {
				argv[i] = strings.ReplaceAll(argv[i], mark, strings.TrimSpace(words[0]))
			}
		}
		words = words[n:]
		if len(strings.Join(argv, " ")) > maxArguments {
			return p.fail("%v", errTooManyWords)
		}
		switch code := p.child(argv, p.env); {
		case code == 126 || code == 127 || p.ctx.Err() != nil:
			return code
		case code != 0:
			exit = 123
		}
	}
	return exit
}

func encodeBase64(p *process) int {
	width, chunk := p.options.number('w', 76), make([]byte, 3<<10)
	if width <= 0 {
		width = math.MaxInt
	}
	for _, from := range p.inputs(p.operands) {
		if p.options.has('d') {
			err := copyAll(p.out, base64.NewDecoder(base64.StdEncoding, from))
			if err != nil && p.out.Flush() == nil {
				return p.fail("invalid input")
			}
			continue
		}
		column := 0
		for err := error(nil); err == nil; {
			var n int
			n, err = io.ReadFull(from, chunk)
			for rest := base64.StdEncoding.EncodeToString(chunk[:n]); rest != ""; {
				if column == width {
					column = 0
					p.print("\n")
				}
				part := rest[:min(len(rest), width-column)]
				rest = rest[len(part):]
				column += len(part)
				if _, err := p.out.WriteString(part); err != nil {
					return 1
				}
			}
		}
		p.print("\n")
	}
	return 0
}

func digest(sum func() hash.Hash) func(*process) int {
	return func(p *process) int {
		for name, from := range p.inputs(p.operands) {
			h := sum()
			if err := copyAll(h, from); err != nil {
				p.fail("can't read '%s': %v", name, err)
				continue
			}
			p.printf("%x  %s\n", h.Sum(nil), name)
		}
		return 0
	}
}
