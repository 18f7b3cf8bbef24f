package faults

import (
	"fmt"
	"net/http"
	"path"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/validation"

	"fauxlet/testcerts"
)

// Limits of a fault's parameters.
const maxDelay = 24 * time.Hour

var maxMemory = resource.MustParse("256Ti")

// maxSkew is enough for any certificate to be invalid.
const maxSkew = 100 * 365 * 24 * time.Hour

// Validate returns an error for an invalid value, a missing field, or a field that the kind does not allow. The error
// begins with the JSON name of the field.
func (f *Fault) Validate() error {
	if f.Name != "" {
		if problems := validation.IsDNS1123Label(f.Name); len(problems) > 0 {
			return fmt.Errorf("name: %q: %s; leave it out for a generated name", f.Name, problems[0])
		}
	}
	kind, err := KindNamed(f.Kind)
	if err != nil {
		return fmt.Errorf("kind: %w", err)
	}
	for _, field := range f.fields() {
		required := slices.Contains(kind.Requires, field.name)
		if field.set && !required && !slices.Contains(kind.Allows, field.name) {
			allowed := append(slices.Clone(kind.Requires), kind.Allows...)
			return fmt.Errorf("%s: %v: the kind %s does not have this field; remove it (%s)", field.name, field.value,
				kind.Name, list(allowed))
		}
		if !field.set && required {
			return fmt.Errorf("%s: missing: the kind %s requires it: %s", field.name, kind.Name, kind.Explains)
		}
	}
	if err := f.validateParameters(); err != nil {
		return err
	}
	return f.Scope.validate()
}

// complete sets fields whose values follow from other fields.
func (f *Fault) complete() {
	if f.Kind == ReviewerWrong && f.Answer == OtherUser {
		f.Review = TokenReview
	}
}

func list(fields []string) string {
	if len(fields) == 0 {
		return "its only field is node"
	}
	return "its fields are node, " + strings.Join(fields, ", ")
}

// fieldValue is a field of a fault that only some kinds have.
type fieldValue struct {
	name  string
	value any
	set   bool
}

// fields returns the fields that only some kinds have.
func (f *Fault) fields() []fieldValue {
	text := func(name, value string) fieldValue { return fieldValue{name, value, value != ""} }
	return []fieldValue{
		text("certificate", f.Certificate),
		{"delay", f.Delay.Duration, f.Delay.Duration != 0},
		{"rate", f.Rate, f.Rate != 0},
		{"after", f.After, f.After != 0},
		{"status", f.Status, f.Status != 0},
		text("body", f.Body),
		text("answer", f.Answer),
		text("as", f.As),
		{"skew", f.Skew.Duration, f.Skew.Duration != 0},
		{"memory", f.Memory.String(), !f.Memory.IsZero()},
		text("route", f.Route), text("method", f.Method), text("user", f.User), text("group", f.Group),
		text("namespace", f.Namespace), text("pod", f.Pod), text("container", f.Container), text("review", f.Review),
		{"count", f.Count, f.Count != 0}, {"share", f.Share, f.Share != 0}, {"seed", f.Seed, f.Seed != 0},
	}
}

func (f *Fault) validateParameters() error {
	if f.Certificate != "" {
		if err := validateCertificate(f.Certificate); err != nil {
			return err
		}
	}
	switch {
	case f.Delay.Duration < 0 || f.Delay.Duration > maxDelay:
		return fmt.Errorf("delay: %v: must be more than 0 and at most %v", f.Delay.Duration, maxDelay)
	case f.Rate < 0:
		return fmt.Errorf("rate: %d: must be more than 0 bytes per second", f.Rate)
	case f.After < 0:
		return fmt.Errorf("after: %d: must not be negative; it is the number of bytes before the cut", f.After)
	case f.Status != 0 && (f.Status < 400 || f.Status > 599):
		return fmt.Errorf("status: %d: must be from 400 to 599", f.Status)
	case f.Body != "" && f.Status == 0:
		return fmt.Errorf("body: %q: set status too, from 400 to 599", f.Body)
	case f.Answer != "" && f.Answer != Deny && f.Answer != OtherUser:
		return fmt.Errorf("answer: %q: must be %s or %s; a fault cannot allow what a reviewer denies: grant the "+
			"right with RBAC, or set authorization.mode: AlwaysAllow", f.Answer, Deny, OtherUser)
	case (f.Answer == OtherUser) != (f.As != ""):
		return fmt.Errorf("as: %q: set it together with answer: %s, and only then", f.As, OtherUser)
	case f.Answer == OtherUser && f.Review == SubjectAccessReview:
		return fmt.Errorf("review: %s: answer: %s applies to a %s only", f.Review, OtherUser, TokenReview)
	case f.Skew.Duration < -maxSkew || f.Skew.Duration > maxSkew:
		return fmt.Errorf("skew: %v: must be from %v to %v", f.Skew.Duration, -maxSkew, maxSkew)
	case f.Memory.Sign() < 0 || f.Memory.Cmp(maxMemory) > 0:
		return fmt.Errorf("memory: %s: must be more than 0 and at most %s", f.Memory.String(), maxMemory.String())
	}
	return nil
}

func validateCertificate(name string) error {
	kind, err := testcerts.KindNamed(name)
	if err == nil && kind.Serving {
		return nil
	}
	var serving []string
	for _, k := range testcerts.Kinds() {
		if k.Serving {
			serving = append(serving, k.Name)
		}
	}
	return fmt.Errorf("certificate: %q is not a kind of serving certificate; the kinds are %s", name,
		strings.Join(serving, ", "))
}

// methods are the values of Scope.Method.
var methods = []string{
	http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete,
	http.MethodConnect, http.MethodOptions, http.MethodTrace,
}

func (s *Scope) validate() error {
	for _, pattern := range []struct{ field, value string }{
		{"node", s.Node}, {"route", s.Route}, {"user", s.User}, {"group", s.Group},
		{"namespace", s.Namespace}, {"pod", s.Pod}, {"container", s.Container},
	} {
		if _, err := path.Match(pattern.value, ""); err != nil {
			return fmt.Errorf("%s: %q: %w; a pattern may contain *, ? and [a-z]", pattern.field, pattern.value, err)
		}
	}
	switch {
	case s.Route != "" && !strings.HasPrefix(s.Route, "/"):
		return fmt.Errorf("route: %q: must begin with a slash, as in /containerLogs/**", s.Route)
	case s.Method != "" && !slices.Contains(methods, s.Method):
		return fmt.Errorf("method: %q: must be one of %s", s.Method, strings.Join(methods, ", "))
	case s.Review != "" && s.Review != TokenReview && s.Review != SubjectAccessReview:
		return fmt.Errorf("review: %q: must be %s or %s, or left out for both", s.Review, TokenReview,
			SubjectAccessReview)
	case s.Count < 0:
		return fmt.Errorf("count: %d: must not be negative; it is how often the fault applies, and 0 is always",
			s.Count)
	case !(s.Share >= 0 && s.Share <= 1):
		return fmt.Errorf("share: %v: must be from 0 to 1; it is the part of the matches that the fault applies "+
			"to, and 0 is all", s.Share)
	case s.Seed != 0 && s.Share == 0:
		return fmt.Errorf("seed: %d: has no effect without share; set share, or leave seed out", s.Seed)
	}
	return nil
}
