package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"go.uber.org/zap"

	"fauxlet/internal/color"
	"fauxlet/internal/demo"
)

func newDemo() *cobra.Command {
	var d demoFlags
	c := &cobra.Command{
		Use:   "demo",
		Short: "Watch a kubelet authenticate and authorize requests on this machine, without a cluster",
		Long: text(`
			Watch a kubelet authenticate and authorize requests on this machine, without a cluster.

			The demo writes a folder with the files of a kubelet: certificates, kubelet.yaml, a kubeconfig, tokens, RBAC
			manifests and a pod. It starts a stand-in kubelet with these files, and a review API in place of a
			kube-apiserver, both on loopback. Then it sends requests of several clients, and prints each as a curl line with
			its status and the reason.

			Files that exist in the folder are kept. Edit kubelet.yaml and start the demo again to see what changes. Edits
			of rbac.yaml and tokens.csv apply while it runs.

			With --tour it plays a lesson in scenes instead. Each scene shows what is configured, what is sent, what is
			expected, what comes back, and why. Each has stand-in kubelets of its own, on free ports. The command fails if a
			result is not the expected one.`),
		Example: example(`
			# Start the demo; stop it with Ctrl-C
			fauxlet demo

			# Use another folder and other ports
			fauxlet demo --dir /tmp/demo --port 20250 --read-only-port 20255

			# Play the tour, and press Enter for each scene
			fauxlet demo --tour

			# Play the tour without waiting
			fauxlet demo --tour --yes`),
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error { return d.run(c) },
	}
	flags := c.Flags()
	flags.StringVar(&d.dir, "dir", "fauxlet-demo", "folder to create, or to use if it exists")
	flags.Int32Var(&d.port, "port", 10250,
		"port of the kubelet's API; 0 takes a free port. Without this flag, the port in kubelet.yaml")
	flags.Int32Var(&d.readOnlyPort, "read-only-port", 10255,
		"port of the read-only API; 0 turns it off. Without this flag, the readOnlyPort in kubelet.yaml")
	flags.BoolVar(&d.tour, "tour", false, "play the tour, scene by scene, instead of the demo")
	flags.BoolVar(&d.yes, "yes", false, "with --tour: do not wait for Enter between scenes")
	d.serving.addTo(c)
	flags.Lookup("scenario").Hidden = true
	return c
}

// demoFlags are the flags of demo.
type demoFlags struct {
	serving
	dir                string
	port, readOnlyPort int32
	tour, yes          bool
}

func (d *demoFlags) run(c *cobra.Command) error {
	flags := c.Flags()
	switch {
	case d.yes && !d.tour:
		return usagef(c, "--yes: allowed only with --tour")
	case d.tour && (flags.Changed("port") || flags.Changed("read-only-port") || flags.Changed("ready-file")):
		return usagef(c, "--tour: takes free ports for each scene; remove --port, --read-only-port and --ready-file")
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
		// Log lines of the k8s.io libraries would come between the lines of the tour.
		if _, err := d.log.newLogger(io.Discard, 0); err != nil {
			return err
		}
		tour := demo.TourOptions{Folder: folder, Out: out, Style: color.For(out), Host: options}
		if !d.yes {
			tour.In = c.InOrStdin()
		}
		return withFlag(demo.Tour(c.Context(), tour))
	}
	return demo.Run(c.Context(), demo.Options{
		Folder: folder, Out: out, Style: color.For(out), Host: options,
		Port: given(flags, "port", &d.port), ReadOnlyPort: given(flags, "read-only-port", &d.readOnlyPort),
		Logger: func(verbosity int, options ...zap.Option) (*zap.Logger, error) {
			return d.log.newLogger(c.ErrOrStderr(), verbosity, options...)
		},
		RunHost: d.serving.run,
	})
}

// given returns the value of a flag that is on the command line, and nil otherwise.
func given(flags *pflag.FlagSet, name string, value *int32) *int32 {
	if !flags.Changed(name) {
		return nil
	}
	return value
}
