// Package explain describes how a kubelet handled a request, and how to change the result. An [Explanation] goes
// through the stages of a [authchain.Decision] (TLS, client certificate, token, anonymous, identity, attributes,
// authorization, response). If the request was refused or failed, it lists a [Remedy] for each likely cause.
//
// This package does not authenticate or authorize: the Decision already states what happened. An Explanation adds
// descriptions, the facts of each stage, all problems of a certificate instead of only the first one, and the
// remedies from remedies.go.
package explain

import (
	"net/http"
	"strings"

	"fauxlet/authchain"
)

// Explanation describes the handling of one request, stage by stage.
type Explanation struct {
	Stages  []Stage `json:"stages"`
	Outcome Outcome `json:"outcome"`
	// Status is the response's status code, 0 if there was no request.
	Status int `json:"status,omitempty"`
	// Reason is the cause of the outcome: a sentence without a full stop.
	Reason string `json:"reason"`
	// Remedies are changes that would make the request succeed, the most likely one first. Only the outcomes refused
	// and error have remedies.
	Remedies []Remedy `json:"remedies,omitempty"`
}

// Outcome is the final result of a request. It extends the outcomes of a Decision to requests without authentication.
type Outcome string

const (
	// Allowed: the client is authenticated and authorized. The handler may still have returned an error; see Status.
	Allowed Outcome = "allowed"
	// Refused: the client is not authenticated or not authorized, or the TLS handshake failed.
	Refused Outcome = "refused"
	// Error: authentication or authorization ended with an error.
	Error Outcome = "error"
	// NoAuthentication: the request was served without authentication, as on the read-only port.
	NoAuthentication Outcome = "no authentication"
	// notServed: no handler serves the path, so the kubelet did not authenticate the client.
	notServed Outcome = "not served"
	// NoRequest: the connection ended without a request.
	NoRequest Outcome = "no request"
)

// Decision explains a Decision that is complete.
func Decision(d *authchain.Decision, facts Facts) Explanation {
	if d.TLS != nil {
		facts.Presented = d.TLS.PeerCertificates
	}
	report := d.Report()
	return Report(&report, facts)
}

// Report explains a Decision if only its Report is available. It checks the client certificate for problems only if
// facts contains that certificate.
func Report(d *authchain.Report, facts Facts) Explanation {
	e := explainer{d: d, facts: facts}
	explanation := Explanation{Stages: e.stages(), Status: d.Status}
	explanation.Outcome, explanation.Reason = e.outcome()
	if explanation.Outcome == Refused || explanation.Outcome == Error {
		explanation.Remedies = remedies(d, facts)
	}
	return explanation
}

// explainer builds one Explanation from a Decision's Report and the facts.
type explainer struct {
	d     *authchain.Report
	facts Facts
}

// noRequest reports whether the connection ended before a request.
func (e *explainer) noRequest() bool { return e.d.Handshake != "" || e.d.NoRequest != "" }

// noAuthentication reports whether the request was answered without authentication.
func (e *explainer) noAuthentication() bool { return !e.noRequest() && len(e.d.Authentication) == 0 }

// outcome returns the outcome and its reason.
func (e *explainer) outcome() (Outcome, string) {
	switch {
	case e.d.NoRequest != "":
		return NoRequest, e.d.NoRequest
	case !e.noAuthentication():
		return Outcome(e.d.Outcome), strings.TrimPrefix(e.d.Why, e.d.Outcome+": ")
	case e.d.Status >= http.StatusMultipleChoices:
		return notServed, "nothing is served at this path; the client was not authenticated"
	}
	return NoAuthentication, "this port does not authenticate clients"
}
