// Package conformance reports what checks have found: one [Result] for each, together a [Report], which is written as a
// table for people, as JSON by the schema in report.schema.json, and as JUnit for whatever runs tests.
//
// What is checked is elsewhere: package check checks a kube-apiserver.
package conformance

import (
	"encoding/json"
	"time"
)

// Verdict is what became of a check.
type Verdict string

// The verdicts. A check that fails, warns or is skipped says why.
const (
	// Pass: it is as it should be.
	Pass Verdict = "pass"
	// Fail: something does not work, or a protection that was asked for does not protect.
	Fail Verdict = "fail"
	// Warn: it works, and is not safe, or will not work for long.
	Warn Verdict = "warn"
	// Skipped: nothing can be said about it.
	Skipped Verdict = "skipped"
)

// Result is what one check has found.
type Result struct {
	ID      string  `json:"id"`
	Title   string  `json:"title"`
	Verdict Verdict `json:"verdict"`
	// Reason is one sentence: what is wrong, or why the check was skipped. Empty for one that passes.
	Reason string `json:"reason,omitempty"`
	// Evidence is what was seen, a line each: what was presented, what was answered.
	Evidence []string `json:"evidence"`
	// Flag is the setting concerned, as in --kubelet-client-certificate.
	Flag string `json:"flag,omitempty"`
	// Remedy can be pasted: a command, or a flag with its value.
	Remedy string `json:"remedy,omitempty"`
	// Incomplete: the check could not come to its end, for the reason in Reason. Its verdict is Skipped.
	Incomplete bool `json:"incomplete,omitempty"`
	// Duration is how long it took.
	Duration Seconds `json:"durationSeconds"`
}

// Seconds is a duration that is written as a number of seconds.
type Seconds time.Duration

// MarshalJSON writes the seconds, to the millisecond.
func (s Seconds) MarshalJSON() ([]byte, error) {
	return json.Marshal(time.Duration(s).Round(time.Millisecond).Seconds())
}

// UnmarshalJSON reads what MarshalJSON writes.
func (s *Seconds) UnmarshalJSON(data []byte) error {
	var seconds float64
	if err := json.Unmarshal(data, &seconds); err != nil {
		return err
	}
	*s = Seconds(seconds * float64(time.Second))
	return nil
}

// Report is all that a run has found.
type Report struct {
	// Tool is what checked, with its version.
	Tool string `json:"tool"`
	// Target is what was checked: an URL.
	Target string `json:"target"`
	// TargetVersion is the version that the target says it has.
	TargetVersion string    `json:"targetVersion,omitempty"`
	Started       time.Time `json:"started"`
	Duration      Seconds   `json:"durationSeconds"`
	Results       []Result  `json:"results"`
	// Left are the objects that could not be removed, and will be by the next run.
	NotRemoved []string `json:"notRemoved,omitempty"`
}

// Count is how many results have a verdict.
func (r *Report) Count(v Verdict) int {
	n := 0
	for _, result := range r.Results {
		if result.Verdict == v {
			n++
		}
	}
	return n
}

// Incomplete is how many checks could not come to their end.
func (r *Report) Incomplete() int {
	n := 0
	for _, result := range r.Results {
		if result.Incomplete {
			n++
		}
	}
	return n
}
