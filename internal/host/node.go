package host

import (
	"context"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"
	v1 "k8s.io/api/core/v1"

	"fauxlet/config"
	"fauxlet/internal/apirequests"
	"fauxlet/internal/bootstrap"
	"fauxlet/internal/faulty"
	"fauxlet/internal/node"
	"fauxlet/internal/pods"
	"fauxlet/internal/podstats"
	"fauxlet/server"
)

// Node is one stand-in kubelet.
type Node struct {
	name string
	// config returns the node's configuration. It is made at the first call.
	config    func() *config.Config
	store     *pods.Store
	server    *server.Server // nil while the node waits for its first connection; see [Host.serveLater]
	listeners *server.Listeners
	requests  *apirequests.Counts // the requests of this node to the apiserver
	cluster   *cluster            // nil if the node has no apiserver
	faults    *faulty.Node        // nil if the host's faults do not affect the node
	stop      context.CancelFunc
	stopped   chan struct{}
}

// Name returns the name of the node.
func (n *Node) Name() string { return n.name }

// Addresses returns the host and port of the secure and of the read-only listener. An address is empty if there is
// no such listener.
func (n *Node) Addresses() (secure, readOnly string) {
	return addressOf(n.listeners.Secure), addressOf(n.listeners.ReadOnly)
}

func addressOf(listener net.Listener) string {
	if listener == nil {
		return ""
	}
	return listener.Addr().String()
}

// registered reports whether the node has a Node object in a cluster.
func (n *Node) registered() bool { return n.cluster != nil && n.cluster.fleet != nil }

// Add starts an additional node with the given server options, outside any cluster. The host records the decisions of
// this node too. Call Add only after [Host.Start].
func (h *Host) Add(options server.Options) (*Node, error) {
	n := &Node{name: options.Config.NodeName, config: func() *config.Config { return options.Config },
		store: options.Pods}
	options.Observe = h.admin.observer(n.Name(), options.Observe)
	return n, h.launch(n, func(ctx context.Context) (func() error, error) {
		return func() error { return n.server.Serve(ctx, n.listeners) }, n.listen(options)
	})
}

func (n *Node) listen(options server.Options) error {
	var err error
	if n.server, err = server.New(options); err != nil {
		return err
	}
	if n.listeners, err = n.server.Listen(); err != nil {
		return err
	}
	if n.faults != nil {
		n.followFaults()
		n.faults.FollowCaches(n.server.ResetCaches)
	}
	return nil
}

// configOf returns the configuration of the i-th node. It is the host's configuration, except for fields that must
// differ between nodes.
func (h *Host) configOf(i int) *config.Config {
	cfg := *h.options.Config
	if !h.options.numbered() {
		return &cfg
	}
	cfg.NodeName = h.options.nodeName(i)
	cfg.CertDir = filepath.Join(cfg.CertDir, cfg.NodeName)
	if cfg.BootstrapKubeconfig != "" {
		cfg.Kubeconfig = filepath.Join(cfg.CertDir, "kubeconfig")
	}
	if cfg.Kubelet.Port != 0 {
		cfg.Kubelet.Port += int32(i)
	}
	if i > 0 { // only the first node has a read-only port and a healthz port
		none := int32(0)
		cfg.Kubelet.ReadOnlyPort, cfg.Kubelet.HealthzPort = 0, &none
	}
	return &cfg
}

// The method "start" starts the i-th node, and returns when the node listens. The node registers afterwards, in the
// background.
func (h *Host) start(i int) error {
	n := &Node{name: h.options.nodeName(i), cluster: h.cluster, requests: &apirequests.Counts{},
		config: sync.OnceValue(func() *config.Config { return h.configOf(i) })}
	if i > 0 && n.registered() && h.metrics == nil && !h.issuesServingCertificates() {
		return h.launch(n, func(ctx context.Context) (run func() error, err error) {
			err = h.prepareLater(n, i)
			return func() error { return h.serveLater(ctx, n) }, err
		})
	}
	return h.launch(n, func(ctx context.Context) (run func() error, err error) {
		serving, err := h.prepare(ctx, n)
		return func() error { return n.run(ctx, n.cluster != nil && n.cluster != h.cluster, serving) }, err
	})
}

// launch starts a node. It first calls the function "prepare", which opens the node's ports and returns a function that
// serves the node until ctx is done. Then it adds the node to the host's nodes and runs the returned function in the
// background.
func (h *Host) launch(n *Node, prepare func(context.Context) (run func() error, err error)) error {
	ctx, stop := context.WithCancel(h.running)
	n.stop, n.stopped = stop, make(chan struct{})
	run, err := prepare(ctx)
	if err != nil {
		stop()
		return err
	}
	h.mu.Lock()
	h.nodes[n.Name()] = n
	if h.first == nil {
		h.first = n
	}
	h.mu.Unlock()
	h.group.Go(func() error {
		defer close(n.stopped)
		defer stop()
		return run()
	})
	return nil
}

// The method "prepare" connects a node to its apiserver, opens the ports of the node and adds the node to its cluster.
// If the cluster issues the node's serving certificate, the method returns a bootstrap.Serving, which renews the
// certificate. Otherwise it returns nil.
func (h *Host) prepare(ctx context.Context, n *Node) (*bootstrap.Serving, error) {
	static, err := h.scenario.staticPods()
	if err != nil {
		return nil, err
	}
	if h.cluster == nil {
		if n.cluster, err = h.join(ctx, n.config(), n.Name(), n.requests.Wrap); err != nil {
			return nil, err
		}
	}
	specs := h.scenario.current.Load().specs
	if n.registered() {
		specs = nil // package node adds the pods to the store as static pods
	}
	if n.store, err = NewStore(specs...); err != nil {
		return nil, h.scenario.errorf("%w", err)
	}
	n.store.SetAllocatable(h.options.Nodes.Capacity)
	h.makeFaults(n)
	options, serving, err := h.serverOptions(n)
	if err != nil {
		return nil, err
	}
	if err := n.listen(options); err != nil {
		return nil, err
	}
	if !n.registered() {
		return nil, nil
	}
	return serving, h.register(n, n.config(), static)
}

// kubeletVersion returns the version in the status of Nodes. Programs that compare versions ignore "+fauxlet".
func kubeletVersion(v config.Version) string { return v.GitVersion() + "+fauxlet" }

// register adds a node to the Fleet of its cluster. If it fails, it closes the node's ports.
func (h *Host) register(n *Node, cfg *config.Config, static []*v1.Pod) error {
	var port int32
	if n.listeners.Secure != nil {
		port = int32(n.listeners.Secure.Addr().(*net.TCPAddr).Port)
	}
	err := n.cluster.fleet.Add(node.Spec{Config: cfg, Name: n.Name(), Pods: n.store, Port: port, Machine: h.machine(n),
		Addresses: h.options.Nodes.Addresses, Capacity: h.options.Nodes.Capacity,
		Deregister: h.options.Nodes.Deregister, Version: h.options.Version, KubeletVersion: kubeletVersion(cfg.Version),
		Static: static, Context: n.requests.Context})
	if err != nil {
		n.listeners.Close()
	}
	return err
}

// machine returns the simulated machine of a registered node.
func (h *Host) machine(n *Node) podstats.Machine {
	capacity := h.options.Nodes.Capacity
	return podstats.NewMachine(n.Name(), int(capacity.Cpu().Value()), uint64(capacity.Memory().Value()), h.booted)
}

// issuesServingCertificates reports whether the cluster issues the serving certificates of registered nodes.
func (h *Host) issuesServingCertificates() bool {
	cfg := h.options.Config
	return cfg.Kubelet.ServerTLSBootstrap && cfg.Enabled("RotateKubeletServerCertificate")
}

// serverOptions returns the options of the node's server. If the cluster issues the serving certificate, it also
// returns the bootstrap.Serving that the options use.
func (h *Host) serverOptions(n *Node) (server.Options, *bootstrap.Serving, error) {
	cfg := n.config()
	options := h.shared
	options.Requests = n.requests
	options.Config, options.Pods, options.NodeLogs = cfg, n.store, h.scenario.current.Load().NodeLogs
	options.Observe = h.admin.observer(cfg.NodeName, options.Observe)
	n.injectFaults(&options)
	h.mu.Lock()
	if h.first != nil {
		options.Like = h.first.server
	}
	h.mu.Unlock()
	if n.cluster == nil {
		return options, nil, nil
	}
	var err error
	if options.TokenReviews, options.AccessReviews, err = n.cluster.reviewClients(func(
		base http.RoundTripper) http.RoundTripper {
		return n.requests.Wrap(n.faults.RoundTripper(base))
	}); err != nil {
		return options, nil, err
	}
	if n.cluster != h.cluster {
		options.Collectors = append(options.Collectors, n.cluster.connection.Metrics()...)
	}
	if !n.registered() {
		return options, nil, nil
	}
	options.Machine = h.machine(n)
	if !h.issuesServingCertificates() {
		return options, nil, nil
	}
	serving, err := bootstrap.NewServing(bootstrap.ServingOptions{
		NodeName: cfg.NodeName, CertDir: cfg.CertDir, CertFile: cfg.Kubelet.TLSCertFile,
		KeyFile: cfg.Kubelet.TLSPrivateKeyFile, Client: n.cluster.client,
		Addresses:    func() []v1.NodeAddress { return n.cluster.fleet.Addresses(cfg.NodeName) },
		AllowDNSOnly: cfg.Enabled("AllowDNSOnlyNodeCSR"), Logger: h.logger,
	})
	if err != nil {
		return options, nil, err
	}
	options.ServingCertificate = serving.Current
	options.Collectors = slices.Concat(options.Collectors, serving.Metrics())
	return options, serving, nil
}

// The method "run" serves the node until ctx is done. If ownCluster is true, no other node uses the connection to the
// apiserver, so the method also maintains this connection.
func (n *Node) run(ctx context.Context, ownCluster bool, serving *bootstrap.Serving) error {
	if !ownCluster && serving == nil { // without the errgroup below, each node needs two goroutines fewer
		return n.server.Serve(ctx, n.listeners)
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return n.server.Serve(ctx, n.listeners) })
	if ownCluster {
		n.cluster.run(ctx, group)
	}
	if serving != nil {
		group.Go(func() error {
			return n.cluster.whenAuthenticated(ctx, func(ctx context.Context) error {
				serving.Run(ctx)
				return nil
			})
		})
	}
	return group.Wait()
}
