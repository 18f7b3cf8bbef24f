package main

import (
	"fmt"
	"io"
	"strings"

	"fauxlet/internal/color"
	"fauxlet/internal/explain"
)

func (e *explaining) printExplanation(w io.Writer, explanation explain.Explanation) error {
	if e.output == "json" {
		return writeJSON(w, explanation)
	}
	p := explanationPrinter{style: color.For(w)}
	p.stages(&explanation)
	fmt.Fprintf(&p, "\n%s\n", p.result(&explanation))
	p.remedies(&explanation)
	_, err := io.WriteString(w, p.String())
	return err
}

// printWhatIf prints two explanations side by side.
func (e *explaining) printWhatIf(w io.Writer, actual, whatIf explain.Explanation) error {
	if e.output == "json" {
		return writeJSON(w, struct {
			Actual explain.Explanation `json:"actual"`
			WhatIf explain.Explanation `json:"whatIf"`
			Set    []string            `json:"set"`
		}{actual, whatIf, e.whatIf})
	}
	p := explanationPrinter{style: color.For(w)}
	p.compare(&actual, &whatIf, "with "+strings.Join(e.whatIf, ", "))
	_, err := io.WriteString(w, p.String())
	return err
}

// explanationPrinter builds the text form of explanations.
type explanationPrinter struct {
	strings.Builder
	style  color.Style
	indent string
}

// stateWidth is the length of the longest state, "not reached".
const stateWidth = len(explain.NotReached)

func (p *explanationPrinter) state(s explain.State) string {
	return p.style.Paint(colourOf[string(s)], fmt.Sprintf("%-*s", stateWidth, s))
}

func nameWidth(explanation *explain.Explanation) int {
	width := 0
	for i := range explanation.Stages {
		width = max(width, len(explanation.Stages[i].Name))
	}
	return width
}

func (p *explanationPrinter) stages(explanation *explain.Explanation) {
	width := nameWidth(explanation)
	for i := range explanation.Stages {
		stage := &explanation.Stages[i]
		fmt.Fprintf(p, "%s%-*s  %s  %s\n", p.indent, width, stage.Name, p.state(stage.State), visible(stage.Message))
		for _, fact := range stage.Facts {
			line := p.style.Paint(color.Dim, visible(fact.Name+": "+fact.Value))
			fmt.Fprintf(p, "%s%*s  %s\n", p.indent, width+2+stateWidth, "", line)
		}
	}
}

var colourOfOutcome = map[explain.Outcome]color.Color{
	explain.Allowed: color.Green, explain.NoAuthentication: color.Yellow, explain.Refused: color.Red, explain.NotServed: color.Red,
	explain.NoRequest: color.Red, explain.Error: color.Magenta,
}

// result is the outcome in one line.
func (p *explanationPrinter) result(e *explain.Explanation) string {
	status := ""
	if e.Status != 0 {
		status = fmt.Sprintf(" (%d)", e.Status)
	}
	return p.style.Paint(colourOfOutcome[e.Outcome], string(e.Outcome)) + status + ": " + visible(e.Reason)
}

func (p *explanationPrinter) remedies(explanation *explain.Explanation) {
	for i, remedy := range explanation.Remedies {
		if i == 0 {
			fmt.Fprintf(p, "\n%sRemedies:\n", p.indent)
		}
		fmt.Fprintf(p, "\n%s%d. %s\n", p.indent, i+1, visible(remedy.Summary))
		for _, form := range []struct{ name, text string }{
			{"kubelet configuration", remedy.Kubelet}, {"kube-apiserver flags", remedy.Apiserver}, {"commands", remedy.Kubectl},
		} {
			if form.text == "" {
				continue
			}
			fmt.Fprintf(p, "%s   %s\n", p.indent, p.style.Paint(color.Dim, form.name+":"))
			for line := range strings.Lines(form.text) {
				fmt.Fprintf(p, "%s     %s\n", p.indent, visible(strings.TrimRight(line, "\n")))
			}
		}
		if remedy.Caution != "" {
			fmt.Fprintf(p, "%s   Caution: %s\n", p.indent, visible(remedy.Caution))
		}
	}
}

const (
	actualHead = "actual"
	whatIfHead = "what-if"
)

// compare prints one line for each stage with both states, and below it the messages if they differ.
func (p *explanationPrinter) compare(actual, whatIf *explain.Explanation, change string) {
	width := max(nameWidth(actual), nameWidth(whatIf))
	fmt.Fprintf(p, "%-*s  %-*s  %-*s  %s\n",
		width, "", stateWidth, actualHead, stateWidth, whatIfHead, p.style.Paint(color.Dim, change))
	for _, pair := range pairStages(actual, whatIf) {
		p.comparePair(width, pair)
	}
	fmt.Fprintf(p, "\n%s:  %s\n%s: %s\n", actualHead, p.result(actual), whatIfHead, p.result(whatIf))
	p.remedies(whatIf)
}

func (p *explanationPrinter) comparePair(width int, pair [2]*explain.Stage) {
	differ := pair[0] == nil || pair[1] == nil ||
		pair[0].State != pair[1].State || pair[0].Message != pair[1].Message
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
		message = visible(pair[0].Message)
	}
	line := fmt.Sprintf("%-*s  %s  %s  %s", width, name, states[0], states[1], message)
	fmt.Fprintf(p, "%s\n", strings.TrimRight(line, " "))
	if !differ {
		return
	}
	for i, stage := range pair {
		if stage != nil {
			fmt.Fprintf(p, "%*s  %s: %s\n", width, "", [2]string{actualHead, whatIfHead}[i], visible(stage.Message))
		}
	}
}

// pairStages pairs the stages of two explanations. The number of authorization stages may differ; a missing one is nil.
func pairStages(a, b *explain.Explanation) [][2]*explain.Stage {
	var pairs [][2]*explain.Stage
	isCheck := func(s *explain.Stage) bool { return s.ID == explain.StageAuthorization }
	for i, j := 0, 0; i < len(a.Stages) && j < len(b.Stages); {
		pair := [2]*explain.Stage{&a.Stages[i], &b.Stages[j]}
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
