package authchain

import (
	"net/http"

	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/request/anonymous"
)

// newAnonymousStep authenticates any request as system:anonymous, in the group system:unauthenticated. It is the last
// step. A request with a refused credential does not reach it.
func newAnonymousStep() authenticator.Request {
	return recordedStep{
		method:        MethodAnonymous,
		authenticator: anonymous.NewAuthenticator(nil),
		explain:       func(*http.Request, *Step) {},
	}
}
