package admin

import "time"

// SetLimits shortens the timeouts that a test would otherwise wait for.
func (s *Server) SetLimits(header, keepAlive, patience time.Duration) {
	s.limits.header, s.limits.keepAlive, s.limits.patience = header, keepAlive, patience
}

// Following returns the number of open event streams.
func (s *Server) Following() int64 { return s.following.Load() }

// MaxFollowers is the limit of Following.
const MaxFollowers = maxFollowers
