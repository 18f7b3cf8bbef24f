package authchain

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apiserver/pkg/authentication/user"
)

// By returns the step that authenticated the user, or "" if no step did.
func (d *Decision) By() Method {
	for i := range d.Authentication {
		if d.Authentication[i].Outcome == OutcomeAuthenticated {
			return d.Authentication[i].Method
		}
	}
	return ""
}

// Outcome returns "allowed", "refused" or "error". The outcome of a failed TLS handshake is "refused". Outcome returns
// "" if the chain did not decide on the request: on the read-only port, for a path that no handler serves, for the
// request "OPTIONS *", and for a connection without a request.
func (d *Decision) Outcome() string {
	switch {
	case d.Handshake != "":
		return "refused"
	case len(d.Authorization) > 0:
		switch d.Authorization[len(d.Authorization)-1].Result {
		case CheckAllowed:
			return "allowed"
		case CheckError:
			return "error"
		}
		return "refused"
	case len(d.Authentication) == 0:
		return ""
	}
	if slices.ContainsFunc(d.Authentication, func(s Step) bool { return s.Outcome == OutcomeError }) {
		return "error"
	}
	return "refused"
}

// Cached reports whether the chain needed at least one result of a review, and took all of these results from its
// caches instead of sending reviews.
func (d *Decision) Cached() bool {
	cached := false
	for i := range d.Authentication {
		s := &d.Authentication[i]
		if s.Token != "" && !s.Cached {
			return false
		}
		cached = cached || s.Cached
	}
	for i := range d.Authorization {
		check := &d.Authorization[i]
		if check.Reviews > 0 {
			return false
		}
		cached = cached || check.Cached
	}
	return cached
}

// Why returns one sentence about the outcome: "allowed: …", "refused: …" or "error: …". Like [Decision.Outcome], it
// returns "" if the chain did not decide on the request.
func (d *Decision) Why() string {
	if d.Handshake != "" {
		return "refused: TLS handshake failed: " + d.Handshake
	}
	if d.User == nil {
		return d.whyNotAuthenticated()
	}
	if len(d.Authorization) == 0 {
		return ""
	}
	last := &d.Authorization[len(d.Authorization)-1]
	switch last.Result {
	case CheckAllowed:
		return "allowed: " + last.sentence(d.User)
	case CheckError:
		return fmt.Sprintf("error: cannot decide whether %s: the SubjectAccessReview failed: %s",
			last.sentence(d.User), explainFailedReview(last.err))
	}
	denied := make([]string, len(d.Authorization))
	for i := range d.Authorization {
		denied[i] = d.Authorization[i].Resource + "/" + d.Authorization[i].Subresource
	}
	return fmt.Sprintf("refused: user %q may not %s %s%s",
		d.User.GetName(), verbPhrase(last.Verb), strings.Join(denied, " nor "), reasonPhrase(last.Reason))
}

func (d *Decision) whyNotAuthenticated() string {
	if len(d.Authentication) == 0 {
		return ""
	}
	var skipped, failed []string
	outcome := OutcomeRefused
	for i := range d.Authentication {
		s := &d.Authentication[i]
		if s.Outcome == OutcomeSkipped {
			skipped = append(skipped, s.Reason)
			continue
		}
		failed = append(failed, s.Reason)
		if s.Outcome == OutcomeError {
			outcome = OutcomeError
		}
	}
	if len(failed) > 0 {
		return string(outcome) + ": " + strings.Join(failed, "; ")
	}
	return "refused: " + strings.Join(skipped, "; ") + "; anonymous authentication is off"
}

// The method "sentence" is called for each allowed request, so it does not use package fmt, which is slower.
func (c *Check) sentence(u user.Info) string {
	return "user " + strconv.Quote(u.GetName()) + " may " + verbPhrase(c.Verb) + " " + c.Resource + "/" +
		c.Subresource + reasonPhrase(c.Reason)
}

func reasonPhrase(reason string) string {
	if reason == "" {
		return ""
	}
	return ": " + reason
}

func verbPhrase(verb string) string {
	if verb == "" {
		return `do "" (the method has no verb) to`
	}
	return verb
}
