package decisions

import (
	"testing"
	"time"

	"fauxlet/authchain"
	"fauxlet/internal/color"
)

// TestLine checks the color for each outcome, and that escape sequences in a request are quoted.
func TestLine(t *testing.T) {
	response := func(status int, outcome, why string) authchain.Report {
		return authchain.Report{Method: "GET", Path: "/pods", Status: status, Outcome: outcome, Why: why}
	}
	cached := response(200, "allowed", "allowed: all may")
	cached.Cached = true
	failed := response(500, "allowed", "allowed: all may")
	failed.Err = "oh"
	affected := response(503, "allowed", "allowed: all may")
	affected.AffectedBy = []string{"status-1", "slow"}
	hostile := response(403, "refused", "refused: \x1b]0;x\a")
	hostile.Path = "/\x1b[2J\u202e\n\xff"
	const start = "15:04:05.000  node-1  "
	for name, test := range map[string]struct {
		report authchain.Report
		style  color.Style
		want   string
	}{
		"cached":            {report: cached, want: start + "200  GET /pods  allowed: all may (cached)  0s\n"},
		"no authentication": {report: response(200, "", ""), want: start + "200  GET /pods  no authentication  0s\n"},
		"error":             {report: failed, want: start + "500  GET /pods  allowed: all may; oh  0s\n"},
		"injected fault": {
			report: affected,
			want:   start + "503  GET /pods  allowed: all may; affected by injected faults: status-1, slow  0s\n",
		},
		"failed handshake": {
			report: authchain.Report{Handshake: "no", Outcome: "refused", Why: "refused: TLS handshake failed: no"},
			want:   start + "TLS  from 127.0.0.1:1  refused: TLS handshake failed: no  0s\n",
		},
		"no request": {
			report: authchain.Report{NoRequest: "nothing came"},
			want:   start + "---  from 127.0.0.1:1  nothing came  0s\n",
		},
		"in color": {
			report: response(403, "refused", "refused: no"), style: true,
			want: "\x1b[2m15:04:05.000\x1b[0m  node-1  \x1b[31m403\x1b[0m  GET /pods  \x1b[31mrefused\x1b[0m: no  " +
				"\x1b[2m0s\x1b[0m\n",
		},
		"escape sequences": {
			report: hostile,
			want:   start + "403  GET /\\x1b[2J\\u202e\\n\\xff  refused: \\x1b]0;x\\a  0s\n",
		},
	} {
		t.Run(name, func(t *testing.T) {
			record := &Record{ID: 7, Node: "node-1", Report: test.report}
			record.Time, record.Remote = time.Date(2026, 1, 2, 15, 4, 5, 0, time.Local), "127.0.0.1:1"
			if got := record.Line(test.style); got != test.want {
				t.Errorf("got\n%q\nwant\n%q", got, test.want)
			}
		})
	}
}
