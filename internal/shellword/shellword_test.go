package shellword

import (
	"os/exec"
	"testing"
)

// TestQuote checks that a shell reads each quoted word as the original word.
func TestQuote(t *testing.T) {
	for _, word := range []string{"", "plain", "--user=system:node:node-1", "two words", "it's", "$(id)", "`id`", "a;b",
		"a\nb", `a\b`, `"`, "~", "#", "*", "ü"} {
		out, err := exec.Command("sh", "-c", "printf %s "+Quote(word)).Output()
		if err != nil || string(out) != word {
			t.Errorf("%q is quoted as %s, which a shell reads as %q, error %v", word, Quote(word), out, err)
		}
	}
	if got, want := Join([]string{"kubectl", "logs", "it's"}), `kubectl logs 'it'\''s'`; got != want {
		t.Errorf("Join returns %s, want %s", got, want)
	}
}
