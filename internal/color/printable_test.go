package color

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode"
)

// TestPrintable checks the texts that reach a terminal, and that the JSON form has the same value.
func TestPrintable(t *testing.T) {
	for _, test := range []struct{ text, printable, lines string }{
		{"plain ü 日本 \ufffd", "plain ü 日本 \ufffd", "plain ü 日本 \ufffd"},
		{"a\n\tb", `a\n\tb`, "a\n\tb"},
		{"\r", `\r`, `\r`},
		{"\x1b[2J\a\x00\x7f", `\x1b[2J\a\x00\x7f`, `\x1b[2J\a\x00\x7f`},
		{"\u009b2J", `\u009b2J`, `\u009b2J`},
		{"\u200e\u200f\u061c\u202a\u202e\u2066\u2069", `\u200e\u200f\u061c\u202a\u202e\u2066\u2069`,
			`\u200e\u200f\u061c\u202a\u202e\u2066\u2069`},
		{"\u00a0\u2028\ufeff\U000e0041", `\u00a0\u2028\ufeff\U000e0041`, `\u00a0\u2028\ufeff\U000e0041`},
		{"\x9b2J \xe2\x80", `\x9b2J \xe2\x80`, `\x9b2J \xe2\x80`},
	} {
		if got := Printable(test.text); got != test.printable {
			t.Errorf("Printable(%q) = %q, want %q", test.text, got, test.printable)
		}
		if got := PrintableLines(test.text); got != test.lines {
			t.Errorf("PrintableLines(%q) = %q, want %q", test.text, got, test.lines)
		}
		var b strings.Builder
		if err := WriteJSON(&b, []string{test.text}, " "); err != nil {
			t.Fatal(err)
		}
		var back []string
		want := string([]rune(test.text)) // with U+FFFD in place of each byte that is not UTF-8
		if err := json.Unmarshal([]byte(b.String()), &back); err != nil || back[0] != want {
			t.Errorf("WriteJSON(%q) has the value %q, %v, want %q", test.text, back, err, want)
		}
		if strings.ContainsFunc(b.String(), func(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }) {
			t.Errorf("WriteJSON(%q) = %q, which is not printable", test.text, b.String())
		}
	}
}
