package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"fauxlet/internal/helptext"
	"fauxlet/internal/host"
)

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use: "fauxlet", SuggestionsMinimumDistance: 2, SilenceErrors: true, SilenceUsage: true, Args: noArgs,
		PersistentPreRun: func(c *cobra.Command, _ []string) {
			if c.Name() == "serve" { // serve logs these warnings, and more
				return
			}
			warn(c.ErrOrStderr(), secretsOfFlags(c).Warnings())
		},
	}
	// The field Version of cobra would need a template. With a template, the linker keeps every exported method of the
	// program, and the binary would be 20 MB larger.
	showVersion := root.Flags().BoolP("version", "v", false, "print the version of fauxlet")
	root.RunE = func(c *cobra.Command, _ []string) error {
		if *showVersion {
			_, err := fmt.Fprintln(c.OutOrStdout(), host.NewBuild(version))
			return err
		}
		return c.Help()
	}
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error { return flagError(c, err, err) })
	root.SetHelpFunc(func(c *cobra.Command, _ []string) {
		helptext.Write(c.OutOrStdout(), c, helptext.TerminalWidth(c.OutOrStdout()))
	})
	root.AddCommand(newServe(), newCheck(), newProbe(), newExplain(), newDemo(), newWatch(), newFault(), newReviews(),
		newCerts(), newVersion(), newVersions(), newRBAC(), newReady())
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

func warn(w io.Writer, warnings []string) {
	for _, warning := range warnings {
		fmt.Fprintln(w, "fauxlet: warning:", warning)
	}
}

// printReport prints a report in the format of the flag --output.
func printReport(c *cobra.Command, output string, report interface{ Write(w io.Writer, width int) }) error {
	switch out := c.OutOrStdout(); output {
	case "text":
		report.Write(out, helptext.TerminalWidth(out))
		return nil
	case "json":
		return writeJSON(out, report)
	}
	return checkOneOf(c, "output", output, "text", "json")
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
		return usagef(c, "unknown command %q%s", args[0], didYouMean(c.SuggestionsFor(args[0])))
	}
	return usagef(c, "unexpected argument %q", args[0])
}

// noArgsBut returns a validator which, like noArgs, refuses all arguments. The error for an argument suggests to set
// the given flag to that argument.
func noArgsBut(flag string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) == 0 {
			return nil
		}
		return usagef(c, "unexpected argument %q%s", args[0], didYouMean([]string{"--" + flag + " " + args[0]}))
	}
}

// maxSuggestions limits the number of names that an error suggests.
const maxSuggestions = 3

func didYouMean(suggestions []string) string {
	if len(suggestions) == 0 {
		return ""
	}
	return "; did you mean " + strings.Join(suggestions[:min(len(suggestions), maxSuggestions)], " or ") + "?"
}

// flagError returns the given error "shown" as a usage error. If "cause" is the error for an unknown flag, the result
// also suggests flags with similar names.
func flagError(c *cobra.Command, cause, shown error) error {
	if unknown, ok := errors.AsType[*pflag.NotExistError](cause); ok {
		// Cobra's SuggestionsFor finds similar names only among commands. So this code creates a command named after
		// each flag.
		names := &cobra.Command{SuggestionsMinimumDistance: 2}
		add := func(flag *pflag.Flag) {
			if !flag.Hidden {
				names.AddCommand(&cobra.Command{Use: "--" + flag.Name, Run: func(*cobra.Command, []string) {}})
			}
		}
		c.LocalFlags().VisitAll(add)
		c.InheritedFlags().VisitAll(add)
		shown = fmt.Errorf("%w%s", shown, didYouMean(names.SuggestionsFor("--"+unknown.GetSpecifiedName())))
	}
	return &usageError{shown, c.CommandPath()}
}

func checkOneOf(c *cobra.Command, flag, value string, values ...string) error {
	if slices.Contains(values, value) {
		return nil
	}
	if len(values) == 2 {
		return usagef(c, "--%s: %q is neither %s nor %s", flag, value, values[0], values[1])
	}
	return usagef(c, "--%s: %q: must be one of %s", flag, value, strings.Join(values, ", "))
}

// completeFlag makes shell completion offer the given values for a flag. Each value may be followed by a tab and a
// description.
func completeFlag(c *cobra.Command, flag string, values ...string) {
	complete := cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp)
	if err := c.RegisterFlagCompletionFunc(flag, complete); err != nil {
		panic(err) // the command has no flag of this name
	}
}
