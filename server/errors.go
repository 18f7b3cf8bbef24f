package server

import (
	"errors"
	"fmt"
	"io"
	"net/http"

	"fauxlet/authchain"
	"fauxlet/config"
)

// statusError is an error that determines the status, the headers and the body of the response.
type statusError struct {
	status int
	body   string
	// allow is the Allow header of a 405 response.
	allow string
	// retryAfter is the Retry-After header of a 429 response, in seconds.
	retryAfter string
	// plain is true if [net/http.Error] writes the response, with its content type and line feed. Otherwise the
	// response has no content type. Older handlers of the kubelet use net/http.Error, newer handlers do not.
	plain bool
}

func (e *statusError) Error() string { return fmt.Sprintf("%d %s", e.status, e.body) }

func statusErrorf(status int, format string, args ...any) error {
	return &statusError{status: status, body: fmt.Sprintf(format, args...)}
}

func plainError(status int, err error) error {
	return &statusError{status: status, body: err.Error(), plain: true}
}

var errPageNotFound = statusErrorf(http.StatusNotFound, "404: Page Not Found")

// writeError writes the response for an error of [authchain.Chain.Decide] or of a handler. An error that is neither a
// Refusal nor a statusError becomes a 500 with the error's text. writeError records a handler's error in the Decision
// of the request. The chain has already recorded a Refusal.
func writeError(w http.ResponseWriter, r *http.Request, err error) {
	var refusal *authchain.Refusal
	if errors.As(err, &refusal) {
		w.WriteHeader(refusal.Status)
		io.WriteString(w, refusal.Body)
		return
	}
	response := &statusError{}
	if !errors.As(err, &response) {
		response = &statusError{status: http.StatusInternalServerError, body: err.Error()}
	}
	if d := authchain.FromContext(r.Context()); d != nil {
		d.Err = response.body
	}
	if response.plain {
		http.Error(w, response.body, response.status)
		return
	}
	if response.allow != "" {
		w.Header().Set("Allow", response.allow)
	}
	if response.retryAfter != "" {
		w.Header().Set("Retry-After", response.retryAfter)
	}
	w.WriteHeader(response.status)
	io.WriteString(w, response.body)
}

type errorHandler struct{ err error }

func (h errorHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) { writeError(w, r, h.err) }

// explainChainError adds a remedy to an error of [authchain.New], because the text of such an error is the kubelet's
// own and has no remedy.
func explainChainError(err error, c *config.Config) error {
	switch {
	case errors.Is(err, authchain.ErrNoTokenReviews):
		return fmt.Errorf("%w: authentication.webhook.enabled is true, but without --kubeconfig no apiserver can "+
			"review tokens; give --kubeconfig, or set authentication.webhook.enabled: false "+
			"(--authentication-token-webhook=false)", err)
	case errors.Is(err, authchain.ErrNoAccessReviews):
		return fmt.Errorf("%w: authorization.mode is Webhook, but without --kubeconfig no apiserver can review "+
			"permissions; give --kubeconfig, or set authorization.mode: AlwaysAllow "+
			"(--authorization-mode=AlwaysAllow)", err)
	}
	return fmt.Errorf("authorization.mode %q: %w; it is AlwaysAllow or Webhook", c.Kubelet.Authorization.Mode, err)
}
