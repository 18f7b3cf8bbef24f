// Package host runs one or more stand-in kubelets in one process.
//
// A [Host] opens the ports of its nodes. If the configuration names an apiserver, the Host joins the nodes to its
// cluster. The Host records the Decisions of all nodes, and shows them on an admin listener. Begin with [New] and
// [Host.Run]:
//
//	h, err := host.New(host.Options{Config: cfg, Scenario: "pods.yaml"})
//	if err != nil { … }
//	err = h.Run(ctx) // until ctx is done
//
// A test calls [Host.Start], which returns when all nodes listen, and [Host.Stop].
package host

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"fauxlet/internal/faults"
	"fauxlet/internal/faulty"
	"fauxlet/internal/node"
	"fauxlet/server"
)

// Host is one or more stand-in kubelets. Once it has started, its methods may be called from several goroutines.
type Host struct {
	options  Options
	logger   *zap.Logger
	scenario *scenarioFile
	faults   *faults.Set // the active faults of all nodes
	// blackHoles limits the connections of all nodes that faults leave unanswered.
	blackHoles *faulty.BlackHoles
	booted     time.Time
	shared     server.Options       // server options that all nodes share
	metrics    *prometheus.Registry // the metrics of all nodes; nil if Options.MetricsAddress is empty

	// Start sets the following fields.
	group   *errgroup.Group
	running context.Context // done when the host stops
	stop    context.CancelFunc
	admin   *adminListener
	// cluster is the connection that all nodes share. It is nil if each node has its own, or if there is no apiserver.
	cluster *cluster

	changing sync.Mutex // locked while nodes or their static pods change

	mu    sync.Mutex // protects the fields below
	first *Node
	nodes map[string]*Node
}

// New validates the options and reads the Scenario file. It opens no ports.
func New(options Options) (*Host, error) {
	if err := options.validate(); err != nil {
		return nil, err
	}
	if options.Logger == nil {
		options.Logger = zap.NewNop()
	}
	if options.Nodes.Capacity == nil {
		options.Nodes.Capacity = node.DefaultCapacity()
	}
	h := &Host{options: options, logger: options.Logger, faults: faults.NewSet(), booted: bootTime(),
		nodes: map[string]*Node{}}
	cfg := options.Config
	h.scenario = &scenarioFile{path: options.Scenario, joins: joins(cfg), numbered: options.numbered(),
		faults: h.faults, manifests: manifestsOf(cfg, h.logger)}
	if err := h.scenario.read(); err != nil {
		return nil, err
	}
	h.shared = server.Options{Logger: h.logger, Observe: options.Observe}
	h.blackHoles = faulty.NewBlackHoles(faulty.MostBlackHoles)
	if files := maxOpenFiles(); files > 0 {
		h.blackHoles = faulty.NewBlackHoles(min(files/4, faulty.MostBlackHoles))
		// The connections to all nodes may use half of the files that the process may open. The other half is for the
		// admin listener, streams, connections to the apiserver, and files on disk.
		h.shared.Connections = server.NewConnectionLimit(files / 2)
	}
	if options.MetricsAddress != "" {
		h.metrics = prometheus.NewRegistry()
		h.shared.Metrics = h.metrics
	}
	return h, nil
}

// Run starts the host and waits until ctx is done and everything has stopped. It returns nil if the host stopped
// because ctx was done.
func (h *Host) Run(ctx context.Context) error {
	if err := h.Start(ctx); err != nil {
		return err
	}
	return h.Wait()
}

// Start opens the admin listener and the ports of all nodes, and returns when all of them listen. Nodes register with
// their cluster afterwards, in the background. The host stops when ctx is done or [Host.Stop] is called. If Start
// fails, it stops everything that it has started.
//
// Start sets the feature gates of package k8s.io/apiserver to the values in the configuration. There is only one set of
// these feature gates in a process.
func (h *Host) Start(ctx context.Context) error {
	h.logStart()
	if err := setLibraryGates(h.options.Config); err != nil {
		return err
	}
	ctx, h.stop = context.WithCancel(ctx)
	h.group, h.running = errgroup.WithContext(ctx)
	if err := h.open(); err != nil {
		h.stop()
		_ = h.group.Wait() // the error only reports that the host was stopped
		return err
	}
	h.group.Go(h.followManifests)
	return nil
}

func (h *Host) open() error {
	var err error
	if h.admin, err = h.openAdmin(); err != nil {
		return err
	}
	if !h.ownCredentials() {
		if h.cluster, err = h.join(h.running, h.options.Config, "", h.share); err != nil {
			return err
		}
		h.cluster.run(h.running, h.group)
	}
	if err := h.serveMetrics(); err != nil {
		return err
	}
	if !h.options.Nodes.None {
		if err := h.resize(); err != nil {
			return err
		}
	}
	h.admin.ready.Store(true)
	open := h.Addresses()
	h.logger.Info("serving", zap.String("node", h.options.nodeName(0)), zap.Int("nodes", len(h.each())),
		zap.String("secure", open.Secure), zap.String("readOnly", open.ReadOnly),
		zap.Int("pods", len(h.scenario.current.Load().specs)))
	_ = h.logger.Sync() // a program that waits until the host listens may then read the log
	return nil
}

// Wait waits until the host has stopped. It returns the first error of any of the host's goroutines.
func (h *Host) Wait() error {
	defer h.stop()
	if err := h.group.Wait(); err != nil {
		return err
	}
	h.logger.Info("stopped")
	return nil
}

// Stop stops the host and waits until it has stopped: followed logs end, other requests finish, and registered Nodes
// become not ready.
func (h *Host) Stop() error {
	h.stop()
	return h.Wait()
}

// Addresses are the addresses on which a host listens, as host and port. An address is empty if there is no such
// listener.
type Addresses struct {
	// Secure and ReadOnly are the addresses of the first node's ports.
	Secure   string `json:"secure,omitempty"`
	ReadOnly string `json:"readOnly,omitempty"`
	// Admin is the address of the admin listener.
	Admin string `json:"admin,omitempty"`
	// AdminTokenFile is the file with the token that the admin listener has made. Only programs of the same user can
	// read it.
	AdminTokenFile string `json:"adminTokenFile,omitempty"`
	// AdminLink is a link that opens the admin page. It is no part of the JSON form, because it contains the token that
	// the admin listener has made. It must not be logged.
	AdminLink string `json:"-"`
	// Nodes maps the name of each node to the address of its secure port. It is nil if Options.Nodes.Count is 0.
	Nodes map[string]string `json:"nodes,omitempty"`
}

// Addresses returns the addresses on which the host currently listens.
func (h *Host) Addresses() Addresses {
	h.mu.Lock()
	defer h.mu.Unlock()
	open := h.admin.addresses()
	if h.first != nil {
		open.Secure, open.ReadOnly = h.first.Addresses()
	}
	if h.options.numbered() {
		open.Nodes = make(map[string]string, len(h.nodes))
		for name, n := range h.nodes {
			open.Nodes[name], _ = n.Addresses()
		}
	}
	return open
}

func (h *Host) each() []*Node {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Collect(maps.Values(h.nodes))
}

// The method "node" returns the node with the given name, or nil if there is none.
func (h *Host) node(name string) *Node {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.nodes[name]
}
