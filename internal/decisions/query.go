package decisions

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// parameter is a query parameter with two functions. One reads its value into a Filter; the other returns its value
// from a Filter, or an empty string if the Filter does not use the parameter.
type parameter struct {
	name  string
	parse func(*Filter, string) error
	text  func(*Filter) string
}

var parameters = []parameter{
	textParameter("outcome", func(f *Filter) *string { return &f.Outcome }),
	textParameter("user", func(f *Filter) *string { return &f.User }),
	textParameter("node", func(f *Filter) *string { return &f.Node }),
	textParameter("path", func(f *Filter) *string { return &f.Path }),
	textParameter("status", func(f *Filter) *string { return &f.Status }),
	{"since", parseSince, sinceText},
	{"limit", parseLimit, limitText},
	{"explanation", parseExplanation, explanationText},
}

func textParameter(name string, field func(*Filter) *string) parameter {
	return parameter{name,
		func(f *Filter, value string) error { *field(f) = value; return nil },
		func(f *Filter) string { return *field(f) }}
}

func parseSince(f *Filter, value string) (err error) {
	if f.After, err = strconv.ParseUint(value, 10, 64); err == nil {
		return nil
	}
	if f.Since, err = time.Parse(time.RFC3339Nano, value); err != nil {
		return fmt.Errorf("%q is not a decision ID or a time; examples: 17, 2026-01-02T15:04:05Z", value)
	}
	return nil
}

func sinceText(f *Filter) string {
	switch {
	case f.After > 0:
		return strconv.FormatUint(f.After, 10)
	case !f.Since.IsZero():
		return f.Since.Format(time.RFC3339Nano)
	}
	return ""
}

func parseLimit(f *Filter, value string) (err error) {
	if f.Limit, err = strconv.Atoi(value); err != nil || f.Limit < 0 {
		return fmt.Errorf("%q is not a number of decisions", value)
	}
	return nil
}

func limitText(f *Filter) string {
	if f.Limit == 0 {
		return ""
	}
	return strconv.Itoa(f.Limit)
}

func parseExplanation(f *Filter, value string) (err error) {
	if f.Explanation, err = strconv.ParseBool(value); err != nil {
		return fmt.Errorf("%q is not true or false", value)
	}
	return nil
}

func explanationText(f *Filter) string {
	if !f.Explanation {
		return ""
	}
	return "true"
}

// ParseFilter reads a Filter from the query of a URL. The error begins with the name of the invalid parameter.
func ParseFilter(query url.Values) (Filter, error) {
	var f Filter
	unknown := len(query)
	for _, p := range parameters {
		values, ok := query[p.name]
		if !ok {
			continue
		}
		unknown--
		if len(values) != 1 {
			return Filter{}, fmt.Errorf("%s: given %d times", p.name, len(values))
		}
		if err := p.parse(&f, values[0]); err != nil {
			return Filter{}, fmt.Errorf("%s: %w", p.name, err)
		}
	}
	if unknown > 0 {
		return Filter{}, unknownParameter(query)
	}
	return f, f.Validate()
}

func unknownParameter(query url.Values) error {
	var known []string
	unknown := url.Values{}
	for name := range query {
		unknown[name] = nil
	}
	for _, p := range parameters {
		known = append(known, p.name)
		delete(unknown, p.name)
	}
	for name := range unknown {
		return fmt.Errorf("%s: unknown parameter; the parameters are %s", name, strings.Join(known, ", "))
	}
	return nil
}

// Query returns the query from which [ParseFilter] reads the same Filter.
func (f *Filter) Query() url.Values {
	query := url.Values{}
	for _, p := range parameters {
		if text := p.text(f); text != "" {
			query.Set(p.name, text)
		}
	}
	return query
}
