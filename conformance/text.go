package conformance

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"fauxlet/internal/color"
)

// textWidth is the width of the report for people. Only a word that is longer makes a longer line.
const textWidth = 80

// words are the verdicts in the report for people.
var words = map[Verdict]struct {
	text  string
	color color.Color
}{Pass: {"pass", color.Green}, Warn: {"WARN", color.Yellow}, Fail: {"FAIL", color.Red}}

// textWriter writes a report for people.
type textWriter struct {
	strings.Builder
	report *Report
	style  color.Style
}

// writeTable writes the report for people: passed checks, skipped checks by reason, warnings and, last, failures. Each
// check is stated as an expectation, with its verdict.
func (r *Report) writeTable(w io.Writer) error {
	t := &textWriter{report: r, style: color.For(w)}
	for _, result := range r.Results {
		if result.Verdict == Pass {
			t.expectation(result, " ("+result.ID+")")
		}
	}
	t.skipped()
	for _, verdict := range []Verdict{Warn, Fail} {
		for _, result := range r.Results {
			if result.Verdict == verdict {
				t.WriteString("\n")
				t.problem(result)
			}
		}
	}
	t.WriteString("\n")
	t.paragraph(0, fmt.Sprintf("%s in %v: %s", r.Target, time.Duration(r.Duration).Round(100*time.Millisecond),
		r.Summary()))
	for _, object := range r.NotRemoved {
		t.paragraph(0, "not removed: "+object+" (the next run removes it)")
	}
	_, err := io.WriteString(w, t.String())
	return err
}

// paragraph writes a text. Its first line is indented by "first" spaces, the others by two.
func (t *textWriter) paragraph(first int, text string) {
	const rest = 2
	for i, line := range color.Wrap(color.PrintableLines(text), textWidth-rest) {
		if i > 0 {
			first = rest
		}
		t.WriteString(strings.Repeat(" ", first) + line + "\n")
	}
}

// expectation writes what a check expects, its verdict, and the text "after".
func (t *textWriter) expectation(result Result, after string) {
	word := words[result.Verdict]
	text := color.Printable(result.Title) + ": " + word.text
	lines := color.Wrap(text+after, textWidth-2)
	// The verdict is the last occurrence of its word. It is painted after the text is wrapped, because the escape
	// sequences have no width.
	for i, line := range slices.Backward(lines) {
		if at := strings.LastIndex(line, word.text); at >= 0 {
			lines[i] = line[:at] + t.style.Paint(word.color, word.text) + line[at+len(word.text):]
			break
		}
	}
	t.WriteString(strings.Join(lines, "\n  ") + "\n")
}

// problem writes the details of a warning or failure.
func (t *textWriter) problem(result Result) {
	t.expectation(result, "")
	t.field("check", []string{result.ID})
	t.field("problem", color.Wrap(color.Printable(result.Reason), textWidth-fieldIndent))
	t.field("found", wrapped(result.Evidence))
	t.field("flag", []string{result.Flag})
	t.field("remedy", remedyLines(result.Remedy))
}

// fieldIndent is the width of the names of fields.
const fieldIndent = 11

func (t *textWriter) field(name string, lines []string) {
	for i, line := range lines {
		if i > 0 {
			name = ""
		} else if name += ":"; line == "" {
			return
		}
		fmt.Fprintf(t, "  %-*s%s\n", fieldIndent-2, name, color.Printable(line))
	}
}

// wrapped wraps texts for a field. The lines after the first of each text are indented. In a text of several lines, the
// later lines are texts of their own.
func wrapped(texts []string) (lines []string) {
	for _, text := range texts {
		for _, line := range strings.Split(strings.TrimSpace(text), "\n") {
			for i, part := range color.Wrap(color.Printable(line), textWidth-fieldIndent-2) {
				if i > 0 {
					part = "  " + part
				}
				lines = append(lines, part)
			}
		}
	}
	return lines
}

// remedyLines breaks a remedy into lines that can be pasted: of flags, each gets its own line, and a command continues
// after a backslash. A comment is wrapped.
func remedyLines(remedy string) (lines []string) {
	const width = textWidth - fieldIndent
	for _, line := range strings.Split(strings.TrimSpace(remedy), "\n") {
		command, comment := splitComment(line)
		areFlags := strings.HasPrefix(line, "--")
		current := ""
		for _, word := range command {
			switch {
			case current == "":
				current = word
			case areFlags && strings.HasPrefix(word, "--"):
				lines, current = append(lines, current), word
			case !areFlags && utf8.RuneCountInString(current+word)+len("  \\") > width:
				lines, current = append(lines, current+" \\"), "  "+word
			default:
				current += " " + word
			}
		}
		if current != "" {
			lines = append(lines, current)
		}
		if comment != "" {
			for _, part := range color.Wrap(comment, width-len("# ")) {
				lines = append(lines, "# "+part)
			}
		}
	}
	return lines
}

// splitComment splits a shell command into its words, which keep their quotes, and the comment after them.
func splitComment(line string) (command []string, comment string) {
	word := ""
	var quote byte // the quote that is open, or 0; $ stands for $'…', in which a backslash quotes too
	for i := 0; i < len(line); i++ {
		c := line[i]
		switch {
		case quote == 0 && c == ' ':
			if word != "" {
				command = append(command, word)
			}
			word = ""
			continue
		case quote == 0 && c == '#' && word == "":
			return command, strings.TrimSpace(line[i+1:])
		case c == '\\' && quote != '\'' && i+1 < len(line):
			word += line[i : i+2]
			i++
			continue
		case quote == 0 && c == '\'' && strings.HasSuffix(word, "$"):
			quote = '$'
		case quote == 0 && (c == '\'' || c == '"'):
			quote = c
		case quote == c && quote != '$', quote == '$' && c == '\'':
			quote = 0
		}
		word += line[i : i+1]
	}
	if word != "" {
		command = append(command, word)
	}
	return command, ""
}

// skipped writes one paragraph for each reason for which checks were skipped. The first line of the paragraph ends
// before the advice, which follows a semicolon.
func (t *textWriter) skipped() {
	type group struct{ word, reason string }
	var order []group
	ids := map[group][]string{}
	for _, result := range t.report.Results {
		if result.Verdict != Skipped {
			continue
		}
		g := group{"skipped", result.Reason}
		switch cause := t.report.cause(result); {
		case cause.Verdict != Skipped:
			g.reason = cause.ID + " did not pass"
		case cause.NotApplicable:
			g = group{"not applicable", cause.Reason}
		default:
			g.reason = cause.Reason
		}
		if ids[g] == nil {
			order = append(order, g)
		}
		ids[g] = append(ids[g], result.ID)
	}
	// The largest group is the last, next to the failures.
	slices.SortStableFunc(order, func(a, b group) int { return cmp.Compare(len(ids[a]), len(ids[b])) })
	for i, g := range order {
		if i == 0 {
			t.WriteString("\n")
		}
		first, advice, found := strings.Cut(g.reason, "; ")
		t.paragraph(0, fmt.Sprintf("%d %s: %s", len(ids[g]), g.word, first))
		if found {
			t.paragraph(2, advice)
		}
		t.paragraph(2, "("+summarize(ids[g])+")")
	}
}

// summarize returns the IDs of a few checks, or else the names of the groups with the number of checks.
func summarize(ids []string) string {
	const few = 3
	if len(ids) <= few {
		return strings.Join(ids, ", ")
	}
	var groups []string
	count := map[string]int{}
	for _, id := range ids {
		name, _, _ := strings.Cut(id, ".")
		if count[name]++; count[name] == 1 {
			groups = append(groups, name)
		}
	}
	for i, name := range groups {
		groups[i] = fmt.Sprintf("%d of %s", count[name], name)
	}
	return strings.Join(groups, ", ")
}
