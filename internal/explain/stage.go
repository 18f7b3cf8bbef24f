package explain

import (
	"fmt"
	"time"

	"fauxlet/authchain"
)

// Stage is one part of an Explanation.
type Stage struct {
	ID string `json:"id"`
	// Name is the stage's name for display, such as "client certificate".
	Name  string `json:"name"`
	State State  `json:"state"`
	// Message states what happened: a sentence without a full stop.
	Message string `json:"message"`
	Facts   []Fact `json:"facts,omitempty"`
}

// State is the result of a Stage.
type State string

const (
	Passed State = "passed"
	// Failed: the request was refused here, or an error occurred. The Message says which.
	Failed State = "failed"
	// Skipped: the stage did not apply to the request.
	Skipped State = "skipped"
	// NotReached: an earlier stage ended the request.
	NotReached State = "not reached"
)

// The IDs of the stages, in order. An Explanation has each stage once, except StageAuthorization, which it has once
// per authorization check.
const (
	StageTLS           = "tls"
	StageCertificate   = "certificate"
	StageToken         = "token"
	StageAnonymous     = "anonymous"
	StageIdentity      = "identity"
	StageAttributes    = "attributes"
	StageAuthorization = "authorization"
	StageResponse      = "response"
)

// Fact is a detail of a Stage.
type Fact struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// fact adds a Fact unless its value is empty.
func (s *Stage) fact(name, value string) {
	if value != "" {
		s.Facts = append(s.Facts, Fact{name, value})
	}
}

// Stage returns the first stage with an ID, or nil.
func (e *Explanation) Stage(id string) *Stage {
	for i := range e.Stages {
		if e.Stages[i].ID == id {
			return &e.Stages[i]
		}
	}
	return nil
}

// stateOf returns the state for the outcome of an authentication step.
func stateOf(s *authchain.Step) State {
	switch s.Outcome {
	case authchain.OutcomeAuthenticated:
		return Passed
	case authchain.OutcomeSkipped:
		return Skipped
	}
	return Failed
}

// step returns the Decision's step for one of the methods. A step that was not skipped takes precedence.
func (e *explainer) step(methods ...authchain.Method) *authchain.Step {
	var found *authchain.Step
	for _, method := range methods {
		for i := range e.d.Authentication {
			s := &e.d.Authentication[i]
			if s.Method != method {
				continue
			}
			if found == nil || found.Outcome == authchain.OutcomeSkipped && s.Outcome != authchain.OutcomeSkipped {
				found = s
			}
		}
	}
	return found
}

// credentialFailed reports whether a credential was refused or could not be verified.
func (e *explainer) credentialFailed() bool {
	for i := range e.d.Authentication {
		if stateOf(&e.d.Authentication[i]) == Failed {
			return true
		}
	}
	return false
}

// notReached returns the message of a stage that was not reached.
func (e *explainer) notReached() string {
	switch {
	case e.noRequest():
		return "there was no request"
	case e.noAuthentication():
		return "no authentication"
	case e.d.User != nil:
		return fmt.Sprintf("already authenticated by the %s", methodNames[e.d.By])
	}
	return "a credential was refused; a request with a bad credential is never treated as anonymous"
}

var methodNames = map[authchain.Method]string{
	authchain.MethodX509:           "client certificate",
	authchain.MethodBearerToken:    "token",
	authchain.MethodWebSocketToken: "token",
	authchain.MethodAnonymous:      "anonymous step",
}

func durationText(d time.Duration) string {
	if d <= 0 {
		return ""
	}
	return d.Round(time.Microsecond).String()
}
