package main

import (
	"github.com/spf13/cobra"

	"fauxlet/config"
)

func newServe() *cobra.Command {
	kubelet := config.NewFlags()
	kubelet.Strict = true
	var serve serving
	c := &cobra.Command{
		Use:   "serve",
		Short: "Run a stand-in kubelet with the kubelet's own flags and configuration file",
		Long: text(`
			Run a stand-in kubelet, or many.

			serve listens on the kubelet's ports and answers like a kubelet. It takes the kubelet's own flags and configuration
			file, with the kubelet's defaults. With --config these are the defaults of the file: webhook authentication on,
			anonymous authentication off, authorization mode Webhook, no read-only port. Without --config they are the older
			defaults of the flags: anonymous authentication on, mode AlwaysAllow, read-only port 10255. Flags override
			--config-dir, which overrides --config. Kubelet flags that only matter to a container runtime have no effect; the
			log lists them once, and this help does not.

			With --kubeconfig, tokens and permissions are reviewed by that apiserver, for which a node's credential suffices.
			The node also joins the cluster, unless --register-node=false: it is registered and kept Ready, and pods bound to
			it run, or behave as --scenario describes. The scenario's own pods become static pods. --nodes runs many nodes in
			one process. With --bootstrap-kubeconfig the node first requests its client certificate, and with
			serverTLSBootstrap its serving certificate.

			SIGTERM and Ctrl-C end followed logs, let other requests finish, mark the node not ready, and stop. A second signal
			stops at once. SIGHUP reads the --scenario file again.`),
		Example: example(`
			# A node in the cluster of admin.conf, reachable at the address of this machine.
			fauxlet serve --kubeconfig admin.conf --hostname-override node-1 --cert-dir /tmp/pki

			# A thousand nodes, on free ports.
			fauxlet serve --kubeconfig admin.conf --nodes 1000 --node-name-prefix fake- --port 0 --cert-dir /tmp/pki

			# The command line of a node's kubelet.
			fauxlet serve --config /var/lib/kubelet/config.yaml --kubeconfig /etc/kubernetes/kubelet.conf --hostname-override node-1

			# With pods, on a free port.
			fauxlet serve --config kubelet.yaml --kubeconfig kubelet.conf --scenario scenario.yaml --port 0

			# Without a file: anonymous authentication on, AlwaysAllow, port 10255 open.
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
	c.Flags().SortFlags = false // own flags first, and the kubelet's in groups
	serve.addTo(c)
	serve.nodes.addTo(c)
	addKubeletFlags(c, kubelet, kubelet.Means)
	c.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return &usageError{config.FlagError(err), c.CommandPath()}
	})
	return c
}
