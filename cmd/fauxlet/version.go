package main

import (
	"encoding/json"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"fauxlet/internal/host"
)

// version is set when the binary is built.
var version = "unknown"

func newVersion() *cobra.Command {
	var output string
	c := &cobra.Command{
		Use:   "version",
		Short: "Print the version, and the kubelet's that it stands in for",
		Example: example(`
			fauxlet version
			fauxlet version --output json`),
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			v := thisBuild()
			switch output {
			case "text":
				fmt.Fprintf(c.OutOrStdout(), "fauxlet %s, standing in for a kubelet %s (%s, %s)\n", v.Version, v.Kubernetes, v.Go, v.Platform)
				return nil
			case "json":
				encoder := json.NewEncoder(c.OutOrStdout())
				encoder.SetIndent("", "  ")
				return encoder.Encode(v)
			}
			return usagef(c, "--output: %q is neither text nor json", output)
		},
	}
	c.Flags().StringVarP(&output, "output", "o", "text", "text or json")
	completeFlag(c, "output", "text", "json")
	return c
}

// build is what this program is.
type build struct {
	Version    string `json:"version"`
	Kubernetes string `json:"kubernetesVersion"`
	Go         string `json:"goVersion"`
	Platform   string `json:"platform"`
}

func thisBuild() build {
	return build{buildVersion(), host.KubernetesVersion, runtime.Version(), runtime.GOOS + "/" + runtime.GOARCH}
}

// buildVersion is the version that make gave, or else the one that go install knows.
func buildVersion() string {
	if version == "unknown" {
		if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
			return info.Main.Version
		}
	}
	return version
}
