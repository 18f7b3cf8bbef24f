package admin

import (
	"io"
	"net/http"
	"time"

	"go.uber.org/zap"

	"fauxlet/internal/faults"
)

// maxFault is the maximum size of a fault as JSON, in bytes.
const maxFault = 1 << 20

// ActiveFault is the JSON form of an active fault.
type ActiveFault struct {
	faults.Fault
	// Since is when the fault was injected. Origin is "scenario" if the Scenario file defines the fault, or empty if it
	// was injected through the API.
	Since  time.Time `json:"since"`
	Origin string    `json:"origin,omitempty"`
	// Matched is the number of connections, requests, reviews or containers in the fault's scope. Applied is the number
	// to which the fault was applied. See [faults.Active].
	Matched int64 `json:"matched"`
	Applied int64 `json:"applied"`
}

func (s *Server) getFaults(w http.ResponseWriter, _ *http.Request) error {
	active := append([]*faults.Active{}, s.options.Faults.List()...) // as JSON, an empty list instead of null
	return writeJSON(w, http.StatusOK, map[string]any{"faults": active})
}

func (s *Server) getFault(w http.ResponseWriter, r *http.Request) error {
	for _, active := range s.options.Faults.List() {
		if active.Name == r.PathValue("name") {
			return writeJSON(w, http.StatusOK, active)
		}
	}
	return errorf(http.StatusNotFound, "no fault %q is active", r.PathValue("name"))
}

func (s *Server) getFaultKinds(w http.ResponseWriter, _ *http.Request) error {
	return writeJSON(w, http.StatusOK, map[string]any{"kinds": faults.Kinds()})
}

func (s *Server) postFault(w http.ResponseWriter, r *http.Request) error {
	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxFault))
	if err != nil {
		return errorf(http.StatusRequestEntityTooLarge, "cannot read the fault: %v", err)
	}
	fault, err := faults.Parse(data)
	if err != nil {
		return err
	}
	active, err := s.options.Faults.Add(fault)
	if err != nil {
		return errorf(http.StatusConflict, "%v", err)
	}
	s.options.Logger.Warn("fault injected",
		zap.String("name", active.Name), zap.String("kind", active.Kind), zap.String("remote", r.RemoteAddr))
	return writeJSON(w, http.StatusCreated, active)
}

func (s *Server) deleteFault(w http.ResponseWriter, r *http.Request) error {
	if err := s.options.Faults.Remove(r.PathValue("name")); err != nil {
		return errorf(http.StatusNotFound, "%v", err)
	}
	s.options.Logger.Info("fault removed", zap.String("name", r.PathValue("name")), zap.String("remote", r.RemoteAddr))
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (s *Server) deleteFaults(w http.ResponseWriter, r *http.Request) error {
	cleared := s.options.Faults.Clear()
	s.options.Logger.Info("all faults removed", zap.Int("faults", cleared), zap.String("remote", r.RemoteAddr))
	return writeJSON(w, http.StatusOK, map[string]int{"cleared": cleared})
}
