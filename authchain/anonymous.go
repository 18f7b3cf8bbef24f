package authchain

import (
	"net/http"

	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/request/anonymous"
)

// newAnonymousStep is the last resort: it takes whatever reaches it, as system:anonymous of system:unauthenticated. A
// request whose credential was refused does not reach it.
func newAnonymousStep() authenticator.Request {
	return step{
		method:        MethodAnonymous,
		authenticator: anonymous.NewAuthenticator(nil),
		explain:       func(*http.Request, *Step) {},
	}
}
