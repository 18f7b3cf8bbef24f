package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/api/resource"

	"fauxlet/internal/admin"
	"fauxlet/internal/color"
	"fauxlet/internal/faults"
	"fauxlet/internal/helptext"
	"fauxlet/internal/shellword"
	"fauxlet/testcerts"
)

func newFault() *cobra.Command {
	var f faultCommand
	c := &cobra.Command{Use: "fault", Args: noArgs, RunE: func(c *cobra.Command, _ []string) error { return c.Help() }}
	f.remote.addTo(c)
	c.PersistentFlags().StringVarP(&f.output, "output", "o", "text", "text or json")
	completeFlag(c, "output", "text", "json")
	remove := f.subcommand("remove NAME...", f.remove)
	remove.Args = func(c *cobra.Command, args []string) error {
		if len(args) == 0 {
			return usagef(c, "NAME is required; fauxlet fault list lists the names, and fauxlet fault clear ends all "+
				"faults")
		}
		return nil
	}
	remove.ValidArgsFunction = func(c *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
		return f.names(c), cobra.ShellCompDirectiveNoFileComp
	}
	kinds := &cobra.Command{Use: "kinds", Args: noArgs, RunE: f.listKinds}
	c.AddCommand(f.subcommand("list", f.list), f.newAdd(), remove, f.subcommand("clear", f.clear), kinds)
	return c
}

// faultCommand holds the values of the flags that all subcommands of "fauxlet fault" share.
type faultCommand struct {
	remote remoteFlags
	output string
}

// An action does the work of one subcommand of "fauxlet fault". It uses the given client to call the admin API.
type action func(c *cobra.Command, client *admin.Client, args []string) error

// subcommand returns a subcommand of "fauxlet fault" that takes no arguments and performs the given action.
func (f *faultCommand) subcommand(use string, do action) *cobra.Command {
	return &cobra.Command{Use: use, Args: noArgs, RunE: func(c *cobra.Command, args []string) error {
		return f.call(c, args, do)
	}}
}

// The method "call" validates the flags that all subcommands share, creates a client of the admin API, and performs the
// given action with this client.
func (f *faultCommand) call(c *cobra.Command, args []string, do action) error {
	if err := checkOneOf(c, "output", f.output, "text", "json"); err != nil {
		return err
	}
	client, err := f.remote.client(c)
	if err != nil {
		return err
	}
	defer client.Close()
	return do(c, client, args)
}

// The method "print" prints the given value as JSON if the user gave -o json. Otherwise it prints the given text.
func (f *faultCommand) print(c *cobra.Command, value any, text string, args ...any) error {
	if f.output == "json" {
		return writeJSON(c.OutOrStdout(), value)
	}
	_, err := fmt.Fprintf(c.OutOrStdout(), text, args...)
	return err
}

func (f *faultCommand) list(c *cobra.Command, client *admin.Client, _ []string) error {
	active, err := client.Faults(c.Context())
	if err != nil {
		return f.remote.addRemedy(err)
	}
	if f.output == "json" || len(active) == 0 {
		return f.print(c, active, "no fault is active\n")
	}
	w := tabwriter.NewWriter(c.OutOrStdout(), 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NAME\tKIND\tAPPLIED\tMATCHED\tSINCE\tORIGIN\tFIELDS")
	for i := range active {
		a := &active[i]
		fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%s\t%s\t%s\n", a.Name, a.Kind, a.Applied, a.Matched,
			a.Since.Local().Format(time.TimeOnly), color.Printable(cmp.Or(a.Origin, "command")),
			color.Printable(fieldsOf(a.Fault)))
	}
	return w.Flush()
}

func (f *faultCommand) remove(c *cobra.Command, client *admin.Client, names []string) error {
	for _, name := range names {
		if err := client.RemoveFault(c.Context(), name); err != nil {
			return f.remote.addRemedy(err)
		}
		if err := f.print(c, map[string]string{"removed": name}, "%s has ended\n", name); err != nil {
			return err
		}
	}
	return nil
}

func (f *faultCommand) clear(c *cobra.Command, client *admin.Client, _ []string) error {
	cleared, err := client.ClearFaults(c.Context())
	if err != nil {
		return f.remote.addRemedy(err)
	}
	return f.print(c, map[string]int{"cleared": cleared}, "%d ended\n", cleared)
}

// The method "names" returns the names of the active faults, for shell completion. It returns no names if the stand-in
// kubelet does not respond within 2 s.
func (f *faultCommand) names(c *cobra.Command) []string {
	var names []string
	_ = f.call(c, nil, func(c *cobra.Command, client *admin.Client, _ []string) error {
		ctx, cancel := context.WithTimeout(c.Context(), 2*time.Second)
		defer cancel()
		active, err := client.Faults(ctx)
		for i := range active {
			names = append(names, active[i].Name+"\t"+active[i].Kind)
		}
		return err
	})
	return names
}

func (f *faultCommand) listKinds(c *cobra.Command, _ []string) error {
	if err := checkOneOf(c, "output", f.output, "text", "json"); err != nil {
		return err
	}
	var text strings.Builder
	for _, kind := range faults.Kinds() {
		fmt.Fprintf(&text, "%s\n    %s\n", kind.Name, kind.Explains)
		if len(kind.Requires) > 0 {
			fmt.Fprintf(&text, "    requires: --%s\n", strings.Join(kind.Requires, " --"))
		}
		fmt.Fprintf(&text, "    accepts: --%s\n", strings.Join(append([]string{"name", "node"}, kind.Allows...), " --"))
	}
	return f.print(c, faults.Kinds(), "%s", text.String())
}

// fieldsOf returns the command-line flags that set the fields of a fault, except its name and kind.
func fieldsOf(fault faults.Fault) string {
	has, zero := pflag.NewFlagSet("", pflag.ContinueOnError), pflag.NewFlagSet("", pflag.ContinueOnError)
	addFields(has, &fault)
	addFields(zero, &faults.Fault{})
	var words []string
	has.VisitAll(func(flag *pflag.Flag) {
		if text := flag.Value.String(); flag.Name != "name" && text != zero.Lookup(flag.Name).Value.String() {
			words = append(words, "--"+flag.Name+"="+shellword.Quote(text))
		}
	})
	return strings.Join(words, " ")
}

// addFields adds a flag for each field of a fault. The default of each flag is the current value in the fault.
func addFields(flags *pflag.FlagSet, fault *faults.Fault) {
	flags.SortFlags = false
	flags.StringVar(&fault.Name, "name", fault.Name, "name of the fault (default: the kind and a number, as in "+
		"status-1)")
	flags.StringVar(&fault.Certificate, "certificate", fault.Certificate,
		"kind of serving certificate, as in server-expired; fauxlet certs --help lists them")
	flags.DurationVar(&fault.Delay.Duration, "delay", fault.Delay.Duration, "delay, as in 2s")
	flags.Int64Var(&fault.Rate, "rate", fault.Rate, "bytes per second")
	flags.Int64Var(&fault.After, "after", fault.After, "bytes that are sent before the cut")
	flags.IntVar(&fault.Status, "status", fault.Status, "status code from 400 to 599")
	flags.StringVar(&fault.Body, "body", fault.Body, "body of the response with --status (default: the status text)")
	flags.StringVar(&fault.Answer, "answer", fault.Answer,
		"wrong answer to a review: deny, or other-user (requires --as)")
	flags.StringVar(&fault.As, "as", fault.As, "user that other-user returns for a token")
	flags.DurationVar(&fault.Skew.Duration, "skew", fault.Skew.Duration,
		"offset of the node's clock, as in 1h (ahead) or -1h (behind)")
	flags.Var(quantity{&fault.Memory}, "memory", "working set of each container, as in 900Mi")
	own := pflag.NewFlagSet("", pflag.ContinueOnError)
	own.SortFlags = false
	own.StringVar(&fault.Node, "node", fault.Node, "only on this node. Patterns with *, ? and [a-z] are allowed here "+
		"and below, except in --method and --review")
	own.StringVar(&fault.Route, "route", fault.Route, "only requests for this path. * does not match a slash; /** at "+
		"the end matches everything below")
	own.StringVar(&fault.Method, "method", fault.Method, "only requests with this method")
	own.StringVar(&fault.User, "user", fault.User, "only requests of this user")
	own.StringVar(&fault.Group, "group", fault.Group, "only requests of users in this group")
	own.StringVar(&fault.Namespace, "namespace", fault.Namespace, "only requests about this namespace")
	own.StringVar(&fault.Pod, "pod", fault.Pod, "only requests about this pod")
	own.StringVar(&fault.Container, "container", fault.Container, "only requests about this container")
	own.StringVar(&fault.Review, "review", fault.Review, "only TokenReview, or only SubjectAccessReview")
	own.Int64Var(&fault.Count, "count", fault.Count, "number of times that the fault applies (default: no limit)")
	own.Float64Var(&fault.Share, "share", fault.Share, "share of the matches to which the fault applies, as in 0.1 "+
		"(default: all)")
	own.Int64Var(&fault.Seed, "seed", fault.Seed, "seed of the random choice for --share")
	helptext.UnderHeading(own, "Scope")
	flags.AddFlagSet(own)
}

type quantity struct{ *resource.Quantity }

func (q quantity) Set(text string) (err error) {
	*q.Quantity, err = resource.ParseQuantity(text)
	return err
}

func (q quantity) Type() string { return "quantity" }

func (f *faultCommand) newAdd() *cobra.Command {
	var file string
	var fault faults.Fault
	c := &cobra.Command{
		Use: "add KIND | -f FILE",
		Args: func(c *cobra.Command, args []string) error {
			switch {
			case len(args) > 1:
				return usagef(c, "unexpected argument %q", args[1])
			case len(args) == 0 && file == "":
				return usagef(c, "KIND is required, or a file with -f; fauxlet fault kinds lists the kinds")
			case len(args) == 1 && file != "":
				return usagef(c, "%q: with -f, the kind is in the file", args[0])
			}
			return nil
		},
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			var names []string
			if len(args) == 0 {
				for _, kind := range faults.Kinds() {
					names = append(names, kind.Name+"\t"+kind.Explains)
				}
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(c *cobra.Command, args []string) error {
			if file != "" {
				return f.addFile(c, file)
			}
			fault.Kind = args[0]
			if err := fault.Validate(); err != nil {
				if strings.HasPrefix(err.Error(), "kind: ") {
					return usagef(c, "%w", err)
				}
				return usagef(c, "--%w", err)
			}
			return f.call(c, nil, f.addAll(fault))
		},
	}
	addFields(c.Flags(), &fault)
	c.Flags().StringVarP(&file, "filename", "f", "", "file with faults, instead of KIND and the other flags")
	var serving []string
	for _, kind := range testcerts.Kinds() {
		if strings.HasPrefix(kind.Name, "server") {
			serving = append(serving, kind.Name+"\t"+kind.Explains)
		}
	}
	completeFlag(c, "certificate", serving...)
	completeFlag(c, "answer", faults.Deny, faults.OtherUser)
	completeFlag(c, "review", faults.TokenReview, faults.SubjectAccessReview)
	return c
}

// addFile injects the faults that a file lists, in their order in the file.
func (f *faultCommand) addFile(c *cobra.Command, name string) error {
	var other string
	own := c.LocalNonPersistentFlags()
	c.Flags().Visit(func(flag *pflag.Flag) {
		if flag.Name != "filename" && own.Lookup(flag.Name) != nil {
			other = flag.Name
		}
	})
	if other != "" {
		return usagef(c, "--%s: with -f, all fields are in the file", other)
	}
	var data []byte
	var err error
	if name == "-" {
		data, err = io.ReadAll(c.InOrStdin())
	} else {
		data, err = os.ReadFile(name)
	}
	if err != nil {
		return fmt.Errorf("-f: %w", err)
	}
	all, err := faults.ParseAll(data)
	if err != nil {
		return fmt.Errorf("-f: %s: %w", name, err)
	}
	return f.call(c, nil, f.addAll(all...))
}

// addAll returns an action that injects the given faults.
func (f *faultCommand) addAll(all ...faults.Fault) action {
	return func(c *cobra.Command, client *admin.Client, _ []string) error {
		for _, fault := range all {
			active, err := client.AddFault(c.Context(), fault)
			if err != nil {
				return f.remote.addRemedy(err)
			}
			err = f.print(c, active, "%s is active; end it with: fauxlet fault remove %[1]s\n", active.Name)
			if err != nil {
				return err
			}
		}
		return nil
	}
}
