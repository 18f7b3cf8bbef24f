package conformance

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/jstemmer/go-junit-report/v2/junit"

	"fauxlet/internal/color"
)

// Formats returns the names of the formats that [Report.Write] can write.
func Formats() []string { return []string{"table", "json", "junit"} }

// Write writes the report in the format with the given name, which must be one of [Formats].
func (r *Report) Write(w io.Writer, format string) error {
	switch format {
	case "table":
		return r.writeTable(w)
	case "json":
		return color.WriteJSON(w, r, "  ")
	case "junit":
		return r.writeJUnit(w)
	}
	return fmt.Errorf("unknown format %q; use one of %s", format, strings.Join(Formats(), ", "))
}

// Summary returns one line with the number of results for each verdict.
func (r *Report) Summary() string {
	text := fmt.Sprintf("%d passed, %d failed, %d warned, %d skipped",
		r.Count(Pass), r.Count(Fail), r.Count(Warn), r.Count(Skipped))
	if n := r.Undecided(); n > 0 {
		text += fmt.Sprintf(" (%d of them undecided)", n)
	}
	return text
}

// writeJUnit writes the report as one test suite. JUnit has no warnings, so a check with a warning becomes a passed
// test, and the output of this test contains the warning. A check that did not complete becomes a test error.
func (r *Report) writeJUnit(w io.Writer) error {
	suite := junit.Testsuite{Name: "fauxlet " + r.Target, Time: seconds(r.Duration),
		Timestamp: r.Started.UTC().Format("2006-01-02T15:04:05")}
	for _, result := range r.Results {
		class, _, _ := strings.Cut(result.ID, ".")
		test := junit.Testcase{Classname: class, Name: result.ID, Time: seconds(result.Duration)}
		out := []string{result.Title}
		if result.Verdict != Pass {
			out = append(out, string(result.Verdict)+": "+result.Reason)
		}
		out = append(out, result.Evidence...)
		if result.Remedy != "" {
			out = append(out, "flag: "+result.Flag, "remedy: "+result.Remedy)
		}
		test.SystemOut = &junit.Output{Data: color.PrintableLines(strings.Join(out, "\n"))}
		problem := &junit.Result{Message: color.PrintableLines(result.Reason), Type: result.Flag,
			Data: color.PrintableLines(result.Remedy)}
		switch {
		case result.Incomplete:
			test.Error = problem
		case result.Verdict == Skipped:
			test.Skipped = &junit.Result{Message: problem.Message}
		case result.Verdict == Fail:
			test.Failure = problem
		}
		suite.AddTestcase(test)
	}
	suites := junit.Testsuites{Tests: suite.Tests, Failures: suite.Failures, Errors: suite.Errors, Time: suite.Time,
		Suites: []junit.Testsuite{suite}}
	return suites.WriteXML(w)
}

func seconds(s Seconds) string { return fmt.Sprintf("%.3f", time.Duration(s).Seconds()) }
