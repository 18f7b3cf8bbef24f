package main

import (
	"fmt"
	"io"
	"strings"

	"fauxlet/internal/explain"
	"fauxlet/internal/symptoms"
)

func (e *explaining) printRoad(w io.Writer, road explain.Road) error {
	if e.output == "json" {
		return writeJSON(w, road)
	}
	p := roadPrinter{style: styleOf(w)}
	p.stops(&road)
	p.verdict(&road)
	p.cures(&road)
	_, err := io.WriteString(w, p.String())
	return err
}

// printBoth prints two roads beside each other.
func (e *explaining) printBoth(w io.Writer, now, then explain.Road) error {
	if e.output == "json" {
		return writeJSON(w, struct {
			AsItIs  explain.Road `json:"asItIs"`
			WhatIf  explain.Road `json:"whatIf"`
			Changed []string     `json:"changed"`
		}{now, then, e.whatIf})
	}
	p := roadPrinter{style: styleOf(w)}
	p.beside(&now, &then, "with "+strings.Join(e.whatIf, ", "))
	_, err := io.WriteString(w, p.String())
	return err
}

// roadPrinter prints roads for people.
type roadPrinter struct {
	strings.Builder
	style  style
	indent string
}

func (p *roadPrinter) outcome(o explain.Outcome) string {
	return p.style.paint(colourOf[string(o)], fmt.Sprintf("%-11s", o))
}

func nameWidth(road *explain.Road) int {
	width := 0
	for i := range road.Stops {
		width = max(width, len(road.Stops[i].Name))
	}
	return width
}

func (p *roadPrinter) stops(road *explain.Road) {
	width := nameWidth(road)
	for i := range road.Stops {
		stop := &road.Stops[i]
		fmt.Fprintf(p, "%s%-*s  %s  %s\n", p.indent, width, stop.Name, p.outcome(stop.Outcome), visible(stop.Says))
		for _, fact := range stop.Facts {
			fmt.Fprintf(p, "%s%*s  %s\n", p.indent, width+13, "", p.style.paint(dim, visible(fact.Name+": "+fact.Value)))
		}
	}
}

// colourOfVerdict are those of verdicts that are no outcomes of decisions.
var colourOfVerdict = map[explain.Verdict]string{
	explain.Allowed: green, explain.Unguarded: yellow, explain.Refused: red, explain.Unserved: red, explain.Unspoken: red, explain.Broken: magenta,
}

func (p *roadPrinter) verdict(road *explain.Road) {
	fmt.Fprintf(p, "\n%s%s\n", p.indent, p.sentence(road))
}

func (p *roadPrinter) sentence(road *explain.Road) string {
	status := ""
	if road.Status != 0 {
		status = fmt.Sprintf(" (%d)", road.Status)
	}
	return p.style.paint(colourOfVerdict[road.Verdict], string(road.Verdict)) + status + ": " + visible(road.Why)
}

func (p *roadPrinter) cures(road *explain.Road) {
	for i, cure := range road.Cures {
		if i == 0 {
			fmt.Fprintf(p, "\n%sTo change it:\n", p.indent)
		}
		fmt.Fprintf(p, "\n%s%d. %s\n", p.indent, i+1, visible(cure.What))
		for _, form := range []struct{ where, text string }{
			{"kubelet configuration", cure.Kubelet}, {"kube-apiserver", cure.Apiserver}, {"command", cure.Kubectl},
		} {
			if form.text == "" {
				continue
			}
			fmt.Fprintf(p, "%s   %s\n", p.indent, p.style.paint(dim, form.where+":"))
			for line := range strings.Lines(form.text) {
				fmt.Fprintf(p, "%s     %s\n", p.indent, visible(strings.TrimRight(line, "\n")))
			}
		}
		if cure.Caution != "" {
			fmt.Fprintf(p, "%s   Mind: %s\n", p.indent, visible(cure.Caution))
		}
	}
}

// beside has the outcomes of both in a line for each stop, and under it what is said where that differs.
func (p *roadPrinter) beside(now, then *explain.Road, what string) {
	const asItIs, changed = "as it is", "what if"
	width := max(nameWidth(now), nameWidth(then))
	fmt.Fprintf(p, "%-*s  %-11s  %-11s  %s\n", width, "", asItIs, changed, p.style.paint(dim, what))
	for _, pair := range pairs(now, then) {
		name, outcomes, differs := "", [2]string{}, pair[0] == nil || pair[1] == nil
		for i, stop := range pair {
			outcomes[i] = fmt.Sprintf("%-11s", "")
			if stop != nil {
				outcomes[i] = p.outcome(stop.Outcome)
				if len(stop.Name) > len(name) { // a review that was reached says of what it is
					name = stop.Name
				}
			}
		}
		differs = differs || pair[0].Outcome != pair[1].Outcome || pair[0].Says != pair[1].Says
		said := ""
		if !differs {
			said = visible(pair[0].Says)
		}
		fmt.Fprintf(p, "%s\n", strings.TrimRight(fmt.Sprintf("%-*s  %s  %s  %s", width, name, outcomes[0], outcomes[1], said), " "))
		for i, stop := range pair {
			if differs && stop != nil {
				fmt.Fprintf(p, "%*s  %s: %s\n", width, "", [2]string{asItIs, changed}[i], visible(stop.Says))
			}
		}
	}
	fmt.Fprintf(p, "\n%s: %s\n%s:  %s\n", asItIs, p.sentence(now), changed, p.sentence(then))
	p.cures(then)
}

// pairs are the stops of two roads, of which one may have one review more.
func pairs(now, then *explain.Road) [][2]*explain.Stop {
	var all [][2]*explain.Stop
	for i, j := 0, 0; i < len(now.Stops) || j < len(then.Stops); {
		var pair [2]*explain.Stop
		switch {
		case i == len(now.Stops), j < len(then.Stops) && then.Stops[j].ID == explain.StopReview && now.Stops[i].ID != explain.StopReview:
			pair[1] = &then.Stops[j]
			j++
		case j == len(then.Stops), now.Stops[i].ID == explain.StopReview && then.Stops[j].ID != explain.StopReview:
			pair[0] = &now.Stops[i]
			i++
		default:
			pair[0], pair[1] = &now.Stops[i], &then.Stops[j]
			i, j = i+1, j+1
		}
		all = append(all, pair)
	}
	return all
}

// printDiagnosis says what is known of an error.
func printDiagnosis(w io.Writer, d symptoms.Diagnosis) error {
	var b strings.Builder
	style := styleOf(w)
	speakers := d.Speakers
	if len(d.Findings) == 0 {
		speakers = nil // who says something that is not known is of no use
	}
	for _, speaker := range speakers {
		fmt.Fprintf(&b, "Said by %s: %s.\n\n", speaker.Name, speaker.Means)
	}
	for i, found := range d.Findings {
		if i > 0 {
			b.WriteString("\n")
		}
		fmt.Fprintf(&b, "%s\n%s.\n\n", style.paint(red, visible(found.Found)), visible(found.Means))
		for i, cause := range found.Causes {
			fmt.Fprintf(&b, "%d. %s\n   how to tell: %s\n   cure:        %s\n", i+1, visible(cause.Because), visible(cause.Tell), visible(cause.Cure))
		}
		b.WriteString("\nRun next:\n")
		for _, command := range found.Next {
			fmt.Fprintf(&b, "  %s\n", visible(command))
		}
		for i, seen := range found.Seen {
			if i == 0 {
				b.WriteString("\nOthers have met it:\n")
			}
			fmt.Fprintf(&b, "  %s\n", seen)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}
