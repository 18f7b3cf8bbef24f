package shellword

import (
	"os/exec"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

// words are words to quote, with their quoted form if it is notable. A word with a quoted form that begins with $ needs
// a shell that knows $'…', such as bash.
var words = []struct{ word, quoted string }{
	{"", "''"},
	{"plain", "plain"},
	{"--user=system:node:node-1", "--user=system:node:node-1"},
	{"two words", "'two words'"},
	{"it's", `'it'\''s'`},
	{"$(id)", "'$(id)'"},
	{"`id`", "'`id`'"},
	{"a;b", "'a;b'"},
	{`a\b`, `'a\b'`},
	{`"`, `'"'`},
	{"~", "'~'"},
	{"#", "'#'"},
	{"*", "'*'"},
	{"!x", "'!x'"},
	{"ü", "'ü'"},
	{"日本語", "'日本語'"},
	{"a\nb", `$'a\nb'`},
	{"a\tb", `$'a\tb'`},
	{"a\r", `$'a\015'`},
	{"\x1b[2J", `$'\033[2J'`},
	{"\x017", `$'\0017'`},
	{"\x7f", `$'\177'`},
	{"\u009b2J", `$'\302\2332J'`},
	{"user\u202egpj", `$'user\342\200\256gpj'`},
	{"\u200fit's !x \\ $(id)", `$'\342\200\217it\047s \041x \134 $(id)'`},
	{"\u00a0", `$'\302\240'`},
	{"\ufeff", `$'\357\273\277'`},
	{"\U000e0041", `$'\363\240\201\201'`},
	{"\xff\xfe", `$'\377\376'`},
	{"\xe2\x80", `$'\342\200'`},
	{"ü\xbc", `$'ü\274'`},
	{"\ufffd", "'\ufffd'"},
	{"a\x00b\n", `$'ab\n'`},
}

// TestQuote checks that bash reads each quoted word as the original word. Bash stands for the shells that know $'…'.
func TestQuote(t *testing.T) {
	for _, test := range words {
		if got := Quote(test.word); got != test.quoted {
			t.Errorf("%q is quoted as %s, want %s", test.word, got, test.quoted)
		}
		checkQuoted(t, test.word)
	}
	for _, unprintable := range [][2]rune{{1, 0x1f}, {0x7f, 0xa0}, {0x61c, 0x61c}, {0x200b, 0x200f}, {0x2028, 0x202f},
		{0x2060, 0x206f}} {
		for r := unprintable[0]; r <= unprintable[1]; r++ {
			checkQuoted(t, "a"+string(r)+"b")
		}
	}
	for b := 0x80; b <= 0xff; b++ {
		checkQuoted(t, "a"+string([]byte{byte(b)})+"7")
	}
	if got, want := Join([]string{"kubectl", "logs", "it's"}), `kubectl logs 'it'\''s'`; got != want {
		t.Errorf("Join returns %s, want %s", got, want)
	}
}

func checkQuoted(t *testing.T, word string) {
	t.Helper()
	quoted := Quote(word)
	if !utf8.ValidString(quoted) || strings.ContainsFunc(quoted, func(r rune) bool { return !unicode.IsPrint(r) }) {
		t.Errorf("%q is quoted as %q, which is not printable", word, quoted)
	}
	out, err := exec.Command("bash", "-c", "printf %s "+quoted).Output()
	if want := strings.ReplaceAll(word, "\x00", ""); err != nil || string(out) != want {
		t.Errorf("%q is quoted as %s, which bash reads as %q, error %v", word, quoted, out, err)
	}
}

// FuzzQuote checks any word as TestQuote does.
func FuzzQuote(f *testing.F) {
	for _, test := range words {
		f.Add(test.word)
	}
	f.Fuzz(checkQuoted)
}
