package server

import (
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// These are the limits of a query for logs. (kubelet: pkg/kubelet/kubelet_server_journal.go)
const (
	maxLogTail       = 100000
	maxServices      = 4
	maxServiceLength = 256
)

var unsafeInService = regexp.MustCompile(`[^a-zA-Z\-_.:0-9@]+`)

// logQuery is a query of /logs/ for the logs of services, or for a file in /var/log. (kubelet: nodeLogQuery)
type logQuery struct {
	services, files []string
	since, until    *time.Time
	tail, boot      *int
	pattern         string
	expression      *regexp.Regexp
}

// parseLogQuery parses the query of a URL. It returns nil if the URL has no log query. (kubelet: newNodeLogQuery)
func parseLogQuery(values url.Values) (*logQuery, field.ErrorList) {
	var errs field.ErrorList
	q := &logQuery{pattern: values.Get("pattern")}
	asked, there := values["query"]
	for _, name := range asked {
		switch {
		case strings.ContainsAny(name, `/\`):
			q.files = append(q.files, name)
		case strings.TrimSpace(name) != "":
			q.services = append(q.services, name)
		}
	}
	if there && len(q.files) == 0 && len(q.services) == 0 {
		errs = append(errs, field.Invalid(field.NewPath("query"), asked, "may not be empty"))
	}
	parseTime := func(value string) (time.Time, error) {
		parsed, err := time.Parse(time.RFC3339, value)
		if err != nil {
			err = errors.New("invalid time format")
		}
		return parsed, err
	}
	q.since = parameter(values, "sinceTime", parseTime, &errs)
	q.until = parameter(values, "untilTime", parseTime, &errs)
	q.boot = parameter(values, "boot", strconv.Atoi, &errs)
	q.tail = parameter(values, "tailLines", strconv.Atoi, &errs)
	if len(errs) > 0 || len(q.files) == 0 && len(q.services) == 0 && !q.hasOptions() {
		return nil, errs
	}
	return q, nil
}

// parameter parses a parameter of a query. It returns nil if the parameter is empty. If it is invalid, it returns nil
// and adds an error to errs.
func parameter[T any](values url.Values, name string, parse func(string) (T, error), errs *field.ErrorList) *T {
	value := values.Get(name)
	if value == "" {
		return nil
	}
	parsed, err := parse(value)
	if err != nil {
		*errs = append(*errs, field.Invalid(field.NewPath(name), value, err.Error()))
		return nil
	}
	return &parsed
}

// validate checks a query. If the query names a file, this file must exist. (kubelet: nodeLogQuery.validate)
func (q *logQuery) validate(files logFiles) field.ErrorList {
	var errs field.ErrorList
	path := field.NewPath("query")
	for _, service := range q.services {
		if len(service) > maxServiceLength {
			errs = append(errs, field.Invalid(path, service,
				fmt.Sprintf("length must be less than %d", maxServiceLength)))
		} else if unsafeInService.MatchString(service) {
			errs = append(errs, field.Invalid(path, service, "input contains unsupported characters"))
		}
	}
	if len(q.services) > maxServices {
		errs = append(errs, field.TooMany(path, len(q.services), maxServices))
	}
	switch {
	case len(q.files) == 0 && len(q.services) == 0:
		errs = append(errs, field.Required(path, "cannot be empty with options"))
	case len(q.files) > 0 && len(q.services) > 0:
		errs = append(errs, field.Invalid(path, fmt.Sprintf("%v, %v", q.files, q.services),
			"cannot specify a file and service"))
	case len(q.files) > 1:
		errs = append(errs, field.Invalid(path, q.files, "cannot specify more than one file"))
	case len(q.files) == 1 && q.hasOptions():
		errs = append(errs, field.Invalid(path, q.files, "cannot specify file with options"))
	case len(q.files) == 1:
		if err := files.stat(q.files[0]); err != nil {
			errs = append(errs, field.Invalid(path, q.files, err.Error()))
		}
	}
	if q.since != nil && q.until != nil && q.since.After(*q.until) {
		errs = append(errs, field.Invalid(field.NewPath("untilTime"), q.until, "must be after `sinceTime`"))
	}
	if q.boot != nil && *q.boot > 0 {
		errs = append(errs, field.Invalid(field.NewPath("boot"), *q.boot, "must be less than 1"))
	}
	if q.tail != nil {
		for _, message := range validation.IsInRange(*q.tail, 0, maxLogTail) {
			errs = append(errs, field.Invalid(field.NewPath("tailLines"), *q.tail, message))
		}
	}
	var err error
	if q.expression, err = regexp.Compile(q.pattern); err != nil {
		errs = append(errs, field.Invalid(field.NewPath("pattern"), q.pattern, err.Error()))
	}
	return errs
}

// matches returns whether the message of a line matches the pattern. If the pattern has no capital letters, upper and
// lower case are equal, as in journalctl.
func (q *logQuery) matches(line string) bool {
	if q.pattern == "" {
		return true
	}
	_, message, _ := strings.Cut(line, "]: ")
	if q.pattern == strings.ToLower(q.pattern) {
		message = strings.ToLower(message)
	}
	return q.expression.MatchString(message)
}

// compressed returns a writer for the body of the response, and a function that the caller must call after the last
// write. The writer compresses the body if gzip is the only encoding that the client accepts.
func compressed(w http.ResponseWriter, r *http.Request) (io.Writer, func()) {
	if r.Header.Get("Accept-Encoding") != "gzip" {
		return w, func() {}
	}
	w.Header().Set("Content-Encoding", "gzip")
	gz, _ := gzip.NewWriterLevel(w, gzip.BestSpeed) // fails only for an invalid level
	return gz, func() { gz.Close() }
}
