package color

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// Printable escapes all characters that are not printable, and bytes that are not UTF-8. Texts from clients and
// servers, such as paths, user names and errors, could otherwise control a terminal or change the direction of its
// text.
func Printable(s string) string { return escape(s, "") }

// PrintableLines is Printable for a text of several lines: it keeps line feeds and tabs.
func PrintableLines(s string) string { return escape(s, "\n\t") }

// WriteJSON writes a value as JSON, with all characters escaped that are not printable, and a line feed at the end.
// Each level is indented by "indent"; if it is empty, the JSON is one line.
func WriteJSON(w io.Writer, value any, indent string) error {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetIndent("", indent)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		return err
	}
	_, err := io.WriteString(w, replace(text.String(), "\n", func(r rune, _ string) string {
		if high, low := utf16.EncodeRune(r); high != utf8.RuneError {
			return fmt.Sprintf(`\u%04x\u%04x`, high, low)
		}
		return fmt.Sprintf(`\u%04x`, r)
	}))
	return err
}

// escape replaces characters that are not printable, except those in "kept", by escapes of a Go string.
func escape(s, kept string) string {
	return replace(s, kept, func(r rune, char string) string {
		if r == utf8.RuneError {
			return fmt.Sprintf(`\x%02x`, char[0])
		}
		quoted := strconv.QuoteRune(r)
		return quoted[1 : len(quoted)-1]
	})
}

// replace replaces each character that is neither printable nor in "kept", and each byte that is not UTF-8. For such a
// byte, the function "by" gets [utf8.RuneError].
func replace(s, kept string, by func(r rune, char string) string) string {
	var b strings.Builder
	for s != "" {
		r, size := utf8.DecodeRuneInString(s)
		switch char := s[:size]; {
		case r == utf8.RuneError && size == 1, !unicode.IsPrint(r) && !strings.ContainsRune(kept, r):
			b.WriteString(by(r, char))
		default:
			b.WriteString(char)
		}
		s = s[size:]
	}
	return b.String()
}
