package decisions

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"fauxlet/authchain"
)

// Filter selects Entries. An empty field matches everything.
type Filter struct {
	// Outcome is one of [Outcomes].
	Outcome string
	// User and Node match complete names only.
	User, Node string
	// If Path begins with a slash, it matches requests whose path begins with it. Otherwise it matches requests whose
	// path contains it.
	Path string
	// Status is a status code, or a class of status codes such as 4xx.
	Status string

	// An Entry matches only if its ID is greater than After and its time is later than Since.
	After uint64
	Since time.Time
	// Limit is the maximum number of Entries, or 0 for no limit. If After is set, the result has the oldest Entries
	// after that ID. Otherwise it has the newest Entries.
	Limit int
	// If Explanation is true, each Record includes its explanation.
	Explanation bool
}

// Outcomes are the values of Filter.Outcome: the outcomes of a Decision, and "none" for a request without
// authentication.
var Outcomes = []string{"allowed", "refused", "error", "none"}

// Validate returns an error if the Filter is invalid. The error begins with the name of the invalid parameter.
func (f *Filter) Validate() error {
	if f.Outcome != "" && !slices.Contains(Outcomes, f.Outcome) {
		return fmt.Errorf("outcome: %q is not one of %s", f.Outcome, strings.Join(Outcomes, ", "))
	}
	if f.Status == "" {
		return nil
	}
	text, isClass := strings.CutSuffix(f.Status, "xx")
	low, high := 100, 599
	if isClass {
		low, high = 1, 5
	}
	if code, err := strconv.Atoi(text); err != nil || code < low || code > high {
		return fmt.Errorf("status: %q is not a status code or a class of status codes; examples: 403, 4xx", f.Status)
	}
	return nil
}

// Select returns the Entries that the Filter matches, at most Limit. The result "more" is true if Limit has left out
// Entries that are newer than the selected ones.
func (f *Filter) Select(entries []*Entry) (selected []*Entry, more bool) {
	for _, e := range entries {
		if f.matches(e) {
			selected = append(selected, e)
		}
	}
	switch {
	case f.Limit == 0 || len(selected) <= f.Limit:
		return selected, false
	case f.After > 0:
		return selected[:f.Limit], true
	}
	return selected[len(selected)-f.Limit:], false
}

func (f *Filter) matches(e *Entry) bool {
	d := e.Decision
	return e.ID > f.After && (f.Since.IsZero() || d.Time.After(f.Since)) && (f.Node == "" || f.Node == e.Node) &&
		(f.User == "" || d.User != nil && f.User == d.User.GetName()) &&
		(f.Outcome == "" || f.Outcome == cmp.Or(d.Outcome(), "none")) &&
		f.matchesPath(d) && f.matchesStatus(d)
}

func (f *Filter) matchesPath(d *authchain.Decision) bool {
	if strings.HasPrefix(f.Path, "/") {
		return strings.HasPrefix(d.Path, f.Path)
	}
	return strings.Contains(d.Path, f.Path)
}

func (f *Filter) matchesStatus(d *authchain.Decision) bool {
	if f.Status == "" {
		return true
	}
	code := strconv.Itoa(d.Status)
	if class, ok := strings.CutSuffix(f.Status, "xx"); ok {
		return d.Status >= 100 && strings.HasPrefix(code, class)
	}
	return code == f.Status
}
