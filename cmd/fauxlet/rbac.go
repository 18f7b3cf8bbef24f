package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"fauxlet/config"
	"fauxlet/internal/leastprivilege"
)

func newRBAC() *cobra.Command {
	var version config.Version
	var files []string
	var output string
	c := &cobra.Command{Use: "rbac -f FILE...", Args: noArgsBut("filename")}
	c.RunE = func(*cobra.Command, []string) error {
		versions := config.Versions()
		if c.Flags().Changed("emulate-version") {
			versions = []config.Version{version}
		}
		if len(files) == 0 {
			return usagef(c, "--filename: give a file with RBAC manifests, or - for the standard input")
		}
		grants, warnings, err := leastprivilege.Read(c.InOrStdin(), files, versions)
		if err != nil {
			return fmt.Errorf("--filename: %w", err)
		}
		warn(c.ErrOrStderr(), warnings)
		return printReport(c, output, grants)
	}
	flags := c.Flags()
	flags.StringArrayVarP(&files, "filename", "f", nil, "`file` with RBAC manifests, or - for stdin; may be repeated")
	addEmulateVersion(c, &version)
	only := flags.Lookup("emulate-version")
	only.DefValue, only.Usage = "", "only the kubelet of this `version` of Kubernetes (default: 1.30 to 1.37)"
	flags.StringVarP(&output, "output", "o", "text", "text or json")
	completeFlag(c, "output", "text", "json")
	return c
}
