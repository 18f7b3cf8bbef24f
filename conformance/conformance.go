// Package conformance defines the report of a conformance run. A [Report] contains one [Result] for each check. It can
// be written as a table for people, as JSON (report.schema.json describes it), or as JUnit XML for CI systems.
//
// The checks themselves are in package check, which checks a kube-apiserver.
package conformance

import (
	"encoding/json"
	"slices"
	"time"
)

// Verdict summarizes the result of a check in one word.
type Verdict string

// The verdicts. Every result except Pass has a reason.
const (
	// Pass means that the check found no problem.
	Pass Verdict = "pass"
	// Fail means that something does not work, or that a configured protection has no effect.
	Fail Verdict = "fail"
	// Warn means that something works, but is unsafe or will stop working soon.
	Warn Verdict = "warn"
	// Skipped means that the check could not reach a verdict.
	Skipped Verdict = "skipped"
)

// Result is the result of one check.
type Result struct {
	ID      string  `json:"id"`
	Title   string  `json:"title"`
	Verdict Verdict `json:"verdict"`
	// Reason states in one sentence what is wrong, or why the check was skipped. It is empty for Pass.
	Reason string `json:"reason,omitempty"`
	// Evidence lists the observations behind the verdict, one line each.
	Evidence []string `json:"evidence"`
	// Flag is the setting that the check is about, for example --kubelet-client-certificate.
	Flag string `json:"flag,omitempty"`
	// Remedy is a command, or a flag with its value, that the user can paste.
	Remedy string `json:"remedy,omitempty"`
	// NotApplicable means that the check has nothing to check in this run, for example because this machine has no IPv6
	// address. The verdict is Skipped.
	NotApplicable bool `json:"notApplicable,omitempty"`
	// Needs is the ID of another check, if this check was skipped because the other check did not pass.
	Needs string `json:"needs,omitempty"`
	// Incomplete means that an error interrupted the check. Reason contains the error, and the verdict is Skipped.
	Incomplete bool    `json:"incomplete,omitempty"`
	Duration   Seconds `json:"durationSeconds"`
}

// Seconds is a duration that JSON represents as a number of seconds.
type Seconds time.Duration

// MarshalJSON writes the number of seconds, rounded to milliseconds.
func (s Seconds) MarshalJSON() ([]byte, error) {
	return json.Marshal(time.Duration(s).Round(time.Millisecond).Seconds())
}

// UnmarshalJSON parses a number of seconds.
func (s *Seconds) UnmarshalJSON(data []byte) error {
	var seconds float64
	if err := json.Unmarshal(data, &seconds); err != nil {
		return err
	}
	*s = Seconds(seconds * float64(time.Second))
	return nil
}

// Report is the result of one run.
type Report struct {
	// Tool is the name and version of the program that ran the checks.
	Tool string `json:"tool"`
	// Target is the URL of the checked server, and TargetVersion the version that the server reports.
	Target        string    `json:"target"`
	TargetVersion string    `json:"targetVersion,omitempty"`
	Started       time.Time `json:"started"`
	Duration      Seconds   `json:"durationSeconds"`
	Results       []Result  `json:"results"`
	// NotRemoved lists objects that the run created and could not remove. The next run removes them.
	NotRemoved []string `json:"notRemoved,omitempty"`
}

// Count returns the number of results with the given verdict.
func (r *Report) Count(v Verdict) (n int) {
	for _, result := range r.Results {
		if result.Verdict == v {
			n++
		}
	}
	return n
}

// Undecided returns the number of checks that were skipped although they apply, and not because another check failed.
// For example, a file was not given, or the check did not complete.
func (r *Report) Undecided() (n int) {
	for _, result := range r.Results {
		cause := r.cause(result)
		if cause.Verdict == Skipped && !cause.NotApplicable {
			n++
		}
	}
	return n
}

// cause returns the result because of which a check was skipped: that of the check that it needs or, if that check was
// skipped too, of the check which that one needs, and so on. A result that needs no other check of the report is its
// own cause.
func (r *Report) cause(result Result) Result {
	for range r.Results { // at most this often, so that a cycle ends
		i := slices.IndexFunc(r.Results, func(other Result) bool { return other.ID == result.Needs })
		if result.Needs == "" || i < 0 {
			break
		}
		result = r.Results[i]
	}
	return result
}
