package explain

import (
	"fmt"
	"io"
	"strings"

	"fauxlet/internal/color"
)

// WriteText writes the explanation as text for humans: stages, outcome, remedies.
func (e *Explanation) WriteText(w io.Writer, style color.Style) error {
	p := textPrinter{style: style}
	p.stages(e)
	fmt.Fprintf(&p, "\n%s\n", p.result(e))
	p.remedies(e)
	_, err := io.WriteString(w, p.String())
	return err
}

// Details returns the stages and remedies as lines that begin with indent.
func (e *Explanation) Details(style color.Style, indent string) string {
	p := textPrinter{style: style, indent: indent}
	p.stages(e)
	p.remedies(e)
	return p.String()
}

// WriteComparison writes the actual and the what-if explanation side by side. The text in change describes how the
// configurations differ.
func WriteComparison(w io.Writer, style color.Style, actual, whatIf *Explanation, change string) error {
	p := textPrinter{style: style}
	p.compare(actual, whatIf, change)
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

func (p *textPrinter) state(s State) string {
	return p.style.Paint(colorOfState[s], fmt.Sprintf("%-*s", stateWidth, s))
}

func nameWidth(explanation *Explanation) int {
	width := 0
	for i := range explanation.Stages {
		width = max(width, len(explanation.Stages[i].Name))
	}
	return width
}

func (p *textPrinter) stages(explanation *Explanation) {
	width := nameWidth(explanation)
	for i := range explanation.Stages {
		stage := &explanation.Stages[i]
		fmt.Fprintf(p, "%s%-*s  %s  %s\n", p.indent, width, stage.Name, p.state(stage.State),
			color.Printable(stage.Message))
		for _, fact := range stage.Facts {
			line := p.style.Paint(color.Dim, color.Printable(fact.Name+": "+fact.Value))
			fmt.Fprintf(p, "%s%*s  %s\n", p.indent, width+2+stateWidth, "", line)
		}
	}
}

var colorOfState = map[State]color.Color{
	Passed: color.Green, failed: color.Red, skipped: color.Yellow, notReached: color.Dim,
}

var colorOfOutcome = map[Outcome]color.Color{
	Allowed: color.Green, NoAuthentication: color.Yellow, Refused: color.Red, notServed: color.Red,
	NoRequest: color.Red, Error: color.Magenta,
}

// result returns the outcome as one line of text.
func (p *textPrinter) result(e *Explanation) string {
	status := ""
	if e.Status != 0 {
		status = fmt.Sprintf(" (%d)", e.Status)
	}
	return p.style.Paint(colorOfOutcome[e.Outcome], string(e.Outcome)) + status + ": " + color.Printable(e.Reason)
}

func (p *textPrinter) remedies(explanation *Explanation) {
	for i, remedy := range explanation.Remedies {
		if i == 0 {
			fmt.Fprintf(p, "\n%sRemedies:\n", p.indent)
		}
		fmt.Fprintf(p, "\n%s%d. %s\n", p.indent, i+1, color.Printable(remedy.Summary))
		for _, form := range []struct{ name, text string }{
			{"kubelet configuration", remedy.Kubelet}, {"kube-apiserver flags", remedy.Apiserver},
			{"commands", remedy.Kubectl},
		} {
			if form.text == "" {
				continue
			}
			fmt.Fprintf(p, "%s   %s\n", p.indent, p.style.Paint(color.Dim, form.name+":"))
			for line := range strings.Lines(form.text) {
				fmt.Fprintf(p, "%s     %s\n", p.indent, color.Printable(strings.TrimRight(line, "\n")))
			}
		}
		if remedy.Caution != "" {
			fmt.Fprintf(p, "%s   Caution: %s\n", p.indent, color.Printable(remedy.Caution))
		}
	}
}

const (
	actualHead = "actual"
	whatIfHead = "what-if"
)

// compare prints one line per stage with the states in both explanations. If the messages differ, it prints both
// below that line.
func (p *textPrinter) compare(actual, whatIf *Explanation, change string) {
	width := max(nameWidth(actual), nameWidth(whatIf))
	fmt.Fprintf(p, "%-*s  %-*s  %-*s  %s\n",
		width, "", stateWidth, actualHead, stateWidth, whatIfHead, p.style.Paint(color.Dim, change))
	for _, pair := range pairStages(actual, whatIf) {
		p.comparePair(width, pair)
	}
	fmt.Fprintf(p, "\n%s:  %s\n%s: %s\n", actualHead, p.result(actual), whatIfHead, p.result(whatIf))
	p.remedies(whatIf)
}

func (p *textPrinter) comparePair(width int, pair [2]*Stage) {
	differ := pair[0] == nil || pair[1] == nil || pair[0].State != pair[1].State || pair[0].Message != pair[1].Message
	name, states := "", [2]string{}
	for i, stage := range pair {
		states[i] = strings.Repeat(" ", stateWidth)
		if stage != nil {
			states[i] = p.state(stage.State)
			if len(stage.Name) > len(name) { // an authorization stage that was reached names its resource
				name = stage.Name
			}
		}
	}
	message := ""
	if !differ {
		message = color.Printable(pair[0].Message)
	}
	line := fmt.Sprintf("%-*s  %s  %s  %s", width, name, states[0], states[1], message)
	fmt.Fprintf(p, "%s\n", strings.TrimRight(line, " "))
	if !differ {
		return
	}
	for i, stage := range pair {
		if stage != nil {
			fmt.Fprintf(p, "%*s  %s: %s\n", width, "", [2]string{actualHead, whatIfHead}[i],
				color.Printable(stage.Message))
		}
	}
}

// pairStages pairs the stages of two explanations. If one explanation has fewer authorization stages, its part of
// the remaining pairs is nil.
func pairStages(a, b *Explanation) [][2]*Stage {
	var pairs [][2]*Stage
	isCheck := func(s *Stage) bool { return s.ID == stageAuthorization }
	for i, j := 0, 0; i < len(a.Stages) && j < len(b.Stages); {
		pair := [2]*Stage{&a.Stages[i], &b.Stages[j]}
		switch {
		case isCheck(pair[1]) && !isCheck(pair[0]):
			pair[0] = nil
		case isCheck(pair[0]) && !isCheck(pair[1]):
			pair[1] = nil
		}
		if pair[0] != nil {
			i++
		}
		if pair[1] != nil {
			j++
		}
		pairs = append(pairs, pair)
	}
	return pairs
}
