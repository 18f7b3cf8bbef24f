// Package demo shows how a kubelet authenticates and authorizes requests, on one machine and without a cluster.
//
// Everything happens in a [Folder] with certificates, kubelet.yaml, RBAC manifests and tokens. [Run] starts one
// stand-in kubelet with these files and a review API in place of a kube-apiserver, sends requests of several
// clients, and prints each request as a curl command with its result. [Tour] is a lesson in scenes. Each scene
// starts its own stand-in kubelets.
package demo

import (
	"cmp"
	"context"
	"errors"
	"io"
	"strconv"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"fauxlet/config"
	"fauxlet/internal/color"
	"fauxlet/internal/host"
)

// Options configure [Run]. Folder, Out and Logger are required.
type Options struct {
	Folder *Folder
	// Out receives the first screen. Style determines whether the screen has colors.
	Out   io.Writer
	Style color.Style
	// Port and ReadOnlyPort, if not nil, replace the ports in kubelet.yaml. Port 0 means a free port; ReadOnlyPort 0
	// means no read-only port.
	Port, ReadOnlyPort *int32
	// Host has the options of the host. Run overrides the options about the kubelet's configuration and the demo's
	// clients. It sets the Scenario only if it is empty.
	Host host.Options
	// Logger makes a logger with a verbosity (klog's -v). The options apply to all lines that are logged.
	Logger func(verbosity int, options ...zap.Option) (*zap.Logger, error)
	// RunHost runs a host until ctx is done, and calls listening once when all ports are open. If it is nil, Run
	// uses [host.Host.Run].
	RunHost func(ctx context.Context, options host.Options, listening func(host.Addresses)) error
}

// Run runs the demo until ctx is done. It returns nil if the demo stopped because ctx was done.
func Run(ctx context.Context, o Options) error {
	cfg, err := o.config()
	if err != nil {
		return err
	}
	quiet := newQuietStart()
	logger, err := o.Logger(int(cfg.Kubelet.Logging.Verbosity), quiet.option())
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	group, ctx := errgroup.WithContext(ctx)
	if cfg.Kubeconfig == o.Folder.path("kubeconfig") {
		reviews, listener, err := o.Folder.reviews(logger)
		if err != nil {
			return err
		}
		if reviews != nil {
			o.Host.Admin.Reviewer = reviews
			group.Go(func() error { return reviews.Serve(ctx, listener) })
		}
	}
	s := &sender{folder: o.Folder}
	page := &pageClients{sender: s}
	o.Host.Config, o.Host.Logger, o.Host.Observe = cfg, logger, s.decisions.observe
	o.Host.Admin.SentRequest, o.Host.Admin.Sender = s.sent.of, page
	o.Host.Scenario = cmp.Or(o.Host.Scenario, o.Folder.path("scenario.yaml"))
	listening := func(open host.Addresses) {
		page.open.Store(&open)
		group.Go(func() error {
			quiet.errorsOnly()
			defer quiet.end()
			return printFirstScreen(ctx, s, open, o.Out, o.Style)
		})
	}
	run := o.RunHost
	if run == nil {
		run = runHost
	}
	group.Go(func() error {
		defer stop()
		return run(ctx, o.Host, listening)
	})
	if err := group.Wait(); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// runHost is the default for Options.RunHost.
func runHost(ctx context.Context, options host.Options, listening func(host.Addresses)) error {
	h, err := host.New(options)
	if err != nil {
		return err
	}
	if err := h.Start(ctx); err != nil {
		return err
	}
	listening(h.Addresses())
	return h.Wait()
}

// config loads kubelet.yaml and applies the ports in the options.
func (o *Options) config() (*config.Config, error) {
	f, err := o.Folder.kubeletFlags(nodeName, "pki")
	if err != nil {
		return nil, err
	}
	if err := f.Set("kubeconfig", o.Folder.path("kubeconfig")); err != nil {
		return nil, err
	}
	for name, port := range map[string]*int32{"port": o.Port, "read-only-port": o.ReadOnlyPort} {
		if port == nil {
			continue
		}
		if err := f.Set(name, strconv.Itoa(int(*port))); err != nil {
			return nil, err
		}
	}
	return f.Load()
}

// kubeletFlags are the flags for a kubelet that reads kubelet.yaml and does not register its node.
func (f *Folder) kubeletFlags(nodeName, certDir string) (*config.Flags, error) {
	flags := config.NewFlags()
	flags.Strict = true
	for _, flag := range [][2]string{
		{"config", f.path("kubelet.yaml")},
		{"hostname-override", nodeName},
		{"cert-dir", f.path(certDir)},
		{"register-node", "false"},
	} {
		if err := flags.Set(flag[0], flag[1]); err != nil {
			return nil, err
		}
	}
	return flags, nil
}
