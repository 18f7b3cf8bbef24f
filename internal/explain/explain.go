// Package explain describes how a kubelet handled a request, and how to change the result. An [Explanation] goes
// through the stages of a [authchain.Decision] (TLS, client certificate, token, anonymous, identity, attributes,
// authorization, response). If the request was refused or failed, it lists a [Remedy] for each likely cause.
//
// This package does not authenticate or authorize: the Decision already states what happened. An Explanation adds
// descriptions, the facts of each stage, all problems of a certificate instead of only the first one, and the remedies.
package explain

import (
	"net/http"
	"strings"

	"fauxlet/authchain"
)

// Explanation describes, stage by stage, how a kubelet handled one request.
type Explanation struct {
	Stages  []Stage `json:"stages"`
	Outcome Outcome `json:"outcome"`
	// Status is the response's status code. It is 0 if there was no request.
	Status int `json:"status,omitempty"`
	// Reason is a sentence, without a full stop, that states the cause of the outcome.
	Reason string `json:"reason"`
	// Remedies are changes that would make the request succeed, the most likely one first. There are remedies only if
	// the outcome is Refused or Error.
	Remedies []Remedy `json:"remedies,omitempty"`
}

// Outcome is the final result of a request. It extends the outcomes of a Decision to requests without authentication.
type Outcome string

const (
	// Allowed means that the client is authenticated and authorized. The handler may still have returned an error; see
	// Explanation.Status.
	Allowed Outcome = "allowed"
	// Refused means that the client is not authenticated or not authorized, or that the TLS handshake failed.
	Refused Outcome = "refused"
	// Error means that authentication or authorization ended with an error, so it is unknown whether the client is
	// allowed.
	Error Outcome = "error"
	// NoAuthentication means that the request was served without authentication, as on the read-only port.
	NoAuthentication Outcome = "no authentication"
	// notServed means that no handler serves the path, so the kubelet did not authenticate the client.
	notServed Outcome = "not served"
	// NoRequest means that the connection ended before the client sent a request.
	NoRequest Outcome = "no request"
)

// Decision explains a complete Decision. It takes the client's certificates from the Decision.
func Decision(d *authchain.Decision, facts Facts) Explanation {
	if d.TLS != nil {
		facts.Presented = d.TLS.PeerCertificates
	}
	report := d.Report()
	return Report(&report, facts)
}

// Report explains the Report of a Decision, for callers that do not have the Decision itself. A Report does not contain
// the client certificate. If facts.Presented contains it, Report also checks it for problems.
func Report(d *authchain.Report, facts Facts) Explanation {
	e := explainer{d: d, facts: facts}
	explanation := Explanation{Stages: e.stages(), Status: d.Status}
	explanation.Outcome, explanation.Reason = e.outcome()
	if explanation.Outcome == Refused || explanation.Outcome == Error {
		explanation.Remedies = remedies(d, facts)
	}
	e.addCertificateCause(&explanation)
	return explanation
}

// explainer builds one Explanation from the Report of a Decision and from the Facts.
type explainer struct {
	d     *authchain.Report
	facts Facts
}

// noRequest reports whether the connection ended before the client sent a request.
func (e *explainer) noRequest() bool { return e.d.Handshake != "" || e.d.NoRequest != "" }

func (e *explainer) noAuthentication() bool { return !e.noRequest() && len(e.d.Authentication) == 0 }

func (e *explainer) outcome() (Outcome, string) {
	switch {
	case e.d.NoRequest != "":
		return NoRequest, e.d.NoRequest
	case !e.noAuthentication():
		return Outcome(e.d.Outcome), strings.TrimPrefix(e.d.Why, e.d.Outcome+": ")
	case e.d.Status >= http.StatusMultipleChoices:
		return notServed, "nothing is served at this path; the client was not authenticated"
	case e.d.Method == http.MethodOptions && e.d.Path == "*":
		return NoAuthentication, "OPTIONS * is answered without authentication, and the answer has no content"
	}
	return NoAuthentication, "this port does not authenticate clients"
}
