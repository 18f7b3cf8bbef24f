package decisions

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// parameters are the query parameters of a [Filter].
var parameters = []string{"outcome", "user", "node", "path", "status", "since", "limit", "explanation"}

// ParseFilter reads a Filter from the query of a URL. The error begins with the name of the invalid parameter. If
// several parameters are invalid, the error is usually about the first one in alphabetical order.
func ParseFilter(query url.Values) (Filter, error) {
	f := Filter{Outcome: query.Get("outcome"), User: query.Get("user"), Node: query.Get("node"),
		Path: query.Get("path"), Status: query.Get("status")}
	for _, name := range slices.Sorted(maps.Keys(query)) {
		values := query[name]
		var err error
		switch {
		case !slices.Contains(parameters, name):
			err = fmt.Errorf("unknown parameter; the parameters are %s", strings.Join(parameters, ", "))
		case len(values) != 1:
			err = fmt.Errorf("given %d times, but it may be given only once", len(values))
		case name == "since":
			err = f.parseSince(values[0])
		case name == "limit":
			if f.Limit, err = strconv.Atoi(values[0]); err != nil || f.Limit < 0 {
				err = fmt.Errorf("%q is not a number of decisions; example: 10", values[0])
			}
		case name == "explanation":
			if f.Explanation, err = strconv.ParseBool(values[0]); err != nil {
				err = fmt.Errorf("%q is neither true nor false", values[0])
			}
		}
		if err != nil {
			return Filter{}, fmt.Errorf("%s: %w", name, err)
		}
	}
	return f, f.Validate()
}

func (f *Filter) parseSince(value string) (err error) {
	if f.After, err = strconv.ParseUint(value, 10, 64); err == nil {
		return nil
	}
	if f.Since, err = time.Parse(time.RFC3339Nano, value); err != nil {
		return fmt.Errorf("%q is not a decision ID or a time; examples: 17, 2026-01-02T15:04:05Z", value)
	}
	return nil
}

// Query returns the query from which [ParseFilter] reads the same Filter.
func (f *Filter) Query() url.Values {
	query := url.Values{"outcome": {f.Outcome}, "user": {f.User}, "node": {f.Node}, "path": {f.Path},
		"status": {f.Status}}
	switch {
	case f.After > 0:
		query.Set("since", strconv.FormatUint(f.After, 10))
	case !f.Since.IsZero():
		query.Set("since", f.Since.Format(time.RFC3339Nano))
	}
	if f.Limit > 0 {
		query.Set("limit", strconv.Itoa(f.Limit))
	}
	if f.Explanation {
		query.Set("explanation", "true")
	}
	maps.DeleteFunc(query, func(_ string, values []string) bool { return values[0] == "" })
	return query
}
