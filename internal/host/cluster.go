package host

import (
	"context"
	"net/http"
	"os"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"fauxlet/config"
	"fauxlet/internal/apirequests"
	"fauxlet/internal/bootstrap"
	"fauxlet/internal/node"
)

// cluster is a connection to an apiserver and the nodes that use it.
type cluster struct {
	connection *bootstrap.Connection
	client     kubernetes.Interface
	transport  *http.Client // the HTTP client that the Kubernetes client uses
	fleet      *node.Fleet  // nil if the nodes are not registered
	// authenticated is closed when the connection has a client certificate. With certificate rotation, the cluster may
	// issue the certificate after the node has started.
	authenticated chan struct{}
}

// ownCredentials reports whether each node has its own credential for the apiserver.
func (h *Host) ownCredentials() bool {
	return !h.options.numbered() || h.options.Config.BootstrapKubeconfig != ""
}

// The method "join" connects to the apiserver of the kubeconfig in cfg. Without a kubeconfig, it returns nil. With a
// bootstrap kubeconfig and without rotateCertificates, it waits until the cluster has issued a client certificate. The
// argument "only" is the name of the node to which the credential belongs, or empty if all nodes share the credential.
// The function "count" returns a transport that counts the requests.
func (h *Host) join(ctx context.Context, cfg *config.Config, only string,
	count func(http.RoundTripper) http.RoundTripper) (*cluster, error) {
	if cfg.Kubeconfig == "" {
		if cfg.BootstrapKubeconfig != "" {
			return nil, optionErrorf("Config.BootstrapKubeconfig",
				"needs a kubeconfig too, the file to write the obtained credential to")
		}
		return nil, nil
	}
	if cfg.BootstrapKubeconfig == "" {
		if _, err := os.Stat(cfg.Kubeconfig); err != nil {
			return nil, optionErrorf("Config.Kubeconfig", "invalid kubeconfig: %w", err)
		}
	}
	kubelet := &cfg.Kubelet
	connection, err := bootstrap.Connect(ctx, bootstrap.Options{
		NodeName: cfg.NodeName, Kubeconfig: cfg.Kubeconfig, BootstrapKubeconfig: cfg.BootstrapKubeconfig,
		CertDir: cfg.CertDir, Rotate: kubelet.RotateCertificates && only != "", Logger: h.logger,
		Configure: func(client *rest.Config) {
			client.UserAgent = "fauxlet/" + h.options.Version
			client.Wrap(count)
			client.ContentType = kubelet.ContentType
			// A warning could repeat the token or the Secret that the response contains, and client-go would log it.
			client.WarningHandler = rest.NoWarnings{}
			if client.ContentType == runtime.ContentTypeProtobuf {
				client.AcceptContentTypes = runtime.ContentTypeProtobuf + "," + runtime.ContentTypeJSON
			}
			client.Burst = int(kubelet.KubeAPIBurst)
			if kubelet.KubeAPIQPS != nil {
				client.QPS = float32(*kubelet.KubeAPIQPS)
			}
			if only == "" {
				client.QPS = -1 // no limit: the rate limit of one kubelet is too low for many nodes
			}
		},
	})
	if err != nil {
		return nil, err
	}
	transport, err := rest.HTTPClientFor(connection.Config)
	if err != nil {
		return nil, optionErrorf("Config.Kubeconfig", "invalid kubeconfig: %w", err)
	}
	client, err := kubernetes.NewForConfigAndClient(connection.Config, transport)
	if err != nil {
		return nil, optionErrorf("Config.Kubeconfig", "%w", err)
	}
	c := &cluster{connection: connection, client: client, transport: transport, authenticated: make(chan struct{})}
	if joins(h.options.Config) {
		heartbeats, err := kubernetes.NewForConfig(heartbeatConfig(connection.Config, cfg))
		if err != nil {
			return nil, optionErrorf("Config.Kubeconfig", "%w", err)
		}
		c.fleet, err = node.NewFleet(node.Options{Client: client, Heartbeats: heartbeats, Only: only,
			Containers: h.scenario.containersOf, HeartbeatFailed: connection.CloseAll, Logger: h.logger})
		if err != nil {
			return nil, err
		}
	}
	return c, nil
}

// share counts the requests of nodes that share a connection.
func (h *Host) share(base http.RoundTripper) http.RoundTripper {
	return apirequests.Share(base, func(name string) *apirequests.Counts {
		if n := h.node(name); n != nil {
			return n.requests
		}
		return nil
	})
}

// heartbeatConfig returns the configuration of the client that sends heartbeats. Its requests time out before the next
// heartbeat is due, and the rate limit of other requests does not delay them. (kubelet: cmd/kubelet/app/server.go, run)
func heartbeatConfig(client *rest.Config, cfg *config.Config) *rest.Config {
	heartbeats := rest.CopyConfig(client)
	heartbeats.Timeout = min(cfg.Kubelet.NodeStatusUpdateFrequency.Duration,
		time.Duration(cfg.Kubelet.NodeLeaseDurationSeconds)*time.Second)
	heartbeats.QPS = -1
	return heartbeats
}

// The method "run" maintains the connection and the nodes until ctx is done. Nodes send no requests to the apiserver
// before the connection is authenticated.
func (c *cluster) run(ctx context.Context, group interface{ Go(func() error) }) {
	group.Go(func() error {
		if err := c.connection.Await(ctx); err != nil {
			if ctx.Err() != nil {
				return nil // the node was stopped before the certificate was issued
			}
			return err
		}
		close(c.authenticated)
		return c.connection.Run(ctx)
	})
	if c.fleet != nil {
		group.Go(func() error { return c.whenAuthenticated(ctx, c.fleet.Run) })
	}
}

// whenAuthenticated waits until the connection is authenticated, and then calls run. It does not call run if ctx is
// done first.
func (c *cluster) whenAuthenticated(ctx context.Context, run func(context.Context) error) error {
	select {
	case <-c.authenticated:
		return run(ctx)
	case <-ctx.Done():
		return nil
	}
}
