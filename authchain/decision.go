package authchain

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
)

// Decision is what happened to one request, in order. It is written by the goroutine that serves the request, and is
// complete, and may be read by others, once its handler is done.
//
// No token and no key is in it; a token appears as its [Fingerprint].
type Decision struct {
	// Time is when the request arrived, Duration how long its answer took, streaming included.
	Time     time.Time
	Duration time.Duration

	// Remote is the client's address. TLS is nil on the read-only port.
	Remote string
	TLS    *tls.ConnectionState

	Method string
	// Path is the request's decoded path, without its query.
	Path string
	// Traceparent is the request's header of that name, by which its client has it be a part of a trace (W3C Trace Context).
	// It is the client's word, and empty where it is longer than it can be.
	Traceparent string

	// Authentication has the steps that were taken, in order; empty where nobody asks who the client is (the read-only
	// port; a path that no handler serves).
	Authentication []Step
	// User is who the client is, nil where nobody knows.
	User user.Info
	// Authorization has the questions that were asked about User, in order.
	Authorization []Check

	// Status is the response's status code.
	Status int
	// Err is what went wrong after the request had passed, in the handler's words.
	Err string

	// Handshake says why the TLS handshake failed. Where it is set there was no request, and only Time, Remote and Faults
	// are set beside it.
	Handshake string

	// NoRequest says what became of a connection that ended without a request. Where it is set only Time, Duration, Remote
	// and, after a handshake, TLS are set beside it, and Faults.
	NoRequest string

	// Faults are the names of the faults that were set on purpose and struck the request, its connection or its reviews.
	AffectedBy []string

	// Most requests end at the first of each; with these they need no allocation of their own.
	steps     [1]Step
	questions [1]Check
}

// Method names a step of the chain.
type Method string

const (
	MethodX509           Method = "x509"
	MethodBearerToken    Method = "bearer token"
	MethodWebSocketToken Method = "websocket token"
	MethodAnonymous      Method = "anonymous"
)

// Outcome is how a step of the chain ended.
type Outcome string

const (
	// OutcomeAuthenticated: the step knows the user.
	OutcomeAuthenticated Outcome = "authenticated"
	// OutcomeSkipped: the request has nothing that the step could judge.
	OutcomeSkipped Outcome = "skipped"
	// OutcomeRefused: the step looked at the credential and refuses it.
	OutcomeRefused Outcome = "refused"
	// OutcomeError: the step could not find out.
	OutcomeError Outcome = "error"
)

// Step is one step of authentication.
type Step struct {
	Method  Method  `json:"method"`
	Outcome Outcome `json:"outcome"`
	// Reason says why, unless the step authenticated the user.
	Reason string `json:"reason,omitempty"`
	// Token is the fingerprint of the token that was reviewed.
	Token string `json:"token,omitempty"`
	// Start is when the step was begun, after the request's Time.
	Start time.Duration `json:"startNanoseconds"`
	// Cached: the answer about the token was remembered, and no review was sent.
	Cached   bool          `json:"cached,omitempty"`
	Duration time.Duration `json:"durationNanoseconds"`

	err error
}

// CheckResult is what the authorizer said.
type CheckResult string

const (
	CheckAllowed CheckResult = "allowed"
	CheckDenied  CheckResult = "denied"
	// CheckError: the authorizer could not tell, which is neither yes nor no.
	CheckError CheckResult = "error"
)

// Check is one question to the authorizer: may the user do Verb to Resource/Subresource of Name?
type Check struct {
	Verb        string `json:"verb"`
	Resource    string `json:"resource"`
	Subresource string `json:"subresource"`
	Name        string `json:"name"`

	Result CheckResult `json:"result"`
	// Reason is the authorizer's own: with RBAC, the binding and the role that allow it.
	Reason string `json:"reason,omitempty"`
	// Start is when it was asked, after the request's Time.
	Start time.Duration `json:"startNanoseconds"`
	// Reviews counts the SubjectAccessReviews that were sent, retries included.
	Reviews int `json:"reviews"`
	// Cached: the answer was remembered, and no review was sent. It is false where the mode asks nobody.
	Cached   bool          `json:"cached,omitempty"`
	Duration time.Duration `json:"durationNanoseconds"`

	err error
}

// recording is a Decision on its way through a request's context.
type recording struct {
	context.Context
	decision Decision
}

// longQuery is how long a query is, in bytes, that is worth a copy of the path to be rid of.
const longQuery = 1 << 10

// traceparentLength is that of a traceparent of version 00, in bytes. Later ones may be longer, and are not read.
const traceparentLength = 55

type decisionKey struct{}

func (r *recording) Value(key any) any {
	if key == (decisionKey{}) {
		return &r.decision
	}
	return r.Context.Value(key)
}

// NewDecision begins the Decision of r, and returns it with a shallow copy of r whose context carries it.
func NewDecision(r *http.Request) (*Decision, *http.Request) {
	rec := &recording{Context: r.Context(), decision: Decision{
		Time:   time.Now(),
		Remote: r.RemoteAddr,
		TLS:    r.TLS,
		Method: r.Method,
		Path:   r.URL.Path,
	}}
	rec.decision.AffectedBy, _ = r.Context().Value(affectedByKey{}).([]string)
	if len(r.URL.RawQuery) > longQuery {
		// The path is a part of the request line, which whoever keeps the Decision would keep whole.
		rec.decision.Path = strings.Clone(rec.decision.Path)
	}
	if parent := r.Header["Traceparent"]; len(parent) == 1 && len(parent[0]) == traceparentLength {
		rec.decision.Traceparent = parent[0]
	}
	decision := &rec.decision
	decision.Authentication = decision.steps[:0]
	decision.Authorization = decision.questions[:0]
	return decision, r.WithContext(rec)
}

// FromContext returns the Decision of the request that ctx belongs to, nil where it has none.
func FromContext(ctx context.Context) *Decision {
	decision, _ := ctx.Value(decisionKey{}).(*Decision)
	return decision
}

// FailedHandshake is the Decision about a client that did not get as far as a request.
func FailedHandshake(remote, why string) *Decision {
	return &Decision{Time: time.Now(), Remote: remote, Handshake: why}
}

// NoRequest is the Decision about a connection that was opened and has ended now, without a request.
func NoRequest(opened time.Time, remote string, state *tls.ConnectionState, why string) *Decision {
	return &Decision{Time: opened, Duration: time.Since(opened), Remote: remote, TLS: state, NoRequest: why}
}

func (d *Decision) step(method Method) *Step {
	d.Authentication = append(d.Authentication, Step{Method: method, Start: time.Since(d.Time)})
	return d.stepping()
}

// stepping is the step that is being taken.
func (d *Decision) stepping() *Step {
	if len(d.Authentication) == 0 {
		return nil
	}
	return &d.Authentication[len(d.Authentication)-1]
}

func (d *Decision) ask(attrs authorizer.AttributesRecord) *Check {
	d.Authorization = append(d.Authorization, Check{
		Verb: attrs.Verb, Resource: attrs.Resource, Subresource: attrs.Subresource, Name: attrs.Name, Start: time.Since(d.Time),
	})
	return d.asking()
}

// asking is the question that is being asked.
func (d *Decision) asking() *Check { return &d.Authorization[len(d.Authorization)-1] }

// step wraps an authenticator to record what it did.
type step struct {
	method        Method
	authenticator authenticator.Request
	// explain fills in the reason of an outcome, and may turn refused into error.
	explain func(*http.Request, *Step)
}

func (s step) AuthenticateRequest(r *http.Request) (*authenticator.Response, bool, error) {
	decision := FromContext(r.Context())
	if decision == nil {
		return s.authenticator.AuthenticateRequest(r)
	}
	taken, start := decision.step(s.method), time.Now()
	response, ok, err := s.authenticator.AuthenticateRequest(r)
	taken.Duration, taken.err = time.Since(start), err
	switch {
	case err != nil:
		taken.Outcome = OutcomeRefused
	case ok:
		taken.Outcome = OutcomeAuthenticated
	default:
		taken.Outcome = OutcomeSkipped
	}
	s.explain(r, taken)
	return response, ok, err
}

// By is the step that authenticated the user, empty where none did.
func (d *Decision) By() Method {
	for i := range d.Authentication {
		if d.Authentication[i].Outcome == OutcomeAuthenticated {
			return d.Authentication[i].Method
		}
	}
	return ""
}

// Outcome is allowed, refused or error, and empty for a request that nobody had to judge.
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
	for i := range d.Authentication {
		if d.Authentication[i].Outcome == OutcomeError {
			return "error"
		}
	}
	return "refused"
}

// Cached says whether answers were remembered, and nobody had to be asked.
func (d *Decision) Cached() bool {
	remembered := false
	for i := range d.Authentication {
		if s := &d.Authentication[i]; s.Token != "" {
			if !s.Cached {
				return false
			}
			remembered = true
		}
	}
	for i := range d.Authorization {
		q := &d.Authorization[i]
		if q.Reviews > 0 {
			return false
		}
		remembered = remembered || q.Cached
	}
	return remembered
}

// Why says in words why the request ended where it did: `allowed: …`, `refused: …`, `error: …`. It is empty for a
// request that nobody had to judge.
func (d *Decision) Why() string {
	if d.Handshake != "" {
		return "refused: TLS handshake failed: " + d.Handshake
	}
	if d.User == nil {
		return d.whyUnauthenticated()
	}
	if len(d.Authorization) == 0 {
		return ""
	}
	last := &d.Authorization[len(d.Authorization)-1]
	switch last.Result {
	case CheckAllowed:
		return "allowed: " + last.sentence(d.User)
	case CheckError:
		return fmt.Sprintf("error: cannot decide whether %s: the SubjectAccessReview failed: %v", last.sentence(d.User), last.err)
	}
	asked := make([]string, len(d.Authorization))
	for i := range d.Authorization {
		asked[i] = d.Authorization[i].Resource + "/" + d.Authorization[i].Subresource
	}
	return fmt.Sprintf("refused: user %q may not %s %s%s", d.User.GetName(), verbInWords(last.Verb), strings.Join(asked, " nor "), because(last.Reason))
}

func (d *Decision) whyUnauthenticated() string {
	if len(d.Authentication) == 0 {
		return ""
	}
	var absent, failed []string
	kind := OutcomeRefused
	for i := range d.Authentication {
		switch s := &d.Authentication[i]; s.Outcome {
		case OutcomeSkipped:
			absent = append(absent, s.Reason)
		case OutcomeError:
			kind = OutcomeError
			failed = append(failed, s.Reason)
		case OutcomeRefused:
			failed = append(failed, s.Reason)
		}
	}
	if len(failed) > 0 {
		return string(kind) + ": " + strings.Join(failed, "; ")
	}
	return "refused: " + strings.Join(absent, "; ") + "; anonymous authentication is off"
}

func (q *Check) sentence(u user.Info) string {
	// Every request that is let in is told in these words, which fmt would take longer to find.
	return "user " + strconv.Quote(u.GetName()) + " may " + verbInWords(q.Verb) + " " + q.Resource + "/" + q.Subresource + because(q.Reason)
}

func because(reason string) string {
	if reason == "" {
		return ""
	}
	return ": " + reason
}

func verbInWords(verb string) string {
	if verb == "" {
		return `do "" (the method has no verb) to`
	}
	return verb
}
