package explain

import "fauxlet/authchain"

// Stage is one part of an Explanation.
type Stage struct {
	ID string `json:"id"`
	// Name is the stage's name for display, such as "client certificate".
	Name  string `json:"name"`
	State State  `json:"state"`
	// Message is a sentence, without a full stop, that states what happened in the stage.
	Message string `json:"message"`
	Facts   []Fact `json:"facts,omitempty"`
}

// State is the result of a Stage.
type State string

const (
	Passed State = "passed"
	// failed means that the request was refused in the stage, or that an error occurred. Stage.Message states which.
	failed State = "failed"
	// skipped means that the stage did not apply to the request.
	skipped State = "skipped"
	// notReached means that the stage did not take place, because an earlier stage determined the result.
	notReached State = "not reached"
)

// These constants are the IDs of the stages, in order. An Explanation has one stage with each ID. It has several stages
// with the ID stageAuthorization if there were several authorization checks.
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

// Fact is a detail of a Stage, such as the subject of the client certificate.
type Fact struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// fact adds a Fact to the stage. It adds nothing if the value is empty.
func (s *Stage) fact(name, value string) {
	if value != "" {
		s.Facts = append(s.Facts, Fact{name, value})
	}
}

// The method "is" sets both the state and the message of the stage.
func (s *Stage) is(state State, message string) { s.State, s.Message = state, message }

// Stage returns the first stage with the given ID, or nil if there is none.
func (e *Explanation) Stage(id string) *Stage {
	for i := range e.Stages {
		if e.Stages[i].ID == id {
			return &e.Stages[i]
		}
	}
	return nil
}

// stateOf returns the State that corresponds to the outcome of an authentication step.
func stateOf(s *authchain.Step) State {
	switch s.Outcome {
	case authchain.OutcomeAuthenticated:
		return Passed
	case authchain.OutcomeSkipped:
		return skipped
	}
	return failed
}
