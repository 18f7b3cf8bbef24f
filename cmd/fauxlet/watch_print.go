package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode"

	"fauxlet/internal/color"
	"fauxlet/internal/decisions"
	"fauxlet/internal/explain"
)

// decisionPrinter prints decisions: one line each, with an explanation if verbose, or as JSON.
type decisionPrinter struct {
	out           io.Writer
	json, verbose bool
	style         color.Style
}

func (p *decisionPrinter) print(d *decisions.Record) error {
	if p.json {
		return json.NewEncoder(p.out).Encode(d)
	}
	text := p.line(d)
	if p.verbose {
		text += p.explanation(d)
	}
	_, err := io.WriteString(p.out, text)
	return err
}

// line is: time, node, status, method and path, reason, duration.
func (p *decisionPrinter) line(d *decisions.Record) string {
	status, request := "---", "from "+d.Remote
	switch {
	case d.Handshake != "":
		status = "TLS"
	case d.NoRequest == "":
		status, request = strconv.Itoa(d.Status), d.Method+" "+d.Path
	}
	colour := colourOf[d.Outcome]
	return fmt.Sprintf("%s  %s  %s  %s  %s  %s\n",
		p.style.Paint(color.Dim, d.Time.Local().Format("15:04:05.000")), visible(d.Node), p.style.Paint(colour, status),
		visible(request), p.reason(d, colour), p.style.Paint(color.Dim, d.Duration.Round(time.Microsecond).String()))
}

func (p *decisionPrinter) reason(d *decisions.Record, colour color.Color) string {
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
	outcome, rest, ok := strings.Cut(reason, ":")
	if ok && outcome == d.Outcome {
		return p.style.Paint(colour, outcome) + ":" + visible(rest)
	}
	return visible(reason)
}

// explanation is the explanation with its remedies. A server that does not send one is an older version.
func (p *decisionPrinter) explanation(d *decisions.Record) string {
	explanation := d.Explanation
	if explanation == nil {
		fromReport := explain.Report(&d.Report, explain.Facts{})
		explanation = &fromReport
	}
	e := explanationPrinter{style: p.style, indent: "    "}
	e.stages(explanation)
	e.remedies(explanation)
	e.WriteString("\n")
	return e.String()
}

// visible escapes control characters: clients choose paths and names, and a terminal would obey them.
func visible(s string) string {
	if !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if unicode.IsPrint(r) {
			b.WriteRune(r)
			continue
		}
		quoted := strconv.QuoteRune(r)
		b.WriteString(quoted[1 : len(quoted)-1])
	}
	return b.String()
}

// colourOf maps the outcomes of decisions and the states of stages to colours.
var colourOf = map[string]color.Color{
	string(explain.Allowed): color.Green, string(explain.Refused): color.Red, string(explain.Error): color.Magenta, "": color.Dim,
	string(explain.Passed): color.Green, string(explain.Failed): color.Red, string(explain.Skipped): color.Yellow,
	string(explain.NotReached): color.Dim,
}
