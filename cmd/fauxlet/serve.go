package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"fauxlet/config"
	"fauxlet/internal/color"
	"fauxlet/internal/host"
	"fauxlet/internal/secretfiles"
)

func newServe() *cobra.Command {
	kubelet := config.NewFlags()
	var serve serving
	c := &cobra.Command{
		Use: "serve", Args: noArgsBut("config"),
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := kubelet.Load()
			if err != nil {
				return withFile("--config", err)
			}
			logger, err := serve.log.newLogger(c.ErrOrStderr(), int(cfg.Kubelet.Logging.Verbosity))
			if err != nil {
				return err
			}
			var files secretfiles.Files
			files.AddKubelet(cfg)
			files.AddKey("--admin-token-file", serve.admin.tokenFile)
			for _, warning := range files.Warnings() {
				logger.Warn(warning)
			}
			options, err := serve.options(cfg, logger)
			if err != nil {
				return err
			}
			serve.limitMemory()
			return serve.run(c.Context(), options, func(open host.Addresses) {
				// Only a terminal shows the token. Other output may be stored where other users can read it.
				if out := c.OutOrStdout(); open.Admin != "" && color.IsTerminal(out) {
					fmt.Fprintf(out, "The admin page: %s\n", open.AdminLink)
				}
			})
		},
	}
	c.Flags().SortFlags = false // the help text lists the flags of serve before the kubelet's flags
	serve.addTo(c)
	serve.nodes.addTo(c)
	addKubeletFlags(c, kubelet, kubelet.Means)
	c.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return flagError(c, err, config.FlagError(err))
	})
	return c
}
