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
	"fauxlet/internal/apirequests"
	"fauxlet/internal/pods"
	"fauxlet/internal/podstats"
)

const drainTimeout = 10 * time.Second // the default of Options.Drain

// Options configure a [Server]. Config and Pods are required.
type Options struct {
	// Config is the kubelet's configuration. It must not be changed after New.
	Config *config.Config

	// TokenReviews and AccessReviews are the clients for TokenReviews and SubjectAccessReviews, usually of a
	// clientset made from the kubelet's kubeconfig. They may be nil if the configuration uses no webhook.
	TokenReviews  authenticationv1.AuthenticationV1Interface
	AccessReviews authorizationv1.AuthorizationV1Interface

	// Pods are the pods of the node. The Server reads the store for each request, so pods may be added, changed and
	// deleted at any time. The Server does not close the store.
	Pods *pods.Store

	// Machine is the simulated machine of the node in statistics and metrics. The zero value is a machine that has room
	// for all pods.
	Machine podstats.Machine

	// NodeLogs maps the path of each file that /logs/ serves, relative to /var/log, to the content of the file. Nil
	// means the files of a node that has just been started. The map must not be changed after New.
	NodeLogs map[string]string

	// ServingCertificate returns the certificate that the cluster has issued. It is used only if serverTLSBootstrap is
	// true, and is called for each handshake. While it returns nil, handshakes fail, as with a kubelet whose request
	// for a certificate has not been approved. If the function itself is nil, all handshakes fail.
	ServingCertificate func() *tls.Certificate

	// If ReadOnce is true, the Server reads the files of the client CA and the serving certificate only once, in [New]
	// and [Server.Listen], and ignores later changes of the files. If ReadOnce is false and the Server never serves,
	// one goroutine of the Server never ends.
	ReadOnce bool

	// Like, if set, is another Server, whose configuration differs only in names, addresses and ports. The new Server
	// uses the routers and the client CA of the other Server, and also its serving certificate if that comes from
	// files. With Like, a process with a thousand nodes needs only a few kilobytes for each node.
	Like *Server

	// Collectors are additional metrics for /metrics, for example about the node's certificates.
	Collectors []prometheus.Collector

	// Requests, if set, has counted the node's requests to the apiserver, for the metrics rest_client_*.
	Requests *apirequests.Counts

	// Metrics, if set, is a registry for the metrics of all nodes of the process. While [Server.Serve] runs, the
	// Server's metrics are registered there too, with the label node.
	Metrics prometheus.Registerer

	// Connections, if set, limits the number of open connections of all Servers that have the same ConnectionLimit. Nil
	// means no limit.
	Connections *ConnectionLimit

	// Decorators wrap parts of the Server.
	Decorators

	// Logger logs one line for each Decision: at level info, warn (401, 403, a failed handshake) or error (5xx), and
	// at level debug for a connection without a request. Nil logs nothing.
	Logger *zap.Logger

	// Drain is how long Serve waits for requests in progress when it stops. 0 means 10 s. If Drain is negative, Serve
	// closes the connections of these requests at once.
	Drain time.Duration

	// Begin, if set, is called with the Decision of each request when the request arrives, before authentication. Begin
	// may read only the fields Time, Remote, Method and Path of the Decision. It is not called for connections without
	// a request.
	Begin func(*authchain.Decision)

	// Observe, if set, is called with each complete Decision. The Decision about a request is complete when the handler
	// has returned, although the response may still be on its way. The Decision about a connection without a request is
	// complete when the connection has ended. Many goroutines call Begin and Observe at once. Both must return quickly.
	Observe func(*authchain.Decision)
}
