package faults

import (
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/validation"
	kjson "sigs.k8s.io/json"

	"fauxlet/testcerts"
)

// maxDelay and maxSkew limit the fields Delay and Skew of a Fault.
const (
	maxDelay = 24 * time.Hour
	maxSkew  = 100 * 365 * 24 * time.Hour // longer than the validity period of any certificate
)

var maxMemory = resource.MustParse("256Ti")

// Validate returns an error for an invalid value, a missing field, or a field that the kind does not allow. The error
// begins with the JSON name of the field.
func (f *Fault) Validate() error {
	if f.Name != "" {
		if problems := validation.IsDNS1123Label(f.Name); len(problems) > 0 {
			return fmt.Errorf("name: %q: %s; leave it out for a generated name", f.Name, problems[0])
		}
	}
	kind, err := kindNamed(f.Kind)
	if err != nil {
		return fmt.Errorf("kind: %w", err)
	}
	fields, err := f.fields()
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		if !slices.Contains(kind.Requires, name) && !slices.Contains(kind.Allows, name) {
			allowed := strings.Join(slices.Concat([]string{"node"}, kind.Requires, kind.Allows), ", ")
			return fmt.Errorf("%s: %v: the kind %s does not have this field; remove it (%s has the fields %s)", name,
				fields[name], kind.Name, kind.Name, allowed)
		}
	}
	for _, name := range kind.Requires {
		if fields[name] == nil {
			return fmt.Errorf("%s: missing: the kind %s requires it (%s)", name, kind.Name, kind.Explains)
		}
	}
	if err := f.validateParameters(); err != nil {
		return err
	}
	return f.Scope.validate()
}

// The method "complete" sets the field Review of a fault that replaces users (answer: other-user) to TokenReview. Such
// a fault cannot affect a SubjectAccessReview, because the answer to a SubjectAccessReview contains no user.
func (f *Fault) complete() {
	if f.Kind == ReviewerWrong && f.Answer == OtherUser {
		f.Review = TokenReview
	}
}

// The method "fields" returns the fields of the fault that are set: a map from the JSON name of a field to its value.
// The map does not contain the fields name, kind and node, which every kind of fault allows.
func (f *Fault) fields() (map[string]any, error) {
	data, err := json.Marshal(f)
	if err != nil {
		return nil, err
	}
	var fields map[string]any
	err = kjson.UnmarshalCaseSensitivePreserveInts(data, &fields)
	for _, common := range []string{"name", "kind", "node"} {
		delete(fields, common)
	}
	return fields, err
}

func (f *Fault) validateParameters() error {
	if err := validateCertificate(f.Certificate); err != nil {
		return err
	}
	switch {
	case f.Delay.Duration < 0 || f.Delay.Duration > maxDelay:
		return fmt.Errorf("delay: %v: must be more than 0 and at most %v", f.Delay.Duration, maxDelay)
	case f.Rate < 0:
		return fmt.Errorf("rate: %d: must be more than 0 bytes per second", f.Rate)
	case f.After < 0:
		return fmt.Errorf("after: %d: must not be negative; it is the number of bytes that are sent before the "+
			"connection ends", f.After)
	case f.Status != 0 && (f.Status < 400 || f.Status > 599):
		return fmt.Errorf("status: %d: must be from 400 to 599", f.Status)
	case f.Body != "" && f.Status == 0:
		return fmt.Errorf("body: %q: set status too, from 400 to 599", f.Body)
	case f.Answer != "" && f.Answer != Deny && f.Answer != OtherUser:
		return fmt.Errorf("answer: %q: must be %s or %s; a fault cannot allow what a reviewer denies: grant the "+
			"right with RBAC, or set authorization.mode: AlwaysAllow", f.Answer, Deny, OtherUser)
	case (f.Answer == OtherUser) != (f.As != ""):
		return fmt.Errorf("as: %q: the answer %s requires this field, and no other answer allows it", f.As, OtherUser)
	case f.Answer == OtherUser && f.Review == SubjectAccessReview:
		return fmt.Errorf("review: %s: with the answer %s, set review to %s or leave it out", f.Review, OtherUser,
			TokenReview)
	case f.Skew.Duration < -maxSkew || f.Skew.Duration > maxSkew:
		return fmt.Errorf("skew: %v: must be from %v to %v", f.Skew.Duration, -maxSkew, maxSkew)
	case f.Memory.Sign() < 0 || f.Memory.Cmp(maxMemory) > 0:
		return fmt.Errorf("memory: %s: must be more than 0 and at most %s", f.Memory.String(), maxMemory.String())
	}
	return nil
}

func validateCertificate(name string) error {
	var serving []string
	for _, kind := range testcerts.Kinds() {
		if kind.Serving {
			serving = append(serving, kind.Name)
		}
	}
	if name == "" || slices.Contains(serving, name) {
		return nil
	}
	return fmt.Errorf("certificate: %q is not a kind of serving certificate; the kinds are %s", name,
		strings.Join(serving, ", "))
}

// methods are the valid values of Scope.Method.
var methods = strings.Fields("GET HEAD POST PUT PATCH DELETE CONNECT OPTIONS TRACE")

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
		return fmt.Errorf("count: %d: must not be negative; the fault applies this many times at most, and 0 "+
			"means no limit", s.Count)
	case !(s.Share >= 0 && s.Share <= 1):
		return fmt.Errorf("share: %v: must be from 0 to 1; it is the fraction of matches that the fault applies "+
			"to, and 0 means all", s.Share)
	case s.Seed != 0 && s.Share == 0:
		return fmt.Errorf("seed: %d: has no effect without share; set share, or leave seed out", s.Seed)
	}
	return nil
}
