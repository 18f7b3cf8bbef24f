package tlserror

import (
	"regexp"
	"strings"
	"testing"
)

// TestTableOrder checks that each error text that the package knows is recognized as its own reason and not as an
// earlier one. When Explain has added the description of the cause to the text, the reason must still be recognized.
func TestTableOrder(t *testing.T) {
	for _, row := range table {
		for _, text := range row.texts {
			kind, cause := find(text)
			if kind != row.kind || cause != row.cause {
				t.Errorf("%q is recognized as %q (%s), want %q (%s)", text, kind, cause, row.kind, row.cause)
			}
			explained := Explain(text)
			if !strings.HasSuffix(explained, "("+text+")") || Recognize(explained) != row.kind {
				t.Errorf("%q is explained as %q, which is recognized as %q", text, explained, Recognize(explained))
			}
			if pattern := Pattern(row.kind); !regexp.MustCompile(pattern).MatchString(text) {
				t.Errorf("the pattern %s does not match %q", pattern, text)
			}
		}
	}
}

func TestExplain(t *testing.T) {
	for _, test := range []struct{ text, want string }{
		{"read tcp 127.0.0.1:1->127.0.0.1:2: read: connection reset by peer",
			"the client reset the connection during the handshake"},
		{"remote error: tls: unknown certificate", "the client does not accept the serving certificate"},
		{"remote error: tls: user canceled", "the client ended the handshake"},
		{"tls: no cipher suite supported by both client and server; client offered: [c02c]",
			"the client offers no cipher suite that tlsCipherSuites allows"},
	} {
		text, want := test.text, test.want
		if got := Explain(text); got != want+" ("+text+")" {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestUnknownTextIsUnchanged(t *testing.T) {
	if got := Explain("something else"); got != "something else" || Recognize(got) != "" {
		t.Errorf("got %q, recognized as %q", got, Recognize(got))
	}
}
