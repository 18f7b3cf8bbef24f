package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"go.uber.org/zap"

	"fauxlet/config"
	"fauxlet/internal/host"
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
			logger, err := serve.log.newLogger(c.ErrOrStderr(), int(cfg.Kubelet.Logging.Verbosity))
			if err != nil {
				return err
			}
			options, err := serve.options(cfg, logger)
			if err != nil {
				return err
			}
			serve.limitMemory()
			return serve.run(c.Context(), options, nil)
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

// serving has the flags that serve and demo share, beside the kubelet's own.
type serving struct {
	scenario  string
	readyFile string
	log       logFlags
	nodes     nodeFlags
	admin     adminFlags
}

func (s *serving) addTo(c *cobra.Command) {
	c.Flags().StringVar(&s.scenario, "scenario", "", "file of the pods that stand in for the node's, with their logs, ports, usage and answers to exec (apiVersion: fauxlet/v1alpha1, kind: Scenario)")
	c.Flags().StringVar(&s.readyFile, "ready-file", "", "file to write, as JSON, the addresses that are listened on, once they are")
	s.log.addTo(c)
	s.admin.addTo(c)
}

// options are the flags as options of a host.
func (s *serving) options(cfg *config.Config, logger *zap.Logger) (host.Options, error) {
	o := host.Options{Config: cfg, Scenario: s.scenario, MetricsAddress: s.nodes.metrics, Version: buildVersion(), Logger: logger}
	var err error
	if o.Nodes, err = s.nodes.options(); err != nil {
		return o, err
	}
	o.Admin, err = s.admin.options()
	return o, err
}

// run runs a host until ctx is done. SIGHUP makes it read the scenario again. ready, if set, is called when it listens.
func (s *serving) run(ctx context.Context, options host.Options, ready func(host.Addresses)) error {
	h, err := host.New(options)
	if err != nil {
		return withFlag(err)
	}
	if err := h.Start(ctx); err != nil {
		return withFlag(err)
	}
	if err := s.writeReady(h); err != nil {
		return errors.Join(err, h.Stop())
	}
	if ready != nil {
		ready(h.Addresses())
	}
	hangup := make(chan os.Signal, 1)
	if options.Scenario != "" {
		signal.Notify(hangup, syscall.SIGHUP)
		defer signal.Stop(hangup)
	}
	stopped := make(chan error)
	go func() { stopped <- h.Wait() }()
	for {
		select {
		case err := <-stopped:
			return withFlag(err)
		case <-hangup:
			if err := errors.Join(withFlag(h.Reload()), s.writeReady(h)); err != nil {
				options.Logger.Error("SIGHUP: the scenario was not applied completely", zap.Error(err))
			}
		}
	}
}

// flagOf is the flag that sets an option of a host.
var flagOf = map[string]string{
	"Scenario":                   "--scenario",
	"MetricsAddress":             "--metrics-address",
	"Nodes.Count":                "--nodes",
	"Nodes.NamePrefix":           "--node-name-prefix",
	"Admin.Address":              "--admin-address",
	"Admin.KeepDecisions":        "--keep-decisions",
	"Config.Kubeconfig":          "--kubeconfig",
	"Config.BootstrapKubeconfig": "--bootstrap-kubeconfig",
	"Config.Kubelet.Port":        "--port",
}

// withFlag names the flag in an error of a host instead of the option.
func withFlag(err error) error {
	var option *host.OptionError
	if errors.As(err, &option) && flagOf[option.Field] != "" {
		return fmt.Errorf("%s: %w", flagOf[option.Field], addTokenHint(option.Err))
	}
	return err
}

// manyGCPercent is the garbage allowed beside live memory, in percent, with many nodes. Memory limits their number, and at
// rest they produce little garbage.
const manyGCPercent = 40

// limitMemory makes the process use less memory if it has many nodes, unless the GOGC variable is set.
func (s *serving) limitMemory() {
	if _, set := os.LookupEnv("GOGC"); s.nodes.count > 0 && !set {
		debug.SetGCPercent(manyGCPercent)
	}
}

// writeReady writes the --ready-file, if there is one.
func (s *serving) writeReady(h *host.Host) error {
	if s.readyFile == "" {
		return nil
	}
	if err := writeReadyFile(s.readyFile, h.Addresses()); err != nil {
		return fmt.Errorf("--ready-file: %w", err)
	}
	return nil
}

// writeReadyFile writes the file whole or not at all, so that a program which waits for it can read it at once.
func writeReadyFile(path string, open host.Addresses) error {
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
