package explain

import "fauxlet/authchain"

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
	// failed: the request was refused here, or an error occurred. The Message says which.
	failed State = "failed"
	// skipped: the stage did not apply to the request.
	skipped State = "skipped"
	// notReached: an earlier stage ended the request.
	notReached State = "not reached"
)

// The IDs of the stages, in order. An Explanation has each stage once, except stageAuthorization, which it has once
// per authorization check.
const (
	StageTLS           = "tls"
	stageCertificate   = "certificate"
	stageToken         = "token"
	stageAnonymous     = "anonymous"
	stageIdentity      = "identity"
	stageAttributes    = "attributes"
	stageAuthorization = "authorization"
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

// is sets the state and the message.
func (s *Stage) is(state State, message string) { s.State, s.Message = state, message }

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
		return skipped
	}
	return failed
}
