package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"
	"k8s.io/utils/ptr"
)

// Serve serves both ports, and /healthz on healthzPort, until ctx is done. Then it refuses new connections, ends
// streams and followed logs, waits for other requests (see [Options.Drain]), and returns nil. It returns an error if a
// listener fails. If the caller has made the listeners without [Server.Listen], Serve also reads or makes the serving
// certificate, and returns an error if it cannot. Serve always closes the listeners.
//
// Serve may be called once. If the metrics of a node of the same name are already registered in Options.Metrics, Serve
// returns an error that names the node.
func (s *Server) Serve(ctx context.Context, listeners *Listeners) error {
	defer listeners.Close()
	defer s.metrics.unregister()
	if err := s.metrics.register(); err != nil {
		return fmt.Errorf("cannot register the metrics of node %s: %w; is another node of this name serving?",
			s.config.NodeName, err)
	}
	running, stop := context.WithCancel(ctx)
	defer stop()

	group, running := errgroup.WithContext(running)
	background := func(run func(context.Context)) {
		group.Go(func() error {
			run(running)
			return nil
		})
	}
	if listeners.Secure != nil {
		if listeners.tls == nil {
			var err error
			if listeners.tls, err = s.newTLS(); err != nil {
				return err
			}
		}
		for _, follow := range listeners.tls.follow {
			background(follow)
		}
		server := s.httpServer(running, s.secure, listeners.tls.config)
		s.run(running, group, server, func() error { return server.ServeTLS(listeners.Secure, "", "") })
	}
	if listeners.ReadOnly != nil {
		server := s.httpServer(running, s.readOnly, nil)
		s.run(running, group, server, func() error { return server.Serve(listeners.ReadOnly) })
	}
	if ptr.Deref(s.config.Kubelet.HealthzPort, 0) > 0 {
		background(s.serveHealthz)
	}
	stopDraining := context.AfterFunc(running, func() {
		if s.options.Drain > 0 {
			s.logger.Info("stopping: waiting for requests under way", zap.Duration("atMost", s.options.Drain))
		}
		s.beginDraining()
	})
	defer stopDraining()
	return group.Wait()
}

// run adds an http.Server to the group. The http.Server serves until the context "running" is done. It then waits for
// requests in progress, but not longer than Options.Drain.
func (s *Server) run(running context.Context, group *errgroup.Group, server *http.Server, serve func() error) {
	drained := make(chan struct{})
	drain := context.AfterFunc(running, func() {
		defer close(drained)
		if s.options.Drain < 0 {
			server.Close()
			return
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(running), s.options.Drain)
		defer cancel()
		if err := server.Shutdown(ctx); err != nil {
			s.logger.Warn("closing connections with requests still under way", zap.Duration("waited", s.options.Drain))
			server.Close()
		}
	})
	group.Go(func() error {
		if err := serve(); !errors.Is(err, http.ErrServerClosed) {
			drain()
			return err
		}
		<-drained // "serve" returns as soon as Shutdown begins, so wait for the end of Shutdown
		return nil
	})
}

func (s *Server) httpServer(running context.Context, handler *port, config *tls.Config) *http.Server {
	// A request in progress may finish after the context "running" is done, so its own context must not end then.
	base := withPort(context.WithoutCancel(running), handler)
	server := &http.Server{
		BaseContext: func(net.Listener) context.Context { return base }, Handler: handler, TLSConfig: config,
		// A kubelet's http.Server has these limits.
		IdleTimeout: 90 * time.Second, ReadTimeout: 4 * time.Hour, WriteTimeout: 4 * time.Hour, MaxHeaderBytes: 1 << 20,
		// The handler answers "OPTIONS *" itself, so that this request has a Decision like all others.
		DisableGeneralOptionsHandler: true,
	}
	s.trackConnections(server)
	if s.options.ConfigureHTTP != nil {
		s.options.ConfigureHTTP(server)
	}
	return server
}

// Listeners are the open ports of a Server. A nil listener is a port that the configuration turns off. [Server.Serve]
// closes both listeners; a caller that does not call Serve must call Close. Between [Server.Listen] and Serve the
// caller may replace a listener by a listener that wraps it. If a connection of the wrapping listener has the method
//
//	AffectedBy() []string
//
// the Server adds the returned names to AffectedBy of its Decisions about the connection.
type Listeners struct {
	Secure   net.Listener
	ReadOnly net.Listener

	tls *secureTLS
}

// Close closes both listeners. It may be called more than once.
func (l *Listeners) Close() {
	for _, listener := range []net.Listener{l.Secure, l.ReadOnly} {
		if listener != nil {
			listener.Close()
		}
	}
}
