package pods

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strconv"
	"strings"
)

// runShell runs sh -c with one simple command, or exit.
func runShell(ctx context.Context, e *simpleEnvironment, args []string, s *simpleStreams) int {
	const hint = "; commands here are limited to `sh -c` with one simple command"
	if len(args) < 2 || args[0] != "-c" {
		s.fail("sh: no script%s", hint)
		return 2
	}
	words, err := splitCommand(args[1], e.variable)
	if err != nil {
		s.fail("sh: %v%s", err, hint)
		return 2
	}
	if len(words) == 0 {
		return 0
	}
	if words[0] == "exit" {
		code, err := strconv.Atoi(strings.Join(append(words[1:], "0")[:1], ""))
		if err != nil {
			s.fail("sh: exit: Illegal number: %s", words[1])
			return 2
		}
		return code & 0xff
	}
	run := simpleCommands[path.Base(words[0])]
	if run == nil {
		s.fail("sh: %s: not found", words[0])
		return 127
	}
	return run(ctx, e, words[1:], s)
}

// splitCommand splits a simple command into words as a shell does: with quotes, backslashes and variables. All other
// shell syntax is an error.
func splitCommand(text string, variable func(string) string) ([]string, error) {
	var words []string
	var word strings.Builder
	inWord := false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == ' ' || c == '\t' || c == '\n' && strings.TrimSpace(text[i:]) == "":
			if inWord {
				words = append(words, word.String())
				word.Reset()
				inWord = false
			}
		case c == '\'':
			end := strings.IndexByte(text[i+1:], '\'')
			if end < 0 {
				return nil, errors.New("syntax error: unterminated quoted string")
			}
			word.WriteString(text[i+1 : i+1+end])
			i, inWord = i+1+end, true
		case c == '"':
			inner, length, err := doubleQuoted(text[i+1:], variable)
			if err != nil {
				return nil, err
			}
			word.WriteString(inner)
			i, inWord = i+length, true
		case c == '\\' && i+1 < len(text):
			i++
			word.WriteByte(text[i])
			inWord = true
		case c == '$':
			value, length, err := expandVariable(text[i:], variable)
			if err != nil {
				return nil, err
			}
			word.WriteString(value)
			i, inWord = i+length-1, inWord || value != ""
		case strings.IndexByte("|&;<>()`*?[{}~#\n", c) >= 0 &&
			!(c != '\n' && strings.IndexByte("{}~#[", c) >= 0 && inWord):
			return nil, fmt.Errorf("syntax error: %q is not supported", string(c))
		default:
			word.WriteByte(c)
			inWord = true
		}
	}
	if inWord {
		words = append(words, word.String())
	}
	return words, nil
}

// doubleQuoted returns the content of a double-quoted string, and the length of the string up to and including the
// closing quote.
func doubleQuoted(text string, variable func(string) string) (content string, length int, err error) {
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '"':
			return b.String(), i + 1, nil
		case c == '\\' && i+1 < len(text) && strings.IndexByte("\\\"$`", text[i+1]) >= 0:
			i++
			b.WriteByte(text[i])
		case c == '`':
			return "", 0, fmt.Errorf("syntax error: %q is not supported", "`")
		case c == '$':
			value, length, err := expandVariable(text[i:], variable)
			if err != nil {
				return "", 0, err
			}
			b.WriteString(value)
			i += length - 1
		default:
			b.WriteByte(c)
		}
	}
	return "", 0, errors.New("syntax error: unterminated quoted string")
}

// expandVariable expands $NAME or ${NAME} at the start of a text, and returns the length of that expression.
func expandVariable(text string, variable func(string) string) (value string, length int, err error) {
	isName := func(c byte) bool {
		return c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
	}
	begin := 1
	if strings.HasPrefix(text, "${") {
		begin = 2
	}
	end := begin
	for end < len(text) && isName(text[end]) {
		end++
	}
	name := text[begin:end]
	switch {
	case begin == 2 && (name == "" || end == len(text) || text[end] != '}'):
		return "", 0, errors.New("syntax error: bad substitution")
	case begin == 2:
		return variable(name), end + 1, nil
	case name == "" && end < len(text) && strings.IndexByte("(?$#@*!-", text[end]) >= 0:
		return "", 0, fmt.Errorf("syntax error: %q is not supported", "$"+text[end:end+1])
	case name == "":
		return "$", 1, nil
	}
	return variable(name), end, nil
}
