package color

import (
	"strings"
	"testing"
)

func TestProgress(t *testing.T) {
	for _, test := range []struct {
		terminal bool
		want     string
	}{
		{terminal: true, want: "start\n\r\x1b[Kone \\x1b\r\x1b[Knotice\n\r\x1b[K" + strings.Repeat("x", 79) + "\r\x1b[K"},
		{terminal: false, want: "start\nONE\nnotice\n"},
	} {
		var b strings.Builder
		p := &Progress{w: &b, terminal: test.terminal}
		p.Print("start")
		p.Show("one \x1b", "ONE")
		p.Print("notice")
		p.Show(strings.Repeat("x", 100), "")
		p.Clear()
		p.Clear()
		if b.String() != test.want {
			t.Errorf("terminal %v: wrote %q, want %q", test.terminal, b.String(), test.want)
		}
	}
}
