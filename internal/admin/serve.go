package admin

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"fauxlet/internal/explain"
	"fauxlet/internal/faults"
)

// limits are how long things may take.
type limits struct {
	header  time.Duration // a request's header
	request time.Duration // a request with its answer, but for events
	idle    time.Duration // a connection without a request
	drain   time.Duration // what is under way when the Server stops
	// keepAlive is after how long something is sent to a follower for whom there is nothing, and patience how long one may
	// take to read what was sent.
	keepAlive, patience time.Duration
	decided             time.Duration // a decision whose request was answered already
}

var usualLimits = limits{
	header: 10 * time.Second, request: 30 * time.Second, idle: 2 * time.Minute, drain: 2 * time.Second,
	keepAlive: keepAlive, patience: 30 * time.Second, decided: 5 * time.Second,
}

const (
	keepAlive = 15 * time.Second
	// maxHeader is how long a request's header may be, in bytes.
	maxHeader = 32 << 10
)

// Options is what a Server shows.
type Options struct {
	// Recorder has the Decisions. Required.
	Recorder *Recorder
	// Faults are those of the process, which can be set here. Nil: none can.
	Faults *faults.Set
	// Facts are what is known of a node, for the roads of its requests. Nil: nothing is.
	Facts func(node string) explain.Facts
	// Token, where it is set, must be sent with each request, but those for readiness and the page. It is required where
	// others than this machine can connect.
	Token string
	// Ready says what is still waited for, nil where all is served. Nil: nothing is.
	Ready func() error
	// Build is what /api/build tells, as JSON.
	Build any
	// Page is what stands under all paths but /readyz and those below /api/. It is served to everybody who may connect,
	// without a token, and so must be the same for all; it may set a Content-Security-Policy of its own. Nil: a text that
	// names the paths.
	Page http.Handler
	// WhatIf answers what if. Nil: nobody does.
	WhatIf WhatIf
	// Visitors send requests from the page. Nil: nobody does.
	Visitors Visitors
	// Logger gets a line when a fault is set or ends. Nil: no log.
	Logger *zap.Logger
}

// Server shows what a Recorder has. It is safe for concurrent use.
type Server struct {
	options   Options
	recorder  *Recorder
	listener  net.Listener
	guard     *guard
	limits    limits
	following atomic.Int64
}

// Listen opens a listener at an address, as in 127.0.0.1:10240, and makes a Server for it, which Serve starts. Port 0 takes
// a free one. An error that the port is taken is a syscall.EADDRINUSE.
func Listen(address string, options Options) (*Server, error) {
	if options.Logger == nil {
		options.Logger = zap.NewNop()
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, err
	}
	guard, err := newGuard(listener.Addr(), options.Token)
	if err != nil {
		listener.Close()
		return nil, err
	}
	return &Server{options: options, recorder: options.Recorder, listener: listener, guard: guard, limits: usualLimits}, nil
}

// Addr is the address that is listened on.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// Close closes the listener of a Server that is not to serve.
func (s *Server) Close() error { return s.listener.Close() }

// handler is all that the listener answers.
func (s *Server) handler() http.Handler {
	mux := http.NewServeMux()
	api := s.routes()
	mux.Handle("/api/", s.guard.wantsToken(api))
	mux.Handle("/readyz", api)
	page := s.options.Page
	if page == nil {
		page = api
	}
	mux.Handle("/", page)
	return s.guard.keepsOut(mux)
}

// Serve serves until ctx is done, and returns nil then. It closes the listener.
func (s *Server) Serve(ctx context.Context) error {
	server := &http.Server{
		Handler:           s.handler(),
		BaseContext:       func(net.Listener) context.Context { return ctx }, // which ends those who follow
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
		waiting, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.limits.drain)
		defer cancel()
		if server.Shutdown(waiting) != nil {
			server.Close()
		}
	})
	if err := server.Serve(s.listener); !errors.Is(err, http.ErrServerClosed) {
		stop()
		return fmt.Errorf("the trace can no longer be served: %w", err)
	}
	<-stopped
	return nil
}
