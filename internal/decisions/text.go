package decisions

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"time"

	"fauxlet/internal/color"
	"fauxlet/internal/explain"
)

// Line returns the decision as one line: time, node, status, method and path, reason, duration.
func (d *Record) Line(style color.Style) string {
	status, request := "---", "from "+d.Remote
	switch {
	case d.Handshake != "":
		status = "TLS"
	case d.NoRequest == "":
		status, request = strconv.Itoa(d.Status), d.Method+" "+d.Path
	}
	outcome := colorOfOutcome(d.Outcome)
	at := style.Paint(color.Dim, d.Time.Local().Format("15:04:05.000"))
	took := style.Paint(color.Dim, d.Duration.Round(time.Microsecond).String())
	return fmt.Sprintf("%s  %s  %s  %s  %s  %s\n", at, color.Printable(d.Node), style.Paint(outcome, status),
		color.Printable(request), d.reason(style, outcome), took)
}

func (d *Record) reason(style color.Style, of color.Color) string {
	reason := cmp.Or(d.Why, d.NoRequest, "no authentication")
	if d.Cached {
		reason += " (cached)"
	}
	if d.Err != "" {
		reason += "; " + d.Err
	}
	if len(d.AffectedBy) > 0 {
		reason += "; affected by injected faults: " + strings.Join(d.AffectedBy, ", ")
	}
	if outcome, rest, ok := strings.Cut(reason, ":"); ok && outcome == d.Outcome {
		return style.Paint(of, outcome) + ":" + color.Printable(rest)
	}
	return color.Printable(reason)
}

func colorOfOutcome(outcome string) color.Color {
	switch explain.Outcome(outcome) {
	case explain.Allowed:
		return color.Green
	case explain.Refused:
		return color.Red
	case explain.Error:
		return color.Magenta
	}
	return color.Dim
}

// Details returns the explanation of the decision as indented text: its stages, its remedies, and an empty line. If the
// Record has no explanation, Details makes one from the data of the Record, without facts about the node.
func (d *Record) Details(style color.Style) string {
	explanation := d.Explanation
	if explanation == nil {
		fromReport := explain.Report(&d.Report, explain.Facts{})
		explanation = &fromReport
	}
	return explanation.Details(style, "    ") + "\n"
}
