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

// The method "stages" returns the stages in the order in which a kubelet handles a request.
func (e *explainer) stages() []Stage {
	var all []Stage
	add := func(id, name string, explain func(*Stage)) {
		s := Stage{ID: id, Name: name, State: notReached}
		switch {
		case e.noRequest() && id != StageTLS:
			s.Message = "there was no request"
		case e.noAuthentication() && id != StageTLS && id != StageResponse:
			s.Message = "no authentication"
		default:
			explain(&s)
		}
		all = append(all, s)
	}
	add(StageTLS, "TLS", e.tls)
	add(stageCertificate, "client certificate", e.certificate)
	add(stageToken, "token", e.token)
	add(stageAnonymous, "anonymous", e.anonymous)
	add(stageIdentity, "identity", e.identity)
	add(stageAttributes, "attributes", e.attributes)
	checks := e.d.Authorization
	for i := range checks {
		add(stageAuthorization, "authorization of "+resource(&checks[i]),
			func(s *Stage) { authorization(s, &checks[i], i == len(checks)-1) })
	}
	if len(checks) == 0 {
		add(stageAuthorization, "authorization", e.attributes)
	}
	add(StageResponse, "response", e.response)
	return all
}

func (e *explainer) tls(s *Stage) {
	switch c := e.d.Connection; {
	case e.d.Handshake != "":
		s.is(failed, "the handshake failed: "+e.d.Handshake)
	case c == nil:
		s.is(skipped, "plain HTTP")
	default:
		s.is(Passed, "the client accepted the serving certificate, or did not verify it")
		s.fact("version", c.Version)
		s.fact("cipher suite", c.CipherSuite)
		s.fact("server name", c.ServerName)
		s.fact("protocol", c.Protocol)
		if c.Resumed {
			s.fact("session", "resumed")
		}
	}
	s.fact("remote", e.d.Remote)
}

func (e *explainer) certificate(s *Stage) {
	step := e.step(authchain.MethodX509)
	if step == nil {
		s.Message = e.notReached()
		return
	}
	s.is(stateOf(step), step.Reason)
	if s.State == Passed {
		s.Message = fmt.Sprintf("valid; authenticated as %q", e.d.User.Name)
	}
	if e.d.Connection == nil || e.d.Connection.Certificate == nil {
		if e.facts.noClientCA() {
			s.fact("requested", "no: authentication.x509.clientCAFile is not set")
		}
		return
	}
	leaf := e.d.Connection.Certificate
	s.fact("subject", leaf.Subject)
	s.fact("issuer", leaf.Issuer)
	s.fact("serial", leaf.Serial)
	s.fact("valid", dates(leaf.NotBefore, leaf.NotAfter))
	presented := e.facts.Presented
	if len(presented) == 0 {
		return
	}
	s.fact("usage", usages(presented[0]))
	if len(presented) > 1 {
		s.fact("intermediates", strconv.Itoa(len(presented)-1))
	}
	s.fact("clientCAFile", e.facts.unread)
	s.problems(clientCertificateProblems(presented, e.facts.ClientCAs, e.d.Time))
}

// The method "problems" adds the problems of a certificate as facts.
func (s *Stage) problems(all []problem) {
	for _, p := range all {
		name := "problem"
		if p.Harmless {
			name = "note"
		}
		s.fact(name, p.Message)
	}
}

func (e *explainer) token(s *Stage) {
	step := e.step(authchain.MethodBearerToken, authchain.MethodWebSocketToken)
	if step == nil {
		if e.d.By == authchain.MethodX509 {
			s.Message = e.notReached()
		} else {
			s.is(skipped, "no bearer token in the Authorization header; "+
				"authentication.webhook.enabled is false, so it would not be read")
		}
		return
	}
	s.is(stateOf(step), step.Reason)
	if s.State == Passed {
		s.Message = fmt.Sprintf("the TokenReview authenticated it as %q", e.d.User.Name)
	}
	if step.Token == "" {
		return
	}
	found, review := "the Authorization header", "TokenReview sent"
	if step.Method == authchain.MethodWebSocketToken {
		found = "the WebSocket subprotocols"
	}
	if step.Cached {
		review = "no TokenReview: the result was cached"
	}
	s.fact("found in", found)
	s.fact("token", "SHA-256 "+step.Token+"…")
	s.fact("review", review)
	s.duration(step.Duration)
}

func (e *explainer) anonymous(s *Stage) {
	isFailed := func(step authchain.Step) bool { return stateOf(&step) == failed }
	switch {
	case e.step(authchain.MethodAnonymous) != nil:
		s.is(Passed, "no credential was accepted and none was refused, so the user is system:anonymous")
	case e.d.User != nil || slices.ContainsFunc(e.d.Authentication, isFailed):
		s.Message = e.notReached()
	default:
		s.is(skipped, "authentication.anonymous.enabled is false")
	}
}

func (e *explainer) identity(s *Stage) {
	switch u := e.d.User; {
	case u != nil:
		s.is(Passed, fmt.Sprintf("user %q", u.Name))
		switch n := len(u.Groups); n {
		case 0:
		case 1:
			s.Message += ", 1 group"
		default:
			s.Message += fmt.Sprintf(", %d groups", n)
		}
		s.fact("user", u.Name)
		s.fact("uid", u.UID)
		s.fact("groups", strings.Join(u.Groups, ", "))
		for _, key := range slices.Sorted(maps.Keys(u.Extra)) {
			s.fact(key, strings.Join(u.Extra[key], ", "))
		}
		s.fact("authenticated by", string(e.d.By))
	case Outcome(e.d.Outcome) == Error:
		s.is(failed, "not authenticated: verifying a credential failed with an error (401)")
	default:
		s.is(failed, "not authenticated (401)")
	}
}

func (e *explainer) attributes(s *Stage) {
	checks := e.d.Authorization
	if len(checks) == 0 {
		s.Message = "the client is not authenticated"
		return
	}
	names := make([]string, len(checks))
	for i := range checks {
		names[i] = resource(&checks[i])
	}
	verb := checks[0].Verb
	if verb == "" {
		verb = `"" (this HTTP method has no verb)`
	}
	s.is(Passed, fmt.Sprintf("%s %s requires the verb %s on %s",
		e.d.Method, e.d.Path, verb, strings.Join(names, ", or else on ")))
	s.fact("verb", verb)
	s.fact("resource", strings.Join(names, ", or else "))
	s.fact("node", checks[0].Name)
}

func authorization(s *Stage, c *authchain.Check, last bool) {
	switch {
	case c.Result == authchain.CheckError:
		s.is(failed, "error: the SubjectAccessReview failed")
	case c.Reviews == 0 && !c.Cached:
		s.is(Passed, "allowed: authorization.mode is AlwaysAllow, so no SubjectAccessReview was sent")
		return
	case c.Result == authchain.CheckAllowed:
		s.is(Passed, "allowed")
	case last:
		s.is(failed, "denied (403)")
	default:
		s.is(failed, "denied; the next check decides")
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
	s.duration(c.Duration)
}

func (e *explainer) response(s *Stage) {
	s.is(Passed, fmt.Sprintf("%d %s", e.d.Status, http.StatusText(e.d.Status)))
	if e.d.Status >= http.StatusBadRequest {
		s.State = failed
		if Outcome(e.d.Outcome) == Allowed {
			s.Message += ", from the handler: the request was authorized"
		}
	}
	s.fact("error", strings.TrimSpace(e.d.Err))
	s.duration(e.d.Duration)
}

// step returns the authentication step that used one of the given methods. If there are several such steps, it prefers
// one that was not skipped.
func (e *explainer) step(methods ...authchain.Method) (found *authchain.Step) {
	for i := range e.d.Authentication {
		s := &e.d.Authentication[i]
		if slices.Contains(methods, s.Method) && (found == nil || found.Outcome == authchain.OutcomeSkipped &&
			s.Outcome != authchain.OutcomeSkipped) {
			found = s
		}
	}
	return found
}

// notReached returns the message for an authentication stage that was not reached: the result of the earlier stage that
// ended the authentication.
func (e *explainer) notReached() string {
	switch e.d.By {
	case authchain.MethodX509:
		return "already authenticated by the client certificate"
	case authchain.MethodBearerToken, authchain.MethodWebSocketToken:
		return "already authenticated by the token"
	}
	return "a credential was refused; a request with a bad credential is never treated as anonymous"
}

func (s *Stage) duration(d time.Duration) {
	if d > 0 {
		s.fact("duration", d.Round(time.Microsecond).String())
	}
}

// resource returns the resource of an authorization check as RBAC rules name it, such as nodes/proxy.
func resource(c *authchain.Check) string {
	return strings.TrimSuffix(c.Resource+"/"+c.Subresource, "/")
}

func dates(from, until time.Time) string {
	return fmt.Sprintf("from %s until %s", from.UTC().Format(time.RFC3339), until.UTC().Format(time.RFC3339))
}
