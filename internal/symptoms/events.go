package symptoms

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// event is a part of a text that reports one error, such as a log line.
type event struct {
	text  string
	facts Facts
	at    string // sorts by time; empty if the event has no time
	count int    // how many lines differ only in their time
	group int    // lines that follow each other without a time of their own are in one group
	// joined is true if the event has all lines of its group, because a terminal may have wrapped one error.
	joined bool
}

var (
	// In log lines, errors are often quoted, some of them several times. These patterns match the quotation.
	quotedQuote = regexp.MustCompile(`\\+"`)
	quotedBreak = regexp.MustCompile(`\\+n(?:\\+t)?`)
	// Some programs join the errors of all nodes in one line.
	joinedErrors = regexp.MustCompile(`, (unable to fully (?:scrape|collect) metrics from )`)
)

// plain returns the text without the quotation of log lines, with one error per line.
func plain(text string) string {
	text = quotedQuote.ReplaceAllString(text, `"`)
	text = quotedBreak.ReplaceAllString(text, "\n")
	return joinedErrors.ReplaceAllString(text, ",\n$1")
}

// maxEvents is how many events of a text are looked at. Lines that differ only in their time count as one.
const maxEvents = 250

// maxWrapped is the length, in bytes, up to which several lines can be one line that a terminal has wrapped.
const maxWrapped = 2 << 10

// split divides a text into events. Each line is one. Lines that follow each other without a time of their own are, in
// addition, one event together, because a terminal may have wrapped one line.
func split(text string) []event {
	var events []event
	known := map[string]int{} // from the text of a line without its time to the index of its event
	group := 0
	writers, only := writersOf(text)
	add := func(line string, joined bool) {
		at := timeOf(line)
		key := strings.Replace(line, at.text, "", 1)
		if i, ok := known[key]; ok {
			events[i].count++
			return
		}
		if len(events) == maxEvents {
			return
		}
		known[key] = len(events)
		writer, ok := writers[line]
		if !ok {
			writer = writerOf(line)
		}
		events = append(events, event{line, readFacts(line, cmp.Or(writer, only)), at.key, 1, group, joined})
	}
	var lines []string
	flush := func() {
		for _, line := range lines {
			add(line, false)
		}
		if joined := strings.Join(lines, " "); len(lines) > 1 && len(joined) <= maxWrapped {
			add(joined, true)
		}
		lines = nil
		group++
	}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || timeOf(line).text != "" {
			flush()
		}
		if line != "" {
			lines = append(lines, line)
		}
	}
	flush()
	return events
}

// writersOf returns the program that wrote each line, or "" if the line does not show it. If all lines that show it
// have the same program, writersOf also returns this program as only.
func writersOf(text string) (writers map[string]string, only string) {
	writers = map[string]string{}
	several := false
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if _, ok := writers[line]; ok {
			continue
		}
		writer := writerOf(line)
		writers[line] = writer
		if writer != "" {
			several = several || only != "" && only != writer
			only = writer
		}
	}
	if several {
		only = ""
	}
	return writers, only
}

// logTime is the time of a log line: as it stands in the text, and in a form that sorts by time within a year.
type logTime struct{ text, key string }

var (
	klogTime    = regexp.MustCompile(`\b[IWEF](\d\d)(\d\d) (\d\d:\d\d:\d\d(?:\.\d+)?)`)
	isoTime     = regexp.MustCompile(`\b\d{4}[-/](\d\d)[-/](\d\d)[T ](\d\d:\d\d:\d\d(?:[.,]\d+)?)(?:Z|[+-]\d\d:?\d\d)?`)
	journalTime = regexp.MustCompile(`^(Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) +(\d\d?) (\d\d:\d\d:\d\d)`)
)

// maxTimePosition is how far from the beginning of a line its time can be, in bytes. A time after it is a part of the
// error, such as the date of a certificate.
const maxTimePosition = 120

// timeOf returns the time of a log line: of klog, if the line has one, else of systemd's journal or of ISO 8601.
func timeOf(line string) logTime {
	head := line[:min(len(line), maxTimePosition)]
	if m := klogTime.FindStringSubmatch(head); m != nil {
		return logTime{m[0], fmt.Sprintf("%s-%s %s", m[1], m[2], m[3])}
	}
	if m := journalTime.FindStringSubmatch(head); m != nil {
		month := strings.Index("JanFebMarAprMayJunJulAugSepOctNovDec", m[1])/3 + 1
		return logTime{m[0], fmt.Sprintf("%02d-%02s %s", month, m[2], m[3])}
	}
	if m := isoTime.FindStringSubmatchIndex(head); m != nil && beginsLine(head[:m[0]]) {
		part := func(i int) string { return head[m[2*i]:m[2*i+1]] }
		return logTime{part(0), fmt.Sprintf("%s-%s %s", part(1), part(2), strings.Replace(part(3), ",", ".", 1))}
	}
	return logTime{}
}

// beginsLine reports whether the text before a time is only what loggers write there: brackets and the name of a field
// or of a program.
func beginsLine(before string) bool { return !strings.Contains(strings.TrimRight(before, " "), " ") }

// The function "order" orders findings by the time of their events, if all of them have one. Otherwise it keeps the
// order of the text. It moves errors that only follow from others to the end.
func order(findings []Finding) {
	if !slices.ContainsFunc(findings, func(f Finding) bool { return f.at == "" }) {
		slices.SortStableFunc(findings, func(a, b Finding) int { return cmp.Compare(a.at, b.at) })
	}
	slices.SortStableFunc(findings, func(a, b Finding) int {
		switch {
		case a.consequence == b.consequence:
			return 0
		case a.consequence:
			return 1
		}
		return -1
	})
}
