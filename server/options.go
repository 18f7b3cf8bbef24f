package server

import (
	"crypto/tls"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	authenticationv1 "k8s.io/client-go/kubernetes/typed/authentication/v1"
	authorizationv1 "k8s.io/client-go/kubernetes/typed/authorization/v1"

	"fauxlet/authchain"
	"fauxlet/config"
	"fauxlet/internal/pods"
	"fauxlet/internal/podstats"
)

// drainTimeout is the default of Options.Drain.
const drainTimeout = 10 * time.Second

// Options configure a [Server]. Config and Pods are required.
type Options struct {
	// Config is the kubelet's configuration.
	Config *config.Config

	// TokenReviews and AccessReviews are the clients for TokenReviews and SubjectAccessReviews, usually of a
	// clientset made from the kubelet's kubeconfig. They may be nil if the configuration uses no webhook.
	TokenReviews  authenticationv1.AuthenticationV1Interface
	AccessReviews authorizationv1.AuthorizationV1Interface

	// Pods are the pods of the node.
	Pods *pods.Store

	// Machine is the machine of the node in statistics and metrics. The zero value has room for all pods.
	Machine podstats.Machine

	// NodeLogs are the files that /logs/ serves, by their path below /var/log. Nil means the files of a node that has
	// just been started.
	NodeLogs map[string]string

	// ServingCertificate returns the certificate that the cluster has issued, if serverTLSBootstrap is true. While it
	// returns nil, handshakes fail, as with a kubelet whose request for a certificate has not been approved. A nil
	// function always fails.
	ServingCertificate func() *tls.Certificate

	// ReadOnce reads the files of the client CA and the serving certificate once, in [New] and [Server.Listen].
	// Later changes of the files are ignored. With ReadOnce, a Server that never serves does not leave a goroutine
	// behind.
	ReadOnce bool

	// Like, if set, is a Server whose configuration differs only in names, addresses and ports. The new Server
	// shares its routers, its client CA and, if the serving certificate comes from files, its serving certificate.
	// With Like, a process with a thousand nodes needs only a few kilobytes for each node.
	Like *Server

	// Collectors are further metrics of the node that /metrics serves, for example about its certificates.
	Collectors []prometheus.Collector

	// Metrics, if set, is a registry for the metrics of all nodes of the process. While [Server.Serve] runs, the
	// Server's metrics are registered there too, with the label node.
	Metrics prometheus.Registerer

	// Decorators wrap parts of the Server.
	Decorators

	// Logger logs one line for each Decision: at level info, warn (401, 403, a failed handshake) or error (5xx), and
	// at level debug for a connection without a request. Nil logs nothing.
	Logger *zap.Logger

	// Drain is how long Serve waits for requests under way when it stops. 0 means 10 s. If it is negative, Serve
	// closes their connections at once.
	Drain time.Duration

	// Begin, if set, is called with the Decision of each request when the request arrives, before authentication. It
	// may read Time, Remote, Method and Path. It is not called for connections without a request.
	Begin func(*authchain.Decision)

	// Observe, if set, is called with each Decision when it is complete: when the handler has returned, although the
	// response may still be on its way, and when a connection without a request has ended. Many goroutines call Begin
	// and Observe at once. Both must return quickly.
	Observe func(*authchain.Decision)
}
