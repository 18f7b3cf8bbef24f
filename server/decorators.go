package server

import (
	"context"
	"net/http"
	"time"

	v1 "k8s.io/api/core/v1"

	"fauxlet/authchain"
	"fauxlet/scenario"
)

// Decorators change what surrounds a Server's own code: its clock, its client CA, its HTTP servers and handlers, and what
// containers use. Each may be nil. Many goroutines call them at once.
type Decorators struct {
	// ClockSkew returns how far the node's clock is ahead of the true time: for the times of logs and measurements.
	ClockSkew func() time.Duration

	// WrapClientCA wraps the client CA by which the chain verifies client certificates.
	WrapClientCA func(authchain.CAProvider) authchain.CAProvider

	// WrapHandler wraps the handler of each request that has been authorized, or that needs no authorization. It is called
	// once for each request, and so may return its argument when there is nothing to wrap.
	WrapHandler func(http.Handler) http.Handler

	// ConfigureHTTP is called with the http.Server of each port before it serves. It may wrap the server's handler, its TLS
	// configuration, and its hooks on connections. TLSConfig is nil for the read-only port.
	ConfigureHTTP func(*http.Server)

	// Usage returns what a container uses, given what the pods say. It is called while the request of ctx is measured.
	Usage func(ctx context.Context, pod *v1.Pod, container string, usage scenario.Usage) scenario.Usage
}

// clockSkew is how far the node's clock is ahead of the true time.
func (s *Server) clockSkew() time.Duration {
	if s.decorators.ClockSkew == nil {
		return 0
	}
	return s.decorators.ClockSkew()
}

func (s *Server) configureHTTP(server *http.Server) {
	if s.decorators.ConfigureHTTP != nil {
		s.decorators.ConfigureHTTP(server)
	}
}

// wrapHandler returns the handler of a request that has been authorized.
func (s *Server) wrapHandler(next http.Handler) http.Handler {
	if s.decorators.WrapHandler == nil {
		return next
	}
	return s.decorators.WrapHandler(next)
}

// ResetCaches empties the caches of the chain: what is remembered of client certificates, tokens and access. If enabled is
// false, no answer of a reviewer is cached from then on. Requests under way keep using the caches that they began with.
func (s *Server) ResetCaches(enabled bool) {
	config := s.chainConfig
	if !enabled {
		config.TokenTTL, config.AuthorizedTTL, config.UnauthorizedTTL = 0, 0, 0
	}
	made, err := authchain.New(config)
	if err != nil {
		panic(err) // impossible: New has made a chain of the same configuration before
	}
	s.chain.Store(made)
}
