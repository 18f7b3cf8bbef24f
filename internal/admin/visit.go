package admin

import (
	"context"
	"net/http"
)

// Visitors send requests to the stand-in, each as somebody whom it knows or does not know. There are none but in a demo.
type Visitors interface {
	// Visitors are who there are.
	Visitors() []Visitor
	// Send sends a request, to the stand-in alone.
	Send(ctx context.Context, visit Visit) (*Visited, error)
}

// Visitor is somebody who sends requests.
type Visitor struct {
	Name string `json:"name"`
	// Says is who it is, in words.
	Says string `json:"says"`
}

// Visit is a request that is to be sent: a method, and a path that may have a query.
type Visit struct {
	As     string `json:"as"`
	Method string `json:"method"`
	Path   string `json:"path"`
}

// Visited is what became of it.
type Visited struct {
	// Decision is its id, 0 where the answer came before it was known.
	Decision uint64 `json:"decision,omitempty"`
	Status   int    `json:"status"`
	// Body is the beginning of the answer, where it is text.
	Body string `json:"body,omitempty"`
	// Line is the same request as a line for a shell.
	Line string `json:"line,omitempty"`
	// Remote is the address that it was sent from.
	Remote string `json:"remote"`
}

func (s *Server) getVisitors(w http.ResponseWriter, _ *http.Request) error {
	if s.options.Visitors == nil {
		return errNoVisitors
	}
	return writeJSON(w, http.StatusOK, map[string]any{"visitors": s.options.Visitors.Visitors()})
}

var errNoVisitors = refuse(http.StatusNotImplemented, "nobody sends requests from here: that is for fauxlet demo")

func (s *Server) postSend(w http.ResponseWriter, r *http.Request) error {
	if s.options.Visitors == nil {
		return errNoVisitors
	}
	var visit Visit
	if err := readJSON(w, r, &visit); err != nil {
		return err
	}
	follower := s.recorder.Follow(s.recorder.last.Load())
	defer follower.Close()
	visited, err := s.options.Visitors.Send(r.Context(), visit)
	if err != nil {
		return err
	}
	visited.Decision = s.decided(r.Context(), follower, visited.Remote)
	return writeJSON(w, http.StatusOK, visited)
}

// decided waits for the decision about a request from an address, which is recorded just after its answer was sent.
func (s *Server) decided(ctx context.Context, follower *Follower, remote string) uint64 {
	ctx, cancel := context.WithTimeout(ctx, s.limits.decided)
	defer cancel()
	for {
		entries, _, err := follower.Next(ctx)
		for _, e := range entries {
			if e.Decision.Remote == remote {
				return e.ID
			}
		}
		if err != nil {
			return 0
		}
	}
}
