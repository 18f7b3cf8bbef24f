// Package bootstrap obtains a node's client and serving certificates from the cluster, as a kubelet does. It uses the
// kubelet's own library, k8s.io/client-go/util/certificate.
//
// [Connect] returns a client configuration for the apiserver. It uses the client certificate in the kubeconfig. If this
// certificate is missing or expired, Connect requests a new one as the user of the bootstrap kubeconfig. [NewServing]
// requests a serving certificate as the node. Both certificates are stored under the kubelet's file names and renewed
// before they expire. There is no global state, so one process may run any number of nodes.
//
// Sources of the behaviour in k8s.io/kubernetes v1.37: cmd/kubelet/app/server.go (buildKubeletClientConfig),
// pkg/kubelet/certificate and pkg/kubelet/certificate/bootstrap.
package bootstrap

import (
	"context"
	"crypto/tls"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/certificate"
	"k8s.io/client-go/util/connrotation"
	"k8s.io/klog/v2"

	"fauxlet/internal/atomicfile"
)

// Options configure [Connect]. NodeName and Kubeconfig are required. The flags in the comments are the kubelet's.
type Options struct {
	NodeName string
	// Kubeconfig is the file of --kubeconfig. Connect writes this file when it requests a certificate.
	Kubeconfig string
	// BootstrapKubeconfig is the file of --bootstrap-kubeconfig, or empty. Its credential, such as a bootstrap token,
	// is used to request a client certificate if Kubeconfig is missing or invalid, or has an expired certificate.
	BootstrapKubeconfig string
	// CertDir is the folder of --cert-dir. It is required if a certificate is requested.
	CertDir string
	// Rotate is the field rotateCertificates. If it is true, the client certificate is renewed before it expires.
	Rotate bool
	// Configure, if set, changes each rest.Config before it is used, for example its rate limits, content type and user
	// agent. It may wrap the transport, but must not change transport, dialer or TLS.
	Configure func(*rest.Config)
	// Logger logs each certificate request and its result. If Logger is nil, nothing is logged.
	Logger *zap.Logger
}

// Connection is an authenticated connection to the apiserver.
type Connection struct {
	// Config is the configuration for clients. It has its own transport or dialer, so all clients share connections.
	Config  *rest.Config
	node    string
	logger  *zap.Logger
	dialer  *connrotation.Dialer
	manager certificate.Manager // nil without rotation
	ending  <-chan struct{}     // closed when the context of Connect ends
	ended   chan struct{}       // closed when the manager has stopped
	metrics []prometheus.Collector

	lastCertificate *tls.Certificate
	lastAvailable   time.Time
	warned          bool // whether the warning about a missing certificate has been logged
}

const (
	// checkPeriod is how often a kubelet checks whether its client certificate was replaced or has expired.
	checkPeriod = 10 * time.Second
	// exitAfter is how long a kubelet without a client certificate keeps running while the apiserver answers.
	exitAfter = 5 * time.Minute
)

// Connect returns a connection for the node. It returns the error with which a kubelet would exit, or the error of ctx.
// If there is a certificate already, the apiserver need not be reachable. Otherwise Connect requests a certificate.
// Without Rotate it waits until the request is approved and signed. With Rotate it returns at once, and the client is
// unauthenticated until [Connection.Await] returns, as in a kubelet.
//
// All goroutines of a Connection end with ctx, so ctx must last as long as the Connection is used. With Rotate the
// caller must also call [Connection.Run].
func Connect(ctx context.Context, o Options) (*Connection, error) {
	if o.NodeName == "" || o.Kubeconfig == "" {
		return nil, errors.New("bootstrap: Options.NodeName and Options.Kubeconfig are required")
	}
	if o.Logger == nil {
		o.Logger = zap.NewNop()
	}
	if o.Configure == nil {
		o.Configure = func(*rest.Config) {}
	}
	if o.Rotate {
		return o.connectRotating(ctx)
	}
	if err := o.bootstrap(ctx); err != nil {
		return nil, err
	}
	config, err := load("--kubeconfig", o.Kubeconfig)
	if err != nil {
		return nil, err
	}
	if err := checkFiles(o.Kubeconfig, config); err != nil {
		return nil, err
	}
	dialer := connrotation.NewDialer(dial)
	config.Dial = dialer.DialContext
	o.Configure(config)
	return &Connection{Config: config, node: o.NodeName, logger: o.Logger, dialer: dialer}, nil
}

// Await waits until there is a client certificate. It returns the error with which a kubelet would exit, or the error
// of ctx. Calling Await is optional, but it must not be called after Run.
func (c *Connection) Await(ctx context.Context) error {
	if c.manager == nil {
		return nil
	}
	err := c.checkUntil(ctx, time.Second, func() bool { return c.lastCertificate != nil })
	if err != nil && ctx.Err() != nil {
		return fmt.Errorf("no client certificate for node %s: %w", c.node, err)
	}
	return err
}

// Run closes old connections whenever a new client certificate arrives. It returns nil when ctx ends. If the context
// that was passed to Connect has ended too, Run first waits until the certificate manager has stopped. Run returns an
// error when a kubelet would exit: five minutes after its certificate has expired, if the apiserver answers but issues
// no new certificate. The next start can then bootstrap again. Call Run once.
func (c *Connection) Run(ctx context.Context) error {
	if c.manager == nil {
		<-ctx.Done()
		return nil
	}
	err := c.checkUntil(ctx, checkPeriod, func() bool { return false })
	select {
	case <-c.ending:
		<-c.ended
	default:
	}
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// CloseAll closes all connections, so that the next request opens a new one. A node calls it when its heartbeats fail.
// A kubelet then closes only idle connections (with utilnet.CloseIdleConnectionsFor), unless its environment variable
// DISABLE_HTTP2 is set.
func (c *Connection) CloseAll() { c.dialer.CloseAll() }

// dial opens all connections to the apiserver. Tests replace this variable.
var dial = (&net.Dialer{Timeout: 30 * time.Second, KeepAlive: 30 * time.Second}).DialContext

// subject returns the subject of a node's client and serving certificates.
func subject(nodeName string) pkix.Name {
	return pkix.Name{CommonName: "system:node:" + nodeName, Organization: []string{"system:nodes"}}
}

// libraryLogger returns a logger for the certificate library that adds the node's name to each line.
func libraryLogger(nodeName string) klog.Logger {
	return klog.Background().WithValues("node", nodeName)
}

// mustBeWritable returns an error if files cannot be created in dir. It is called before a certificate is requested,
// because a certificate that cannot be stored would be requested again and again.
func mustBeWritable(dir string) error {
	if dir == "" {
		return errors.New("--cert-dir is empty; set it to a folder for certificates")
	}
	err := atomicfile.MkdirAll(dir)
	if err == nil {
		var probe *os.File
		if probe, err = os.CreateTemp(dir, ".writable-"); err == nil {
			err = errors.Join(probe.Close(), os.Remove(probe.Name()))
		}
	}
	if err != nil {
		return fmt.Errorf("--cert-dir %q: %w; certificates are stored there: use a writable folder", dir, err)
	}
	return nil
}
