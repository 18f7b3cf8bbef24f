package main

import (
	"strings"
	"testing"
	"time"

	"fauxlet/authchain"
	"fauxlet/internal/color"
	"fauxlet/internal/decisions"
)

// TestDecisionPrinter: colours by outcome, and nothing that a terminal would obey but those.
func TestDecisionPrinter(t *testing.T) {
	at := time.Date(2026, 1, 2, 15, 4, 5, 0, time.Local)
	told := func(r authchain.Report) *decisions.Record {
		r.Time, r.Remote = at, "127.0.0.1:1"
		return &decisions.Record{ID: 7, Node: "node-1", Report: r}
	}
	for name, test := range map[string]struct {
		told  *decisions.Record
		style color.Style
		want  string
	}{
		"plain":      {told: told(authchain.Report{Method: "GET", Path: "/pods", Status: 200, Outcome: "allowed", Why: "allowed: all may", Cached: true}), want: "15:04:05.000  node-1  200  GET /pods  allowed: all may (cached)  0s\n"},
		"in colour":  {told: told(authchain.Report{Method: "GET", Path: "/pods", Status: 403, Outcome: "refused", Why: "refused: no"}), style: true, want: "\x1b[2m15:04:05.000\x1b[0m  node-1  \x1b[31m403\x1b[0m  GET /pods  \x1b[31mrefused\x1b[0m: no  \x1b[2m0s\x1b[0m\n"},
		"nobody":     {told: told(authchain.Report{Method: "GET", Path: "/pods", Status: 200}), want: "15:04:05.000  node-1  200  GET /pods  no authentication  0s\n"},
		"an error":   {told: told(authchain.Report{Method: "GET", Path: "/pods", Status: 500, Outcome: "allowed", Why: "allowed: all may", Err: "oh"}), want: "15:04:05.000  node-1  500  GET /pods  allowed: all may; oh  0s\n"},
		"a fault":    {told: told(authchain.Report{Method: "GET", Path: "/pods", Status: 503, Outcome: "allowed", Why: "allowed: all may", AffectedBy: []string{"status-1", "slow"}}), want: "15:04:05.000  node-1  503  GET /pods  allowed: all may; affected by injected faults: status-1, slow  0s\n"},
		"handshake":  {told: told(authchain.Report{Handshake: "no", Outcome: "refused", Why: "refused: TLS handshake failed: no"}), want: "15:04:05.000  node-1  TLS  from 127.0.0.1:1  refused: TLS handshake failed: no  0s\n"},
		"no request": {told: told(authchain.Report{NoRequest: "nothing came"}), want: "15:04:05.000  node-1  ---  from 127.0.0.1:1  nothing came  0s\n"},
		"escapes": {told: told(authchain.Report{Method: "GET", Path: "/\x1b[2J\u202e\n\xff", Status: 403, Outcome: "refused", Why: "refused: \x1b]0;x\a"}),
			want: "15:04:05.000  node-1  403  GET /\\x1b[2J\\u202e\\n\ufffd  refused: \\x1b]0;x\\a  0s\n"},
	} {
		t.Run(name, func(t *testing.T) {
			var b strings.Builder
			p := &decisionPrinter{out: &b, style: test.style}
			if err := p.print(test.told); err != nil {
				t.Fatal(err)
			}
			if b.String() != test.want {
				t.Errorf("got\n%q\nwant\n%q", b.String(), test.want)
			}
		})
	}
	if color.For(&strings.Builder{}) {
		t.Error("colour where there is no terminal")
	}
}
