package tlserror

import (
	"regexp"
	"strings"
	"testing"
)

// TestTableOrder: no text is hidden by a text before it, and an explained text is recognized again.
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
				t.Errorf("%s does not match %q", pattern, text)
			}
		}
	}
}

func TestUnknownTextIsUnchanged(t *testing.T) {
	if got := Explain("something else"); got != "something else" || Recognize(got) != "" {
		t.Errorf("got %q, recognized as %q", got, Recognize(got))
	}
}
