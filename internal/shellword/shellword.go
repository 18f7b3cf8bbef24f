// Package shellword quotes words for shell commands that a user can paste. Every command that fauxlet prints, and every
// command on the admin page, is quoted here.
package shellword

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// plain contains the characters that have no special meaning in any shell.
const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./:@%+,="

// Join quotes words and joins them with spaces.
func Join(words []string) string {
	quoted := make([]string, len(words))
	for i, word := range words {
		quoted[i] = Quote(word)
	}
	return strings.Join(quoted, " ")
}

// Quote quotes a word for a shell. It returns a word without special characters unchanged. The result is one line that
// neither controls a terminal nor looks different from what it is: if the word contains characters that are not
// printable, such as control characters and characters that set the direction of text, the result is $'…' with escapes
// for them, which bash, zsh, ksh and the shell of busybox read. Quote omits NUL, which no word of a shell can contain.
func Quote(word string) string {
	if word != "" && strings.Trim(word, plain) == "" {
		return word
	}
	if !strings.ContainsFunc(word, func(r rune) bool { return !unicode.IsPrint(r) }) && utf8.ValidString(word) {
		return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
	}
	var b strings.Builder
	b.WriteString("$'")
	for word != "" {
		r, size := utf8.DecodeRuneInString(word)
		escape := !unicode.IsPrint(r) || r == utf8.RuneError && size == 1
		switch char := word[:size]; {
		case r == 0:
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\t':
			b.WriteString(`\t`)
		case escape, strings.ContainsAny(char, `\'!`): // an interactive shell expands ! after an escaped quote
			for _, c := range []byte(char) {
				fmt.Fprintf(&b, `\%03o`, c)
			}
		default:
			b.WriteString(char)
		}
		word = word[size:]
	}
	return b.String() + "'"
}
