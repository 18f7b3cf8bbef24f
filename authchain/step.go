package authchain

import (
	"net/http"
	"time"

	"k8s.io/apiserver/pkg/authentication/authenticator"
)

// recordedStep wraps an authenticator and records its outcome as a Step of the request's Decision.
type recordedStep struct {
	method        Method
	authenticator authenticator.Request
	// The function "explain" sets the step's reason. It may change the outcome from refused to error.
	explain func(*http.Request, *Step)
}

func (s recordedStep) AuthenticateRequest(r *http.Request) (*authenticator.Response, bool, error) {
	decision := FromContext(r.Context())
	step := decision.beginStep(s.method)
	response, ok, err := s.authenticator.AuthenticateRequest(r)
	step.Duration, step.err = time.Since(decision.Time)-step.Start, err
	switch {
	case err != nil:
		step.Outcome = OutcomeRefused
	case ok:
		step.Outcome = OutcomeAuthenticated
	default:
		step.Outcome = OutcomeSkipped
	}
	s.explain(r, step)
	return response, ok, err
}

// beginStep appends a step that begins now. The pointer is valid until the next step begins.
func (d *Decision) beginStep(method Method) *Step {
	d.Authentication = append(d.Authentication, Step{Method: method, Start: time.Since(d.Time)})
	return d.currentStep()
}

func (d *Decision) currentStep() *Step { return &d.Authentication[len(d.Authentication)-1] }

// beginCheck appends a check of a subresource of the node, which begins now. The pointer is valid until the next check
// begins.
func (d *Decision) beginCheck(verb, subresource, node string) *Check {
	d.Authorization = append(d.Authorization, Check{Verb: verb, Resource: "nodes", Subresource: subresource, Name: node,
		Start: time.Since(d.Time)})
	return d.currentCheck()
}

func (d *Decision) currentCheck() *Check { return &d.Authorization[len(d.Authorization)-1] }
