package authchain

import (
	"net/http"

	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/request/anonymous"
)

// newAnonymousStep returns the last step. It authenticates any request as system:anonymous, in the group
// system:unauthenticated. A request with a refused credential does not reach this step.
func newAnonymousStep() authenticator.Request {
	return recordedStep{
		method:        MethodAnonymous,
		authenticator: anonymous.NewAuthenticator(nil),
		explain:       func(*http.Request, *Step) {},
	}
}
