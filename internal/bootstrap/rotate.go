package bootstrap

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	certificatesv1 "k8s.io/api/certificates/v1"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/certificate"
)

// connectRotating does what a kubelet with rotateCertificates does: it does not wait for its certificate ("will
// bootstrap in background"). (kubelet: buildKubeletClientConfig)
func (o *Options) connectRotating(ctx context.Context) (*Connection, error) {
	requestConfig, config, err := o.loadRotating()
	if err != nil {
		return nil, err
	}
	files, err := newStore(o.Logger, o.NodeName, "client", o.CertDir, config.CertFile, config.KeyFile)
	if err != nil {
		return nil, err
	}
	if !files.valid() {
		if err := mustBeWritable(o.CertDir); err != nil {
			return nil, err
		}
	}

	c := &Connection{
		Config: rest.AnonymousClientConfig(config), node: o.NodeName,
		logger: o.Logger.With(zap.String("node", o.NodeName)),
		dialer: newDialer(), period: checkPeriod,
	}
	o.Configure(requestConfig)
	o.Configure(c.Config)
	failures := newClientFailures()
	requests := &requestLogger{logger: o.Logger, node: o.NodeName, kind: "client", next: nextAutomatic}
	var own *rest.Config // a copy of c.Config, because the caller may change the original
	template := &x509.CertificateRequest{Subject: subject(o.NodeName)}
	rotation, err := newRotation(o.NodeName, certificate.Config{
		// The current certificate authenticates the request for its successor. The bootstrap credential is used for
		// the first certificate, and again after a certificate has expired.
		ClientsetFn: func(current *tls.Certificate) (kubernetes.Interface, error) {
			config := own
			if current == nil {
				config = o.bootstrapConfig(requestConfig)
			}
			client, err := kubernetes.NewForConfig(config)
			if err != nil {
				return nil, err
			}
			return requests.wrap(client), nil
		},
		GetTemplate: func() *x509.CertificateRequest { return template },
		SignerName:  certificatesv1.KubeAPIServerClientKubeletSignerName,
		GetUsages:   certificate.DefaultKubeletClientGetUsages,
		// On a control plane node kubeadm writes an admin's certificate into the kubelet's kubeconfig. This
		// certificate is used only until the node has its own.
		BootstrapCertificatePEM: config.CertData,
		BootstrapKeyPEM:         config.KeyData,
		CertificateStore:        files,
		CertificateRenewFailure: failures,
	})
	if err != nil {
		return nil, fmt.Errorf("--cert-dir %q: %w; remove the file, and a new certificate is requested", o.CertDir, err)
	}
	c.manager = rotation
	c.metrics = []prometheus.Collector{failures, newTTL(clientTTL, c.manager.Current)}
	if err := c.setTransport(); err != nil {
		return nil, fmt.Errorf("--kubeconfig %q: %w", o.Kubeconfig, err)
	}

	own = rest.CopyConfig(c.Config)
	c.manager.Start()
	c.life, c.ended = ctx.Done(), make(chan struct{})
	context.AfterFunc(ctx, func() {
		defer close(c.ended)
		c.manager.Stop()
		utilnet.CloseIdleConnectionsFor(c.Config.Transport)
	})
	return c, nil
}

// loadRotating returns the configuration that requests the first certificate, and the configuration that uses it.
// They are equal unless a bootstrap is necessary. If it is necessary, loadRotating writes the kubeconfig at once.
// (kubelet: bootstrap.LoadClientConfig)
func (o *Options) loadRotating() (requestConfig, config *rest.Config, err error) {
	var why error
	if o.BootstrapKubeconfig != "" {
		if why, err = unusable(o.Kubeconfig); err != nil {
			return nil, nil, err
		}
	}
	if why == nil {
		if config, err = load("--kubeconfig", o.Kubeconfig); err != nil {
			return nil, nil, err
		}
		return rest.CopyConfig(config), config, nil
	}
	if requestConfig, err = load("--bootstrap-kubeconfig", o.BootstrapKubeconfig); err != nil {
		return nil, nil, fmt.Errorf("%w (it is needed because --kubeconfig %q is not usable: %v)", err, o.Kubeconfig,
			why)
	}
	if err := mustBeWritable(o.CertDir); err != nil {
		return nil, nil, err
	}
	pemFile := currentFile(o.CertDir, "client")
	if err := write(o.Kubeconfig, requestConfig, pemFile); err != nil {
		return nil, nil, err
	}
	o.Logger.Info("requesting a client certificate with the bootstrap kubeconfig", zap.String("node", o.NodeName),
		zap.String("reason", why.Error()))
	config = rest.AnonymousClientConfig(requestConfig)
	config.CertFile, config.KeyFile = pemFile, pemFile
	return requestConfig, config, nil
}

// bootstrapConfig returns the configuration for a request while there is no certificate. It reads the bootstrap
// kubeconfig again. If that fails, it returns given. This differs from a kubelet: a kubelet that started with a
// certificate requests its successor only with that certificate, and uses the bootstrap kubeconfig only at its next
// start.
func (o *Options) bootstrapConfig(given *rest.Config) *rest.Config {
	if o.BootstrapKubeconfig == "" {
		return given
	}
	config, err := load("--bootstrap-kubeconfig", o.BootstrapKubeconfig)
	if err != nil {
		o.Logger.Warn("no client certificate, and the bootstrap kubeconfig cannot be read",
			zap.String("node", o.NodeName), zap.Error(err))
		return given
	}
	o.Configure(config)
	return config
}

// setTransport gives c.Config a transport that always presents the manager's current certificate. (kubelet:
// certificate.UpdateTransport)
func (c *Connection) setTransport() error {
	config, err := rest.TLSConfigFor(c.Config)
	if err != nil {
		return err
	}
	if config == nil {
		config = &tls.Config{}
	}
	config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		if current := c.manager.Current(); current != nil {
			return current, nil
		}
		return &tls.Certificate{}, nil
	}
	c.Config.Transport = utilnet.SetTransportDefaults(&http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		TLSHandshakeTimeout: 10 * time.Second,
		TLSClientConfig:     config,
		MaxIdleConnsPerHost: 25,
		DialContext:         c.dialer.DialContext,
	})
	// The transport contains the TLS configuration. rest.Config must not have a second one.
	c.Config.TLSClientConfig = rest.TLSClientConfig{}
	c.lastAvailable = time.Now()
	return nil
}

// checkUntil checks the certificate every period until done returns true or ctx ends. It returns the error with
// which a kubelet would exit.
func (c *Connection) checkUntil(ctx context.Context, period time.Duration, done func() bool) error {
	tick := time.NewTicker(period)
	defer tick.Stop()
	for {
		if err := c.check(time.Now()); err != nil {
			return err
		}
		if done() {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

func (c *Connection) check(now time.Time) error {
	current := c.manager.Current()
	if current == nil {
		// There is no certificate yet, or it has expired.
		if !now.After(c.lastAvailable.Add(exitAfter)) {
			return nil
		}
		if c.manager.ServerHealthy() {
			return fmt.Errorf("no valid client certificate for %v, and the apiserver answers; start again with a "+
				"--bootstrap-kubeconfig that has a valid credential", exitAfter)
		}
		if !c.warned {
			c.warned = true
			c.logger.Warn("no valid client certificate, and the apiserver issues none",
				zap.Time("since", c.lastAvailable))
		}
		return nil
	}
	c.lastAvailable, c.warned = now, false
	if current == c.lastCertificate {
		return nil
	}
	first := c.lastCertificate == nil
	c.lastCertificate = current
	if !first {
		c.logger.Info("new client certificate: closing connections that used the previous one",
			zap.Time("expires", current.Leaf.NotAfter))
		c.dialer.CloseAll()
	}
	return nil
}
