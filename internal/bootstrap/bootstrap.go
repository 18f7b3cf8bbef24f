// Package bootstrap gets a node its certificates, as a kubelet does, by k8s.io/client-go/util/certificate.
//
// [Connect] gives a client of the apiserver: with the certificate that the kubeconfig names, or, where there is none that
// is good, with one that it asks for as the user of the bootstrap kubeconfig. [NewServing] asks, as the node, for the
// certificate to serve with. Both are kept in a folder under the kubelet's names, and both are asked for again before
// they expire. Nothing is kept in globals: a process may have as many nodes as it likes.
//
// Sources of the behaviour, in k8s.io/kubernetes v1.37: cmd/kubelet/app/server.go (buildKubeletClientConfig),
// pkg/kubelet/certificate and its bootstrap.
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
)

// Options say who connects and by which files. The flags named are the kubelet's.
type Options struct {
	// NodeName is the node's. Required.
	NodeName string
	// Kubeconfig is the file of --kubeconfig; it is written where a certificate is asked for. Required.
	Kubeconfig string
	// BootstrapKubeconfig is the file of --bootstrap-kubeconfig, with a credential that may ask for a client certificate,
	// such as a bootstrap token. It is read where Kubeconfig is missing, damaged, or has an expired certificate. Empty: none.
	BootstrapKubeconfig string
	// CertDir is the folder of --cert-dir. Required where a certificate is asked for.
	CertDir string
	// Rotate is rotateCertificates.
	Rotate bool
	// Configure, where it is set, has the last word on each rest.Config that is made, the one that certificates are asked
	// for with included: limits, content type, user agent. It must leave transport, dialer and TLS alone.
	Configure func(*rest.Config)
	// Logger is told what is asked for and what became of it. Nil: nobody.
	Logger *zap.Logger
}

// Connection is a way to the apiserver.
type Connection struct {
	// Config is for clients. It has its own transport, or its own dialer, so that all who use it share connections.
	Config *rest.Config

	node    string
	logger  *zap.Logger
	dialer  *connrotation.Dialer
	manager certificate.Manager // nil where nothing is rotated
	metrics []prometheus.Collector
	period  time.Duration // of Run's looks at the certificate

	life  <-chan struct{} // closed with the ctx of Connect
	ended chan struct{}   // closed when nothing goes on any more

	lastCertificate *tls.Certificate
	lastAvailable   time.Time
	silent          bool // the apiserver's silence has been told of
}

const (
	// checkPeriod is how often a kubelet looks whether its client certificate is another, or has expired.
	checkPeriod = 10 * time.Second
	// exitAfter is how long a kubelet stays without a client certificate while the apiserver answers.
	exitAfter = 5 * time.Minute
)

// Connect gives a client for the node, or the error that a kubelet would exit with, or that of ctx. Where there is no
// certificate yet it has one asked for. Without Rotate it waits for it, if need be until somebody approves the request; with
// Rotate the client is nobody to the apiserver until [Connection.Await] is done, as a kubelet's is. The apiserver itself need
// not be there if there is a certificate already.
//
// All that goes on behind a Connection ends with ctx, which therefore is that of its whole life. A Connection that rotates
// wants [Connection.Run].
func Connect(ctx context.Context, o Options) (*Connection, error) {
	if o.NodeName == "" || o.Kubeconfig == "" {
		return nil, errors.New("identity: Options.NodeName and Options.Kubeconfig are required")
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

	if o.BootstrapKubeconfig != "" {
		if err := o.bootstrap(ctx); err != nil {
			return nil, err
		}
	}
	config, err := load("--kubeconfig", o.Kubeconfig)
	if err != nil {
		return nil, err
	}
	if err := fits(config); err != nil {
		return nil, fmt.Errorf("--kubeconfig %q: client certificate: %w", o.Kubeconfig, err)
	}
	dialer := newDialer()
	config.Dial = dialer.DialContext
	o.Configure(config)
	return &Connection{Config: config, node: o.NodeName, logger: o.Logger, dialer: dialer}, nil
}

// Await waits until there is a certificate to connect with. It returns the error that a kubelet would exit with, or that of
// ctx. It is called before Run, if at all.
func (c *Connection) Await(ctx context.Context) error {
	if c.manager == nil {
		return nil
	}
	if err := c.checkUntil(ctx, time.Second, func() bool { return c.lastCertificate != nil }); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil && c.lastCertificate == nil {
		return fmt.Errorf("no client certificate for node %s: %w", c.node, err)
	}
	return nil
}

// Run closes the connections of the certificate before when a new one has come, until ctx ends; then it returns nil. It
// returns an error where a kubelet would exit so that the next start can bootstrap anew: five minutes after the
// certificate has expired, if the apiserver answers and gives no new one. One call is enough, and may come late.
func (c *Connection) Run(ctx context.Context) error {
	if c.manager == nil {
		<-ctx.Done()
		return nil
	}
	err := c.checkUntil(ctx, c.period, func() bool { return false })
	select {
	case <-c.life:
		<-c.ended
	default:
	}
	return err
}

// CloseAll closes the connections, so that the next request makes a new one. (A kubelet of which heartbeats fail closes
// idle ones alone, unless DISABLE_HTTP2 is set: for that there is utilnet.CloseIdleConnectionsFor.)
func (c *Connection) CloseAll() { c.dialer.CloseAll() }

func newDialer() *connrotation.Dialer {
	return connrotation.NewDialer((&net.Dialer{Timeout: 30 * time.Second, KeepAlive: 30 * time.Second}).DialContext)
}

// subject is that of both certificates.
func subject(nodeName string) pkix.Name {
	return pkix.Name{CommonName: "system:node:" + nodeName, Organization: []string{"system:nodes"}}
}

// libraryLogger is the one by which the library's lines tell whose they are.
func libraryLogger(nodeName string) klog.Logger {
	return klog.Background().WithValues("node", nodeName)
}

// mustBeWritable finds out before anything is asked for, because a certificate that cannot be kept is asked for again
// and again.
func mustBeWritable(dir string) error {
	if dir == "" {
		return errors.New("--cert-dir is empty; give a folder to keep certificates in")
	}
	err := os.MkdirAll(dir, 0o755)
	if err == nil {
		var probe *os.File
		if probe, err = os.CreateTemp(dir, ".writable-"); err == nil {
			err = errors.Join(probe.Close(), os.Remove(probe.Name()))
		}
	}
	if err != nil {
		return fmt.Errorf("--cert-dir %q: %w; certificates are kept there: give a folder that can be written to", dir, err)
	}
	return nil
}
