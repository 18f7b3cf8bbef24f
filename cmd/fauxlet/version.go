package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"fauxlet/internal/host"
)

// version is the version of this program. The Makefile passes it to the linker, which sets this variable.
var version = "unknown"

func newVersion() *cobra.Command {
	var output string
	c := &cobra.Command{
		Use: "version", Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			v := host.NewBuild(version)
			switch output {
			case "text":
				_, err := fmt.Fprintln(c.OutOrStdout(), v)
				return err
			case "json":
				return writeJSON(c.OutOrStdout(), v)
			}
			return checkOneOf(c, "output", output, "text", "json")
		},
	}
	c.Flags().StringVarP(&output, "output", "o", "text", "text or json")
	completeFlag(c, "output", "text", "json")
	return c
}
