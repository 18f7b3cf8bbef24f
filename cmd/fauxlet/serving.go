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
	"fauxlet/internal/host"
)

// serving has the flags that serve and demo share, beside the kubelet's own.
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

// options are the flags as options of a host.
func (s *serving) options(cfg *config.Config, logger *zap.Logger) (host.Options, error) {
	o := host.Options{Config: cfg, Scenario: s.scenario, MetricsAddress: s.nodes.metrics, Version: buildVersion(),
		Logger: logger}
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

// manyGCPercent is the garbage allowed beside live memory, in percent, with many nodes. Memory limits their number,
// and at rest they produce little garbage.
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
