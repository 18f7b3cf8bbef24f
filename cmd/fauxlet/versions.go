package main

import (
	"github.com/spf13/cobra"

	"fauxlet/config"
	"fauxlet/internal/versions"
)

func newVersions() *cobra.Command {
	var output string
	c := &cobra.Command{Use: "versions [FROM TO]", RunE: func(c *cobra.Command, args []string) error {
		from, to := config.Oldest(), config.Version{}
		if len(args) != 0 && len(args) != 2 {
			return usagef(c, "give no version, or two, for example: fauxlet versions 1.32 1.36")
		}
		for i, text := range args {
			if err := []*config.Version{&from, &to}[i].Set(text); err != nil {
				return usagef(c, "%w", err)
			}
		}
		changes, err := versions.Between(from, to)
		if err != nil {
			return usagef(c, "%w", err)
		}
		return printReport(c, output, changes)
	}}
	c.Flags().StringVarP(&output, "output", "o", "text", "text or json")
	completeFlag(c, "output", "text", "json")
	return c
}
