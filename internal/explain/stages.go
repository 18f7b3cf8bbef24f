package explain

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"fauxlet/authchain"
)

// stages returns all stages in the order in which a kubelet handles a request.
func (e *explainer) stages() []Stage {
	stages := []Stage{e.tls(), e.certificate(), e.token(), e.anonymous(), e.identity(), e.attributes()}
	return append(append(stages, e.authorization()...), e.response())
}

func (e *explainer) tls() Stage {
	s := Stage{ID: StageTLS, Name: "TLS"}
	switch c := e.d.Connection; {
	case e.d.Handshake != "":
		s.State, s.Message = Failed, "the handshake failed: "+e.d.Handshake
	case c == nil:
		s.State, s.Message = Skipped, "plain HTTP"
	default:
		s.State, s.Message = Passed, "the client accepted the serving certificate, or did not verify it"
		s.fact("version", c.Version)
		s.fact("cipher suite", c.CipherSuite)
		s.fact("server name", c.ServerName)
		s.fact("protocol", c.Protocol)
		if c.Resumed {
			s.fact("session", "resumed")
		}
	}
	s.fact("remote", e.d.Remote)
	return s
}

func (e *explainer) certificate() Stage {
	s := Stage{ID: StageCertificate, Name: "client certificate"}
	step := e.step(authchain.MethodX509)
	if step == nil {
		s.State, s.Message = NotReached, e.notReached()
		return s
	}
	s.State, s.Message = stateOf(step), step.Reason
	if s.State == Passed {
		s.Message = fmt.Sprintf("valid; authenticated as %q", e.d.User.Name)
	}
	if e.d.Connection == nil || e.d.Connection.Certificate == nil {
		if e.facts.noClientCA() {
			s.fact("requested", "no: authentication.x509.clientCAFile is not set")
		}
		return s
	}
	leaf := e.d.Connection.Certificate
	s.fact("subject", leaf.Subject)
	s.fact("issuer", leaf.Issuer)
	s.fact("serial", leaf.Serial)
	s.fact("valid", dates(leaf.NotBefore, leaf.NotAfter))
	if presented := e.facts.Presented; len(presented) > 0 {
		s.fact("usage", usages(presented[0]))
		if len(presented) > 1 {
			s.fact("intermediates", strconv.Itoa(len(presented)-1))
		}
		for _, p := range clientCertificateProblems(presented, e.facts.ClientCAs, e.d.Time) {
			if p.Harmless {
				s.fact("note", p.Message)
			} else {
				s.fact("problem", p.Message)
			}
		}
	}
	return s
}

func (e *explainer) token() Stage {
	s := Stage{ID: StageToken, Name: "token"}
	step := e.step(authchain.MethodBearerToken, authchain.MethodWebSocketToken)
	switch {
	case step != nil:
		s.State, s.Message = stateOf(step), step.Reason
		if s.State == Passed {
			s.Message = fmt.Sprintf("the TokenReview authenticated it as %q", e.d.User.Name)
		}
		if step.Token != "" {
			s.fact("found in", tokenSources[step.Method])
			s.fact("token", "SHA-256 "+step.Token+"…")
			if step.Cached {
				s.fact("review", "no TokenReview: the result was cached")
			} else {
				s.fact("review", "TokenReview sent")
			}
			s.fact("duration", durationText(step.Duration))
		}
	case e.noRequest() || e.noAuthentication() || e.d.By == authchain.MethodX509:
		s.State, s.Message = NotReached, e.notReached()
	default:
		s.State = Skipped
		s.Message = "no bearer token in the Authorization header; " +
			"authentication.webhook.enabled is false, so it would not be read"
	}
	return s
}

var tokenSources = map[authchain.Method]string{
	authchain.MethodBearerToken:    "the Authorization header",
	authchain.MethodWebSocketToken: "the WebSocket subprotocols",
}

func (e *explainer) anonymous() Stage {
	s := Stage{ID: StageAnonymous, Name: "anonymous"}
	switch {
	case e.step(authchain.MethodAnonymous) != nil:
		s.State, s.Message = Passed, "no credential was accepted and none was refused, so the user is system:anonymous"
	case e.noRequest() || e.noAuthentication() || e.d.User != nil || e.credentialFailed():
		s.State, s.Message = NotReached, e.notReached()
	default:
		s.State, s.Message = Skipped, "authentication.anonymous.enabled is false"
	}
	return s
}

func (e *explainer) identity() Stage {
	s := Stage{ID: StageIdentity, Name: "identity"}
	switch {
	case e.d.User != nil:
		s.State, s.Message = Passed, fmt.Sprintf("user %q", e.d.User.Name)
		if groups := e.d.User.Groups; len(groups) > 0 {
			s.Message += ", " + plural(len(groups), "group")
		}
		s.fact("user", e.d.User.Name)
		s.fact("uid", e.d.User.UID)
		s.fact("groups", strings.Join(e.d.User.Groups, ", "))
		extra := e.d.User.Extra
		for _, key := range slices.Sorted(maps.Keys(extra)) {
			s.fact(key, strings.Join(extra[key], ", "))
		}
		s.fact("authenticated by", string(e.d.By))
	case e.noRequest() || e.noAuthentication():
		s.State, s.Message = NotReached, e.notReached()
	case Outcome(e.d.Outcome) == Error:
		s.State, s.Message = Failed, "not authenticated: verifying a credential failed with an error (401)"
	default:
		s.State, s.Message = Failed, "not authenticated (401)"
	}
	return s
}

func (e *explainer) attributes() Stage {
	s := Stage{ID: StageAttributes, Name: "attributes"}
	checks := e.d.Authorization
	if len(checks) == 0 {
		s.State, s.Message = NotReached, e.notAuthorized()
		return s
	}
	names := make([]string, len(checks))
	for i := range checks {
		names[i] = resource(&checks[i])
	}
	verb := checks[0].Verb
	if verb == "" {
		verb = `"" (this HTTP method has no verb)`
	}
	s.State = Passed
	s.Message = fmt.Sprintf("%s %s requires the verb %s on %s",
		e.d.Method, e.d.Path, verb, strings.Join(names, ", or else on "))
	s.fact("verb", verb)
	s.fact("resource", strings.Join(names, ", or else "))
	s.fact("node", checks[0].Name)
	return s
}

// notAuthorized returns the message of the stages after identity if there was no authorization check.
func (e *explainer) notAuthorized() string {
	if e.d.User == nil && !e.noRequest() && !e.noAuthentication() {
		return "the client is not authenticated"
	}
	return e.notReached()
}

func (e *explainer) authorization() []Stage {
	checks := e.d.Authorization
	if len(checks) == 0 {
		return []Stage{{ID: StageAuthorization, Name: "authorization", State: NotReached, Message: e.notAuthorized()}}
	}
	stages := make([]Stage, len(checks))
	for i := range checks {
		stages[i] = authorizationCheck(&checks[i], i == len(checks)-1)
	}
	return stages
}

func authorizationCheck(c *authchain.Check, last bool) Stage {
	s := Stage{ID: StageAuthorization, Name: "authorization of " + resource(c)}
	switch {
	case c.Result == authchain.CheckError:
		s.State, s.Message = Failed, "error: the SubjectAccessReview failed"
	case c.Reviews == 0 && !c.Cached:
		s.State, s.Message = Passed, "allowed: authorization.mode is AlwaysAllow, so no SubjectAccessReview was sent"
		return s
	case c.Result == authchain.CheckAllowed:
		s.State, s.Message = Passed, "allowed"
	case last:
		s.State, s.Message = Failed, "denied (403)"
	default:
		s.State, s.Message = Failed, "denied; the next check decides"
	}
	s.fact("reason", c.Reason)
	switch {
	case c.Cached:
		s.fact("review", "no SubjectAccessReview: the result was cached")
	case c.Reviews == 1:
		s.fact("review", "SubjectAccessReview sent")
	case c.Reviews > 1:
		s.fact("review", fmt.Sprintf("SubjectAccessReview sent %d times", c.Reviews))
	}
	s.fact("duration", durationText(c.Duration))
	return s
}

func (e *explainer) response() Stage {
	s := Stage{ID: StageResponse, Name: "response"}
	if e.noRequest() {
		s.State, s.Message = NotReached, e.notReached()
		return s
	}
	s.State, s.Message = Passed, fmt.Sprintf("%d %s", e.d.Status, http.StatusText(e.d.Status))
	if e.d.Status >= http.StatusBadRequest {
		s.State = Failed
		if Outcome(e.d.Outcome) == Allowed {
			s.Message += ", from the handler: the request was authorized"
		}
	}
	s.fact("error", strings.TrimSpace(e.d.Err))
	s.fact("duration", durationText(e.d.Duration))
	return s
}

// resource returns the resource of an authorization check as RBAC rules name it, such as nodes/proxy.
func resource(c *authchain.Check) string {
	if c.Subresource == "" {
		return c.Resource
	}
	return c.Resource + "/" + c.Subresource
}

func dates(from, until time.Time) string {
	return fmt.Sprintf("from %s until %s", from.UTC().Format(time.RFC3339), until.UTC().Format(time.RFC3339))
}

func plural(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return strconv.Itoa(n) + " " + thing + "s"
}
