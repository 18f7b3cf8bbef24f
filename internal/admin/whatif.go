package admin

import (
	"context"
	"net/http"

	"fauxlet/authchain"
	"fauxlet/internal/explain"
)

// WhatIf explains requests as if their node had other settings. It sends nothing.
type WhatIf interface {
	// Settings returns the settings of a node that can be changed.
	Settings(node string) ([]Setting, error)
	// Explain explains how the request of a Decision would have been handled with changed settings. The map set has
	// the new values by field.
	Explain(ctx context.Context, node string, d *authchain.Decision, set map[string]string) (explain.Explanation, error)
}

// Setting is a field of KubeletConfiguration, given by its path, with its possible values. The first value is the
// current one.
type Setting struct {
	Field  string   `json:"field"`
	Values []string `json:"values"`
}

// WhatIfRequest is the body of a request to /api/whatif: the ID of a Decision, and the settings to change.
type WhatIfRequest struct {
	Decision uint64            `json:"decision"`
	Set      map[string]string `json:"set"`
}

// WhatIfResult is the response of /api/whatif.
type WhatIfResult struct {
	Actual explain.Explanation `json:"actual"`
	WhatIf explain.Explanation `json:"whatIf"`
}

var errNoWhatIf = errorf(http.StatusNotImplemented, "what-if is not available on this server")

func (s *Server) getSettings(w http.ResponseWriter, r *http.Request) error {
	if s.options.WhatIf == nil {
		return errNoWhatIf
	}
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
	if s.options.WhatIf == nil {
		return errNoWhatIf
	}
	var request WhatIfRequest
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
	return writeJSON(w, http.StatusOK, WhatIfResult{Actual: *s.recordFunc(true)(e).Explanation, WhatIf: whatIf})
}
