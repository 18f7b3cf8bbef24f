package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"fauxlet/config"
	"fauxlet/internal/atomicfile"
	"fauxlet/internal/host"
)

// serving holds the values of the flags that serve and demo share, in addition to the kubelet's flags.
type serving struct {
	scenario  string
	readyFile string
	log       logFlags
	nodes     nodeFlags
	admin     adminFlags
}

func (s *serving) addTo(c *cobra.Command) {
	flags := c.Flags()
	flags.StringVar(&s.scenario, "scenario", "", "Scenario file: the pods of the node, with their logs, ports, usage "+
		"and answers to exec")
	flags.StringVar(&s.readyFile, "ready-file", "", "file to write when all ports are open, with the addresses as JSON")
	s.log.addTo(c)
	s.admin.addTo(c)
}

func (s *serving) options(cfg *config.Config, logger *zap.Logger) (host.Options, error) {
	o := host.Options{Config: cfg, Scenario: s.scenario, MetricsAddress: s.nodes.metrics,
		Version: host.NewBuild(version).Version, Logger: logger}
	var err error
	if o.Nodes, err = s.nodes.options(); err != nil {
		return o, err
	}
	o.Admin, err = s.admin.options()
	return o, err
}

// The method "run" runs a host until ctx is done. On SIGHUP it reads the Scenario file again. If the argument "ready"
// is not nil, it is called as soon as the host listens.
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

// flagOf maps an option of a host to the flag that sets it.
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
	"Config.NodeName":            "--hostname-override",
}

// withFlag replaces the name of an option in an error of a host by the name of the flag that sets the option.
func withFlag(err error) error {
	if option, ok := errors.AsType[*host.OptionError](err); ok && flagOf[option.Field] != "" {
		return fmt.Errorf("%s: %w", flagOf[option.Field], addTokenHint(option.Err))
	}
	return err
}

// limitMemory makes the garbage collector run more often on a host of many nodes, because memory limits how many nodes
// fit on a machine. The cost is small, because idle nodes produce little garbage. If the environment variable GOGC is
// set, limitMemory does nothing.
func (s *serving) limitMemory() {
	if _, set := os.LookupEnv("GOGC"); s.nodes.count > 0 && !set {
		debug.SetGCPercent(40)
	}
}

// writeReady writes the addresses to the file of --ready-file, if the flag is set. It writes the file atomically, so
// that a program which waits for the file can read it as soon as it exists.
func (s *serving) writeReady(h *host.Host) error {
	if s.readyFile == "" {
		return nil
	}
	data, err := json.Marshal(h.Addresses())
	if err != nil {
		return err
	}
	if err := atomicfile.Write(s.readyFile, append(data, '\n'), 0o644); err != nil {
		return fmt.Errorf("--ready-file: %w", err)
	}
	return nil
}
