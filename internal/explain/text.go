package explain

import (
	"fmt"
	"io"
	"strings"

	"fauxlet/internal/color"
)

// WriteText writes the explanation as text: the stages, the outcome and the remedies.
func (e *Explanation) WriteText(w io.Writer, style color.Style) error {
	p := textPrinter{style: style}
	p.stages(e)
	fmt.Fprintf(&p, "\n%s\n", p.result(e))
	p.remedies(e)
	_, err := io.WriteString(w, p.String())
	return err
}

// Details returns the stages and remedies as lines that begin with the text in the argument "indent".
func (e *Explanation) Details(style color.Style, indent string) string {
	p := textPrinter{style: style, indent: indent}
	p.stages(e)
	p.remedies(e)
	return p.String()
}

// WriteComparison writes the actual and the what-if explanation side by side. Each stage is one line with its states in
// both explanations. If the messages of a stage differ, both messages follow on their own lines. The parameter "change"
// is a text that describes how the two configurations differ.
func WriteComparison(w io.Writer, style color.Style, actual, whatIf *Explanation, change string) error {
	p := textPrinter{style: style}
	width := max(nameWidth(actual), nameWidth(whatIf))
	fmt.Fprintf(&p, "%-*s  %-*s  %-*s  %s\n",
		width, "", stateWidth, "actual", stateWidth, "what-if", style.Paint(color.Dim, change))
	for _, pair := range pairStages(actual.Stages, whatIf.Stages) {
		p.pair(width, pair[0], pair[1])
	}
	fmt.Fprintf(&p, "\nactual:  %s\nwhat-if: %s\n", p.result(actual), p.result(whatIf))
	p.remedies(whatIf)
	_, err := io.WriteString(w, p.String())
	return err
}

// textPrinter builds the text form of explanations.
type textPrinter struct {
	strings.Builder
	style  color.Style
	indent string
}

// stateWidth is the length of the longest state, "not reached".
const stateWidth = len(notReached)

var colorOfState = map[State]color.Color{
	Passed: color.Green, failed: color.Red, skipped: color.Yellow, notReached: color.Dim,
}

// The method "state" formats a state in its color. A stage that does not exist has an empty state, shown as spaces.
func (p *textPrinter) state(s State) string {
	return p.style.Paint(colorOfState[s], fmt.Sprintf("%-*s", stateWidth, s))
}

func nameWidth(e *Explanation) int {
	width := 0
	for i := range e.Stages {
		width = max(width, len(e.Stages[i].Name))
	}
	return width
}

func (p *textPrinter) stages(e *Explanation) {
	width := nameWidth(e)
	for i := range e.Stages {
		s := &e.Stages[i]
		fmt.Fprintf(p, "%s%-*s  %s  %s\n", p.indent, width, s.Name, p.state(s.State), color.Printable(s.Message))
		for _, fact := range s.Facts {
			line := p.style.Paint(color.Dim, color.Printable(fact.Name+": "+fact.Value))
			fmt.Fprintf(p, "%s%*s  %s\n", p.indent, width+2+stateWidth, "", line)
		}
	}
}

var colorOfOutcome = map[Outcome]color.Color{
	Allowed: color.Green, NoAuthentication: color.Yellow, Refused: color.Red, notServed: color.Red,
	NoRequest: color.Red, Error: color.Magenta,
}

func (p *textPrinter) result(e *Explanation) string {
	status := ""
	if e.Status != 0 {
		status = fmt.Sprintf(" (%d)", e.Status)
	}
	return p.style.Paint(colorOfOutcome[e.Outcome], string(e.Outcome)) + status + ": " + color.Printable(e.Reason)
}

func (p *textPrinter) remedies(e *Explanation) {
	for i, remedy := range e.Remedies {
		if i == 0 {
			fmt.Fprintf(p, "\n%sRemedies:\n", p.indent)
		}
		fmt.Fprintf(p, "\n%s%d. %s\n", p.indent, i+1, color.Printable(remedy.Summary))
		for _, form := range [][2]string{
			{"kubelet configuration", remedy.Kubelet}, {"kube-apiserver flags", remedy.Apiserver},
			{"commands", remedy.Kubectl},
		} {
			if form[1] != "" {
				fmt.Fprintf(p, "%s   %s\n", p.indent, p.style.Paint(color.Dim, form[0]+":"))
			}
			for line := range strings.Lines(form[1]) {
				fmt.Fprintf(p, "%s     %s\n", p.indent, color.Printable(strings.TrimRight(line, "\n")))
			}
		}
		if remedy.Caution != "" {
			fmt.Fprintf(p, "%s   Caution: %s\n", p.indent, color.Printable(remedy.Caution))
		}
	}
}

// The method "pair" prints the states of one stage in two explanations, and the messages if they differ. A zero Stage
// means that the explanation does not have the stage.
func (p *textPrinter) pair(width int, actual, whatIf Stage) {
	name := actual.Name
	if len(whatIf.Name) > len(name) { // prefer "authorization of nodes/proxy" to "authorization"
		name = whatIf.Name
	}
	line := fmt.Sprintf("%-*s  %s  %s", width, name, p.state(actual.State), p.state(whatIf.State))
	if actual.State == whatIf.State && actual.Message == whatIf.Message {
		fmt.Fprintf(p, "%s  %s\n", line, color.Printable(actual.Message))
		return
	}
	fmt.Fprintln(p, strings.TrimRight(line, " "))
	if actual.ID != "" {
		fmt.Fprintf(p, "%*s  actual: %s\n", width, "", color.Printable(actual.Message))
	}
	if whatIf.ID != "" {
		fmt.Fprintf(p, "%*s  what-if: %s\n", width, "", color.Printable(whatIf.Message))
	}
}

// pairStages pairs the stages of two explanations. If one explanation has fewer authorization stages than the other,
// the missing stages are zero Stages.
func pairStages(a, b []Stage) (pairs [][2]Stage) {
	next := func(stages *[]Stage) Stage {
		first := (*stages)[0]
		*stages = (*stages)[1:]
		return first
	}
	for len(a) > 0 && len(b) > 0 {
		var pair [2]Stage
		inA, inB := a[0].ID == stageAuthorization, b[0].ID == stageAuthorization
		if inA || !inB {
			pair[0] = next(&a)
		}
		if inB || !inA {
			pair[1] = next(&b)
		}
		pairs = append(pairs, pair)
	}
	return pairs
}
