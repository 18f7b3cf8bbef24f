package server

import (
	"errors"
	"fmt"
	"io"
	"net/http"

	"fauxlet/authchain"
	"fauxlet/config"
)

// answer is an error that says which response it is: what a handler returns when it has nothing better to send.
type answer struct {
	status int
	body   string
	// allow is the Allow header of a 405.
	allow string
	// plain answers are written by http.Error, the others without a content type; which of the two a kubelet does depends
	// on the age of the handler.
	plain bool
}

func (a *answer) Error() string { return fmt.Sprintf("%d %s", a.status, a.body) }

// refuse is an answer of status with a body in the manner of fmt.
func refuse(status int, format string, args ...any) error {
	return &answer{status: status, body: fmt.Sprintf(format, args...)}
}

var errPageNotFound = refuse(http.StatusNotFound, "404: Page Not Found")

// writeError turns the error of a handler into the response, and tells it in the Decision, which knows of refusals by
// itself. An error that is no answer is a 500 with its text.
func writeError(w http.ResponseWriter, r *http.Request, err error) {
	status, body := http.StatusInternalServerError, err.Error()
	var refusal *authchain.Refusal
	var a *answer
	if errors.As(err, &refusal) {
		status, body = refusal.Status, refusal.Body
	} else {
		if errors.As(err, &a) {
			status, body = a.status, a.body
		}
		if d := authchain.FromContext(r.Context()); d != nil {
			d.Err = body
		}
	}
	if a != nil {
		if a.plain {
			http.Error(w, a.body, a.status)
			return
		}
		if a.allow != "" {
			w.Header().Set("Allow", a.allow)
		}
	}
	w.WriteHeader(status)
	io.WriteString(w, body)
}

// explainChainError adds to an error of [authchain.New], which speaks as a kubelet does, what to change.
func explainChainError(err error, c *config.Config) error {
	switch {
	case errors.Is(err, authchain.ErrNoTokenReviews):
		return fmt.Errorf("%w: authentication.webhook.enabled is true, and tokens are reviewed by the apiserver that --kubeconfig names; give --kubeconfig, or set authentication.webhook.enabled: false (--authentication-token-webhook=false)", err)
	case errors.Is(err, authchain.ErrNoAccessReviews):
		return fmt.Errorf("%w: authorization.mode is Webhook, and access is reviewed by the apiserver that --kubeconfig names; give --kubeconfig, or set authorization.mode: AlwaysAllow (--authorization-mode=AlwaysAllow)", err)
	}
	return fmt.Errorf("authorization.mode %q: %w; it is AlwaysAllow or Webhook", c.Kubelet.Authorization.Mode, err)
}
