package admin

import "time"

// SetLimits sets short time limits, so that tests do not wait for the default ones.
func (s *Server) SetLimits(header, keepAlive, patience time.Duration) {
	s.limits.header, s.limits.keepAlive, s.limits.patience = header, keepAlive, patience
}

// Following returns the number of open event streams.
func (s *Server) Following() int { return s.streams.len() }

// MaxFollowers is the maximum number of open event streams.
const MaxFollowers = maxFollowers
