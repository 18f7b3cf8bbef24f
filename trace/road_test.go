package trace_test

import (
	"strings"
	"testing"
	"time"

	"fauxlet/authchain"
	"fauxlet/trace"
)

// TestRoad: each stop, in order, with what became of the request there.
func TestRoad(t *testing.T) {
	secure := &authchain.Connection{Version: "TLS 1.3", CipherSuite: "TLS_AES_128_GCM_SHA256", ServerName: "node-1", Certificate: &authchain.Certificate{
		Subject: "CN=viewer", Issuer: "CN=ca", NotAfter: time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)}}
	bare := &authchain.Connection{Version: "TLS 1.2", CipherSuite: "TLS_X", Protocol: "h2", Resumed: true}
	step := func(method authchain.Method, outcome authchain.Outcome, reason string) authchain.Step {
		return authchain.Step{Method: method, Outcome: outcome, Reason: reason}
	}
	question := func(subresource string, answer authchain.Answer, reviews int, cached bool, reason string) authchain.Question {
		return authchain.Question{Verb: "get", Resource: "nodes", Subresource: subresource, Name: "node-1", Answer: answer, Reviews: reviews, Cached: cached, Reason: reason}
	}
	viewer := &authchain.Identity{Name: "viewer", Groups: []string{"a", "b"}}
	for name, test := range map[string]struct {
		report authchain.Report
		want   string
	}{
		"a certificate, denied": {authchain.Report{Remote: "1.2.3.4:5", Connection: secure, Method: "GET", Path: "/pods", Status: 403,
			Authentication: []authchain.Step{step(authchain.MethodX509, authchain.OutcomeAuthenticated, "")}, User: viewer,
			Authorization: []authchain.Question{question("pods", authchain.AnswerDenied, 1, false, ""), question("proxy", authchain.AnswerDenied, 0, true, "no binding")}}, `
			TLS passed: TLS 1.3, TLS_AES_128_GCM_SHA256, for the name node-1, from 1.2.3.4:5
			client certificate passed: CN=viewer, issued by CN=ca, good until 2027-01-01T00:00:00Z
			token not reached: the client was known already
			anonymous not reached: the client was known already
			identity passed: viewer, of a, b
			attributes passed: GET /pods is get nodes/pods, or else get nodes/proxy
			review refused: get nodes/pods of node-1: denied, asked
			review refused: get nodes/proxy of node-1: denied, remembered: no binding
			answer refused: 403 Forbidden`},
		"no credential": {authchain.Report{Remote: "1.2.3.4:5", Connection: bare, Method: "GET", Path: "/pods", Status: 401, Outcome: "refused",
			Authentication: []authchain.Step{step(authchain.MethodX509, authchain.OutcomeNotMine, "no client certificate was presented"),
				step(authchain.MethodBearerToken, authchain.OutcomeNotMine, "no bearer token"), step(authchain.MethodWebSocketToken, authchain.OutcomeNotMine, "no websocket token")}}, `
			TLS passed: TLS 1.2, TLS_X, h2, resumed, from 1.2.3.4:5
			client certificate not mine: no client certificate was presented
			token not mine: no bearer token
			anonymous not reached: anonymous authentication is off
			identity refused: nobody knows who the client is
			attributes not reached: the client is not known
			review not reached: the client is not known
			answer refused: 401 Unauthorized`},
		"a bad certificate and a token by WebSocket": {authchain.Report{Remote: "1.2.3.4:5", Connection: secure, Method: "GET", Path: "/x", Status: 404, Err: "no such pod",
			Authentication: []authchain.Step{step(authchain.MethodX509, authchain.OutcomeRefused, "unknown CA"),
				step(authchain.MethodBearerToken, authchain.OutcomeNotMine, "none"), {Method: authchain.MethodWebSocketToken, Outcome: authchain.OutcomeAuthenticated, Token: "12345678", Cached: true}},
			User: viewer, Authorization: []authchain.Question{question("proxy", authchain.AnswerAllowed, 2, false, "")}}, `
			TLS passed: TLS 1.3, TLS_AES_128_GCM_SHA256, for the name node-1, from 1.2.3.4:5
			client certificate refused: CN=viewer, issued by CN=ca, good until 2027-01-01T00:00:00Z: unknown CA
			token passed: token 12345678 (the first letters of its SHA-256), remembered
			anonymous not reached: the client was known already
			identity passed: viewer, of a, b
			attributes passed: GET /x is get nodes/proxy
			review passed: get nodes/proxy of node-1: allowed, asked 2 times
			answer refused: 404 Not Found: no such pod`},
		"a broken reviewer": {authchain.Report{Remote: "1.2.3.4:5", Connection: bare, Method: "HEAD", Path: "/pods", Status: 401, Outcome: "broken",
			Authentication: []authchain.Step{step(authchain.MethodX509, authchain.OutcomeNotMine, "none"), step(authchain.MethodBearerToken, authchain.OutcomeBroken, "down")}}, `
			TLS passed: TLS 1.2, TLS_X, h2, resumed, from 1.2.3.4:5
			client certificate not mine: none
			token broken: down
			anonymous not reached: a credential that was refused is not made up for by being anonymous
			identity broken: it could not be found out who the client is
			attributes not reached: the client is not known
			review not reached: the client is not known
			answer refused: 401 Unauthorized`},
		"nobody to ask": {authchain.Report{Remote: "1.2.3.4:5", Method: "HEAD", Path: "/pods", Status: 200}, `
			TLS not mine: plain HTTP, from 1.2.3.4:5
			client certificate not reached: nobody is asked here
			token not reached: nobody is asked here
			anonymous not reached: nobody is asked here
			identity not reached: nobody is asked here
			attributes not reached: nobody is asked here
			review not reached: nobody is asked here
			answer passed: 200 OK`},
		"anonymous, without a verb": {authchain.Report{Remote: "1.2.3.4:5", Connection: bare, Method: "HEAD", Path: "/pods", Status: 500,
			Authentication: []authchain.Step{step(authchain.MethodX509, authchain.OutcomeNotMine, "none"), step(authchain.MethodAnonymous, authchain.OutcomeAuthenticated, "")},
			User:           &authchain.Identity{Name: "system:anonymous"}, Authorization: []authchain.Question{{Resource: "nodes", Subresource: "proxy", Name: "node-1", Answer: authchain.AnswerFailed, Reviews: 5}}}, `
			TLS passed: TLS 1.2, TLS_X, h2, resumed, from 1.2.3.4:5
			client certificate not mine: none
			token not reached: the client was known already
			anonymous passed: system:anonymous
			identity passed: system:anonymous
			attributes passed: HEAD /pods is "" (the method has no verb) nodes/proxy
			review broken: "" (the method has no verb) nodes/proxy of node-1: failed, asked 5 times
			answer broken: 500 Internal Server Error`},
		"a failed handshake": {authchain.Report{Remote: "1.2.3.4:5", Outcome: "refused", Handshake: "no TLS"}, `
			TLS refused: no TLS
			client certificate not reached: there was no request
			token not reached: there was no request
			anonymous not reached: there was no request
			identity not reached: there was no request
			attributes not reached: there was no request
			review not reached: there was no request
			answer not reached: there was no request`},
		"no request": {authchain.Report{Remote: "1.2.3.4:5", Connection: bare, NoRequest: "nothing came"}, `
			TLS passed: TLS 1.2, TLS_X, h2, resumed, from 1.2.3.4:5
			client certificate not reached: there was no request
			token not reached: there was no request
			anonymous not reached: there was no request
			identity not reached: there was no request
			attributes not reached: there was no request
			review not reached: there was no request
			answer not reached: nothing came`},
	} {
		t.Run(name, func(t *testing.T) {
			var lines []string
			for _, stop := range trace.Road(&test.report) {
				lines = append(lines, stop.Name+" "+string(stop.Result)+": "+stop.Text)
			}
			want := strings.ReplaceAll(strings.TrimSpace(test.want), "\t", "")
			if got := strings.Join(lines, "\n"); got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}
