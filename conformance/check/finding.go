package check

import (
	"errors"
	"fmt"

	"fauxlet/conformance"
)

// finding is what a check has found so far. A check that finds no problem passes.
type finding struct {
	evidence []string
	problems []string
	// verdict is the verdict of a check with problems.
	verdict conformance.Verdict
	// flag and remedy are the flag and the remedy of the problems, at first those of the Check.
	flag, remedy string
}

// maxProblems limits the number of reported problems.
const maxProblems = 4

// note adds a line of evidence.
func (f *finding) note(format string, args ...any) {
	f.evidence = append(f.evidence, fmt.Sprintf(format, args...))
}

// fail adds a problem: something does not work, or a protection does not protect. The text is a sentence without a
// full stop. fail returns nil, so that a check can end with it.
func (f *finding) fail(format string, args ...any) error {
	f.verdict, f.problems = conformance.Fail, append(f.problems, fmt.Sprintf(format, args...))
	return nil
}

// warn adds a problem, like fail: something works, but is unsafe or will stop working.
func (f *finding) warn(format string, args ...any) error {
	_ = f.fail(format, args...)
	f.verdict = conformance.Warn
	return nil
}

// enough reports whether there are enough problems to stop.
func (f *finding) enough() bool { return len(f.problems) >= maxProblems }

// skipped is an error that skips the check. Functions that several checks share return it.
type skipped string

func (s skipped) Error() string { return string(s) }

// result returns the result of a check that ended with an error, or with nil.
func (f *finding) result(err error) conformance.Result {
	result := conformance.Result{Verdict: conformance.Pass, Flag: f.flag, Evidence: f.evidence}
	var reason skipped
	switch {
	case errors.As(err, &reason):
		result.Verdict, result.Reason = conformance.Skipped, string(reason)
	case err != nil:
		result.Verdict, result.Reason = conformance.Skipped, "did not complete: "+err.Error()
		result.Incomplete = true
	case len(f.problems) > 0:
		result.Verdict, result.Reason, result.Remedy = f.verdict, f.problems[0], f.remedy
		result.Evidence = append(f.problems[1:], f.evidence...)
	}
	return result
}
