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

// connectRotating is the road of a kubelet with rotateCertificates, which does not wait for its certificate: "will bootstrap in
// background". (kubelet: buildKubeletClientConfig)
func (o *Options) connectRotating(ctx context.Context) (*Connection, error) {
	asking, config, err := o.loadRotating()
	if err != nil {
		return nil, err
	}
	files, err := newStore(o.Logger, o.NodeName, "client", o.CertDir, config.CertFile, config.KeyFile)
	if err != nil {
		return nil, err
	}
	if !files.good() {
		if err := mustBeWritable(o.CertDir); err != nil {
			return nil, err
		}
	}

	c := &Connection{
		Config: rest.AnonymousClientConfig(config), node: o.NodeName, logger: o.Logger.With(zap.String("node", o.NodeName)),
		dialer: newDialer(), period: checkPeriod,
	}
	o.Configure(asking)
	o.Configure(c.Config)
	failures := newClientFailures()
	news := &news{logger: o.Logger, node: o.NodeName, kind: "client", again: againByItself}
	var own *rest.Config // a copy of Config, which is the caller's
	template := &x509.CertificateRequest{Subject: subject(o.NodeName)}
	rotation, err := newRotation(o.NodeName, certificate.Config{
		// While there is a certificate it is asked for its successor; the bootstrap credential is for the first, and for one
		// after an end.
		ClientsetFn: func(current *tls.Certificate) (kubernetes.Interface, error) {
			by := own
			if current == nil {
				by = o.askAnew(asking)
			}
			client, err := kubernetes.NewForConfig(by)
			if err != nil {
				return nil, err
			}
			return news.of(client), nil
		},
		GetTemplate: func() *x509.CertificateRequest { return template },
		SignerName:  certificatesv1.KubeAPIServerClientKubeletSignerName,
		GetUsages:   certificate.DefaultKubeletClientGetUsages,
		// kubeadm gives the kubelet of a control plane node an admin's certificate in its kubeconfig: it is used, and
		// rotated at once.
		BootstrapCertificatePEM: config.CertData,
		BootstrapKeyPEM:         config.KeyData,
		CertificateStore:        files,
		CertificateRenewFailure: failures,
	})
	if err != nil {
		return nil, fmt.Errorf("--cert-dir %q: %w; remove the file to have a certificate asked for anew", o.CertDir, err)
	}
	c.manager = rotation
	c.metrics = []prometheus.Collector{failures, newTTL(clientTTL, c.manager.Current)}
	if err := c.present(); err != nil {
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

// loadRotating gives the configuration to ask for the first certificate with, and the one to use it by. They are the same
// unless there is need to bootstrap; then the kubeconfig is written at once. (kubelet: bootstrap.LoadClientConfig)
func (o *Options) loadRotating() (asking, config *rest.Config, err error) {
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
	if asking, err = load("--bootstrap-kubeconfig", o.BootstrapKubeconfig); err != nil {
		return nil, nil, fmt.Errorf("%w (it is needed because of --kubeconfig %q: %v)", err, o.Kubeconfig, why)
	}
	if err := mustBeWritable(o.CertDir); err != nil {
		return nil, nil, err
	}
	pemFile := currentFile(o.CertDir, "client")
	if err := write(o.Kubeconfig, asking, pemFile); err != nil {
		return nil, nil, err
	}
	o.Logger.Info("asking for a client certificate by the bootstrap kubeconfig", zap.String("node", o.NodeName), zap.String("because", why.Error()))
	config = rest.AnonymousClientConfig(asking)
	config.CertFile, config.KeyFile = pemFile, pemFile
	return asking, config, nil
}

// askAnew gives the configuration to ask with where there is no certificate: that of the bootstrap kubeconfig as it is now, or
// else as was given. (A kubelet that has begun with a certificate asks by that alone, and leaves the rest to its next start.)
func (o *Options) askAnew(given *rest.Config) *rest.Config {
	if o.BootstrapKubeconfig == "" {
		return given
	}
	config, err := load("--bootstrap-kubeconfig", o.BootstrapKubeconfig)
	if err != nil {
		o.Logger.Warn("there is no certificate, and nothing to ask for one with", zap.String("node", o.NodeName), zap.Error(err))
		return given
	}
	o.Configure(config)
	return config
}

// present gives the configuration a transport that shows the manager's certificate of the moment. (kubelet:
// certificate.UpdateTransport)
func (c *Connection) present() error {
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
	// The transport has it all, and none may be given beside it.
	c.Config.TLSClientConfig = rest.TLSClientConfig{}
	c.lastAvailable = time.Now()
	return nil
}

// checkUntil looks after the certificate until done says so or ctx ends, and gives the error that a kubelet exits with.
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
		// There never was one, or it has expired.
		if !now.After(c.lastAvailable.Add(exitAfter)) {
			return nil
		}
		if c.manager.ServerHealthy() {
			return fmt.Errorf("no valid client certificate for %v, and the apiserver answers; the next start can bootstrap anew: see that --bootstrap-kubeconfig names a file with a good credential", exitAfter)
		}
		if !c.silent {
			c.silent = true
			c.logger.Warn("no valid client certificate, and the apiserver gives none", zap.Time("since", c.lastAvailable))
		}
		return nil
	}
	c.lastAvailable, c.silent = now, false
	if current == c.lastCertificate {
		return nil
	}
	first := c.lastCertificate == nil
	c.lastCertificate = current
	if !first {
		c.logger.Info("a new client certificate: connections of the one before are closed", zap.Time("good until", current.Leaf.NotAfter))
		c.dialer.CloseAll()
	}
	return nil
}
