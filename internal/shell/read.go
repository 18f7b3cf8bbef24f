package shell

import (
	"context"
	"io"
	"strconv"
	"strings"

	"mvdan.cc/sh/v3/expand"
	"mvdan.cc/sh/v3/interp"
	"mvdan.cc/sh/v3/syntax"
)

// read implements the builtin read. It reads byte by byte, so that the next command gets the rest of the input.
func read(ctx context.Context, b *builtin) error {
	raw, silent, most := false, false, maxCapture
	delimiter := byte('\n')
	names := b.args
	for len(names) > 0 && strings.HasPrefix(names[0], "-") && len(names[0]) > 1 {
		options := names[0][1:]
		names = names[1:]
		for options != "" {
			option := options[0]
			options = options[1:]
			value := options
			if strings.IndexByte("pnd", option) >= 0 {
				options = ""
				if value == "" && len(names) > 0 {
					value, names = names[0], names[1:]
				}
			}
			var err error
			switch option {
			case 'r':
				raw = true
			case 's':
				silent = true
			case 'p':
				_, err = io.WriteString(b.hc.Stderr, value)
			case 'n':
				most, err = strconv.Atoi(value)
				most = max(0, min(most, maxCapture))
			case 'd':
				delimiter = (value + "\x00")[0]
			default:
				return b.fail(2, "read: illegal option -%c", option)
			}
			if err != nil {
				return b.fail(2, "read: -%c: invalid argument", option)
			}
		}
	}
	for _, name := range names {
		if !syntax.ValidName(name) {
			return b.fail(2, "read: '%s': bad variable name", name)
		}
	}
	in := b.input(b.hc)
	if terminal := b.session.terminal; silent && terminal != nil {
		terminal.echo(false)
		defer terminal.echo(true)
	}
	line, ended := readLine(&guardedReader{ctx: ctx, from: in}, delimiter, raw, most)
	if len(line) >= maxCapture {
		b.session.fail("sh: out of memory: read: the line is too long", 2)
	}
	line = strings.ReplaceAll(line, "\x00", "")
	values := []string{line}
	if len(names) == 0 {
		names = []string{"REPLY"}
		if !raw {
			values[0] = strings.Join(expand.ReadFields(&expand.Config{Env: expand.FuncEnviron(noIFS)}, line, -1, false),
				"")
		}
	} else {
		values = expand.ReadFields(&expand.Config{Env: b.hc.Env}, line, len(names), raw)
	}
	var text strings.Builder
	for i, name := range names {
		value := ""
		if i < len(values) {
			value = values[i]
		}
		text.WriteString(name + "=" + quoteText(value) + "\n")
	}
	if err := b.script(ctx, text.String()); err != nil {
		return err
	}
	if ended {
		return interp.ExitStatus(1)
	}
	return nil
}

func noIFS(string) string { return "" }

// readLine returns a line without its line end, and whether the input ended first.
func readLine(in io.Reader, delimiter byte, raw bool, most int) (string, bool) {
	var line []byte
	escaped := false
	for len(line) < most {
		var c [1]byte
		if n, err := in.Read(c[:]); n == 0 {
			if err == nil {
				continue
			}
			return string(line), true
		}
		switch {
		case !raw && escaped && c[0] == '\n':
			line = line[:len(line)-1]
			escaped = false
			continue
		case c[0] == delimiter && !escaped:
			return string(line), false
		}
		escaped = !raw && c[0] == '\\' && !escaped
		line = append(line, c[0])
	}
	return string(line), false
}
