package shell

import (
	"fmt"
	"regexp"
	"regexp/syntax"
	"strings"
)

// expression compiles a POSIX regular expression, basic or extended, with Go's package regexp. Its matches take
// linear time.
func expression(pattern string, extended bool, flags string) (*regexp.Regexp, error) {
	var b strings.Builder
	for i := 0; i < len(pattern); i++ {
		c := pattern[i]
		switch {
		case c == '[':
			end := bracketEnd(pattern, i)
			if end < 0 {
				return nil, fmt.Errorf("bad regex '%.100s': Unmatched [", pattern)
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
				return nil, fmt.Errorf("bad regex '%.100s': back references are not supported", pattern)
			default:
				b.WriteString(regexp.QuoteMeta(string(next)))
			}
		case !extended && strings.IndexByte("(){}|+?", c) >= 0:
			b.WriteString(`\` + string(c))
		case !extended && c == '*' &&
			(i == 0 || pattern[i-1] == '^' && i == 1 || strings.HasSuffix(pattern[:i], `\(`) ||
				strings.HasSuffix(pattern[:i], `\|`)):
			b.WriteString(`\*`)
		case !extended && c == '^' && i > 0 && !strings.HasSuffix(pattern[:i], `\(`) &&
			!strings.HasSuffix(pattern[:i], `\|`),
			!extended && c == '$' && i+1 < len(pattern) && !strings.HasPrefix(pattern[i+1:], `\)`) &&
				!strings.HasPrefix(pattern[i+1:], `\|`):
			b.WriteString(`\` + string(c))
		default:
			b.WriteByte(c)
		}
	}
	return compile("(?"+flags+":"+b.String()+")", pattern)
}

// compile compiles a Go expression if it is not too large. shown is the original text for the error message.
func compile(text, shown string) (*regexp.Regexp, error) {
	parsed, err := syntax.Parse(text, syntax.Perl)
	if err == nil {
		var program *syntax.Prog
		if program, err = syntax.Compile(parsed.Simplify()); err == nil && len(program.Inst) > maxProgram {
			err = errTooLong
		}
	}
	if err != nil {
		return nil, fmt.Errorf("bad regex '%.100s': Invalid regexp", shown)
	}
	return regexp.Compile(text)
}

// bracketEnd returns the index of the ] that ends a bracket expression, or -1.
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
