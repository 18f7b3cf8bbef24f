package main

import "github.com/spf13/cobra"

func newReady() *cobra.Command {
	var remote remoteFlags
	c := &cobra.Command{Use: "ready", Args: noArgs, RunE: func(c *cobra.Command, _ []string) error {
		client, err := remote.client(c)
		if err != nil {
			return err
		}
		defer client.Close()
		return remote.addRemedy(client.Ready(c.Context()))
	}}
	remote.addTo(c)
	return c
}
