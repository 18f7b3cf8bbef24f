package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// usageError is a command line that was not understood.
type usageError struct {
	error
	command string
}

func (u *usageError) Unwrap() error { return u.error }

func usagef(c *cobra.Command, format string, args ...any) error {
	return &usageError{fmt.Errorf(format, args...), c.CommandPath()}
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "fauxlet",
		Short: "A stand-in kubelet",
		Long: text(`
			fauxlet stands in for a kubelet: it answers on the kubelet's ports, authenticates and authorizes every request
			as a kubelet does, and serves the logs of pods that do not run. Put it where a node would be, to test, prove
			or learn what stands between a kube-apiserver and a kubelet.`),
		Example: example(`
			# See it on your own machine, without a cluster: prints curl lines to paste.
			fauxlet demo

			# Stand in for a node's kubelet, with the kubelet's own file and flags.
			fauxlet serve --config kubelet.yaml --kubeconfig kubelet.conf --hostname-override node-1 --scenario pods.yaml`),
		SuggestionsMinimumDistance: 2,

		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          noArgs,
		RunE:          func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error { return &usageError{err, c.CommandPath()} })
	root.AddCommand(newServe(), newCheck(), newProbe(), newExplain(), newDemo(), newWatch(), newFault(), newReviews(), newCerts(), newVersion())
	root.InitDefaultCompletionCmd("serve")
	root.InitDefaultHelpCmd()
	for _, c := range root.Commands() {
		switch c.Name() { // those of cobra's own take any argument for none
		case "completion":
			c.Args, c.RunE = noArgs, root.RunE
		case "help":
			c.Args = func(_ *cobra.Command, args []string) error {
				about, rest, err := root.Find(args)
				if err != nil {
					return err
				}
				return noArgs(about, rest)
			}
		}
	}
	return root
}

// noArgs refuses arguments that are no flags, and says which.
func noArgs(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	if c.HasSubCommands() {
		hint := ""
		if similar := c.SuggestionsFor(args[0]); len(similar) > 0 {
			hint = "; did you mean " + strings.Join(similar, " or ") + "?"
		}
		return usagef(c, "unknown command %q%s", args[0], hint)
	}
	return usagef(c, "unexpected argument %q", args[0])
}

// text and example take the indentation of the source out of a help text.
func text(s string) string { return outdent(s, "") }

func example(s string) string { return outdent(s, "  ") }

func outdent(s, indent string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	for i, line := range lines {
		if line = strings.TrimLeft(line, "\t"); line != "" {
			line = indent + line
		}
		lines[i] = line
	}
	return strings.Join(lines, "\n")
}

// completeFlag has a shell complete a flag by values, which may have an explanation after a tab.
func completeFlag(c *cobra.Command, flag string, values ...string) {
	if err := c.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp)); err != nil {
		panic(err) // there is no such flag
	}
}
