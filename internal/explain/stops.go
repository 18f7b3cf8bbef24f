package explain

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"fauxlet/authchain"
)

// The stops, in their order.

func (w *walker) tls() Stop {
	s := w.stop(StopTLS, "TLS")
	switch c := w.d.Connection; {
	case w.d.Handshake != "":
		s.Outcome, s.Says = Stopped, "the handshake failed: "+w.d.Handshake
	case c == nil:
		s.Outcome, s.Says = NotMine, "plain HTTP"
	default:
		s.Outcome, s.Says = Passed, "the client accepts the serving certificate, or does not look at it"
		s.fact("version", c.Version)
		s.fact("cipher suite", c.CipherSuite)
		s.fact("server name", c.ServerName)
		s.fact("protocol", c.Protocol)
		if c.Resumed {
			s.fact("session", "resumed")
		}
	}
	s.fact("remote", w.d.Remote)
	return s
}

func (w *walker) certificate() Stop {
	s := w.stop(StopCertificate, "client certificate")
	step := w.step(authchain.MethodX509)
	if step == nil {
		s.Says = w.unreached()
		return s
	}
	s.Outcome, s.Says = outcomeOf(step), step.Reason
	if s.Outcome == Passed {
		s.Says = fmt.Sprintf("it is good, and stands for the user %q", w.d.User.Name)
	}
	if w.d.Connection == nil || w.d.Connection.Certificate == nil {
		if w.known.noClientCA() {
			s.fact("asked for", "no: authentication.x509.clientCAFile is not set")
		}
		return s
	}
	leaf := w.d.Connection.Certificate
	s.fact("subject", leaf.Subject)
	s.fact("issuer", leaf.Issuer)
	s.fact("serial", leaf.Serial)
	s.fact("valid", dates(leaf.NotBefore, leaf.NotAfter))
	if presented := w.known.Presented; len(presented) > 0 {
		s.fact("usage", usages(presented[0]))
		if len(presented) > 1 {
			s.fact("sent with it", plural(len(presented)-1, "more certificate"))
		}
		for _, fault := range ClientFaults(presented, w.known.ClientCAs, w.d.Time) {
			s.fact(map[bool]string{true: "mind", false: "wrong"}[fault.Harmless], fault.Says)
		}
	}
	return s
}

func (w *walker) token() Stop {
	s := w.stop(StopToken, "token")
	step := w.step(authchain.MethodBearerToken, authchain.MethodWebSocketToken)
	switch {
	case step != nil:
		s.Outcome, s.Says = outcomeOf(step), step.Reason
		if s.Outcome == Passed {
			s.Says = fmt.Sprintf("the TokenReview says that it is one of %q", w.d.User.Name)
		}
		if step.Token != "" {
			s.fact("found in", map[authchain.Method]string{
				authchain.MethodBearerToken: "the Authorization header", authchain.MethodWebSocketToken: "the WebSocket subprotocols"}[step.Method])
			s.fact("token", "SHA-256 "+step.Token+"…")
			s.fact("answer", map[bool]string{true: "remembered: no TokenReview was sent", false: "asked for, by a TokenReview"}[step.Cached])
			s.fact("took", took(step.Duration))
		}
	case w.unspoken() || w.unasked() || w.d.By == authchain.MethodX509:
		s.Says = w.unreached()
	default:
		s.Outcome, s.Says = NotMine, "no bearer token in the Authorization header; authentication.webhook.enabled is false, and none would be read"
	}
	return s
}

func (w *walker) anonymous() Stop {
	s := w.stop(StopAnonymous, "anonymous")
	switch {
	case w.step(authchain.MethodAnonymous) != nil:
		s.Outcome, s.Says = Passed, "no credential was refused, and none was good: the client is nobody in particular"
	case w.unspoken() || w.unasked() || w.d.User != nil:
		s.Says = w.unreached()
	case w.failed():
		s.Says = w.unreached()
	default:
		s.Outcome, s.Says = NotMine, "authentication.anonymous.enabled is false"
	}
	return s
}

func (w *walker) identity() Stop {
	s := w.stop(StopIdentity, "identity")
	switch {
	case w.d.User != nil:
		s.Outcome, s.Says = Passed, fmt.Sprintf("user %q", w.d.User.Name)
		if groups := w.d.User.Groups; len(groups) > 0 {
			s.Says += ", of " + plural(len(groups), "group")
		}
		s.fact("user", w.d.User.Name)
		s.fact("uid", w.d.User.UID)
		s.fact("groups", strings.Join(w.d.User.Groups, ", "))
		extra := w.d.User.Extra
		for _, key := range sortedKeys(extra) {
			s.fact(key, strings.Join(extra[key], ", "))
		}
		s.fact("by", string(w.d.By))
	case w.unspoken() || w.unasked():
		s.Says = w.unreached()
	case w.d.Outcome == "error":
		s.Outcome, s.Says = Failed, "nobody could find out who the client is: 401"
	default:
		s.Outcome, s.Says = Stopped, "nobody knows who the client is: 401"
	}
	return s
}

func (w *walker) attributes() Stop {
	s := w.stop(StopAttributes, "attributes")
	asked := w.d.Authorization
	if len(asked) == 0 {
		s.Says = map[bool]string{true: "nobody may do anything who is not known", false: w.unreached()}[w.d.User == nil && !w.unspoken() && !w.unasked()]
		return s
	}
	s.Outcome = Passed
	names := make([]string, len(asked))
	for i := range asked {
		names[i] = resource(&asked[i])
	}
	s.Says = fmt.Sprintf("%s %s is to %s %s of the node", w.d.Method, w.d.Path, verb(asked[0].Verb), strings.Join(names, ", then "))
	s.fact("verb", map[bool]string{true: `"": this method has none`, false: asked[0].Verb}[asked[0].Verb == ""])
	s.fact("resource", strings.Join(names, ", then "))
	s.fact("node", asked[0].Name)
	return s
}

func (w *walker) reviews() []Stop {
	if len(w.d.Authorization) == 0 {
		s := w.stop(StopReview, "review")
		s.Says = w.attributes().Says
		return []Stop{s}
	}
	stops := make([]Stop, len(w.d.Authorization))
	for i := range w.d.Authorization {
		stops[i] = w.review(&w.d.Authorization[i], i == len(w.d.Authorization)-1)
	}
	return stops
}

func (w *walker) review(q *authchain.Check, last bool) Stop {
	s := w.stop(StopReview, "review of "+resource(q))
	always := q.Reviews == 0 && !q.Cached && q.Result != authchain.CheckError
	switch {
	case q.Result == authchain.CheckError:
		s.Outcome, s.Says = Failed, "the SubjectAccessReview failed, so the check has no result"
	case always:
		s.Outcome, s.Says = Passed, "authorization.mode is AlwaysAllow: nobody is asked"
		return s
	case q.Result == authchain.CheckAllowed:
		s.Outcome, s.Says = Passed, "allowed"
	case last:
		s.Outcome, s.Says = Stopped, "not allowed: 403"
	default:
		s.Outcome, s.Says = NotMine, "not allowed; that is not the last word, and the next is asked"
	}
	s.fact("reason", q.Reason)
	switch {
	case q.Cached:
		s.fact("answer", "remembered: no SubjectAccessReview was sent")
	case q.Reviews == 1:
		s.fact("answer", "asked for, by a SubjectAccessReview")
	case q.Reviews > 1:
		s.fact("answer", fmt.Sprintf("asked for, by %d SubjectAccessReviews", q.Reviews))
	}
	s.fact("took", took(q.Duration))
	return s
}

func (w *walker) answer() Stop {
	s := w.stop(StopAnswer, "answer")
	switch {
	case w.unspoken():
		s.Says = w.unreached()
		return s
	case w.d.Status >= http.StatusInternalServerError:
		s.Outcome = Failed
	case w.d.Status >= http.StatusBadRequest:
		s.Outcome = Stopped
	default:
		s.Outcome = Passed
	}
	s.Says = fmt.Sprintf("%d %s", w.d.Status, http.StatusText(w.d.Status))
	if s.Outcome != Passed && w.d.Outcome == "allowed" {
		s.Says += ": the request was let in, and this is what its handler says"
	}
	s.fact("error", strings.TrimSpace(w.d.Err))
	s.fact("took", took(w.d.Duration))
	return s
}

func resource(q *authchain.Check) string {
	if q.Subresource == "" {
		return q.Resource
	}
	return q.Resource + "/" + q.Subresource
}

func verb(v string) string {
	if v == "" {
		return `"" (the method has no verb)`
	}
	return v
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

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}
