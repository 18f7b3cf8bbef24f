package authchain

import (
	"net/http"
	"time"

	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authorization/authorizer"
)

// recordedStep wraps an authenticator and records its outcome as a Step of the request's Decision.
type recordedStep struct {
	method        Method
	authenticator authenticator.Request
	// The function "explain" sets the step's reason. It may change the outcome from refused to error.
	explain func(*http.Request, *Step)
}

func (s recordedStep) AuthenticateRequest(r *http.Request) (*authenticator.Response, bool, error) {
	step, start := FromContext(r.Context()).beginStep(s.method), time.Now()
	response, ok, err := s.authenticator.AuthenticateRequest(r)
	step.Duration, step.err = time.Since(start), err
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

// beginCheck appends a check that begins now. The pointer is valid until the next check begins.
func (d *Decision) beginCheck(attrs authorizer.AttributesRecord) *Check {
	d.Authorization = append(d.Authorization, Check{Verb: attrs.Verb, Resource: attrs.Resource,
		Subresource: attrs.Subresource, Name: attrs.Name, Start: time.Since(d.Time)})
	return d.currentCheck()
}

func (d *Decision) currentCheck() *Check { return &d.Authorization[len(d.Authorization)-1] }
