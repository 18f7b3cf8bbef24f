package conformance

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"
)

// Formats are the names that [Report.Write] knows.
func Formats() []string { return []string{"table", "json", "junit"} }

// Write writes the report in a format.
func (r *Report) Write(w io.Writer, format string) error {
	switch format {
	case "table":
		return r.writeTable(w)
	case "json":
		encoder := json.NewEncoder(w)
		encoder.SetIndent("", "  ")
		encoder.SetEscapeHTML(false)
		return encoder.Encode(r)
	case "junit":
		return r.writeJUnit(w)
	}
	return fmt.Errorf("%q is none of %s", format, strings.Join(Formats(), ", "))
}

// writeTable writes a line for each result, then what there is to know about those that did not pass.
func (r *Report) writeTable(w io.Writer) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, result := range r.Results {
		fmt.Fprintf(table, "%s\t%s\t%s\n", result.Verdict, result.ID, result.Title)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	var b, skipped strings.Builder
	for _, result := range r.Results {
		switch result.Verdict {
		case Pass:
			continue
		case Skipped:
			fmt.Fprintf(&skipped, "skipped  %s: %s\n", result.ID, result.Reason)
			continue
		}
		fmt.Fprintf(&b, "\n%s  %s: %s\n", result.Verdict, result.ID, result.Reason)
		for _, line := range result.Evidence {
			fmt.Fprintf(&b, "      %s\n", indent(line, 6))
		}
		if result.Flag != "" {
			fmt.Fprintf(&b, "      flag:   %s\n", result.Flag)
		}
		if result.Remedy != "" {
			fmt.Fprintf(&b, "      remedy: %s\n", indent(result.Remedy, 14))
		}
	}
	if skipped.Len() > 0 {
		fmt.Fprintf(&b, "\n%s", skipped.String())
	}
	fmt.Fprintf(&b, "\n%s in %v: %s\n", r.Target, time.Duration(r.Duration).Round(100*time.Millisecond), r.Summary())
	for _, left := range r.NotRemoved {
		fmt.Fprintf(&b, "left behind: %s (the next run removes it)\n", left)
	}
	_, err := io.WriteString(w, printable(b.String())) // what an apiserver answered is not to command a terminal
	return err
}

func indent(text string, by int) string {
	return strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n"+strings.Repeat(" ", by))
}

// Summary counts the verdicts in words.
func (r *Report) Summary() string {
	text := fmt.Sprintf("%d passed, %d failed, %d warned, %d skipped", r.Count(Pass), r.Count(Fail), r.Count(Warn), r.Count(Skipped))
	if n := r.Incomplete(); n > 0 {
		text += fmt.Sprintf(" (of which %d could not come to their end)", n)
	}
	return text
}

// The elements of JUnit, as those who read it agree on them.
type (
	junitSuites struct {
		XMLName  xml.Name `xml:"testsuites"`
		Tests    int      `xml:"tests,attr"`
		Failures int      `xml:"failures,attr"`
		Errors   int      `xml:"errors,attr"`
		Time     string   `xml:"time,attr"`
		Suites   []junitSuite
	}
	junitSuite struct {
		XMLName   xml.Name `xml:"testsuite"`
		Name      string   `xml:"name,attr"`
		Tests     int      `xml:"tests,attr"`
		Failures  int      `xml:"failures,attr"`
		Errors    int      `xml:"errors,attr"`
		Skipped   int      `xml:"skipped,attr"`
		Time      string   `xml:"time,attr"`
		Timestamp string   `xml:"timestamp,attr"`
		Cases     []junitCase
	}
	junitCase struct {
		XMLName   xml.Name      `xml:"testcase"`
		Class     string        `xml:"classname,attr"`
		Name      string        `xml:"name,attr"`
		Time      string        `xml:"time,attr"`
		Skipped   *junitProblem `xml:"skipped"`
		Error     *junitProblem `xml:"error"`
		Failure   *junitProblem `xml:"failure"`
		SystemOut string        `xml:"system-out,omitempty"`
	}
	junitProblem struct {
		Message string `xml:"message,attr"`
		Type    string `xml:"type,attr,omitempty"`
		Text    string `xml:",chardata"`
	}
)

// writeJUnit writes one suite. JUnit knows no warnings: a check that warns has passed, and says so in its output.
func (r *Report) writeJUnit(w io.Writer) error {
	suite := junitSuite{
		Name: "fauxlet " + r.Target, Tests: len(r.Results), Failures: r.Count(Fail), Errors: r.Incomplete(), Skipped: r.Count(Skipped) - r.Incomplete(),
		Time: seconds(r.Duration), Timestamp: r.Started.UTC().Format("2006-01-02T15:04:05"),
	}
	for _, result := range r.Results {
		class, _, _ := strings.Cut(result.ID, ".")
		one := junitCase{Class: class, Name: result.ID, Time: seconds(result.Duration)}
		out := []string{result.Title}
		if result.Verdict != Pass {
			out = append(out, string(result.Verdict)+": "+result.Reason)
		}
		out = append(out, result.Evidence...)
		if result.Remedy != "" {
			out = append(out, "flag: "+result.Flag, "remedy: "+result.Remedy)
		}
		one.SystemOut = printable(strings.Join(out, "\n"))
		problem := &junitProblem{Message: printable(result.Reason), Type: result.Flag, Text: printable(result.Remedy)}
		switch {
		case result.Incomplete:
			one.Error = problem
		case result.Verdict == Skipped:
			one.Skipped = &junitProblem{Message: problem.Message}
		case result.Verdict == Fail:
			one.Failure = problem
		}
		suite.Cases = append(suite.Cases, one)
	}
	suites := junitSuites{Tests: suite.Tests, Failures: suite.Failures, Errors: suite.Errors, Time: suite.Time, Suites: []junitSuite{suite}}
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	encoder := xml.NewEncoder(w)
	encoder.Indent("", "  ")
	if err := encoder.Encode(suites); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}

func seconds(s Seconds) string { return fmt.Sprintf("%.3f", time.Duration(s).Seconds()) }

// printable leaves out control characters. XML 1.0 cannot have most of them, not even escaped.
func printable(s string) string {
	return strings.Map(func(c rune) rune {
		if unicode.IsControl(c) && c != '\n' && c != '\t' {
			return -1
		}
		return c
	}, s)
}
