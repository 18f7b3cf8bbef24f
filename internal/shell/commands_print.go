package shell

import (
	"bufio"
	"context"
	"fmt"
	"math"
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

// unescape replaces the escapes of echo -e and of printf. stop is true after \c. With zero, octal numbers begin with
// a 0.
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

// maxWidth is the largest field width of printf.
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

// formatOnce applies a format once and returns the number of used arguments.
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

// validSpec reports whether the numbers of a format are small enough and in their places.
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

// integer parses a number like printf: also 0x1f, 017 and 'c.
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
