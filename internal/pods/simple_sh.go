package pods

import (
	"context"
	"errors"
	"fmt"
	"path"
	"regexp"
	"strconv"
	"strings"
)

// sh runs "sh -c" with one simple command or with exit.
func (c *simpleCommand) sh(ctx context.Context, args []string) int {
	const hint = "; commands here are limited to `sh -c` with one simple command"
	if len(args) < 2 || args[0] != "-c" {
		return c.fail(2, "sh: no script%s", hint)
	}
	words, err := splitCommand(strings.TrimSpace(args[1]), c.variable)
	if err != nil {
		return c.fail(2, "sh: %v%s", err, hint)
	}
	if len(words) == 0 {
		return 0
	}
	if words[0] == "exit" {
		code, err := strconv.Atoi(append(words[1:], "0")[0])
		if err != nil {
			return c.fail(2, "sh: exit: Illegal number: %s", words[1])
		}
		return code & 0xff
	}
	run := simpleCommands[path.Base(words[0])]
	if run == nil {
		return c.fail(127, "sh: %s: not found", words[0])
	}
	return run(c, ctx, words[1:])
}

// shellVariable matches $NAME and ${NAME}.
var shellVariable = regexp.MustCompile(`^\$(?:(\w+)|\{(\w+)\})`)

// splitCommand splits a command into words. Shell syntax except quotes, backslashes and variables is an error.
func splitCommand(text string, variable func(string) string) ([]string, error) {
	var words []string
	var word strings.Builder
	inWord, quote := false, byte(0) // quote is the open quotation mark, if any
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == quote:
			quote = 0
		case quote == '\'':
			word.WriteByte(c)
		case quote == 0 && (c == '\'' || c == '"'):
			quote, inWord = c, true
		case c == '\\' && i+1 < len(text) && (quote == 0 || strings.IndexByte("\\\"$`", text[i+1]) >= 0):
			i++
			word.WriteByte(text[i])
			inWord = true
		case c == '$' && shellVariable.MatchString(text[i:]):
			match := shellVariable.FindStringSubmatch(text[i:])
			value := variable(match[1] + match[2])
			word.WriteString(value)
			i, inWord = i+len(match[0])-1, inWord || value != ""
		case c == '$' && i+1 < len(text) && strings.IndexByte("({?$#@*!-", text[i+1]) >= 0:
			return nil, fmt.Errorf("syntax error: %q is not supported", text[i:i+2])
		case c == '`', quote == 0 && strings.IndexByte("|&;<>()*?\n", c) >= 0,
			quote == 0 && !inWord && strings.IndexByte("[{}~#", c) >= 0:
			return nil, fmt.Errorf("syntax error: %q is not supported", string(c))
		case quote == 0 && (c == ' ' || c == '\t'):
			if inWord {
				words = append(words, word.String())
			}
			word.Reset()
			inWord = false
		default:
			word.WriteByte(c)
			inWord = true
		}
	}
	if quote != 0 {
		return nil, errors.New("syntax error: unterminated quoted string")
	}
	if inWord {
		words = append(words, word.String())
	}
	return words, nil
}
