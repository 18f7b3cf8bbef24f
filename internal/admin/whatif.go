package admin

import (
	"context"
	"net/http"

	"fauxlet/authchain"
	"fauxlet/internal/explain"
	"fauxlet/internal/explain/offline"
)

// WhatIf explains requests as if their node had other settings. It sends no requests to the node.
type WhatIf interface {
	// Settings returns the settings of a node that a what-if can change.
	Settings(node string) ([]offline.Setting, error)
	// Explain explains how the request of a Decision would have been handled with changed settings. The argument "set"
	// maps the field of each changed setting to the new value.
	Explain(ctx context.Context, node string, d *authchain.Decision, set map[string]string) (explain.Explanation, error)
}

// whatIfRequest is the body of a request to /api/whatif: the ID of a Decision, and the settings to change.
type whatIfRequest struct {
	Decision uint64            `json:"decision"`
	Set      map[string]string `json:"set"`
}

// whatIfResult is the response of /api/whatif.
type whatIfResult struct {
	Actual explain.Explanation `json:"actual"`
	WhatIf explain.Explanation `json:"whatIf"`
}

func (s *Server) getSettings(w http.ResponseWriter, r *http.Request) error {
	e, err := s.entryOf(r)
	if err != nil {
		return err
	}
	settings, err := s.options.WhatIf.Settings(e.Node)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, map[string]any{"settings": settings})
}

func (s *Server) postWhatIf(w http.ResponseWriter, r *http.Request) error {
	var request whatIfRequest
	if err := readJSON(w, r, &request); err != nil {
		return err
	}
	e, err := s.entry(request.Decision)
	if err != nil {
		return err
	}
	whatIf, err := s.options.WhatIf.Explain(r.Context(), e.Node, e.Decision, request.Set)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, whatIfResult{Actual: *s.recordFunc(true)(e).Explanation, WhatIf: whatIf})
}
