package main

import (
	"github.com/spf13/cobra"

	"fauxlet/internal/host"
)

// version is the version of this program. The Makefile passes it to the linker, which sets this variable.
var version = "unknown"

func newVersion() *cobra.Command {
	var output string
	c := &cobra.Command{Use: "version", Args: noArgs, RunE: func(c *cobra.Command, _ []string) error {
		return printReport(c, output, host.NewBuild(version))
	}}
	c.Flags().StringVarP(&output, "output", "o", "text", "text or json")
	completeFlag(c, "output", "text", "json")
	return c
}
