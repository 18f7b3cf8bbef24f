package admin

import (
	"encoding/json"
	"net/http"
	"strconv"

	"fauxlet/internal/decisions"
	"fauxlet/internal/explain"
)

// Decisions is the response of /api/decisions.
type Decisions struct {
	// Instance identifies the server process. IDs of different instances are unrelated. Last is the ID after which the
	// next request should continue, as its query parameter "since". The list may lack Decisions with lower IDs, because
	// they were dropped or because the filter excludes them. If a limit has left out later Decisions, Last is the ID of
	// the last Decision in the list. Recorded is the number of all Decisions that the process
	// has recorded.
	Instance string `json:"instance"`
	Last     uint64 `json:"last"`
	Recorded uint64 `json:"recorded"`
	// Missed counts Decisions that were dropped before an event stream could send them, summed over all streams.
	Missed    uint64             `json:"missed"`
	Decisions []decisions.Record `json:"decisions"`
}

// Resume returns the event ID with which [Client.Events] continues after these Decisions.
func (d *Decisions) Resume() string { return eventID(d.Instance, d.Last) }

func (s *Server) getDecisions(w http.ResponseWriter, r *http.Request) error {
	filter, err := decisions.ParseFilter(r.URL.Query())
	if err != nil {
		return err
	}
	entries, last := s.recorder.After(filter.After)
	selected, more := filter.Select(entries)
	if more { // the next request must continue with the Decisions that the limit has left out
		last = selected[len(selected)-1].ID
	}
	response := Decisions{Instance: s.recorder.Instance(), Last: last, Recorded: s.recorder.LastID(),
		Missed: s.recorder.Missed(), Decisions: []decisions.Record{}}
	record := s.recordFunc(filter.Explanation)
	for _, e := range selected {
		response.Decisions = append(response.Decisions, record(e))
	}
	return writeJSON(w, http.StatusOK, response)
}

// getExport writes each Decision as JSON on a line of its own.
func (s *Server) getExport(w http.ResponseWriter, r *http.Request) error {
	filter, err := decisions.ParseFilter(r.URL.Query())
	if err != nil {
		return err
	}
	entries, _ := s.recorder.After(filter.After)
	w.Header().Set("Content-Type", "application/jsonl")
	w.Header().Set("Content-Disposition", `attachment; filename="decisions.jsonl"`)
	encoder, record := json.NewEncoder(w), s.recordFunc(filter.Explanation)
	selected, _ := filter.Select(entries)
	for _, e := range selected {
		if err := encoder.Encode(record(e)); err != nil {
			return nil // the client has disconnected
		}
	}
	return nil
}

func (s *Server) getDecision(w http.ResponseWriter, r *http.Request) error {
	e, err := s.entryOf(r)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, s.recordFunc(true)(e))
}

// recordFunc returns a function that converts Entries to Records, with or without explanations. The function looks up
// the facts about each node only once.
func (s *Server) recordFunc(withExplanation bool) func(*decisions.Entry) decisions.Record {
	if !withExplanation {
		return (*decisions.Entry).Record
	}
	factsOfNodes := map[string]explain.Facts{}
	return func(e *decisions.Entry) decisions.Record {
		facts, ok := factsOfNodes[e.Node]
		if !ok && s.options.Facts != nil {
			facts = s.options.Facts(e.Node)
			factsOfNodes[e.Node] = facts
		}
		record, explanation := e.Record(), explain.Decision(e.Decision, facts)
		record.Explanation = &explanation
		return record
	}
}

// entryOf returns the Entry whose ID is in the path of a request.
func (s *Server) entryOf(r *http.Request) (*decisions.Entry, error) {
	id, err := strconv.ParseUint(r.PathValue("id"), 10, 64)
	if err != nil {
		return nil, errorf(http.StatusBadRequest, "%q is not a decision ID, which is a number", r.PathValue("id"))
	}
	return s.entry(id)
}

func (s *Server) entry(id uint64) (*decisions.Entry, error) {
	if e := s.recorder.Get(id); e != nil {
		return e, nil
	}
	return nil, errorf(http.StatusNotFound,
		"decision %d is no longer kept, or does not exist; the last one is %d", id, s.recorder.LastID())
}
