package admin

import (
	"io"
	"net/http"
	"time"

	"go.uber.org/zap"

	"fauxlet/internal/faults"
)

// maxFault is how long a fault may be as JSON, in bytes.
const maxFault = 1 << 20

// ActiveFault is what the API tells of a fault that is active.
type ActiveFault struct {
	faults.Fault
	// Since is when it became active, Origin the file that it is of, empty where there is none.
	Since  time.Time `json:"since"`
	Origin string    `json:"origin,omitempty"`
	// Matched and Applied are the counts of [faults.Active].
	Matched int64 `json:"matched"`
	Applied int64 `json:"applied"`
}

// FaultKind is what the API tells of a kind of fault.
type FaultKind struct {
	Name     string   `json:"name"`
	Explains string   `json:"explains"`
	Requires []string `json:"requires,omitempty"`
	Allows   []string `json:"allows,omitempty"`
}

func (s *Server) getFaults(w http.ResponseWriter, _ *http.Request) error {
	active := s.options.Faults.List()
	if active == nil {
		active = []*faults.Active{}
	}
	return writeJSON(w, http.StatusOK, map[string]any{"faults": active})
}

func (s *Server) getFault(w http.ResponseWriter, r *http.Request) error {
	for _, active := range s.options.Faults.List() {
		if active.Name == r.PathValue("name") {
			return writeJSON(w, http.StatusOK, active)
		}
	}
	return refuse(http.StatusNotFound, "no fault %q is active", r.PathValue("name"))
}

func (s *Server) getFaultKinds(w http.ResponseWriter, _ *http.Request) error {
	var kinds []FaultKind
	for _, kind := range faults.Kinds() {
		kinds = append(kinds, FaultKind(kind))
	}
	return writeJSON(w, http.StatusOK, map[string]any{"kinds": kinds})
}

func (s *Server) postFault(w http.ResponseWriter, r *http.Request) error {
	if err := s.controllable(); err != nil {
		return err
	}
	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxFault))
	if err != nil {
		return refuse(http.StatusRequestEntityTooLarge, "the fault cannot be read: %v", err)
	}
	fault, err := faults.Parse(data)
	if err != nil {
		return err
	}
	active, err := s.options.Faults.Add(fault)
	if err != nil {
		return refuse(http.StatusConflict, "%v", err)
	}
	s.options.Logger.Warn("a fault is active from now on", zap.String("name", active.Name), zap.String("kind", active.Kind), zap.String("by", r.RemoteAddr))
	return writeJSON(w, http.StatusCreated, active)
}

func (s *Server) deleteFault(w http.ResponseWriter, r *http.Request) error {
	if err := s.controllable(); err != nil {
		return err
	}
	if err := s.options.Faults.Remove(r.PathValue("name")); err != nil {
		return refuse(http.StatusNotFound, "%v", err)
	}
	s.options.Logger.Info("a fault has ended", zap.String("name", r.PathValue("name")), zap.String("by", r.RemoteAddr))
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (s *Server) deleteFaults(w http.ResponseWriter, r *http.Request) error {
	if err := s.controllable(); err != nil {
		return err
	}
	cleared := s.options.Faults.Clear()
	s.options.Logger.Info("all faults have ended", zap.Int("faults", cleared), zap.String("by", r.RemoteAddr))
	return writeJSON(w, http.StatusOK, map[string]int{"cleared": cleared})
}

func (s *Server) controllable() error {
	if s.options.Faults == nil {
		return refuse(http.StatusNotImplemented, "nothing can go wrong here on purpose")
	}
	return nil
}
