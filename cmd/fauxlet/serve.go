package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	"k8s.io/component-base/featuregate"
	"k8s.io/component-base/metrics/legacyregistry"

	"fauxlet/authchain"
	"fauxlet/config"
	"fauxlet/internal/faults"
	"fauxlet/server"
)

func newServe() *cobra.Command {
	kubelet := config.NewFlags()
	kubelet.Strict = true
	var serve serving
	c := &cobra.Command{
		Use:   "serve",
		Short: "Stand in for a kubelet, with the kubelet's own flags and configuration file",
		Long: text(`
			serve listens where a kubelet listens and answers as a kubelet answers. It takes the kubelet's own flags and
			configuration file, with the kubelet's own defaults: those of the file where --config is given (webhook on,
			anonymous off, authorization by Webhook, no read-only port), and the older ones of the flags where it is not
			(anonymous on, AlwaysAllow, read-only port 10255). Flags win over --config-dir, which wins over --config.

			Flags of a kubelet that mean nothing without a container runtime are taken too, and named once in the log; they
			are not listed here.

			Tokens and users are reviewed by the apiserver of --kubeconfig; the credential of a node will do.

			Where there is a --kubeconfig, the node joins its cluster, as a kubelet's does (--register-node, on by default): it
			is registered and kept Ready, and pods that are bound to it run, or do what --scenario says of them. The pods of
			the scenario itself are static pods then. --nodes makes many nodes of the one process. With --bootstrap-kubeconfig
			the node asks for its client certificate first, and with serverTLSBootstrap for the one that it serves with.

			SIGTERM and Ctrl-C end followed logs, let other requests finish, have the node say that it is not ready, and
			stop; a second one stops at once. SIGHUP reads the --scenario again.`),
		Example: example(`
			# A node in the cluster of admin.conf, reached at the address of this machine.
			fauxlet serve --kubeconfig admin.conf --hostname-override node-1 --cert-dir /tmp/pki

			# A thousand, on free ports.
			fauxlet serve --kubeconfig admin.conf --nodes 1000 --node-name-prefix fake- --port 0 --cert-dir /tmp/pki

			# As the node's kubelet would be started.
			fauxlet serve --config /var/lib/kubelet/config.yaml --kubeconfig /etc/kubernetes/kubelet.conf --hostname-override node-1

			# With pods, on a port that is free.
			fauxlet serve --config kubelet.yaml --kubeconfig kubelet.conf --scenario scenario.yaml --port 0

			# A kubelet of flags alone: anonymous on, AlwaysAllow, 10255 open.
			fauxlet serve --cert-dir /tmp/pki`),
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := kubelet.Load()
			if err != nil {
				return err
			}
			return serve.run(c.Context(), cfg, c.ErrOrStderr())
		},
	}
	kubelet.AddTo(c.Flags())
	c.Flags().VisitAll(func(flag *pflag.Flag) {
		flag.Hidden = !kubelet.Means(flag.Name)
		// To a kubelet, all flags that its file has too are deprecated. Its help is full of that.
		flag.Deprecated = ""
		flag.Usage, _, _ = strings.Cut(flag.Usage, " (DEPRECATED: ")
	})
	c.Flags().Lookup("feature-gates").Usage = "Feature gates, as key=value pairs. All those of a kubelet are known; these change something here: ComponentFlagz, ComponentStatusz, ContainerCheckpoint, ExtendWebSocketsToKubelet, KubeletAllocatedPodsEndpoint, NodeLogQuery, PodLogsQuerySplitStreams, ReloadKubeletClientCAFile, ReloadKubeletServerCertificateFile, RotateKubeletServerCertificate."
	serve.addTo(c)
	serve.nodes.addTo(c)
	c.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return &usageError{config.FlagError(err), c.CommandPath()}
	})
	return c
}

// serving is what serve and demo share: from a configuration to a server that has stopped.
type serving struct {
	scenario  string
	readyFile string
	log       logFlags
	nodes     nodeFlags
	trace     traceFlags

	// logger, ready, observe and asking are demo's: a logger that there is already, what to call once the ports are open,
	// who sees the Decisions, and what can be asked of the trace.
	logger  *zap.Logger
	ready   func(addresses)
	observe func(*authchain.Decision)
	asking  asking
}

func (s *serving) addTo(c *cobra.Command) {
	c.Flags().StringVar(&s.scenario, "scenario", "", "file of the pods that stand in for the node's, with their logs, ports, usage and answers to exec (apiVersion: fauxlet/v1alpha1, kind: Scenario)")
	c.Flags().StringVar(&s.readyFile, "ready-file", "", "file to write, as JSON, the addresses that are listened on, once they are")
	s.log.addTo(c)
	s.trace.addTo(c)
}

// addresses are what a server listens on; empty where it does not.
type addresses struct {
	Secure   string `json:"secure,omitempty"`
	ReadOnly string `json:"readOnly,omitempty"`
	Admin    string `json:"admin,omitempty"`
	// Nodes has the secure address of each of many nodes, by name; the others are those of the first.
	Nodes map[string]string `json:"nodes,omitempty"`
}

func (s *serving) run(ctx context.Context, cfg *config.Config, stderr io.Writer) error {
	logger := s.logger
	if logger == nil {
		var err error
		if logger, err = s.log.newLogger(stderr, int(cfg.Kubelet.Logging.Verbosity)); err != nil {
			return err
		}
	}
	for _, warning := range cfg.Warnings {
		logger.Warn(warning)
	}
	if len(cfg.Ignored) > 0 {
		logger.Info("these flags of a kubelet mean nothing to fauxlet, or not yet, and are ignored", zap.Strings("flags", cfg.Ignored))
	}
	if err := setLibraryGates(cfg); err != nil {
		return err
	}
	k, err := s.prepare(cfg, logger)
	if err != nil {
		return err
	}

	var stopped context.CancelFunc
	ctx, stopped = context.WithCancel(ctx)
	defer stopped()
	k.group, k.running = errgroup.WithContext(ctx)
	if k.trace, err = s.trace.open(k.running, k); err != nil {
		return err
	}
	k.trace.run(k)
	if err := s.start(k); err != nil {
		stopped()
		_ = k.group.Wait() // what it says is that it was stopped
		return err
	}
	k.trace.listening()
	open := k.open()
	logger.Info("serving", zap.String("node", k.first.cfg.NodeName), zap.Int("nodes", len(k.each())), zap.String("secure", open.Secure),
		zap.String("readOnly", open.ReadOnly), zap.Int("pods", len(k.scenario.specs)))
	if err := s.tellReady(open); err != nil {
		stopped()
		_ = k.group.Wait()
		return err
	}
	if s.ready != nil {
		s.ready(open)
	}
	k.group.Go(func() error {
		s.reread(k)
		return nil
	})
	if err := k.group.Wait(); err != nil {
		return err
	}
	logger.Info("stopped")
	return nil
}

// prepare reads what the nodes are made of.
func (s *serving) prepare(cfg *config.Config, logger *zap.Logger) (*kubelets, error) {
	k := &kubelets{cfg: cfg, flags: &s.nodes, logger: logger, asking: s.asking, booted: booted(), all: map[string]*kubelet{}, faults: faults.NewSet()}
	if err := s.nodes.validate(cfg.NodeName); err != nil {
		return nil, err
	}
	if s.nodes.many() {
		if !joins(cfg) {
			return nil, fmt.Errorf("--nodes: %d: %w", s.nodes.count, errNeedsCluster)
		}
		if _, given := os.LookupEnv("GOGC"); !given {
			debug.SetGCPercent(manyGCPercent)
		}
	}
	var err error
	if k.addresses, err = s.nodes.nodeAddresses(); err != nil {
		return nil, err
	}
	if k.capacity, err = s.nodes.nodeCapacity(); err != nil {
		return nil, err
	}
	if k.scenario, err = readScenario(s.scenario, cfg.Kubelet.StaticPodPath, joins(cfg), s.nodes.many(), k.faults); err != nil {
		return nil, err
	}
	k.tellFaults(nil)
	if path := cfg.Kubelet.StaticPodPath; path != "" && joins(cfg) {
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			logger.Warn("staticPodPath does not exist: there are no static pods in it", zap.String("path", path))
		}
	}
	k.options = server.Options{Logger: logger, Observe: s.observe, Faults: k.faults}
	if s.nodes.metrics != "" {
		k.metrics = prometheus.NewRegistry()
		k.options.Metrics = k.metrics
	}
	return k, nil
}

// manyGCPercent is how much garbage there may be beside what is in use, in percent, where there are many nodes: memory is
// what bounds their number, and at rest they make little garbage.
const manyGCPercent = 40

// serveMetrics serves those of all nodes, and of the process, until the process ends.
func (s *serving) serveMetrics(k *kubelets) error {
	if k.metrics == nil {
		return nil
	}
	listener, err := net.Listen("tcp", s.nodes.metrics)
	if err != nil {
		return fmt.Errorf("--metrics-address: %w; give an address of this machine and a free port, as in 127.0.0.1:9250", err)
	}
	routes := http.NewServeMux()
	gatherers := prometheus.Gatherers{legacyregistry.DefaultGatherer, k.metrics}
	routes.Handle("GET /metrics", promhttp.HandlerFor(gatherers, promhttp.HandlerOpts{}))
	web := &http.Server{Handler: routes, ReadHeaderTimeout: time.Minute}
	k.group.Go(func() error {
		stop := context.AfterFunc(k.running, func() { web.Close() })
		defer stop()
		if err := web.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("--metrics-address: %w", err)
		}
		return nil
	})
	return nil
}

// start joins the cluster, if all nodes do by one credential, and starts the nodes.
func (s *serving) start(k *kubelets) error {
	if !k.own() {
		var err error
		if k.shared, err = join(k.running, k.cfg, k.membership("")); err != nil {
			return err
		}
		k.shared.run(k.running, k.group)
	}
	if err := s.serveMetrics(k); err != nil {
		return err
	}
	return k.resize(k.running, k.count())
}

// reread reads the scenario again whenever SIGHUP says so, and static pods as often as a kubelet does, until the process
// ends.
func (s *serving) reread(k *kubelets) {
	hangup := make(chan os.Signal, 1)
	if s.scenario != "" {
		signal.Notify(hangup, syscall.SIGHUP)
		defer signal.Stop(hangup)
	}
	var manifests <-chan time.Time
	if every := k.cfg.Kubelet.FileCheckFrequency.Duration; k.scenario.manifests != "" && every > 0 {
		ticker := time.NewTicker(every)
		defer ticker.Stop()
		manifests = ticker.C
	}
	for {
		select {
		case <-k.running.Done():
			return
		case <-manifests:
			if err := k.setStatic(); err != nil {
				k.logger.Error("static pods are as they were", zap.Error(err))
			}
		case <-hangup:
			if err := errors.Join(k.reread(), s.tellReady(k.open())); err != nil {
				k.logger.Error("the scenario was read again, and not all of it holds", zap.Error(err))
				continue
			}
			k.logger.Info("the scenario was read again", zap.Int("nodes", len(k.each())))
		}
	}
}

// setLibraryGates sets, for the process, the feature gates that k8s.io/apiserver asks by itself. In a kubelet they are the
// same as its own.
func setLibraryGates(cfg *config.Config) error {
	kubelet, ok := cfg.FeatureGates.(featuregate.MutableFeatureGate)
	if !ok {
		return nil
	}
	library := utilfeature.DefaultMutableFeatureGate
	known, set := library.GetAll(), map[string]bool{}
	for gate := range kubelet.GetAll() {
		if _, shared := known[gate]; shared && kubelet.Enabled(gate) != library.Enabled(gate) {
			set[string(gate)] = kubelet.Enabled(gate)
		}
	}
	return library.SetFromMap(set)
}

// tellReady writes the --ready-file, if there is to be one.
func (s *serving) tellReady(open addresses) error {
	if s.readyFile == "" {
		return nil
	}
	if err := writeReadyFile(s.readyFile, open); err != nil {
		return fmt.Errorf("--ready-file: %w", err)
	}
	return nil
}

// writeReadyFile writes the file whole or not at all, so that whoever waits for it can read it at once.
func writeReadyFile(path string, open addresses) error {
	data, err := json.Marshal(open)
	if err != nil {
		return err
	}
	temporary := path + ".tmp"
	if err := os.WriteFile(temporary, append(data, '\n'), 0o644); err != nil {
		return err
	}
	return os.Rename(temporary, path)
}
