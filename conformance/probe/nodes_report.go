package probe

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/jstemmer/go-junit-report/v2/junit"

	"fauxlet/internal/color"
)

// textWidth is the width of the report for people. Only commands and a word that is longer make a longer line.
const textWidth = 80

// Write writes the report in the given format: table, json or junit.
func (r *Report) Write(w io.Writer, format string) error {
	switch format {
	case "json":
		return r.WriteJSON(w)
	case "junit":
		node := NodeReport{Name: r.URL, Report: r}
		return writeJUnit(w, node.suite())
	}
	return r.WriteTable(w)
}

// Write writes the report in the given format: table, json or junit.
func (r *NodesReport) Write(w io.Writer, format string) error {
	switch format {
	case "json":
		return color.WriteJSON(w, r, "  ")
	case "junit":
		var suites []junit.Testsuite
		for i := range r.Nodes {
			suites = append(suites, r.Nodes[i].suite())
		}
		return writeJUnit(w, suites...)
	}
	return r.writeTable(w)
}

// writeTable writes the groups of nodes, and then the details of each finding once, with the evidence of one node.
func (r *NodesReport) writeTable(w io.Writer) error {
	var b strings.Builder
	paragraph := func(indent int, text string) {
		for i, line := range color.Wrap(color.Printable(text), textWidth-indent-2) {
			b.WriteString(strings.Repeat(" ", indent+2*min(i, 1)) + line + "\n")
		}
	}
	var details []string
	for _, g := range r.Groups {
		first, noun := r.first(g), "nodes"
		if len(g.Nodes) == 1 {
			noun = "node"
		}
		paragraph(0, fmt.Sprintf("%d %s: %s", len(g.Nodes), noun, strings.Join(g.Nodes, ", ")))
		switch {
		case g.NoReport:
			for _, node := range r.Nodes {
				if slices.Contains(g.Nodes, node.Name) {
					paragraph(2, "not probed: "+node.Name+": "+node.Error)
				}
			}
		case len(g.Findings) == 0:
			paragraph(2, first.Report.nothingFound())
		default:
			for _, f := range first.Report.Findings {
				paragraph(2, strings.ToUpper(string(f.Severity))+": "+f.What+" ("+f.ID+f.numbers()+")")
			}
		}
		for _, line := range g.seen {
			paragraph(2, line)
		}
		b.WriteString("\n")
	}
	for _, g := range r.Groups {
		if g.NoReport {
			continue
		}
		first := r.first(g)
		for _, f := range first.Report.Findings {
			if slices.Contains(details, f.ID) {
				continue
			}
			details = append(details, f.ID)
			paragraph(0, f.ID+f.numbers())
			paragraph(2, "evidence from "+first.Name+": "+f.Evidence)
			for _, field := range []struct{ name, text string }{{"risk", f.Risk}, {"remedy", f.Remedy}} {
				if field.text != "" {
					paragraph(2, field.name+": "+field.text)
				}
			}
			if f.Configuration != "" {
				b.WriteString("  KubeletConfiguration:\n")
				for line := range strings.Lines(f.Configuration) {
					b.WriteString("    " + line)
				}
			}
			b.WriteString("\n")
		}
	}
	if slices.ContainsFunc(r.Groups, func(g NodeGroup) bool { return g.seen != nil }) {
		b.WriteString("Not probed on any node, because the requests go through kube-apiserver:\n")
		for _, omission := range hidden {
			paragraph(2, omission.What+": "+omission.Why)
		}
		b.WriteString("\n")
	}
	if text, commands, _ := strings.Cut(r.Remedy, "\n"); text != "" {
		paragraph(0, text)
		for command := range strings.SplitSeq(commands, "\n") {
			b.WriteString("  " + color.Printable(command) + "\n")
		}
		b.WriteString("\n")
	}
	paragraph(0, r.Summary())
	_, err := io.WriteString(w, b.String())
	return err
}

// nothingFound returns the sentence for a kubelet without findings.
func (r *Report) nothingFound() string {
	switch {
	case r.Incomplete:
		return "Nothing is known about most settings, so a dangerous one would not be seen."
	case len(r.NotProbed) > 0:
		return "No finding in what was probed. Some things were not probed, see below."
	}
	return "Nothing dangerous was found."
}

// suite returns the result for one kubelet as a test suite: the test "probe", and one test for each finding. A Note is
// a passed test.
func (n *NodeReport) suite() junit.Testsuite {
	suite := junit.Testsuite{Name: n.Name, Time: fmt.Sprintf("%.3f", n.DurationSeconds)}
	probed := junit.Testcase{Classname: n.Name, Name: "probe", Time: suite.Time}
	switch {
	case n.Report == nil:
		probed.Error = &junit.Result{Message: color.Printable(n.Error)}
	case !n.Report.HasResponses():
		message := "the secure port answered no request; " + n.Report.TLS.Error
		probed.Error = &junit.Result{Message: color.Printable(message)}
	case n.Report.Incomplete:
		probed.Error = &junit.Result{Message: n.Report.nothingFound()}
	}
	suite.AddTestcase(probed)
	if n.Report == nil {
		return suite
	}
	for _, f := range n.Report.Findings {
		test := junit.Testcase{Classname: n.Name, Name: f.ID, Time: "0.000"}
		text := f.What + "\nevidence: " + f.Evidence
		for _, more := range []string{f.Risk, f.Remedy, f.Configuration, strings.TrimPrefix(f.numbers(), ", ")} {
			if more != "" {
				text += "\n" + more
			}
		}
		test.SystemOut = &junit.Output{Data: color.PrintableLines(text)}
		if f.Severity != Note {
			test.Failure = &junit.Result{Message: color.Printable(f.What), Type: string(f.Severity),
				Data: color.PrintableLines(f.Remedy)}
		}
		suite.AddTestcase(test)
	}
	for _, omission := range n.Report.NotProbed {
		suite.AddTestcase(junit.Testcase{Classname: n.Name, Name: color.Printable(omission.What), Time: "0.000",
			Skipped: &junit.Result{Message: color.Printable(omission.Why)}})
	}
	return suite
}

func writeJUnit(w io.Writer, all ...junit.Testsuite) error {
	suites := junit.Testsuites{Suites: all}
	for _, suite := range all {
		suites.Tests += suite.Tests
		suites.Failures += suite.Failures
		suites.Errors += suite.Errors
	}
	return suites.WriteXML(w)
}
