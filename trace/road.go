package trace

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"fauxlet/authchain"
)

// Stop is one place on the road of a request, and what became of it there.
type Stop struct {
	Name   string        `json:"name"`
	Result Result        `json:"result"`
	Text   string        `json:"text"`
	Took   time.Duration `json:"durationNanoseconds,omitempty"`
}

// Result is how a request left a Stop.
type Result string

const (
	Passed     Result = "passed"
	NotMine    Result = "not mine" // there was nothing here to judge
	Refused    Result = "refused"
	Broken     Result = "broken"
	NotReached Result = "not reached"
)

// The names of stops, in their order. There may be more than one review.
const (
	StopTLS         = "TLS"
	StopCertificate = "client certificate"
	StopToken       = "token"
	StopAnonymous   = "anonymous"
	StopIdentity    = "identity"
	StopAttributes  = "attributes"
	StopReview      = "review"
	StopAnswer      = "answer"
)

// Road tells what became of a request at each stop: TLS, client certificate, token, anonymous, identity, attributes,
// review, answer.
func Road(r *authchain.Report) []Stop {
	stops := []Stop{
		tlsStop(r),
		credentialStop(r, StopCertificate, authchain.MethodX509),
		credentialStop(r, StopToken, authchain.MethodBearerToken, authchain.MethodWebSocketToken),
		credentialStop(r, StopAnonymous, authchain.MethodAnonymous),
		identityStop(r),
	}
	return append(append(stops, reviewStops(r)...), answerStop(r))
}

func tlsStop(r *authchain.Report) Stop {
	stop := Stop{Name: StopTLS}
	switch c := r.Connection; {
	case r.Handshake != "":
		stop.Result, stop.Text = Refused, r.Handshake
	case c == nil:
		stop.Result, stop.Text = NotMine, "plain HTTP, from "+r.Remote
	default:
		facts := []string{c.Version, c.CipherSuite}
		if c.Protocol != "" {
			facts = append(facts, c.Protocol)
		}
		if c.ServerName != "" {
			facts = append(facts, "for the name "+c.ServerName)
		}
		if c.Resumed {
			facts = append(facts, "resumed")
		}
		stop.Result, stop.Text = Passed, strings.Join(append(facts, "from "+r.Remote), ", ")
	}
	return stop
}

// credentialStop is that of the last step of methods that had something to judge, or else of the last.
func credentialStop(r *authchain.Report, name string, methods ...authchain.Method) Stop {
	var taken *authchain.Step
	for i := range r.Authentication {
		step := &r.Authentication[i]
		if slices.Contains(methods, step.Method) && (taken == nil || step.Outcome != authchain.OutcomeNotMine) {
			taken = step
		}
	}
	if taken == nil {
		return Stop{Name: name, Result: NotReached, Text: whyNotReached(r, name)}
	}
	stop := Stop{Name: name, Text: taken.Reason, Took: taken.Duration}
	switch taken.Outcome {
	case authchain.OutcomeAuthenticated:
		stop.Result = Passed
	case authchain.OutcomeNotMine:
		stop.Result = NotMine
	case authchain.OutcomeRefused:
		stop.Result = Refused
	case authchain.OutcomeBroken:
		stop.Result = Broken
	}
	var facts []string
	if name == StopCertificate && r.Connection != nil && r.Connection.Certificate != nil {
		c := r.Connection.Certificate
		facts = append(facts, fmt.Sprintf("%s, issued by %s, good until %s", c.Subject, c.Issuer, c.NotAfter.UTC().Format(time.RFC3339)))
	}
	if taken.Token != "" && taken.Reason == "" {
		facts = append(facts, fmt.Sprintf("token %s (the first letters of its SHA-256), %s", taken.Token, askedOrNot(taken.Cached)))
	}
	if stop.Text != "" {
		facts = append(facts, stop.Text)
	}
	stop.Text = strings.Join(facts, ": ")
	if stop.Text == "" && stop.Result == Passed && r.User != nil {
		stop.Text = r.User.Name
	}
	return stop
}

func askedOrNot(cached bool) string {
	if cached {
		return "remembered"
	}
	return "reviewed"
}

func whyNotReached(r *authchain.Report, name string) string {
	switch {
	case r.Handshake != "" || r.NoRequest != "":
		return "there was no request"
	case len(r.Authentication) == 0:
		return "nobody is asked here"
	case r.User != nil:
		return "the client was known already"
	case name != StopAnonymous:
		return "no such step is configured"
	}
	for _, step := range r.Authentication {
		if step.Outcome != authchain.OutcomeNotMine {
			return "a credential that was refused is not made up for by being anonymous"
		}
	}
	return "anonymous authentication is off"
}

func identityStop(r *authchain.Report) Stop {
	switch {
	case r.User != nil:
		text := r.User.Name
		if text == "" {
			text = "a user without a name"
		}
		if len(r.User.Groups) > 0 {
			text += ", of " + strings.Join(r.User.Groups, ", ")
		}
		return Stop{Name: StopIdentity, Result: Passed, Text: text}
	case len(r.Authentication) == 0:
		return Stop{Name: StopIdentity, Result: NotReached, Text: whyNotReached(r, StopIdentity)}
	case r.Outcome == string(authchain.OutcomeBroken):
		return Stop{Name: StopIdentity, Result: Broken, Text: "it could not be found out who the client is"}
	}
	return Stop{Name: StopIdentity, Result: Refused, Text: "nobody knows who the client is"}
}

// reviewStops are those of the attributes, and of each question about them.
func reviewStops(r *authchain.Report) []Stop {
	if len(r.Authorization) == 0 {
		why := "nobody is asked here"
		switch {
		case r.Handshake != "" || r.NoRequest != "":
			why = "there was no request"
		case len(r.Authentication) > 0:
			why = "the client is not known"
		}
		return []Stop{{Name: StopAttributes, Result: NotReached, Text: why}, {Name: StopReview, Result: NotReached, Text: why}}
	}
	var wanted []string
	var reviews []Stop
	for i := range r.Authorization {
		q := &r.Authorization[i]
		verb := q.Verb
		if verb == "" {
			verb = `"" (the method has no verb)`
		}
		what := verb + " " + q.Resource + "/" + q.Subresource
		wanted = append(wanted, what)
		stop := Stop{Name: StopReview, Took: q.Duration, Text: what + " of " + q.Name + ": " + string(q.Answer) + ", " + howAnswered(q)}
		switch q.Answer {
		case authchain.AnswerAllowed:
			stop.Result = Passed
		case authchain.AnswerDenied:
			stop.Result = Refused
		case authchain.AnswerFailed:
			stop.Result = Broken
		}
		if q.Reason != "" {
			stop.Text += ": " + q.Reason
		}
		reviews = append(reviews, stop)
	}
	attributes := Stop{Name: StopAttributes, Result: Passed, Text: r.Method + " " + r.Path + " is " + strings.Join(wanted, ", or else ")}
	return append([]Stop{attributes}, reviews...)
}

func howAnswered(q *authchain.Question) string {
	switch {
	case q.Cached:
		return "remembered"
	case q.Reviews == 1:
		return "asked"
	case q.Reviews > 1:
		return fmt.Sprintf("asked %d times", q.Reviews)
	}
	return "without asking anybody"
}

func answerStop(r *authchain.Report) Stop {
	stop := Stop{Name: StopAnswer, Took: r.Duration}
	switch {
	case r.Handshake != "":
		stop.Result, stop.Text = NotReached, "there was no request"
		return stop
	case r.NoRequest != "":
		stop.Result, stop.Text = NotReached, r.NoRequest
		return stop
	case r.Status >= http.StatusInternalServerError:
		stop.Result = Broken
	case r.Status >= http.StatusBadRequest:
		stop.Result = Refused
	default:
		stop.Result = Passed
	}
	stop.Text = strings.TrimSpace(fmt.Sprintf("%d %s", r.Status, http.StatusText(r.Status)))
	if r.Err != "" {
		stop.Text += ": " + r.Err
	}
	return stop
}
