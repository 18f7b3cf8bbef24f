package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"
	"unicode"

	"golang.org/x/term"

	"fauxlet/internal/admin"
	"fauxlet/internal/explain"
)

// decisionPrinter prints decisions: a line each, or with its road, or as JSON.
type decisionPrinter struct {
	out           io.Writer
	json, verbose bool
	style         style
}

func (p *decisionPrinter) print(told *admin.Told) error {
	if p.json {
		return json.NewEncoder(p.out).Encode(told)
	}
	var b strings.Builder
	b.WriteString(p.line(told))
	if p.verbose {
		b.WriteString(p.road(told))
	}
	_, err := io.WriteString(p.out, b.String())
	return err
}

// line is the decision in one: when, which node, the status, what was asked, and why.
func (p *decisionPrinter) line(told *admin.Told) string {
	status, what := "---", "from "+told.Remote
	switch {
	case told.Handshake != "":
		status = "TLS"
	case told.NoRequest == "":
		status, what = strconv.Itoa(told.Status), told.Method+" "+told.Path
	}
	why := cmp.Or(told.Why, told.NoRequest, "nobody was asked")
	if told.Cached {
		why += " (remembered)"
	}
	if told.Err != "" {
		why += "; " + told.Err
	}
	if len(told.AffectedBy) > 0 {
		why += "; struck by " + strings.Join(told.AffectedBy, ", ") + ", a fault that was set"
	}
	colour := colourOf[told.Outcome]
	outcome, rest, ok := strings.Cut(why, ":")
	if ok && outcome == told.Outcome {
		why = p.style.paint(colour, outcome) + ":" + visible(rest)
	} else {
		why = visible(why)
	}
	return fmt.Sprintf("%s  %s  %s  %s  %s  %s\n",
		p.style.paint(dim, told.Time.Local().Format("15:04:05.000")), visible(told.Node), p.style.paint(colour, status), visible(what), why,
		p.style.paint(dim, told.Duration.Round(time.Microsecond).String()))
}

// road is the way to the decision, stop by stop, and what to change.
func (p *decisionPrinter) road(told *admin.Told) string {
	road := told.Road
	if road == nil { // a stand-in that does not tell it
		drawn := explain.OfReport(&told.Report, explain.Facts{})
		road = &drawn
	}
	r := roadPrinter{style: p.style, indent: "    "}
	r.stops(road)
	r.cures(road)
	r.WriteString("\n")
	return r.String()
}

// visible shows letters that a terminal would obey: paths and names are of whoever sends them.
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

// style says whether there is colour.
type style bool

// The colours of a terminal.
const (
	red     = "31"
	green   = "32"
	yellow  = "33"
	magenta = "35"
	dim     = "2"
)

// colourOf has that of each outcome of a decision and of each stop.
var colourOf = map[string]string{
	"allowed": green, string(explain.Passed): green,
	string(explain.Stopped): red, string(explain.Failed): magenta,
	string(explain.NotMine): yellow, string(explain.NotReached): dim, "": dim,
}

func (s style) paint(colour, text string) string {
	if !s || colour == "" {
		return text
	}
	return "\x1b[" + colour + "m" + text + "\x1b[0m"
}

// styleOf has colour on a terminal that can show it, for those who want it. (https://no-color.org)
func styleOf(w io.Writer) style {
	file, ok := w.(*os.File)
	return style(ok && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" && term.IsTerminal(int(file.Fd())))
}
