package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use: "fauxlet", SuggestionsMinimumDistance: 2, SilenceErrors: true, SilenceUsage: true, Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error { return &usageError{err, c.CommandPath()} })
	root.SetHelpFunc(func(c *cobra.Command, _ []string) { writeHelp(c.OutOrStdout(), c) })
	root.AddCommand(newServe(), newCheck(), newProbe(), newExplain(), newDemo(), newWatch(), newFault(), newReviews(),
		newCerts(), newVersion())
	addHelpTexts(root)
	root.InitDefaultCompletionCmd("serve")
	root.InitDefaultHelpCmd()
	for _, c := range root.Commands() {
		switch c.Name() { // by default, cobra's commands help and completion accept any argument
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

// usageError is a mistake in the command line. In addition to the error, run prints a hint to the command's --help.
type usageError struct {
	error
	command string
}

func (u *usageError) Unwrap() error { return u.error }

func usagef(c *cobra.Command, format string, args ...any) error {
	return &usageError{fmt.Errorf(format, args...), c.CommandPath()}
}

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

func checkOneOf(c *cobra.Command, flag, value string, values ...string) error {
	if slices.Contains(values, value) {
		return nil
	}
	if len(values) == 2 {
		return usagef(c, "--%s: %q is neither %s nor %s", flag, value, values[0], values[1])
	}
	return usagef(c, "--%s: %q is none of %s", flag, value, strings.Join(values, ", "))
}

// completeFlag makes shell completion offer the given values for a flag. Each value may be followed by a tab and a
// description.
func completeFlag(c *cobra.Command, flag string, values ...string) {
	complete := cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp)
	if err := c.RegisterFlagCompletionFunc(flag, complete); err != nil {
		panic(err) // the command has no flag of this name
	}
}
