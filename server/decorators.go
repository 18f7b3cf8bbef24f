package server

import (
	"context"
	"net/http"
	"time"

	v1 "k8s.io/api/core/v1"

	"fauxlet/authchain"
	"fauxlet/scenario"
)

// Decorators change parts of a Server from outside: its clock, its client CA, its HTTP servers and handlers, and the
// usage of containers. Each function may be nil, and must be safe for concurrent use.
type Decorators struct {
	// ClockSkew returns how far the node's clock is ahead of the true time. The node's clock determines the times of
	// logs and measurements.
	ClockSkew func() time.Duration

	// WrapClientCA wraps the client CA that verifies client certificates. [New] calls it once.
	WrapClientCA func(authchain.CAProvider) authchain.CAProvider

	// WrapHandler wraps the handler of a request. It is called for each authorized request, and for every request on
	// the read-only port. It may return its argument.
	WrapHandler func(http.Handler) http.Handler

	// ConfigureHTTP is called with the http.Server of each port before the http.Server serves. It may wrap the server's
	// handler, its TLS configuration, and its hooks on connections. TLSConfig is nil for the read-only port.
	ConfigureHTTP func(*http.Server)

	// Usage changes the resource usage of a container. It is called when a request for statistics makes the Server
	// measure the node. ctx is the context of that request.
	Usage func(ctx context.Context, pod *v1.Pod, container string, usage scenario.Usage) scenario.Usage
}

func (d *Decorators) clockSkew() time.Duration {
	if d.ClockSkew == nil {
		return 0
	}
	return d.ClockSkew()
}

// ResetCaches empties the caches of client certificates, TokenReviews and SubjectAccessReviews. If the argument
// "enabled" is false, no review is cached from then on. Requests in progress keep the caches with which they began.
func (s *Server) ResetCaches(enabled bool) {
	config := s.chainConfig
	if !enabled {
		config.TokenTTL, config.AuthorizedTTL, config.UnauthorizedTTL = 0, 0, 0
	}
	made, err := authchain.New(config)
	if err != nil {
		panic(err) // impossible: New has checked the same configuration
	}
	s.chain.Store(made)
}
