package main

import (
	"fmt"
	"runtime/debug"

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
			v := host.NewBuild(buildVersion())
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

// buildVersion returns the version set by the linker, or the module version if the program was built with go install.
func buildVersion() string {
	if version == "unknown" {
		if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
			return info.Main.Version
		}
	}
	return version
}
