package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"go.uber.org/zap"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	authenticationv1 "k8s.io/client-go/kubernetes/typed/authentication/v1"
	authorizationv1 "k8s.io/client-go/kubernetes/typed/authorization/v1"
	"k8s.io/client-go/rest"

	"fauxlet/config"
	"fauxlet/internal/bootstrap"
	"fauxlet/internal/node"
	"fauxlet/scenario"
)

// cluster is the way to an apiserver, with the nodes that go it. Nil is no cluster: a kubelet by itself.
type cluster struct {
	connection *bootstrap.Connection
	client     kubernetes.Interface
	tokens     authenticationv1.AuthenticationV1Interface
	access     authorizationv1.AuthorizationV1Interface
	fleet      *node.Fleet // nil where the node is not to be registered
	// known is closed when the apiserver knows who this is, which where certificates are rotated may come later.
	known chan struct{}
}

// membership says how a cluster is joined.
type membership struct {
	// only is the node whose own credential this is; empty: it may do what all the nodes do.
	only       string
	registers  bool
	containers func(*v1.Pod) map[string]scenario.Container
	logger     *zap.Logger
}

// join connects with the apiserver of cfg, if it names one, which without rotateCertificates may mean waiting for a certificate.
func join(ctx context.Context, cfg *config.Config, m membership) (*cluster, error) {
	if cfg.Kubeconfig == "" {
		if cfg.BootstrapKubeconfig != "" {
			return nil, errors.New("--bootstrap-kubeconfig: there must be a --kubeconfig too: the file to write what was obtained to")
		}
		return nil, nil
	}
	if cfg.BootstrapKubeconfig == "" {
		if _, err := os.Stat(cfg.Kubeconfig); err != nil {
			return nil, fmt.Errorf("--kubeconfig: invalid kubeconfig: %w", err)
		}
	}
	kubelet := &cfg.Kubelet
	connection, err := bootstrap.Connect(ctx, bootstrap.Options{
		NodeName: cfg.NodeName, Kubeconfig: cfg.Kubeconfig, BootstrapKubeconfig: cfg.BootstrapKubeconfig, CertDir: cfg.CertDir,
		Rotate: kubelet.RotateCertificates && m.only != "", Logger: m.logger,
		Configure: func(client *rest.Config) {
			client.UserAgent = "fauxlet/" + buildVersion()
			client.ContentType = kubelet.ContentType
			if client.ContentType == runtime.ContentTypeProtobuf {
				client.AcceptContentTypes = runtime.ContentTypeProtobuf + "," + runtime.ContentTypeJSON
			}
			client.Burst = int(kubelet.KubeAPIBurst)
			if kubelet.KubeAPIQPS != nil {
				client.QPS = float32(*kubelet.KubeAPIQPS)
			}
			if m.only == "" {
				client.QPS = -1 // what one kubelet may ask is not enough for many
			}
		},
	})
	if err != nil {
		return nil, err
	}
	c := &cluster{connection: connection, known: make(chan struct{})}
	transport, err := rest.HTTPClientFor(connection.Config)
	if err != nil {
		return nil, fmt.Errorf("--kubeconfig: invalid kubeconfig: %w", err)
	}
	client, err := kubernetes.NewForConfigAndClient(connection.Config, transport)
	if err != nil {
		return nil, fmt.Errorf("--kubeconfig: %w", err)
	}
	c.client, c.tokens, c.access = client, client.AuthenticationV1(), client.AuthorizationV1()
	if m.registers {
		heartbeats, err := kubernetes.NewForConfig(heartbeatConfig(connection.Config, cfg))
		if err != nil {
			return nil, fmt.Errorf("--kubeconfig: %w", err)
		}
		c.fleet, err = node.NewFleet(node.Options{
			Client: client, Heartbeats: heartbeats, Only: m.only, Containers: m.containers, HeartbeatFailed: connection.CloseAll, Logger: m.logger,
		})
		if err != nil {
			return nil, err
		}
	}
	return c, nil
}

// heartbeatConfig is for a client whose requests end before the next are due, and wait for nobody else's.
// (kubelet: cmd/kubelet/app/server.go, run)
func heartbeatConfig(client *rest.Config, cfg *config.Config) *rest.Config {
	heartbeats := rest.CopyConfig(client)
	heartbeats.Timeout = cfg.Kubelet.NodeStatusUpdateFrequency.Duration
	if lease := time.Duration(cfg.Kubelet.NodeLeaseDurationSeconds) * time.Second; heartbeats.Timeout > lease {
		heartbeats.Timeout = lease
	}
	heartbeats.QPS = -1
	return heartbeats
}

// run keeps the connection and the nodes until ctx is done. What a node asks of the apiserver by itself waits until it is
// known there.
func (c *cluster) run(ctx context.Context, group interface{ Go(func() error) }) {
	group.Go(func() error {
		if err := c.connection.Await(ctx); err != nil {
			if ctx.Err() != nil {
				return nil // told to stop before it began
			}
			return err
		}
		close(c.known)
		return c.connection.Run(ctx)
	})
	if c.fleet != nil {
		group.Go(func() error { return c.whenKnown(ctx, c.fleet.Run) })
	}
}

// whenKnown runs what is for a node that the apiserver knows.
func (c *cluster) whenKnown(ctx context.Context, run func(context.Context) error) error {
	select {
	case <-c.known:
		return run(ctx)
	case <-ctx.Done():
		return nil
	}
}
