package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"go.uber.org/zap"

	"fauxlet/config"
	"fauxlet/internal/demo"
)

func newDemo() *cobra.Command {
	var d demoFlags
	c := &cobra.Command{Use: "demo", Args: noArgsBut("dir"), RunE: func(c *cobra.Command, _ []string) error { return d.run(c) }}
	flags := c.Flags()
	flags.StringVar(&d.dir, "dir", "fauxlet-demo", "folder to create, or to use if it exists")
	flags.Int32Var(&d.port, "port", 0, "port of the kubelet's API; 0 takes a free port (default: the port in the "+
		"folder's kubelet.yaml, 10250 in a new folder)")
	flags.Int32Var(&d.readOnlyPort, "read-only-port", 0, "port of the read-only API; 0 turns it off (default: the "+
		"readOnlyPort in the folder's kubelet.yaml, 10255 in a new folder)")
	addEmulateVersion(c, &d.version)
	flags.BoolVar(&d.tour, "tour", false, "play the tour, scene by scene, instead of the demo")
	flags.BoolVar(&d.yes, "yes", false, "with --tour: do not wait for Enter between scenes")
	d.serving.addTo(c)
	flags.Lookup("scenario").Hidden = true
	return c
}

type demoFlags struct {
	serving
	dir                string
	port, readOnlyPort int32
	tour, yes          bool
	version            config.Version
}

func (d *demoFlags) run(c *cobra.Command) error {
	flags := c.Flags()
	switch {
	case d.yes && !d.tour:
		return usagef(c, "--yes: allowed only with --tour")
	case d.tour && (flags.Changed("port") || flags.Changed("read-only-port") || flags.Changed("ready-file")):
		return usagef(c, "--tour: takes free ports for each scene; remove --port, --read-only-port and --ready-file")
	case d.tour && flags.Changed("emulate-version"):
		return usagef(c, "--tour: explains a kubelet of the newest version; remove --emulate-version")
	}
	folder, err := demo.OpenFolder(d.dir)
	if err != nil {
		return fmt.Errorf("--dir: %w", err)
	}
	options, err := d.options(nil, zap.NewNop())
	if err != nil {
		return err
	}
	out := c.OutOrStdout()
	if d.tour {
		// Discard the log lines of the k8s.io libraries: they would appear between the lines of the tour.
		if _, err := d.log.newLogger(io.Discard, 0); err != nil {
			return err
		}
		tour := demo.TourOptions{Folder: folder, Out: out, Host: options}
		if !d.yes {
			tour.In = c.InOrStdin()
		}
		err := demo.Tour(c.Context(), tour)
		if c.Context().Err() != nil && errors.Is(err, context.Canceled) { // Ctrl-C ends the tour
			fmt.Fprintln(out)
			return nil
		}
		return withFile("--dir", withFlag(err))
	}
	return withFile("--dir", demo.Run(c.Context(), demo.Options{
		Folder: folder, Out: out, Host: options, Version: d.version,
		Port: given(flags, "port", &d.port), ReadOnlyPort: given(flags, "read-only-port", &d.readOnlyPort),
		Logger: func(verbosity int, options ...zap.Option) (*zap.Logger, error) {
			return d.log.newLogger(c.ErrOrStderr(), verbosity, options...)
		},
		RunHost: d.serving.run,
	}))
}

// The function "given" returns the argument "value", or nil if the user did not give the flag.
func given(flags *pflag.FlagSet, name string, value *int32) *int32 {
	if !flags.Changed(name) {
		return nil
	}
	return value
}
