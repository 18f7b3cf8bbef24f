// Package demo shows how a kubelet authenticates and authorizes requests, on one machine and without a cluster.
//
// Everything happens in a [Folder] with certificates, kubelet.yaml, RBAC manifests and tokens. [Run] starts one
// stand-in kubelet with these files and a review API in place of a kube-apiserver, sends requests of several
// clients, and prints each request as a curl command with its result. [Tour] is a lesson in scenes, which start
// further stand-in kubelets. The clients, the requests and the texts of the scenes are in script.yaml.
package demo

import (
	"cmp"
	"context"
	"errors"
	"io"
	"strconv"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"golang.org/x/sync/errgroup"

	"fauxlet/config"
	"fauxlet/internal/color"
	"fauxlet/internal/host"
)

// Options configure [Run]. Folder, Out, Logger and RunHost are required.
type Options struct {
	Folder *Folder
	// Out receives the first screen, with colors if it is a terminal.
	Out io.Writer
	// Port and ReadOnlyPort, if not nil, replace the ports in kubelet.yaml. If Port is 0, the kubelet listens on a free
	// port. If ReadOnlyPort is 0, there is no read-only port.
	Port, ReadOnlyPort *int32
	Version            config.Version // the version of Kubernetes whose kubelet the demo runs
	// Host are the options for package host, which runs the stand-in kubelet. Run itself sets the options about the
	// kubelet's configuration and the demo's clients. It also sets Scenario if Scenario is empty.
	Host host.Options
	// Logger returns a new logger. It also makes the k8s.io libraries, which log with klog, write lines up to the given
	// verbosity to the same output. The options apply to these lines, too.
	Logger func(verbosity int, options ...zap.Option) (*zap.Logger, error)
	// RunHost runs a host with the options until ctx is done. It calls the function "listening" once, when all ports
	// are open.
	RunHost func(ctx context.Context, options host.Options, listening func(host.Addresses)) error
}

// Run runs the demo until ctx is done, and then returns nil. If the demo ends earlier, Run returns the error.
func Run(ctx context.Context, o Options) error {
	cfg, err := o.config()
	if err != nil {
		return err
	}
	// Log lines must not disturb the first screen. Until the ports are open, only warnings and errors are logged. While
	// the requests of the first screen are sent, only errors are logged. The screen shows the Decisions, so they need
	// no log lines.
	level := zap.NewAtomicLevelAt(zap.WarnLevel)
	logger, err := o.Logger(int(cfg.Kubelet.Logging.Verbosity), zap.IncreaseLevel(level))
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
	s := newSender(o.Folder)
	page := &pageClients{sender: s}
	o.Host.Config, o.Host.Logger, o.Host.Observe = cfg, logger, s.observe
	o.Host.Admin.SentRequest, o.Host.Admin.Sender = s.sentRequest, page
	o.Host.Scenario = cmp.Or(o.Host.Scenario, o.Folder.path("scenario.yaml"))
	listening := func(open host.Addresses) {
		page.open.Store(&open)
		group.Go(func() error {
			level.SetLevel(zap.ErrorLevel)
			// After the first screen, no lines are hidden. -128 is the lowest zap level; klog's V(n) is the level -n.
			defer level.SetLevel(zapcore.Level(-128))
			return printFirstScreen(ctx, s, open, o.Out, color.For(o.Out))
		})
	}
	group.Go(func() error {
		defer stop()
		return o.RunHost(ctx, o.Host, listening)
	})
	if err := group.Wait(); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// config loads kubelet.yaml and replaces its ports by the ports in the options.
func (o *Options) config() (*config.Config, error) {
	f, err := o.Folder.kubeletFlags(nodeName, "pki")
	if err != nil {
		return nil, err
	}
	f.Version = o.Version
	err = f.Set("kubeconfig", o.Folder.path("kubeconfig"))
	for name, port := range map[string]*int32{"port": o.Port, "read-only-port": o.ReadOnlyPort} {
		if port != nil {
			err = errors.Join(err, f.Set(name, strconv.Itoa(int(*port))))
		}
	}
	if err != nil {
		return nil, err
	}
	return f.Load()
}

// kubeletFlags are the flags for a kubelet that reads kubelet.yaml and does not register its node.
func (f *Folder) kubeletFlags(nodeName, certDir string) (*config.Flags, error) {
	flags := config.NewFlags()
	flags.Strict = true
	return flags, errors.Join(flags.Set("config", f.path("kubelet.yaml")), flags.Set("hostname-override", nodeName),
		flags.Set("cert-dir", f.path(certDir)), flags.Set("register-node", "false"))
}
