package demo

import (
	"sync"

	"fauxlet/authchain"
	"fauxlet/internal/explain/offline"
)

// maxSent is how many requests are kept.
const maxSent = 200

// sentRequests keeps the last requests that the demo sent, with their tokens, indexed by their Decisions. A what-if
// needs the original request, because a Decision does not contain the token.
type sentRequests struct {
	mu         sync.Mutex
	byDecision map[*authchain.Decision]*offline.Request
	order      []*authchain.Decision // the oldest first
}

func (s *sentRequests) add(d *authchain.Decision, r *offline.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.byDecision == nil {
		s.byDecision = map[*authchain.Decision]*offline.Request{}
	}
	s.byDecision[d] = r
	if s.order = append(s.order, d); len(s.order) > maxSent {
		delete(s.byDecision, s.order[0])
		s.order = s.order[1:]
	}
}

// of returns the request that d is about. It returns nil if the demo did not send the request or no longer keeps it.
func (s *sentRequests) of(d *authchain.Decision) *offline.Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.byDecision[d]
}
