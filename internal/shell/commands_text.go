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

func tee(p *process) int {
	flags := openNew
	if p.options.has('a') {
		flags = openAppend
	}
	to := []io.Writer{p.stdout}
	for _, name := range p.operands {
		file, err := p.create(name, flags)
		if err != nil {
			p.fail("%s: %v", name, err)
			continue
		}
		defer handleOf(file).close()
		to = append(to, file)
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
		if p.options.has('f') || p.options.has('F') {
			h := handleOf(from.(flusher).from)
			h.retain()
			defer h.close()
			followed = append(followed, from)
		}
	}
	for p.options.has('f') || p.options.has('F') {
		for _, from := range followed {
			if copyAll(p.out, from) != nil || p.out.Flush() != nil {
				return 1
			}
		}
		select {
		case <-time.After(50 * time.Millisecond):
			p.meter.skip()
		case <-p.ctx.Done():
			return 1
		}
	}
	return 0
}

// tailOne prints the end of one input of tail. By default, these are the last bytes or lines. With fromStart, it is
// everything that starts at the byte or line with the given number.
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
	// Keep only as many of the last pieces of the input as are needed for the wanted number of bytes or line feeds.
	type piece struct {
		text []byte
		size int // in bytes or line feeds
	}
	const capacity = 32 << 10
	var pieces []piece
	size, before := 0, p.held
	defer func() { p.giveBack(before) }()
	var err error
	for err == nil {
		if len(pieces) == 0 || len(pieces[len(pieces)-1].text) == capacity {
			if !p.take(capacity) {
				return nil
			}
			pieces = append(pieces, piece{text: make([]byte, 0, capacity)})
		}
		last := &pieces[len(pieces)-1]
		var n int
		n, err = from.Read(last.text[len(last.text):capacity])
		added := last.text[len(last.text) : len(last.text)+n]
		last.text = last.text[:len(last.text)+n]
		if !bytewise {
			n = bytes.Count(added, []byte("\n"))
		}
		last.size += n
		for size += n; len(pieces) > 1 && size-pieces[0].size > number; {
			size -= pieces[0].size
			pieces[0].text = nil
			pieces = pieces[1:]
			p.giveBack(p.held - capacity)
		}
	}
	if last := pieces[len(pieces)-1].text; !bytewise && len(last) > 0 && last[len(last)-1] != '\n' {
		size++ // a line without its end
	}
	for skip := size - number; len(pieces) > 0; pieces = pieces[1:] {
		text := pieces[0].text
		for ; skip > 0 && len(text) > 0; skip-- {
			at := 0
			if !bytewise {
				at = bytes.IndexByte(text, '\n')
			}
			if at < 0 { // the line goes on in the next piece
				text = nil
				break
			}
			text = text[at+1:]
		}
		_, _ = p.out.Write(text)
	}
	return err
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
	for _, line := range p.lines(p.operands) {
		if !p.take(len(line) + sortedMemory) {
			return 1
		}
		all = append(all, strings.TrimSuffix(line, "\n"))
	}
	if p.exit != 0 {
		return p.exit
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
	if !p.take(100 * (len(sets[0]) + len(sets[len(sets)-1]))) {
		return 1
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

// repeat implements xargs. It runs a command whenever it has read enough words.
func repeat(p *process) int {
	args := p.operands
	if len(args) == 0 {
		args = []string{"echo"}
	}
	most, mark := p.options.number('n', 1<<20), p.options['I']
	separators := " \t\n\v\f\r"
	switch {
	case p.options.has('0'):
		separators = "\x00"
	case mark != "":
		separators, most = "\n", 1
	}
	if most < 1 {
		return p.fail("%v", errInvalid)
	}
	if !p.take(16 * maxArguments) {
		return 1
	}
	in, exit, ran := bufio.NewReader(p.stdin), 0, false
	p.stdin = nothing{}
	var words []string
	space := maxArguments // for more words in the next command
	// The function "run" runs a command with the words. It returns false if xargs must end.
	run := func() bool {
		argv, err := xargsCommand(args, words, mark)
		words, space, ran = nil, maxArguments, true
		if err != nil {
			exit = p.fail("%v", err)
			return false
		}
		code := p.child(argv, p.env)
		switch {
		case code == 126 || code == 127 || p.ctx.Err() != nil:
			exit = code
			return false
		case code != 0:
			exit = 123
		}
		return true
	}
	for ended := false; !ended; {
		var word string
		word, ended = readWord(in, separators)
		if (len(words) == most || len(word) >= space) && len(words) > 0 && !run() {
			return exit
		}
		if word != "" {
			words, space = append(words, word), space-len(word)-1
		}
	}
	if len(words) > 0 || !ran && !p.options.has('r') && mark == "" {
		run()
	}
	return exit
}

// xargsCommand returns a command with words. Without a mark, the words follow the command's arguments. With a mark, as
// in `xargs -I MARK`, there is only one word, and it replaces each MARK in the arguments.
func xargsCommand(args, words []string, mark string) ([]string, error) {
	argv := slices.Concat(args, words)
	size := 0
	for _, arg := range argv {
		size += len(arg) + 1
	}
	if mark != "" {
		argv = slices.Clone(args)
		word := strings.TrimSpace(words[0])
		for i, arg := range argv {
			if size += strings.Count(arg, mark) * len(word); size <= maxArguments {
				argv[i] = strings.ReplaceAll(arg, mark, word)
			}
		}
	}
	if size > maxArguments {
		return nil, errTooManyWords
	}
	return argv, nil
}

// readWord returns the next word of an input, and whether the input has ended. It ends a word after maxArguments bytes.
func readWord(in *bufio.Reader, separators string) (word string, ended bool) {
	var text []byte
	for len(text) < maxArguments {
		c, err := in.ReadByte()
		switch {
		case err != nil:
			return string(text), true
		case strings.IndexByte(separators, c) < 0:
			text = append(text, c)
		case len(text) > 0:
			return string(text), false
		}
	}
	return string(text), false
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
