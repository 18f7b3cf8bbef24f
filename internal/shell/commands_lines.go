package shell

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// lineCount parses the number of -n or -c, and the old form, as in head -5.
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

// tailOne writes the end of its input, or everything from a line or byte on.
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
