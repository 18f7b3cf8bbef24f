package admin

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"

	"fauxlet/authchain"
	"fauxlet/internal/explain"
)

// maxAsked is how long what is sent to be asked may be as JSON, in bytes.
const maxAsked = 64 << 10

// WhatIf answers what would have become of a request, had its node been configured otherwise. It sends nothing.
type WhatIf interface {
	// Settings are those of a node that can be supposed to be otherwise.
	Settings(node string) ([]Setting, error)
	// Ask gives the road that a Decision's request takes where some settings, by their fields, have other values.
	Ask(ctx context.Context, node string, d *authchain.Decision, set map[string]string) (explain.Road, error)
}

// Setting is a field of KubeletConfiguration, by its path, with the values that it can be supposed to have. The first is the
// one that it has.
type Setting struct {
	Field  string   `json:"field"`
	Values []string `json:"values"`
}

// Supposition is what is sent to /api/whatif: the decision's id, and what is supposed.
type Supposition struct {
	Decision uint64            `json:"decision"`
	Set      map[string]string `json:"set"`
}

// Supposed is its answer.
type Supposed struct {
	Real     explain.Road `json:"real"`
	Supposed explain.Road `json:"supposed"`
}

// getSettings tells what can be supposed of the node of a decision.
func (s *Server) getSettings(w http.ResponseWriter, r *http.Request) error {
	id, err := strconv.ParseUint(r.PathValue("id"), 10, 64)
	if err != nil {
		return refuse(http.StatusBadRequest, "%q is not the id of a decision, which is a number", r.PathValue("id"))
	}
	e, err := s.suppositions(id)
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
	var asked Supposition
	if err := readJSON(w, r, &asked); err != nil {
		return err
	}
	e, err := s.suppositions(asked.Decision)
	if err != nil {
		return err
	}
	supposed, err := s.options.WhatIf.Ask(r.Context(), e.Node, e.Decision, asked.Set)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, Supposed{Real: *s.teller(true)(e).Road, Supposed: supposed})
}

// suppositions is the Entry of an id, of which something is supposed.
func (s *Server) suppositions(id uint64) (*Entry, error) {
	if s.options.WhatIf == nil {
		return nil, refuse(http.StatusNotImplemented, "nothing can be supposed here")
	}
	return s.entry(id)
}

// readJSON reads what was sent, which must be what is asked for and nothing else.
func readJSON(w http.ResponseWriter, r *http.Request, into any) error {
	decoder := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxAsked))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		return refuse(http.StatusBadRequest, "what was sent cannot be read: %v", err)
	}
	return nil
}
