package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"
	v1 "k8s.io/api/core/v1"

	"fauxlet/config"
	"fauxlet/internal/bootstrap"
	"fauxlet/internal/explain"
	"fauxlet/internal/faults"
	"fauxlet/internal/node"
	"fauxlet/internal/pods"
	"fauxlet/server"
)

// kubelets are the stand-ins of a process, one or many, and the clusters that they are in.
type kubelets struct {
	cfg       *config.Config
	flags     *nodeFlags
	scenario  *scenarioFile
	addresses []v1.NodeAddress
	capacity  v1.ResourceList
	booted    time.Time
	logger    *zap.Logger
	options   server.Options       // what they have in common
	metrics   *prometheus.Registry // of all nodes; nil where nobody asks for them
	trace     *tracing
	asking    asking
	faults    *faults.Set // of all nodes
	// shared is the cluster that all are in by the same credential; nil where each has its own, or there is none.
	shared *cluster

	// group is of what runs until the process ends; running ends then.
	group   *errgroup.Group
	running context.Context

	mu    sync.Mutex
	first *kubelet
	all   map[string]*kubelet
}

// kubelet is one stand-in.
type kubelet struct {
	cfg       *config.Config
	store     *pods.Store
	server    *server.Server
	listeners *server.Listeners
	cluster   *cluster
	stop      context.CancelFunc
	gone      chan struct{}
}

// configOf is the configuration of the i-th node: that of the process, but for what nodes cannot share.
func (k *kubelets) configOf(i int) *config.Config {
	cfg := *k.cfg
	if !k.flags.many() {
		return &cfg
	}
	cfg.NodeName = k.flags.name(i, k.cfg.NodeName)
	cfg.CertDir = filepath.Join(k.cfg.CertDir, cfg.NodeName)
	if cfg.BootstrapKubeconfig != "" {
		cfg.Kubeconfig = filepath.Join(cfg.CertDir, "kubeconfig")
	}
	if cfg.Kubelet.Port != 0 {
		cfg.Kubelet.Port += int32(i)
	}
	if i > 0 { // one of each is enough for the process, and their ports follow no rule that leaves room for others
		none := int32(0)
		cfg.Kubelet.ReadOnlyPort, cfg.Kubelet.HealthzPort = 0, &none
	}
	return &cfg
}

// own says whether each node has a credential of its own.
func (k *kubelets) own() bool { return !k.flags.many() || k.cfg.BootstrapKubeconfig != "" }

// membership is how the node of a configuration joins, empty for all nodes together.
func (k *kubelets) membership(only string) membership {
	return membership{only: only, registers: k.registers(), containers: k.scenario.containersOf, logger: k.logger}
}

func (k *kubelets) registers() bool { return joins(k.cfg) }

// joins says whether nodes are registered: where there is an apiserver to register with, unless that is turned off.
func joins(cfg *config.Config) bool {
	return cfg.Kubeconfig != "" && (cfg.Kubelet.RegisterNode == nil || *cfg.Kubelet.RegisterNode)
}

// start starts the i-th node. It is done when the node listens; that it is registered, comes later.
func (k *kubelets) start(i int) (*kubelet, error) {
	cfg := k.configOf(i)
	s := &kubelet{cfg: cfg, cluster: k.shared, gone: make(chan struct{})}
	running, stop := context.WithCancel(k.running)
	s.stop = stop
	var err error
	if k.shared == nil {
		if s.cluster, err = join(running, cfg, k.membership(cfg.NodeName)); err != nil {
			stop()
			return nil, err
		}
	}
	if err := k.serve(running, s); err != nil {
		stop()
		return nil, err
	}
	return s, nil
}

// serve opens the ports of a node, has it served, and adds it to its cluster.
func (k *kubelets) serve(running context.Context, s *kubelet) error {
	cfg := s.cfg
	static, err := k.scenario.static()
	if err != nil {
		return err
	}
	specs := k.scenario.specs
	registers := s.cluster != nil && s.cluster.fleet != nil
	if registers {
		specs = nil // they are static pods then, which the node puts into the store itself
	}
	if s.store, err = pods.NewStore(specs...); err != nil {
		return fmt.Errorf("--scenario: scenario %s: %w", k.scenario.path, err)
	}
	options := k.options
	options.Config, options.Pods, options.NodeLogs = cfg, s.store, k.scenario.nodeLogs
	options.Observe = k.trace.observer(cfg.NodeName, options.Observe)
	if registers {
		options.Machine = pods.NewMachine(cfg.NodeName, int(k.capacity.Cpu().Value()), uint64(k.capacity.Memory().Value()), k.booted)
	}
	if s.cluster != nil {
		options.TokenReviews, options.AccessReviews = s.cluster.tokens, s.cluster.access
		if s.cluster != k.shared {
			options.Collectors = s.cluster.connection.Metrics()
		}
	}
	k.mu.Lock()
	first := k.first
	k.mu.Unlock()
	if first != nil {
		options.Like = first.server
	}
	var serving *bootstrap.Serving
	if registers && cfg.Kubelet.ServerTLSBootstrap && cfg.Enabled("RotateKubeletServerCertificate") {
		serving, err = bootstrap.NewServing(bootstrap.ServingOptions{
			NodeName: cfg.NodeName, CertDir: cfg.CertDir, CertFile: cfg.Kubelet.TLSCertFile, KeyFile: cfg.Kubelet.TLSPrivateKeyFile,
			Client: s.cluster.client, Addresses: func() []v1.NodeAddress { return s.cluster.fleet.Addresses(cfg.NodeName) },
			AllowDNSOnly: cfg.Enabled("AllowDNSOnlyNodeCSR"), Logger: k.logger,
		})
		if err != nil {
			return err
		}
		options.ServingCertificate = func() *tls.Certificate { return serving.Current() }
		options.Collectors = slices.Concat(options.Collectors, serving.Metrics())
	}
	if s.server, err = server.New(options); err != nil {
		return err
	}
	if s.listeners, err = s.server.Listen(); err != nil {
		return err
	}
	if registers {
		if err := s.cluster.fleet.Add(node.Spec{
			Config: cfg, Pods: s.store, Port: portOf(s.listeners.Secure), Addresses: k.addresses, Capacity: k.capacity, Machine: options.Machine,
			Version: buildVersion(), KubeletVersion: kubeletVersion, Static: static, Deregister: k.flags.deregister,
		}); err != nil {
			s.listeners.Close()
			return err
		}
	}

	own := s.cluster != nil && s.cluster != k.shared
	k.group.Go(func() error {
		defer close(s.gone)
		defer s.stop()
		if !own && serving == nil { // one goroutine for each of many nodes, not three
			return s.server.Serve(running, s.listeners)
		}
		group, running := errgroup.WithContext(running)
		group.Go(func() error { return s.server.Serve(running, s.listeners) })
		if own {
			s.cluster.run(running, group)
		}
		if serving != nil {
			group.Go(func() error {
				return s.cluster.whenKnown(running, func(ctx context.Context) error {
					serving.Run(ctx)
					return nil
				})
			})
		}
		return group.Wait()
	})
	return nil
}

// kubeletVersion is what Nodes say: the version that is stood in for, and by whom. To whoever compares versions it is the
// kubelet's.
const kubeletVersion = kubernetesVersion + "+fauxlet"

func portOf(listener net.Listener) int32 {
	if listener == nil {
		return 0
	}
	return int32(listener.Addr().(*net.TCPAddr).Port)
}

// starting is how many nodes are started at once: each may wait for its certificate to be approved.
const starting = 64

const maxPort = 1<<16 - 1

// resize starts and stops nodes until there are as many as count says.
func (k *kubelets) resize(ctx context.Context, count int) error {
	if first := k.cfg.Kubelet.Port; first != 0 && int(first)+count-1 > maxPort {
		return fmt.Errorf("--port: %d: the last of %d nodes would listen on %d, and the last port is %d; give a lower one, or 0 for free ones",
			first, count, int(first)+count-1, maxPort)
	}
	k.mu.Lock()
	var missing []int
	for i := range count {
		if k.all[k.nameOf(i)] == nil {
			missing = append(missing, i)
		}
	}
	wanted := make(map[string]bool, count)
	for i := range count {
		wanted[k.nameOf(i)] = true
	}
	var surplus []*kubelet
	for name, s := range k.all {
		if !wanted[name] {
			surplus = append(surplus, s)
			delete(k.all, name)
		}
	}
	k.mu.Unlock()

	work, _ := errgroup.WithContext(ctx)
	work.SetLimit(starting)
	for n, i := range missing {
		one := func() error {
			s, err := k.start(i)
			if err != nil {
				return err
			}
			k.mu.Lock()
			defer k.mu.Unlock()
			k.all[s.cfg.NodeName] = s
			if k.first == nil {
				k.first = s
			}
			return nil
		}
		if n == 0 && k.first == nil { // the others are like it
			if err := one(); err != nil {
				return err
			}
			continue
		}
		work.Go(one)
	}
	for _, s := range surplus {
		work.Go(func() error {
			defer func() { <-s.gone }()
			defer s.stop()
			if s.cluster == nil || s.cluster.fleet == nil {
				return nil
			}
			return s.cluster.fleet.Remove(ctx, s.cfg.NodeName)
		})
	}
	return work.Wait()
}

func (k *kubelets) nameOf(i int) string {
	if !k.flags.many() {
		return k.cfg.NodeName
	}
	return k.flags.name(i, k.cfg.NodeName)
}

// open are the addresses that are listened on.
func (k *kubelets) open() addresses {
	k.mu.Lock()
	defer k.mu.Unlock()
	var open addresses
	text := func(listener net.Listener) string {
		if listener == nil {
			return ""
		}
		return listener.Addr().String()
	}
	open.Admin = k.trace.address()
	open.Secure, open.ReadOnly = text(k.first.listeners.Secure), text(k.first.listeners.ReadOnly)
	if k.flags.many() {
		open.Nodes = make(map[string]string, len(k.all))
		for name, s := range k.all {
			open.Nodes[name] = text(s.listeners.Secure)
		}
	}
	return open
}

// count is how many nodes there are to be: what the scenario says of it, or else the command line.
func (k *kubelets) count() int {
	if count := k.scenario.nodes(); count > 0 {
		return count
	}
	return max(k.flags.count, 1)
}

// reread reads the scenario again: what it says of containers holds for those that begin from now on, its pods, its faults and
// the number of nodes at once.
func (k *kubelets) reread() error {
	before := k.faults.List()
	if err := k.scenario.read(); err != nil {
		return fmt.Errorf("all is as it was: %w", err)
	}
	k.tellFaults(before)
	if err := k.setStatic(); err != nil {
		return fmt.Errorf("static pods are as they were: %w", err)
	}
	if err := k.resize(k.running, k.count()); err != nil {
		return fmt.Errorf("there are %d nodes: %w", len(k.each()), err)
	}
	return nil
}

// tellFaults has the log tell which of the scenario's faults have begun and ended since others were active, so that nobody
// takes for broken what is so on purpose.
func (k *kubelets) tellFaults(before []*faults.Active) {
	now := k.faults.List()
	for _, a := range before {
		if a.Origin == ofScenario && !slices.Contains(now, a) {
			k.logger.Info("a fault has ended", zap.String("name", a.Name), zap.String("by", k.scenario.path))
		}
	}
	for _, a := range now {
		if a.Origin == ofScenario && !slices.Contains(before, a) {
			k.logger.Warn("a fault is active from now on", zap.String("name", a.Name), zap.String("kind", a.Kind), zap.String("by", k.scenario.path))
		}
	}
}

// setStatic reads the static pods, and has each node have them.
func (k *kubelets) setStatic() error {
	static, err := k.scenario.static()
	if err != nil {
		return err
	}
	for _, s := range k.each() {
		if s.cluster == nil || s.cluster.fleet == nil {
			continue
		}
		if err := s.cluster.fleet.SetStatic(s.cfg.NodeName, static); err != nil {
			return err
		}
	}
	return nil
}

// facts are what is known of a node to who explains what it decided.
func (k *kubelets) facts(name string) explain.Facts {
	k.mu.Lock()
	s := k.all[name]
	k.mu.Unlock()
	if s == nil {
		return explain.Facts{}
	}
	return explain.FactsOf(s.cfg)
}

// each are the nodes that there are.
func (k *kubelets) each() []*kubelet {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Collect(maps.Values(k.all))
}

// booted is when this machine was, which is what a node says of the one that it is on. Where that cannot be told, it is a
// time that processes started on the same day agree on.
func booted() time.Time {
	data, err := os.ReadFile("/proc/stat")
	if err == nil {
		for line := range strings.Lines(string(data)) {
			if text, is := strings.CutPrefix(line, "btime "); is {
				if seconds, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64); err == nil {
					return time.Unix(seconds, 0)
				}
			}
		}
	}
	return time.Now().Truncate(24 * time.Hour)
}

var errNeedsCluster = errors.New("nodes are of a cluster: give --kubeconfig, and leave --register-node on")
