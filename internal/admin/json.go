package admin

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
)

// apiError is an error with the status code of the response that reports it.
type apiError struct {
	status  int
	message string
}

func (e *apiError) Error() string { return e.message }

func errorf(status int, format string, args ...any) *apiError {
	return &apiError{status, fmt.Sprintf(format, args...)}
}

// handler serves a request or returns an error. An error that is not an apiError gets a response with status 400.
type handler func(http.ResponseWriter, *http.Request) error

func (h handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if err := h(w, r); err != nil {
		writeError(w, err)
	}
}

func writeError(w http.ResponseWriter, err error) {
	status := http.StatusBadRequest
	if refused, ok := errors.AsType[*apiError](err); ok {
		status = refused.status
	}
	_ = writeJSON(w, status, map[string]string{"error": err.Error()})
}

func writeJSON(w http.ResponseWriter, status int, value any) error {
	data, err := json.Marshal(value)
	if err != nil {
		return errorf(http.StatusInternalServerError, "%v", err)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(data, '\n')) // an error means that the client has disconnected
	return nil
}

// maxBody is the maximum size of a request's body, in bytes. For requests that inject a fault, the limit is maxFault.
const maxBody = 64 << 10

// readJSON reads a request's body and rejects unknown fields.
func readJSON(w http.ResponseWriter, r *http.Request, into any) error {
	decoder := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		return errorf(http.StatusBadRequest, "invalid request body: %v", err)
	}
	return nil
}
