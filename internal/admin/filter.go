package admin

import (
	"cmp"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"fauxlet/authchain"
)

// Filter says which Entries are meant, and how much is told of them. What is empty does not matter.
type Filter struct {
	// Outcome is one of [Outcomes].
	Outcome string
	// User and Node are names.
	User, Node string
	// Path is what the path begins with, where it begins with a slash, and else a part of it.
	Path string
	// Status is a status code, or a class of them, as in 4xx.
	Status string

	// After is an id, and Since a time, which the Entries come after.
	After uint64
	Since time.Time
	// Limit is how many there may be: of those after After the first, else the last. 0: as many as there are.
	Limit int
	// Road: the road of each is told too.
	Road bool
}

// Outcomes are those of a Decision, and none for what nobody had to judge.
var Outcomes = []string{"allowed", "refused", "error", "none"}

// The parameters of a query.
const (
	paramOutcome = "outcome"
	paramUser    = "user"
	paramNode    = "node"
	paramPath    = "path"
	paramStatus  = "status"
	paramSince   = "since"
	paramLimit   = "limit"
	paramRoad    = "road"
)

// ParseFilter reads a Filter from a query. An error names the parameter.
func ParseFilter(query url.Values) (Filter, error) {
	var f Filter
	for name, values := range query {
		if len(values) != 1 {
			return Filter{}, fmt.Errorf("%s: is given %d times", name, len(values))
		}
		value := values[0]
		switch name {
		case paramOutcome:
			f.Outcome = value
		case paramUser:
			f.User = value
		case paramNode:
			f.Node = value
		case paramPath:
			f.Path = value
		case paramStatus:
			f.Status = value
		case paramSince:
			var err error
			if f.After, err = strconv.ParseUint(value, 10, 64); err == nil {
				break
			}
			if f.Since, err = time.Parse(time.RFC3339Nano, value); err != nil {
				return Filter{}, fmt.Errorf("since: %q is neither the id of a decision nor a time, as in 2026-01-02T15:04:05Z", value)
			}
		case paramLimit:
			n, err := strconv.Atoi(value)
			if err != nil || n < 0 {
				return Filter{}, fmt.Errorf("limit: %q is not a number of decisions", value)
			}
			f.Limit = n
		case paramRoad:
			var err error
			if f.Road, err = strconv.ParseBool(value); err != nil {
				return Filter{}, fmt.Errorf("road: %q is neither true nor false", value)
			}
		default:
			return Filter{}, fmt.Errorf("%s: there is no such parameter; there are %s", name,
				strings.Join([]string{paramOutcome, paramUser, paramNode, paramPath, paramStatus, paramSince, paramLimit, paramRoad}, ", "))
		}
	}
	return f, f.Validate()
}

// Validate says what is wrong with a Filter, and begins with the name of the parameter.
func (f *Filter) Validate() error {
	if f.Outcome != "" && !slices.Contains(Outcomes, f.Outcome) {
		return fmt.Errorf("outcome: %q is none of %s", f.Outcome, strings.Join(Outcomes, ", "))
	}
	if f.Status == "" {
		return nil
	}
	class, isClass := strings.CutSuffix(f.Status, "xx")
	if code, err := strconv.Atoi(class); err != nil || isClass && (code < 1 || code > 5) || !isClass && (code < 100 || code > 599) {
		return fmt.Errorf("status: %q is neither a status code nor a class of them, as in 403 or 4xx", f.Status)
	}
	return nil
}

// Query is what [ParseFilter] reads f from.
func (f *Filter) Query() url.Values {
	query := url.Values{}
	for name, value := range map[string]string{
		paramOutcome: f.Outcome, paramUser: f.User, paramNode: f.Node, paramPath: f.Path, paramStatus: f.Status,
	} {
		if value != "" {
			query.Set(name, value)
		}
	}
	switch {
	case f.After > 0:
		query.Set(paramSince, strconv.FormatUint(f.After, 10))
	case !f.Since.IsZero():
		query.Set(paramSince, f.Since.Format(time.RFC3339Nano))
	}
	if f.Limit > 0 {
		query.Set(paramLimit, strconv.Itoa(f.Limit))
	}
	if f.Road {
		query.Set(paramRoad, "true")
	}
	return query
}

// matches says whether an Entry is meant, but for Limit.
func (f *Filter) matches(e *Entry) bool {
	d := e.Decision
	return e.ID > f.After &&
		(f.Since.IsZero() || d.Time.After(f.Since)) &&
		(f.Node == "" || f.Node == e.Node) &&
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

// of gives those Entries that are meant.
func (f *Filter) of(entries []*Entry) []*Entry {
	meant := entries[:0:0]
	for _, e := range entries {
		if f.matches(e) {
			meant = append(meant, e)
		}
	}
	switch {
	case f.Limit == 0 || len(meant) <= f.Limit:
		return meant
	case f.After > 0:
		return meant[:f.Limit]
	}
	return meant[len(meant)-f.Limit:]
}
