package admin

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"

	"fauxlet/internal/explain"
)

// index is what /api/ says, and / where there is no page.
const index = `fauxlet: what this stand-in decided, and why.

GET    /api/decisions        the last ones; ?outcome=refused&user=NAME&node=NAME&path=/pods&status=4xx&since=ID-OR-TIME&limit=10&road=true
GET    /api/decisions/ID     one of them, with its road
GET    /api/events           the same as they come, as an event stream
GET    /api/export           the same as lines of JSON
GET    /api/faults           what goes wrong on purpose; POST adds one, DELETE ends them all
GET    /api/faults/NAME      one of them; DELETE ends it
GET    /api/fault-kinds      what can go wrong
GET    /api/decisions/ID/settings   what can be supposed to be otherwise
POST   /api/whatif           what if it were? {"decision": ID, "set": {"authentication.anonymous.enabled": "true"}}; nothing is sent
GET    /api/visitors         as whom a demo sends requests; POST /api/send sends one: {"as": NAME, "method": "GET", "path": "/pods"}
GET    /api/build            what this is
GET    /readyz               whether it listens
`

// apiError is an answer to a request that is not granted.
type apiError struct {
	status int
	text   string
}

func (e *apiError) Error() string { return e.text }

func refuse(status int, format string, args ...any) *apiError {
	return &apiError{status, fmt.Sprintf(format, args...)}
}

// handler serves a request, or returns the error to answer. One that is no apiError is 400.
type handler func(http.ResponseWriter, *http.Request) error

func (h handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if err := h(w, r); err != nil {
		writeError(w, err)
	}
}

func writeError(w http.ResponseWriter, err error) {
	status := http.StatusBadRequest
	var refused *apiError
	if errors.As(err, &refused) {
		status = refused.status
	}
	_ = writeJSON(w, status, map[string]string{"error": err.Error()})
}

func writeJSON(w http.ResponseWriter, status int, value any) error {
	data, err := json.Marshal(value)
	if err != nil {
		return refuse(http.StatusInternalServerError, "%v", err)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(data, '\n')) // whoever has gone does not miss it
	return nil
}

// routes is the whole of the API.
func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	for pattern, serve := range map[string]handler{
		"GET /api/decisions":               s.getDecisions,
		"GET /api/decisions/{id}":          s.getDecision,
		"GET /api/events":                  s.getEvents,
		"GET /api/export":                  s.getExport,
		"GET /api/faults":                  s.getFaults,
		"POST /api/faults":                 s.postFault,
		"DELETE /api/faults":               s.deleteFaults,
		"GET /api/faults/{name}":           s.getFault,
		"DELETE /api/faults/{name}":        s.deleteFault,
		"GET /api/fault-kinds":             s.getFaultKinds,
		"GET /api/decisions/{id}/settings": s.getSettings,
		"POST /api/whatif":                 s.postWhatIf,
		"GET /api/visitors":                s.getVisitors,
		"POST /api/send":                   s.postSend,
		"GET /api/build":                   s.getBuild,
		"GET /api/{$}":                     getIndex,
		"GET /readyz":                      s.getReady,
		"GET /{$}":                         getIndex,
	} {
		mux.Handle(pattern, serve)
	}
	return mux
}

func getIndex(w http.ResponseWriter, _ *http.Request) error {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = io.WriteString(w, index)
	return nil
}

// Decisions is the answer of /api/decisions.
type Decisions struct {
	// Instance is another in each process, and Last the id up to which all that there were are here, or were left out by the
	// filter, or are not kept any more. Recorded counts those that there were.
	Instance string `json:"instance"`
	Last     uint64 `json:"last"`
	Recorded uint64 `json:"recorded"`
	// Missed counts what was dropped before a follower of the events had read it, for all followers.
	Missed    uint64 `json:"missed"`
	Decisions []Told `json:"decisions"`
}

// Resume is the id of an event after which the others follow.
func (d *Decisions) Resume() string { return eventID(d.Instance, d.Last) }

func (s *Server) getDecisions(w http.ResponseWriter, r *http.Request) error {
	filter, err := ParseFilter(r.URL.Query())
	if err != nil {
		return err
	}
	entries, last := s.recorder.After(filter.After)
	answer := Decisions{
		Instance: s.recorder.instance, Last: last, Recorded: s.recorder.last.Load(), Missed: s.recorder.missed.Load(),
		Decisions: []Told{},
	}
	tell := s.teller(filter.Road)
	for _, e := range filter.of(entries) {
		answer.Decisions = append(answer.Decisions, tell(e))
	}
	return writeJSON(w, http.StatusOK, answer)
}

// teller is what tells of one Entry after the other, with its road or without. What is known of a node is looked up once.
func (s *Server) teller(road bool) func(*Entry) Told {
	if !road {
		return (*Entry).Told
	}
	known := map[string]explain.Facts{}
	return func(e *Entry) Told {
		facts, ok := known[e.Node]
		if !ok && s.options.Facts != nil {
			facts = s.options.Facts(e.Node)
			known[e.Node] = facts
		}
		told, drawn := e.Told(), explain.Of(e.Decision, facts)
		told.Road = &drawn
		return told
	}
}

func (s *Server) getDecision(w http.ResponseWriter, r *http.Request) error {
	id, err := strconv.ParseUint(r.PathValue("id"), 10, 64)
	if err != nil {
		return fmt.Errorf("%q is not the id of a decision, which is a number", r.PathValue("id"))
	}
	e, err := s.entry(id)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, s.teller(true)(e))
}

// entry is the Entry of an id that is kept.
func (s *Server) entry(id uint64) (*Entry, error) {
	if e := s.recorder.Get(id); e != nil {
		return e, nil
	}
	return nil, refuse(http.StatusNotFound, "decision %d is not kept, or was never made; the last is %d", id, s.recorder.last.Load())
}

// getExport writes lines of JSON, to be kept.
func (s *Server) getExport(w http.ResponseWriter, r *http.Request) error {
	filter, err := ParseFilter(r.URL.Query())
	if err != nil {
		return err
	}
	entries, _ := s.recorder.After(filter.After)
	w.Header().Set("Content-Type", "application/jsonl")
	w.Header().Set("Content-Disposition", `attachment; filename="decisions.jsonl"`)
	encoder, tell := json.NewEncoder(w), s.teller(filter.Road)
	for _, e := range filter.of(entries) {
		if err := encoder.Encode(tell(e)); err != nil {
			return nil // whoever asked has gone
		}
	}
	return nil
}

func (s *Server) getBuild(w http.ResponseWriter, _ *http.Request) error {
	return writeJSON(w, http.StatusOK, struct {
		Instance string `json:"instance"`
		Build    any    `json:"build"`
		// WhatIf and Send say whether there is an answer to these.
		WhatIf bool `json:"whatIf"`
		Send   bool `json:"send"`
	}{s.recorder.instance, s.options.Build, s.options.WhatIf != nil, s.options.Visitors != nil})
}

func (s *Server) getReady(w http.ResponseWriter, _ *http.Request) error {
	if s.options.Ready != nil {
		if err := s.options.Ready(); err != nil {
			return refuse(http.StatusServiceUnavailable, "%v", err)
		}
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = io.WriteString(w, "ok")
	return nil
}
