package admin

import (
	"context"
	"net/http"

	"fauxlet/internal/decisions"
)

// Sender sends requests to the stand-in kubelet, with the credentials of several example clients. Only the process of
// "fauxlet demo" has a Sender.
type Sender interface {
	// Clients returns the clients on whose behalf Send can send requests, each with a description of its credential.
	Clients() []SendClient
	// Send sends a request to the stand-in kubelet. It must not send requests to any other server.
	Send(ctx context.Context, request SendRequest) (*SendResult, error)
}

// SendClient is a client on whose behalf the Sender can send requests.
type SendClient struct {
	Name string `json:"name"`
	// Description describes the client's credential.
	Description string `json:"description"`
}

// SendRequest is the body of a request to /api/send. Path may have a query.
type SendRequest struct {
	Client string `json:"client"`
	Method string `json:"method"`
	Path   string `json:"path"`
}

// SendResult is the response of /api/send.
type SendResult struct {
	// Decision is the ID of the Decision about the request, or 0 if the Decision was not recorded in time.
	Decision uint64 `json:"decision,omitempty"`
	Status   int    `json:"status"`
	// Body is the beginning of the response body, or empty if the body is not text.
	Body string `json:"body,omitempty"`
	// Command is a shell command with which the user can send this request again.
	Command string `json:"command,omitempty"`
	// Remote is the address from which the request was sent.
	Remote string `json:"remote"`
}

func (s *Server) getClients(w http.ResponseWriter, _ *http.Request) error {
	return writeJSON(w, http.StatusOK, map[string]any{"clients": s.options.Sender.Clients()})
}

func (s *Server) postSend(w http.ResponseWriter, r *http.Request) error {
	var request SendRequest
	if err := readJSON(w, r, &request); err != nil {
		return err
	}
	follower := s.recorder.Follow(s.recorder.LastID())
	defer follower.Close()
	result, err := s.options.Sender.Send(r.Context(), request)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(r.Context(), s.limits.decision)
	defer cancel()
	if e, err := follower.Wait(ctx, decisions.From(result.Remote)); err == nil {
		result.Decision = e.ID
	}
	return writeJSON(w, http.StatusOK, result)
}
