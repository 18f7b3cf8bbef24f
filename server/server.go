// Package server answers as a kubelet answers: the secure port, which asks every client who it is and what it may do,
// and the read-only port, which asks nobody and serves little.
//
// [New] makes a [Server] of one configuration; [Server.Handler] and [Server.ReadOnlyHandler] are what it serves, for
// those who bring their own listener, and [Server.Listen] with [Server.Serve] do it over the kubelet's ports with the
// kubelet's TLS.
//
// Which path is served by what, on which port, is one table in routes.go. Sources of the behaviour:
// pkg/kubelet/server/server.go and cmd/kubelet/app/server.go of k8s.io/kubernetes v1.37.
package server

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"
	"k8s.io/apiserver/pkg/server/dynamiccertificates"
	authenticationv1 "k8s.io/client-go/kubernetes/typed/authentication/v1"
	authorizationv1 "k8s.io/client-go/kubernetes/typed/authorization/v1"
	"k8s.io/component-base/featuregate"

	"fauxlet/authchain"
	"fauxlet/config"
	"fauxlet/internal/pods"
)

// Limits of the kubelet's http.Server.
const (
	idleTimeout    = 90 * time.Second
	readTimeout    = 4 * time.Hour
	writeTimeout   = 4 * time.Hour
	maxHeaderBytes = 1 << 20
)

// drainTimeout is the default of Options.Drain.
const drainTimeout = 10 * time.Second

// Options is what a Server is made of.
type Options struct {
	// Config is the kubelet's configuration. Required.
	Config *config.Config

	// TokenReviews and AccessReviews are where the chain asks about tokens and users: those of a clientset made from the
	// kubelet's kubeconfig. Nil where there is none; then a configuration that wants a webhook is an error.
	TokenReviews  authenticationv1.AuthenticationV1Interface
	AccessReviews authorizationv1.AuthorizationV1Interface

	// Pods are the pods of the node. Required.
	Pods *pods.Store

	// Machine is what the pods are said to run on; zero: one in which they fit.
	Machine pods.Machine

	// NodeLogs are the files of the node's own logs, by their paths below /var/log, which /logs/ serves. Nil: those of a node
	// that has just been started.
	NodeLogs map[string]string

	// ServingCertificate is what is served under serverTLSBootstrap. While it gives nil, handshakes are refused as a kubelet
	// refuses them whose request nobody approved. Nil: they always are.
	ServingCertificate func() *tls.Certificate

	// ReadOnce has the files of the client CA and of the serving certificate read when the Server is made and when it listens,
	// and not again when they change. Nobody watches them then, and a Server that never serves leaves nothing behind.
	ReadOnce bool

	// Like is the Server of another node in this process whose configuration is the same but for names, addresses and
	// ports. What does not tell the two apart they share: routes, the client CA and who follows its file, a serving
	// certificate from files. Beside a thousand others a Server then takes a few kilobytes. Nil: the Server is by itself.
	Like *Server

	// Collectors are of the node too, and told by /metrics: those of its certificates.
	Collectors []prometheus.Collector

	// Metrics is where what /metrics tells of the Server is registered too, with the label node, while [Server.Serve] runs:
	// one set for all nodes of a process. Nil: nowhere.
	Metrics prometheus.Registerer

	// Decorators wrap parts of the Server.
	Decorators

	// Logger gets one line for each decision and each failed handshake, and one at the debug level for each connection that
	// ended without a request. Nil: no log.
	Logger *zap.Logger

	// Drain is how long Serve waits for requests under way once it has been told to stop. 0: 10 s; negative: not at all, they
	// are cut off.
	Drain time.Duration

	// Begin, where it is set, is called with each Decision when its request has arrived, before anybody judges it. Of the
	// Decision only Time, Remote, Method and Path may be read until Observe is called with it; that of a failed handshake has
	// no beginning.
	Begin func(*authchain.Decision)

	// Observe, where it is set, is called with each Decision when its handler is done; the end of the response may still be
	// on its way. Connections without a request are told of when they end, where [Server.Serve] serves them. Begin and Observe
	// are called from many goroutines at once and must not wait.
	Observe func(*authchain.Decision)
}

// Server is one stand-in kubelet. It is safe for concurrent use.
type Server struct {
	config  *config.Config
	pods    *pods.Store
	logger  *zap.Logger
	begin   func(*authchain.Decision)
	observe func(*authchain.Decision)
	drain   time.Duration

	decorators Decorators

	// chain is what requests go through, made of chainConfig; see [Server.ResetCaches].
	chain       atomic.Pointer[authchain.Chain]
	chainConfig authchain.Config

	like     *Server
	clientCA dynamiccertificates.CAContentProvider
	readOnce bool
	tls      sharedTLS
	issued   func() *tls.Certificate // under serverTLSBootstrap; may be nil
	metrics  *metrics
	handlers handlers
	draining draining

	// affected are the open connections that name what affects them, by the client's address.
	affected sync.Map

	secure, readOnly *port
}

// New makes a Server. It reads the client CA bundle, and fails where the chain cannot be built; serving certificates are
// read by [Server.Listen].
func New(options Options) (*Server, error) {
	if options.Config == nil || options.Pods == nil {
		return nil, errors.New("server: Options.Config and Options.Pods are required")
	}
	s := &Server{
		config:   options.Config,
		pods:     options.Pods,
		logger:   options.Logger,
		begin:    options.Begin,
		observe:  options.Observe,
		drain:    cmp.Or(options.Drain, drainTimeout),
		readOnce: options.ReadOnce,
		like:     options.Like,
		issued:   options.ServingCertificate,
		metrics:  newMetrics(options.Collectors...),
		draining: newDraining(),

		decorators: options.Decorators,
	}
	if s.logger == nil {
		s.logger = zap.NewNop()
	}
	if options.Metrics != nil {
		s.metrics.elsewhere = prometheus.WrapRegistererWith(prometheus.Labels{"node": s.config.NodeName}, options.Metrics)
	}
	// kubernetes_feature_enabled is of the process, as in a kubelet.
	if gates, ok := s.config.FeatureGates.(featuregate.MutableFeatureGate); ok {
		gates.AddMetrics()
	}

	kubelet := &s.config.Kubelet
	chain := authchain.Config{
		NodeName:        s.config.NodeName,
		TokenWebhook:    isTrue(kubelet.Authentication.Webhook.Enabled),
		TokenReviews:    options.TokenReviews,
		TokenTTL:        kubelet.Authentication.Webhook.CacheTTL.Duration,
		Anonymous:       isTrue(kubelet.Authentication.Anonymous.Enabled),
		Mode:            string(kubelet.Authorization.Mode),
		AccessReviews:   options.AccessReviews,
		AuthorizedTTL:   kubelet.Authorization.Webhook.CacheAuthorizedTTL.Duration,
		UnauthorizedTTL: kubelet.Authorization.Webhook.CacheUnauthorizedTTL.Duration,
		FineGrained:     s.config.Enabled("KubeletFineGrainedAuthz"),
	}
	if s.like != nil {
		s.clientCA = s.like.clientCA
	} else if file := kubelet.Authentication.X509.ClientCAFile; file != "" {
		var err error
		if s.clientCA, err = s.loadClientCA(file); err != nil {
			return nil, err
		}
	}
	if s.clientCA != nil {
		chain.ClientCA = s.clientCA
		if s.decorators.WrapClientCA != nil {
			chain.ClientCA = s.decorators.WrapClientCA(s.clientCA)
		}
	}
	made, err := authchain.New(chain)
	if err != nil {
		return nil, explainChainError(err, s.config)
	}
	s.chainConfig = chain
	s.chain.Store(made)

	provider := "cadvisor"
	if s.config.Enabled("PodAndContainerStatsFromCRI") {
		provider = "cri"
	}
	s.metrics.provider.WithLabelValues(provider).Set(1)
	query := s.config.Enabled("NodeLogQuery") && isTrue(kubelet.EnableSystemLogQuery)
	nodeLogs := sync.OnceValues(func() (*nodeLogs, error) { return newNodeLogs(s.config.NodeName, options.NodeLogs, query) })
	s.handlers = s.newHandlers(options.Machine, nodeLogs)
	if s.like != nil {
		s.secure, s.readOnly = &port{server: s, routes: s.like.secure.routes}, &port{server: s, routes: s.like.readOnly.routes}
		return s, nil
	}
	if _, err := nodeLogs(); err != nil {
		return nil, err
	}
	s.secure, s.readOnly = &port{server: s, routes: newRouter(s.config, false)}, &port{server: s, routes: newRouter(s.config, true)}
	return s, nil
}

// Handler is what stands on the secure port. Behind a listener of one's own, the TLS configuration must request client
// certificates without verifying them ([crypto/tls.RequestClientCert]); the chain verifies, by the client CA as it was
// when the Server was made: only [Server.Serve] follows its file.
func (s *Server) Handler() http.Handler { return s.secure }

// ReadOnlyHandler is what stands on the read-only port.
func (s *Server) ReadOnlyHandler() http.Handler { return s.readOnly }

// Serve, which may be called once, serves both ports, and /healthz on healthzPort, until ctx is done. Then it refuses new
// connections, ends streams and followed logs, gives other requests under way some time (Options.Drain), and returns nil. It returns early with an error where a listener breaks, or where the serving
// certificate cannot be had for listeners that [Server.Listen] did not make. It closes the listeners.
func (s *Server) Serve(ctx context.Context, listeners *Listeners) error {
	defer listeners.Close()
	defer s.metrics.unregister()
	if err := s.metrics.register(); err != nil {
		return fmt.Errorf("metrics of node %s: %w", s.config.NodeName, err)
	}
	running, stop := context.WithCancel(ctx)
	defer stop()

	group, running := errgroup.WithContext(running)
	if listeners.Secure != nil {
		if listeners.tls == nil {
			var err error
			if listeners.tls, err = s.newTLS(); err != nil {
				return err
			}
		}
		for _, follow := range listeners.tls.follow {
			group.Go(func() error {
				follow(running)
				return nil
			})
		}
		server := s.httpServer(running, s.secure)
		server.TLSConfig = listeners.tls.config
		s.configureHTTP(server)
		s.run(running, group, server, func() error { return server.ServeTLS(listeners.Secure, "", "") })
	}
	if listeners.ReadOnly != nil {
		server := s.httpServer(running, s.readOnly)
		s.configureHTTP(server)
		s.run(running, group, server, func() error { return server.Serve(listeners.ReadOnly) })
	}
	if port := s.config.Kubelet.HealthzPort; port != nil && *port > 0 {
		group.Go(func() error {
			s.serveHealthz(running)
			return nil
		})
	}
	stopDraining := context.AfterFunc(running, func() {
		if s.drain > 0 {
			s.logger.Info("stopping: requests under way may finish", zap.Duration("within", s.drain))
		}
		s.draining.begin()
	})
	defer stopDraining()
	return group.Wait()
}

// run serves until running is done, then drains.
func (s *Server) run(running context.Context, group *errgroup.Group, server *http.Server, serve func() error) {
	drained := make(chan struct{})
	drain := context.AfterFunc(running, func() {
		defer close(drained)
		if s.drain < 0 {
			server.Close()
			return
		}
		patience, cancel := context.WithTimeout(context.WithoutCancel(running), s.drain)
		defer cancel()
		if err := server.Shutdown(patience); err != nil {
			s.logger.Warn("requests were still under way when the time to drain was over; their connections are closed",
				zap.Duration("waited", s.drain))
			server.Close()
		}
	})
	group.Go(func() error {
		if err := serve(); !errors.Is(err, http.ErrServerClosed) {
			drain()
			return err
		}
		<-drained // serve returns when Shutdown begins
		return nil
	})
}

func (s *Server) httpServer(running context.Context, handler *port) *http.Server {
	// What is under way may finish after running is done.
	base := withPort(context.WithoutCancel(running), handler)
	server := &http.Server{
		BaseContext:    func(net.Listener) context.Context { return base },
		Handler:        handler,
		IdleTimeout:    idleTimeout,
		ReadTimeout:    readTimeout,
		WriteTimeout:   writeTimeout,
		MaxHeaderBytes: maxHeaderBytes,
		ErrorLog:       s.errorLog(),
	}
	s.follow(server)
	return server
}

// Listeners are the open ports of a Server. Either may be nil. Between [Server.Listen] and [Server.Serve] the caller may
// replace each by a listener that wraps it. If a connection of such a listener has the method
//
//	AffectedBy() []string
//
// the Server adds the names that it returns to its Decisions about the connection.
type Listeners struct {
	Secure   net.Listener
	ReadOnly net.Listener

	tls *secureTLS
}

// Close closes both.
func (l *Listeners) Close() {
	for _, listener := range []net.Listener{l.Secure, l.ReadOnly} {
		if listener != nil {
			listener.Close()
		}
	}
}

// draining ends what would not end by itself when the Server stops.
type draining struct {
	context.Context
	begin context.CancelFunc
}

func newDraining() draining {
	ctx, cancel := context.WithCancel(context.Background())
	return draining{ctx, cancel}
}
