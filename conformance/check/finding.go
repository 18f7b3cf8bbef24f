package check

import (
	"errors"
	"fmt"

	"fauxlet/conformance"
)

// finding is what a check has found so far. A check that finds no problem passes.
type finding struct {
	evidence, problems []string
	// verdict is Fail or Warn once the check has found a problem.
	verdict conformance.Verdict
	// The fields flag and remedy become part of the result, but remedy only if there are problems. Their initial values
	// come from the Check. The run function can replace them.
	flag, remedy string
}

// When a check has found maxProblems problems, it stops looking for more.
const maxProblems = 4

// note adds a line of evidence.
func (f *finding) note(format string, args ...any) {
	f.evidence = append(f.evidence, fmt.Sprintf(format, args...))
}

// fail adds a problem: something does not work, or a protection has no effect. The text is a sentence without a full
// stop. fail always returns nil, so that a run function can end with a call of fail.
func (f *finding) fail(format string, args ...any) error {
	f.verdict, f.problems = conformance.Fail, append(f.problems, fmt.Sprintf(format, args...))
	return nil
}

// warn adds a problem that is less severe than the problems that fail adds: something works, but is unsafe or will stop
// working.
func (f *finding) warn(format string, args ...any) error {
	_ = f.fail(format, args...)
	f.verdict = conformance.Warn
	return nil
}

func (f *finding) enough() bool { return len(f.problems) >= maxProblems }

// The type "skipped" is the error of a check that cannot reach a verdict. Its text is the reason.
type skipped string

func (s skipped) Error() string { return string(s) }

// notApplicable is the error of a check that has nothing to check in this run. Its text is the reason.
type notApplicable string

func (n notApplicable) Error() string { return string(n) }

// blocked is the error of a check that is skipped because another check, with the ID "need", did not pass.
type blocked struct{ need, reason string }

func (b blocked) Error() string { return b.reason }

// result returns the result of a check whose run function returned err, which may be nil.
func (f *finding) result(err error) conformance.Result {
	result := conformance.Result{Verdict: conformance.Pass, Flag: f.flag, Evidence: f.evidence}
	var reason skipped
	var none notApplicable
	var other blocked
	switch {
	case errors.As(err, &reason):
		result.Verdict, result.Reason = conformance.Skipped, string(reason)
	case errors.As(err, &none):
		result.Verdict, result.Reason, result.NotApplicable = conformance.Skipped, string(none), true
	case errors.As(err, &other):
		result.Verdict, result.Reason, result.Needs = conformance.Skipped, other.reason, other.need
	case err != nil:
		result.Verdict, result.Reason = conformance.Skipped, "did not complete: "+err.Error()
		result.Incomplete = true
	case len(f.problems) > 0:
		result.Verdict, result.Reason, result.Remedy = f.verdict, f.problems[0], f.remedy
		result.Evidence = append(f.problems[1:], f.evidence...)
	}
	return result
}
