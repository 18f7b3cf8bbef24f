package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/sync/errgroup"

	"fauxlet/config"
	"fauxlet/internal/host"
	"fauxlet/internal/reviewapi"
)

func newDemo() *cobra.Command {
	var d demo
	c := &cobra.Command{
		Use:   "demo",
		Short: "See a kubelet's authentication and authorization on this machine, without a cluster",
		Long: text(`
			demo writes a folder with all that a kubelet needs (certificates, kubelet.yaml, a kubeconfig, tokens, RBAC
			manifests, a pod), starts a stand-in on it with a review API in the place of a kube-apiserver, all on loopback,
			sends it one request as each of several clients, and prints them as curl lines with the status that each got, and
			why. What is in the folder already is kept: edit a file and start the demo again to see what changes.
			rbac.yaml and tokens.csv are read again while it runs.

			With --tour it shows, scene by scene, why a request to a kubelet ends where it does: what is set, what is sent,
			what is expected, what happened, why, and what to try. Each scene has stand-ins of its own, on free ports. It
			fails where something does not end as it says.`),
		Example: example(`
			fauxlet demo

			# A lesson in scenes, at your pace; --yes does not wait.
			fauxlet demo --tour

			# On other ports.
			fauxlet demo --dir /tmp/demo --port 20250 --read-only-port 20255`),
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			switch {
			case d.yes && !d.tour:
				return usagef(c, "--yes: is for --tour, which waits for Enter")
			case d.tour && (c.Flags().Changed("port") || c.Flags().Changed("read-only-port") || c.Flags().Changed("ready-file")):
				return usagef(c, "--tour: takes free ports for each scene: leave --port, --read-only-port and --ready-file out")
			case d.tour:
				return d.runTour(c.Context(), c.InOrStdin(), c.OutOrStdout())
			}
			return d.run(c.Context(), c.Flags(), c.OutOrStdout(), c.ErrOrStderr())
		},
	}
	flags := c.Flags()
	flags.StringVar(&d.dir, "dir", "fauxlet-demo", "folder to write and to use")
	flags.Int32Var(&d.port, "port", 10250, "port of the kubelet's API; 0 takes a free one. Without this flag, kubelet.yaml says")
	flags.Int32Var(&d.readOnlyPort, "read-only-port", 10255, "port of the read-only API; 0 turns it off. Without this flag, kubelet.yaml says")
	flags.BoolVar(&d.tour, "tour", false, "show the guided tour instead, scene by scene")
	flags.BoolVar(&d.yes, "yes", false, "with --tour: do not wait for Enter between scenes")
	d.serving.addTo(c)
	flags.Lookup("scenario").Hidden = true
	return c
}

// demo is the command line of demo.
type demo struct {
	serving
	dir                string
	port, readOnlyPort int32
	tour, yes          bool
}

func (d *demo) run(ctx context.Context, flags *pflag.FlagSet, stdout, stderr io.Writer) error {
	folder, err := openDemoFolder(d.dir)
	if err != nil {
		return fmt.Errorf("--dir: %w", err)
	}
	cfg, err := d.config(folder, flags)
	if err != nil {
		return err
	}
	logger, err := d.log.newLogger(stderr, int(cfg.Kubelet.Logging.Verbosity))
	if err != nil {
		return err
	}
	if d.scenario == "" {
		d.scenario = folder.path("scenario.yaml")
	}

	running, stop := context.WithCancel(ctx)
	defer stop()
	group, running := errgroup.WithContext(running)
	var reviewer *reviewapi.Server
	if cfg.Kubeconfig == folder.path("kubeconfig") {
		reviews, listener, err := folder.reviews(logger)
		if err != nil {
			return err
		}
		if reviews != nil {
			reviewer = reviews
			group.Go(func() error { return reviews.Serve(running, listener) })
		}
	}

	tour := newTour(folder)
	visits := &visits{tour: tour}
	options, err := d.serving.options(cfg, logger)
	if err != nil {
		return err
	}
	options.Observe = tour.observe
	options.Admin.Reviewer, options.Admin.SentRequest, options.Admin.Sender = reviewer, tour.request, visits
	ready := func(open host.Addresses) {
		visits.opened(open)
		group.Go(func() error {
			if err := tour.run(running, open, stdout); err != nil && running.Err() == nil {
				return err
			}
			return nil
		})
	}
	group.Go(func() error {
		defer stop()
		return d.serving.run(running, options, ready)
	})
	if err := group.Wait(); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// config is the folder's kubelet.yaml, with the flags that were given.
func (d *demo) config(folder *demoFolder, given *pflag.FlagSet) (*config.Config, error) {
	args := []string{
		"--config=" + folder.path("kubelet.yaml"),
		"--kubeconfig=" + folder.path("kubeconfig"),
		"--cert-dir=" + folder.path("pki"),
		"--hostname-override=" + demoNode,
		"--register-node=false", // its apiserver only reviews
	}
	for name, port := range map[string]int32{"port": d.port, "read-only-port": d.readOnlyPort} {
		if given.Changed(name) {
			args = append(args, "--"+name+"="+strconv.Itoa(int(port)))
		}
	}
	kubelet := config.NewFlags()
	kubelet.Strict = true
	flags := pflag.NewFlagSet("kubelet", pflag.ContinueOnError)
	kubelet.AddTo(flags)
	flags.SetOutput(io.Discard) // a kubelet calls its flags deprecated; the demo's own are not
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	return kubelet.Load()
}

// notShown is what there is to say where there is no page.
const notShown = "The road of each request is not shown: start again with --admin-address 127.0.0.1:0, which takes a free port.\n"

// whereToSee says where the road of each request is shown, in a browser and in a terminal.
func whereToSee(address string) string {
	switch address {
	case "":
		return "\n" + notShown
	case adminAddress:
		return "\nThe road of each, and what changes it: http://" + address + "/ in a browser, or fauxlet watch --verbose.\n"
	}
	return "\nThe road of each, and what changes it: http://" + address + "/ in a browser, or fauxlet watch --verbose --address " + address + ".\n"
}

// exists says whether there is a file; what cannot be told is an error.
func exists(path string) (bool, error) {
	_, err := os.Lstat(path)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}
