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
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/certificate"
	"k8s.io/client-go/util/connrotation"
)

// connectRotating connects like a kubelet with rotateCertificates: it does not wait for its certificate. (kubelet:
// buildKubeletClientConfig, "will bootstrap in background")
func (o *Options) connectRotating(ctx context.Context) (*Connection, error) {
	requestConfig, err := o.bootstrapConfig()
	if err != nil {
		return nil, err
	}
	var config *rest.Config
	if requestConfig == nil {
		if config, err = load("--kubeconfig", o.Kubeconfig); err != nil {
			return nil, err
		}
		requestConfig = rest.CopyConfig(config)
	} else {
		// Write the kubeconfig at once. (kubelet: bootstrap.LoadClientConfig)
		pemFile := currentFile(o.CertDir, "client")
		if err := write(o.Kubeconfig, requestConfig, pemFile); err != nil {
			return nil, err
		}
		config = rest.AnonymousClientConfig(requestConfig)
		config.CertFile, config.KeyFile = pemFile, pemFile
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
	c := &Connection{Config: rest.AnonymousClientConfig(config), node: o.NodeName,
		logger: o.Logger.With(zap.String("node", o.NodeName)), dialer: connrotation.NewDialer(dial)}
	o.Configure(requestConfig)
	o.Configure(c.Config)
	failures := newFailures("kubelet_certificate_manager_client_expiration_renew_errors")
	requests := &requestLogger{logger: o.Logger, node: o.NodeName, kind: "client", next: nextAutomatic}
	var own *rest.Config // a copy of c.Config, because the caller may change the original
	template := &x509.CertificateRequest{Subject: subject(o.NodeName)}
	c.manager, err = newRotation(o.NodeName, files, requests, certificate.Config{
		// The current certificate authenticates the request for its successor. Without a current certificate, the
		// bootstrap credential authenticates the request.
		ClientsetFn: func(current *tls.Certificate) (kubernetes.Interface, error) {
			config := own
			if current == nil {
				config = rest.CopyConfig(o.latestConfig(requestConfig))
				config.Wrap(requests.remember)
			}
			return kubernetes.NewForConfig(config)
		},
		GetTemplate: func() *x509.CertificateRequest { return template },
		SignerName:  certificatesv1.KubeAPIServerClientKubeletSignerName,
		GetUsages:   certificate.DefaultKubeletClientGetUsages,
		// The certificate in the kubeconfig is used until the node has its own. On a control plane node, kubeadm
		// writes an admin's certificate there.
		BootstrapCertificatePEM: config.CertData,
		BootstrapKeyPEM:         config.KeyData,
		CertificateRenewFailure: failures,
	})
	if err != nil {
		return nil, fmt.Errorf("--cert-dir %q: %w; remove the file, and a new certificate is requested", o.CertDir, err)
	}
	c.metrics = []prometheus.Collector{failures, newTTL("client", "TTL", "client", c.manager.Current)}
	if err := c.setTransport(); err != nil {
		return nil, fmt.Errorf("--kubeconfig %q: %w", o.Kubeconfig, err)
	}
	own = rest.CopyConfig(c.Config)
	if c.manager.Current() == nil && o.BootstrapKubeconfig == "" {
		c.logger.Warn("requests to the apiserver are anonymous, and TokenReviews and SubjectAccessReviews fail, until "+
			"the apiserver issues a client certificate: with rotateCertificates a kubelet presents only a client "+
			"certificate, and the kubeconfig has no valid one; its token or other credential only requests one. Set "+
			"rotateCertificates: false, or use a kubeconfig with a client certificate, or --bootstrap-kubeconfig",
			zap.String("kubeconfig", o.Kubeconfig))
	}
	c.manager.Start()
	c.ending, c.ended = ctx.Done(), make(chan struct{})
	context.AfterFunc(ctx, func() {
		defer close(c.ended)
		c.manager.Stop()
		utilnet.CloseIdleConnectionsFor(c.Config.Transport)
	})
	return c, nil
}

// latestConfig returns the configuration for a request while there is no certificate. It reads the bootstrap kubeconfig
// again. If that fails, it returns the given configuration. A kubelet, in contrast, reads the bootstrap kubeconfig only
// when it starts.
func (o *Options) latestConfig(given *rest.Config) *rest.Config {
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
		Proxy: http.ProxyFromEnvironment, TLSHandshakeTimeout: 10 * time.Second, TLSClientConfig: config,
		MaxIdleConnsPerHost: 25, DialContext: c.dialer.DialContext,
	})
	// client-go requires that a rest.Config with a Transport has no TLS configuration.
	c.Config.TLSClientConfig = rest.TLSClientConfig{}
	c.lastAvailable = time.Now()
	return nil
}

// checkUntil checks the client certificate at once and then at intervals of "period", until the function "done" returns
// true. It returns an error in two cases: if a kubelet would exit, with the kubelet's reason, or if ctx ends.
func (c *Connection) checkUntil(ctx context.Context, period time.Duration, done func() bool) error {
	return wait.PollUntilContextCancel(ctx, period, true, func(context.Context) (bool, error) {
		err := c.check(time.Now())
		return done(), err
	})
}

func (c *Connection) check(now time.Time) error {
	current := c.manager.Current()
	if current == nil { // the certificate has not been issued yet, or it has expired
		switch {
		case !now.After(c.lastAvailable.Add(exitAfter)):
		case c.manager.ServerHealthy():
			return fmt.Errorf("no valid client certificate for %v, and the apiserver answers; start again with a "+
				"--bootstrap-kubeconfig that has a valid credential", exitAfter)
		case !c.warned:
			c.warned = true
			c.logger.Warn("no valid client certificate, and the apiserver issues none",
				zap.Time("since", c.lastAvailable))
		}
		return nil
	}
	c.lastAvailable, c.warned = now, false
	if last := c.lastCertificate; last != nil && last != current {
		c.logger.Info("new client certificate: closing connections that used the previous one",
			zap.Time("expires", current.Leaf.NotAfter))
		c.dialer.CloseAll()
	}
	c.lastCertificate = current
	return nil
}
