// Package admin serves the Decisions of a process over HTTP: as JSON, as an event stream, and as JSON lines for
// export. The same listener has a readiness check, build information, the web page of package page, and the API for
// faults, for what-if, and for sending requests as clients of the demo. It is separate from the kubelet's ports.
//
// [Listen] returns a [Server] for the Decisions of a [decisions.Recorder]. [Client] is the client of its API.
package admin

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"go.uber.org/zap"

	"fauxlet/internal/decisions"
	"fauxlet/internal/explain"
	"fauxlet/internal/faults"
)

// limits are the time limits of a Server. Tests set shorter ones.
type limits struct {
	header  time.Duration // maximum time to read a request's header
	request time.Duration // maximum time for a complete request, except for event streams
	idle    time.Duration // maximum time that a connection is idle between requests
	drain   time.Duration // maximum time for open requests to end when the Server stops
	// The Server sends something on each event stream at least every keepAlive. It disconnects a client that accepts no
	// data for the time in the field "patience".
	keepAlive, patience time.Duration
	decision            time.Duration // maximum time that /api/send waits for the Decision
}

var defaultLimits = limits{header: 10 * time.Second, request: 30 * time.Second, idle: 2 * time.Minute,
	drain: 2 * time.Second, keepAlive: keepAlive, patience: 30 * time.Second, decision: 5 * time.Second}

const (
	keepAlive = 15 * time.Second
	maxHeader = 32 << 10 // the maximum size of a request's header, in bytes
)

// Options configure a Server.
type Options struct {
	// Recorder keeps the Decisions that the Server returns. Required.
	Recorder *decisions.Recorder
	// Faults holds the active faults of the process, which the API lists and changes. Nil: no fault can be injected.
	Faults *faults.Set
	// Facts returns facts about a node's configuration for explanations. If Facts is nil, explanations use only the
	// Decision.
	Facts func(node string) explain.Facts
	// Token, if set, is required in every API request.
	Token string
	// MakeToken makes a token for a listener on a loopback address if Token is empty. The Server keeps it in the file
	// of [TokenFile] until it stops. Without Token and MakeToken, the API needs no token, which is an error unless the
	// address is a loopback address.
	MakeToken bool
	// Ready returns the reason why the process is not ready yet, or nil if it is ready. If Ready is nil, the process is
	// always ready.
	Ready func() error
	// Build describes the program. The API returns it at /api/build, as JSON.
	Build any
	// Page handles all paths except /readyz and the paths below /api/. Its requests need no token, so its responses
	// must not contain secrets. It may set its own Content-Security-Policy. If Page is nil, the path / returns a list
	// of the API's paths.
	Page http.Handler
	// WhatIf answers /api/whatif. Nil: what-if is not available.
	WhatIf WhatIf
	// Sender sends the requests of /api/send. Nil: sending is not available.
	Sender Sender
	// Targets returns the nodes as targets for Prometheus, for /api/targets. Its argument is the IP address at which
	// the client reached the Server. It returns an empty list, not nil, if there are no nodes. Nil: not available.
	Targets func(otherwise string) []TargetGroup
	// Logger logs changes of faults. Nil: no log.
	Logger *zap.Logger
}

// Server serves the admin API and the page. It is safe for concurrent use.
type Server struct {
	options  Options
	recorder *decisions.Recorder
	listener net.Listener
	guard    *guard
	limits   limits
	streams  openStreams
	// made and tokenFile are the token that the Server has made, and its file. Each is empty if there is none.
	made, tokenFile string
}

// Listen opens a listener at an address, such as 127.0.0.1:10240, and returns a Server for it. Port 0 selects a free
// port. The caller must call Serve or Close. If the port is in use, the error wraps syscall.EADDRINUSE.
func Listen(address string, options Options) (*Server, error) {
	if options.Logger == nil {
		options.Logger = zap.NewNop()
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, err
	}
	s := &Server{options: options, recorder: options.Recorder, listener: listener, limits: defaultLimits}
	if options.MakeToken && options.Token == "" && isLoopback(listener.Addr()) {
		if s.made, s.tokenFile, err = makeToken(s.Addr()); err != nil {
			options.Logger.Warn("the token of the admin listener could not be stored, so clients cannot find it; give "+
				"a token with --admin-token-file FILE, or allow all users of this machine with --admin-token-file=",
				zap.Error(err))
		}
		options.Token = s.made
	}
	if s.guard, err = newGuard(listener.Addr(), options.Token); err != nil {
		listener.Close()
		return nil, err
	}
	return s, nil
}

// TokenFile returns the file with the token that the Server has made. It is empty if there is none.
func (s *Server) TokenFile() string { return s.tokenFile }

// Link returns a link that opens the page in a browser. If the Server has made its own token, the link contains the
// token. Show such a link only to the user of the process. The token is in the fragment, which a browser does not send.
func (s *Server) Link() string {
	if s.made == "" {
		return "http://" + s.Addr() + "/"
	}
	return "http://" + s.Addr() + "/#token=" + s.made
}

// Addr returns the listener's address.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// Close closes the listener. Call Close only if Serve is not called.
func (s *Server) Close() error {
	s.forgetToken()
	return s.listener.Close()
}

func (s *Server) forgetToken() {
	if s.tokenFile != "" {
		removeToken(s.tokenFile, s.made)
	}
}

// handler returns the handler for all requests to the listener: the API, /readyz and the page.
func (s *Server) handler() http.Handler {
	mux := http.NewServeMux()
	api := s.api()
	mux.Handle("/api/", s.guard.requireToken(api))
	mux.Handle("/readyz", api)
	page := s.options.Page
	if page == nil {
		page = api
	}
	mux.Handle("/", page)
	return s.guard.sameOrigin(mux)
}

// Serve serves requests until ctx is done. It then closes the listener and returns nil.
func (s *Server) Serve(ctx context.Context) error {
	defer s.forgetToken()
	server := &http.Server{
		Handler:           s.handler(),
		BaseContext:       func(net.Listener) context.Context { return ctx }, // event streams end with ctx
		ReadHeaderTimeout: s.limits.header,
		ReadTimeout:       s.limits.request,
		WriteTimeout:      s.limits.request,
		IdleTimeout:       s.limits.idle,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          zap.NewStdLog(s.options.Logger),
	}
	stopped := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(stopped)
		draining, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.limits.drain)
		defer cancel()
		if server.Shutdown(draining) != nil {
			server.Close()
		}
	})
	if err := server.Serve(s.listener); !errors.Is(err, http.ErrServerClosed) {
		stop()
		return fmt.Errorf("the admin listener failed: %w", err)
	}
	<-stopped
	return nil
}
