// Package server implements the kubelet's API: the secure port, which authenticates and authorizes each request, and
// the read-only port, which does neither and serves fewer paths.
//
// [New] makes a [Server] for one configuration. [Server.Listen] opens the kubelet's ports with the kubelet's TLS
// settings, and [Server.Serve] serves them. A caller with listeners of its own uses [Server.Handler] and
// [Server.ReadOnlyHandler] instead.
//
// To read the code, begin with the table of paths in routes.go. Sources of the behaviour:
// pkg/kubelet/server/server.go and cmd/kubelet/app/server.go of k8s.io/kubernetes v1.37.
package server

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"sync/atomic"

	"go.uber.org/zap"
	"k8s.io/apiserver/pkg/server/dynamiccertificates"
	"k8s.io/component-base/featuregate"

	"fauxlet/authchain"
	"fauxlet/config"
)

// Server is one stand-in kubelet. It is safe for concurrent use. It has no Close method: [Server.Serve] closes the
// ports when its context is done.
type Server struct {
	recorder
	options Options // New has set the defaults of Drain and Logger
	config  *config.Config

	// chain authenticates and authorizes requests. It is made from chainConfig; see [Server.ResetCaches].
	chain       atomic.Pointer[authchain.Chain]
	chainConfig authchain.Config
	clientCA    dynamiccertificates.CAContentProvider

	tls      sharedTLS
	handlers handlers
	// draining is a context that is done when the Server stops. It ends streams and followed logs.
	draining      context.Context
	beginDraining context.CancelFunc

	secure, readOnly *port
}

// New returns a Server. It reads the file of the client CA. [Server.Listen] reads the serving certificate later. An
// error names the field of the configuration and what to change.
func New(options Options) (*Server, error) {
	if options.Config == nil || options.Pods == nil {
		return nil, errors.New("server: Options.Config or Options.Pods is nil; set both")
	}
	options.Drain = cmp.Or(options.Drain, drainTimeout)
	options.Logger = cmp.Or(options.Logger, zap.NewNop())
	s := &Server{options: options, config: options.Config,
		recorder: recorder{logger: options.Logger, metrics: newMetrics(options), observe: options.Observe,
			limit: options.Connections}}
	s.draining, s.beginDraining = context.WithCancel(context.Background())
	// The metric kubernetes_feature_enabled is global in the process, as it is in a kubelet.
	if gates, ok := s.config.FeatureGates.(featuregate.MutableFeatureGate); ok && options.Like == nil {
		gates.AddMetrics()
	}
	if err := s.loadChain(); err != nil {
		return nil, err
	}
	s.handlers = s.newHandlers()
	if like := options.Like; like != nil {
		s.secure = &port{server: s, routes: like.secure.routes}
		s.readOnly = &port{server: s, routes: like.readOnly.routes}
		return s, nil
	}
	if _, err := s.handlers.nodeLogs(); err != nil { // with Options.Like, New has already checked NodeLogs
		return nil, err
	}
	s.secure = &port{server: s, routes: newRouter(s.config, false)}
	s.readOnly = &port{server: s, routes: newRouter(s.config, true)}
	return s, nil
}

// loadChain makes the [authchain.Chain] of the Server. It first reads the client CA file. If Options.Like is set, it
// instead uses the client CA of Options.Like.
func (s *Server) loadChain() error {
	authn, authz, options := &s.config.Kubelet.Authentication, &s.config.Kubelet.Authorization, &s.options
	s.chainConfig = authchain.Config{
		NodeName: s.config.NodeName, Anonymous: isTrue(authn.Anonymous.Enabled),
		TokenWebhook: isTrue(authn.Webhook.Enabled), TokenReviews: options.TokenReviews,
		TokenTTL: authn.Webhook.CacheTTL.Duration, Mode: string(authz.Mode), AccessReviews: options.AccessReviews,
		AuthorizedTTL:   authz.Webhook.CacheAuthorizedTTL.Duration,
		UnauthorizedTTL: authz.Webhook.CacheUnauthorizedTTL.Duration,
		FineGrained:     s.config.Enabled("KubeletFineGrainedAuthz"),
		Legacy:          legacy(s.config.Version),
	}
	if options.Like != nil {
		s.clientCA = options.Like.clientCA
	} else if file := authn.X509.ClientCAFile; file != "" {
		var err error
		if s.clientCA, err = s.loadClientCA(file); err != nil {
			return err
		}
	}
	if s.clientCA != nil {
		s.chainConfig.ClientCA = s.clientCA
		if options.WrapClientCA != nil {
			s.chainConfig.ClientCA = options.WrapClientCA(s.clientCA)
		}
	}
	chain, err := authchain.New(s.chainConfig)
	if err != nil {
		return explainChainError(err, s.config)
	}
	s.chain.Store(chain)
	return nil
}

// Subresources returns the node's subresources that the kubelet of version v checks for a request with the given path,
// in the order of the checks. The argument fineGrained is the value of its feature gate KubeletFineGrainedAuthz.
func Subresources(path string, v config.Version, fineGrained bool) []string {
	l := legacy(v)
	return l.Subresources(path, fineGrained)
}

// The function "legacy" returns what the kubelet of an emulated version does differently from a kubelet v1.37.
func legacy(v config.Version) authchain.Legacy {
	l := authchain.Legacy{OneSubresource: !v.Has(config.SubresourceList), NoCredentialID: !v.Has(config.CredentialID),
		NoUID: !v.Has(config.CertificateUID)}
	if !v.Has(config.ZPages) {
		l.ProxyPaths = append(l.ProxyPaths, "/statusz", "/flagz")
	}
	if !v.Has(config.AllocatedPods) {
		l.ProxyPaths = append(l.ProxyPaths, "/allocatedPods")
	}
	return l
}

// Handler returns the handler of the secure port. A caller with its own listener must request client certificates
// without verifying them ([crypto/tls.RequestClientCert]), because the handler verifies them. The handler uses the
// client CA that was in the file when New was called. Later changes of the file take effect only while [Server.Serve]
// runs.
func (s *Server) Handler() http.Handler { return s.secure }

// ReadOnlyHandler returns the handler of the read-only port. It neither authenticates nor authorizes requests.
func (s *Server) ReadOnlyHandler() http.Handler { return s.readOnly }
