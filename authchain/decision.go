package authchain

import (
	"context"
	"crypto/tls"
	"net/http"
	"strings"
	"time"

	"k8s.io/apiserver/pkg/authentication/user"
)

// Decision records what happened to one request: its connection, the authentication steps, the user, the
// authorization checks, and the status of the response. A connection that ends without a request has a Decision too,
// see [FailedHandshake] and [NoRequest].
//
// The goroutine that serves the request writes the Decision. The Decision is complete when the handler has returned.
// From then on, any goroutine may read it, and it must not be changed.
//
// A Decision contains no token and no key. A token appears as its [Fingerprint].
type Decision struct {
	// Time is when the request arrived. Duration is how long the response took, including streaming.
	Time     time.Time
	Duration time.Duration

	// Remote is the client's address, host:port. TLS is nil on the read-only port.
	Remote string
	TLS    *tls.ConnectionState

	Method string
	// Path is the decoded path of the request, without the query.
	Path string
	// Traceparent is the request's traceparent header (W3C Trace Context). The client chooses its value. The header is
	// recorded only if it is as long as a header of version 00.
	Traceparent string

	// Authentication has the authentication steps, in order. It is empty if authentication was not attempted: on the
	// read-only port, for a path that no handler serves, and for the request "OPTIONS *".
	Authentication []Step
	// User is the authenticated user. User is nil if authentication failed or was not attempted. The review API could
	// repeat the token in the user that it returns. Then User's name is "(removed, because it repeats the token)", and
	// its UID, groups and extra are empty.
	User user.Info
	// Authorization has the authorization checks, in order. It is empty if the request was not authenticated.
	Authorization []Check

	// Status is the status code of the response.
	Status int
	// Err is the text of the error that the handler returned. It can be set only if the chain has allowed the request.
	Err string

	// Handshake is the error of a failed TLS handshake. If it is set, there was no request, and only Time, Remote
	// and AffectedBy are set too.
	Handshake string

	// NoRequest is the reason why a connection ended without a request. If it is set, only Time, Duration, Remote,
	// AffectedBy and, after a completed handshake, TLS are set too.
	NoRequest string

	// AffectedBy has the names of the injected faults that affected the request, its connection or its reviews. The
	// chain does not interpret the names; see [AddAffectedBy].
	AffectedBy []string

	// secret is the token that the request is authenticated with. Chain.Decide removes it before it returns.
	secret secret

	// Most requests have one step and one check. These arrays save a separate allocation for the step and the check.
	firstStep  [1]Step
	firstCheck [1]Check
}

// Method is the name of an authentication step.
type Method string

// These are the names of the authentication steps, in the order in which the chain tries them.
const (
	MethodX509           Method = "x509"
	MethodBearerToken    Method = "bearer token"
	MethodWebSocketToken Method = "websocket token"
	MethodAnonymous      Method = "anonymous"
)

// Outcome is the result of an authentication step.
type Outcome string

const (
	// OutcomeAuthenticated: the step authenticated the user.
	OutcomeAuthenticated Outcome = "authenticated"
	// OutcomeSkipped: the request has no credential for this step.
	OutcomeSkipped Outcome = "skipped"
	// OutcomeRefused: the step checked the credential and refused it.
	OutcomeRefused Outcome = "refused"
	// OutcomeError: the step could not check the credential.
	OutcomeError Outcome = "error"
)

// Step is one authentication step.
type Step struct {
	Method  Method  `json:"method"`
	Outcome Outcome `json:"outcome"`
	// Reason explains the outcome. It is empty if the step authenticated the user.
	Reason string `json:"reason,omitempty"`
	// Token is the Fingerprint of the token, if the step examined a token.
	Token string `json:"token,omitempty"`
	// Start is when the step began, relative to the Decision's Time.
	Start time.Duration `json:"startNanoseconds"`
	// Cached is true if the result for the token came from the cache of TokenReviews.
	Cached   bool          `json:"cached,omitempty"`
	Duration time.Duration `json:"durationNanoseconds"`

	err error
}

// CheckResult is the result of an authorization check.
type CheckResult string

const (
	CheckAllowed CheckResult = "allowed"
	CheckDenied  CheckResult = "denied"
	// CheckError: the authorizer failed, so the request is neither allowed nor denied.
	CheckError CheckResult = "error"
)

// Check is one authorization check: may the user do Verb to Resource/Subresource of the object Name?
type Check struct {
	Verb        string `json:"verb"`
	Resource    string `json:"resource"`
	Subresource string `json:"subresource"`
	Name        string `json:"name"`

	Result CheckResult `json:"result"`
	// Reason is the authorizer's reason. With RBAC it names the binding and the role that allow the request.
	Reason string `json:"reason,omitempty"`
	// Start is when the check began, relative to the Decision's Time.
	Start time.Duration `json:"startNanoseconds"`
	// Reviews counts the SubjectAccessReviews that were sent, including retries.
	Reviews int `json:"reviews"`
	// Cached is true if the result came from the cache of SubjectAccessReviews. It is always false in mode AlwaysAllow.
	Cached   bool          `json:"cached,omitempty"`
	Duration time.Duration `json:"durationNanoseconds"`

	err error
}

// decisionContext is a context that contains a Decision. Because the Decision is a field of the context, one allocation
// creates both.
type decisionContext struct {
	context.Context
	decision Decision
}

type decisionKey struct{}

func (c *decisionContext) Value(key any) any {
	if key == (decisionKey{}) {
		return &c.decision
	}
	return c.Context.Value(key)
}

// longQuery is the length of a query, in bytes, above which a Decision copies the path. The path is a substring of the
// request line. Without the copy, the Decision would keep the whole request line in memory.
const longQuery = 1 << 10

// traceparentLength is the length of a traceparent of version 00, in bytes.
const traceparentLength = 55

// NewDecision returns a new Decision about r with the current time, and a shallow copy of r whose context carries
// the Decision. Pass the copy to [Chain.Decide] and to the handlers; they find the Decision by [FromContext].
func NewDecision(r *http.Request) (*Decision, *http.Request) {
	ctx := &decisionContext{Context: r.Context(), decision: Decision{Time: time.Now(), Remote: r.RemoteAddr, TLS: r.TLS,
		Method: r.Method, Path: r.URL.Path}}
	decision := &ctx.decision
	if len(r.URL.RawQuery) > longQuery {
		decision.Path = strings.Clone(decision.Path)
	}
	if parent := r.Header["Traceparent"]; len(parent) == 1 && len(parent[0]) == traceparentLength {
		decision.Traceparent = parent[0]
	}
	if names, _ := r.Context().Value(affectedByKey{}).([]string); len(names) > 0 {
		decision.AddAffectedBy(names...)
	}
	decision.Authentication = decision.firstStep[:0]
	decision.Authorization = decision.firstCheck[:0]
	return decision, r.WithContext(ctx)
}

// FromContext returns the Decision of the request that ctx belongs to, or nil if there is none.
func FromContext(ctx context.Context) *Decision {
	decision, _ := ctx.Value(decisionKey{}).(*Decision)
	return decision
}

// FailedHandshake returns the Decision about a connection whose TLS handshake has just failed. The argument remote is
// the client's address, and reason is the text of the handshake's error.
func FailedHandshake(remote, reason string) *Decision {
	return &Decision{Time: time.Now(), Remote: remote, Handshake: reason}
}

// NoRequest returns the Decision about a connection that has just ended without a request. The argument opened is the
// time when the connection was opened, and remote is the client's address. The argument state is the TLS state, or nil
// on a port without TLS. The Decision's field NoRequest is set to reason.
func NoRequest(opened time.Time, remote string, state *tls.ConnectionState, reason string) *Decision {
	return &Decision{Time: opened, Duration: time.Since(opened), Remote: remote, TLS: state, NoRequest: reason}
}
