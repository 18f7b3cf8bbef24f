package admin

import "time"

// SetLimits shortens what a test would have to wait for.
func (s *Server) SetLimits(header, keepAlive, patience time.Duration) {
	s.limits.header, s.limits.keepAlive, s.limits.patience = header, keepAlive, patience
}

// Following is how many follow the events.
func (s *Server) Following() int64 { return s.following.Load() }

// MaxFollowers is how many may.
const MaxFollowers = maxFollowers

// Bytes is what the sizes of what is kept add up to.
func (r *Recorder) Bytes() int64 { return r.bytes.Load() }
