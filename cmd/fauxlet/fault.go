package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/api/resource"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"

	"fauxlet/internal/admin"
	"fauxlet/internal/faults"
	"fauxlet/internal/shellword"
	"fauxlet/testcerts"
)

func newFault() *cobra.Command {
	var f faulting
	c := &cobra.Command{
		Use:   "fault",
		Short: "Have a running stand-in misbehave on purpose, as a kubelet does that is broken",
		Long: text(`
			fault sets, lists and ends the faults of a running fauxlet serve or demo: a certificate that has expired, a
			connection that is cut in the middle, a reviewer that is down. None is active unless it is set, each strikes the
			same in each run, and while one is active the log, /metrics, fauxlet watch and the decisions say so. What is set so ends
			with the process.`),
		Example: example(`
			fauxlet fault kinds
			fauxlet fault add status --status 503 --route '/containerLogs/**' --count 3
			fauxlet fault list
			fauxlet fault clear`),
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	f.remote.addTo(c)
	c.PersistentFlags().StringVarP(&f.output, "output", "o", "text", "text or json")
	completeFlag(c, "output", "text", "json")
	c.AddCommand(f.newList(), f.newAdd(), f.newRemove(), f.newClear(), f.newKinds())
	return c
}

// faulting is the command line of fault.
type faulting struct {
	remote remoteFlags
	output string
}

// ask asks the stand-in, after the flags that all have were looked at.
func (f *faulting) ask(c *cobra.Command, ask func(context.Context, *admin.Client) error) error {
	if err := f.checkOutput(c); err != nil {
		return err
	}
	client, err := f.remote.client(c)
	if err != nil {
		return err
	}
	defer client.Close()
	return ask(c.Context(), client)
}

func (f *faulting) checkOutput(c *cobra.Command) error {
	if f.output != "text" && f.output != "json" {
		return usagef(c, "--output: %q is neither text nor json", f.output)
	}
	return nil
}

// tell writes value as JSON, or has it written as text.
func (f *faulting) tell(c *cobra.Command, value any, words func(io.Writer)) error {
	if f.output == "json" {
		encoder := json.NewEncoder(c.OutOrStdout())
		encoder.SetIndent("", "  ")
		return encoder.Encode(value)
	}
	w := tabwriter.NewWriter(c.OutOrStdout(), 0, 0, 2, ' ', 0)
	words(w)
	return w.Flush()
}

func (f *faulting) newList() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the faults that are active, and how often each has struck",
		Example: example(`
			fauxlet fault list
			fauxlet fault list --output json`),
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return f.ask(c, func(ctx context.Context, client *admin.Client) error {
				active, err := client.Faults(ctx)
				if err != nil {
					return f.remote.explain(err)
				}
				return f.tell(c, active, func(w io.Writer) {
					if len(active) == 0 {
						fmt.Fprintln(w, "no fault is active")
						return
					}
					fmt.Fprintln(w, "NAME\tKIND\tAPPLIED\tOF\tSINCE\tFROM\tWHAT")
					for i := range active {
						a := &active[i]
						from := "here"
						if a.Origin != "" {
							from = visible(a.Origin)
						}
						fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%s\t%s\t%s\n", a.Name, a.Kind, a.Applied, a.Matched, a.Since.Local().Format(time.TimeOnly), from, visible(details(a.Fault)))
					}
				})
			})
		},
	}
}

// details are the fields of a fault beside its name and kind, as flags.
func details(fault faults.Fault) string {
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

// addFields adds a flag for each field of a fault; what the fault has is their default.
func addFields(flags *pflag.FlagSet, fault *faults.Fault) {
	flags.SortFlags = false
	flags.StringVar(&fault.Name, "name", fault.Name, "a handle (default: the kind and a number, as in status-1)")
	flags.StringVar(&fault.Certificate, "certificate", fault.Certificate, "a kind of serving certificate, as in server-expired; fauxlet certs --help lists them")
	flags.DurationVar(&fault.Delay.Duration, "delay", fault.Delay.Duration, "how long something is waited with, as in 2s")
	flags.Int64Var(&fault.Rate, "rate", fault.Rate, "bytes a second")
	flags.Int64Var(&fault.After, "after", fault.After, "how many bytes go out before the cut")
	flags.IntVar(&fault.Status, "status", fault.Status, "a status code from 400 to 599")
	flags.StringVar(&fault.Body, "body", fault.Body, "what is sent with --status (default: the code in words)")
	flags.StringVar(&fault.Answer, "answer", fault.Answer, "what a reviewer says that is wrong: deny, or other-user with --as")
	flags.StringVar(&fault.As, "as", fault.As, "the user for whom a token is taken")
	flags.DurationVar(&fault.Skew.Duration, "skew", fault.Skew.Duration, "how far the node's clock is ahead, as in 1h; behind, as in -1h")
	flags.Var(quantity{&fault.Memory}, "memory", "the working set of each container, as in 900Mi")

	flags.StringVar(&fault.Node, "node", fault.Node, "only on this node; as all that follow but --method and --review it may have *, ? and [a-z]")
	flags.StringVar(&fault.Route, "route", fault.Route, "only requests for this path, in which * ends at a slash; with /** at its end, for all below")
	flags.StringVar(&fault.Method, "method", fault.Method, "only requests of this method")
	flags.StringVar(&fault.User, "user", fault.User, "only requests of this user")
	flags.StringVar(&fault.Group, "group", fault.Group, "only requests of the users of this group")
	flags.StringVar(&fault.Namespace, "namespace", fault.Namespace, "only what is about this namespace")
	flags.StringVar(&fault.Pod, "pod", fault.Pod, "only what is about this pod")
	flags.StringVar(&fault.Container, "container", fault.Container, "only what is about this container")
	flags.StringVar(&fault.Review, "review", fault.Review, "only TokenReview, or only SubjectAccessReview")
	flags.Int64Var(&fault.Count, "count", fault.Count, "how many times it strikes (default: always)")
	flags.Float64Var(&fault.Share, "share", fault.Share, "the part of what it matches that it strikes, as in 0.1 (default: all)")
	flags.Int64Var(&fault.Seed, "seed", fault.Seed, "which ones --share are")
}

// quantity is a resource.Quantity as a flag.
type quantity struct{ *resource.Quantity }

func (q quantity) Set(text string) (err error) {
	*q.Quantity, err = resource.ParseQuantity(text)
	return err
}

func (q quantity) Type() string { return "quantity" }

func (f *faulting) newAdd() *cobra.Command {
	var file string
	var fault faults.Fault
	c := &cobra.Command{
		Use:   "add KIND | -f FILE",
		Short: "Make a fault active",
		Long: text(`
			add makes a fault of a KIND active, and prints its name. Which flags a kind needs and takes, fauxlet fault kinds
			tells. FILE has the same fields in YAML or JSON, with the kind as kind; a document for each fault, of which all
			are checked before the first is added. - is standard input.`),
		Example: example(`
			# The next three requests for logs fail.
			fauxlet fault add status --status 503 --route '/containerLogs/**' --count 3

			# One in ten streams to a user breaks off after a megabyte.
			fauxlet fault add cut --after 1000000 --user kubelet-client --share 0.1

			# The certificate that the node serves with has expired.
			fauxlet fault add serving-certificate --certificate server-expired

			fauxlet fault add -f fault.yaml`),
		Args: func(c *cobra.Command, args []string) error {
			switch {
			case len(args) > 1:
				return usagef(c, "unexpected argument %q", args[1])
			case len(args) == 0 && file == "":
				return usagef(c, "which KIND of fault? fauxlet fault kinds lists them; or give a file with -f")
			case len(args) == 1 && file != "":
				return usagef(c, "%q: with -f, the file says which kind", args[0])
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
			return f.add(c, fault)
		},
	}
	addFields(c.Flags(), &fault)
	c.Flags().StringVarP(&file, "filename", "f", "", "file of faults, in the place of KIND and the other flags")
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

// addFile adds those of a file, in their order.
func (f *faulting) addFile(c *cobra.Command, name string) error {
	var other string
	own := c.LocalNonPersistentFlags()
	c.Flags().Visit(func(flag *pflag.Flag) {
		if flag.Name != "filename" && own.Lookup(flag.Name) != nil {
			other = flag.Name
		}
	})
	if other != "" {
		return usagef(c, "--%s: with -f, the file says what the fault is", other)
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
	all, err := readFaults(data)
	if err != nil {
		return fmt.Errorf("-f: %s: %w", name, err)
	}
	return f.add(c, all...)
}

// readFaults reads documents of YAML or JSON, a fault each.
func readFaults(data []byte) ([]faults.Fault, error) {
	var all []faults.Fault
	documents := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(data)))
	for {
		document, err := documents.Read()
		if errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, err
		}
		asJSON, err := yaml.YAMLToJSONStrict(document)
		if err != nil {
			return nil, err
		}
		if string(asJSON) == "null" {
			continue
		}
		fault, err := faults.Parse(asJSON)
		if err != nil {
			return nil, fmt.Errorf("fault %d: %w", len(all)+1, err)
		}
		all = append(all, fault)
	}
	if len(all) == 0 {
		return nil, errors.New("there is no fault in it")
	}
	return all, nil
}

func (f *faulting) add(c *cobra.Command, all ...faults.Fault) error {
	return f.ask(c, func(ctx context.Context, client *admin.Client) error {
		for _, fault := range all {
			active, err := client.AddFault(ctx, fault)
			if err != nil {
				return f.remote.explain(err)
			}
			if err := f.tell(c, active, func(w io.Writer) {
				fmt.Fprintf(w, "%s is active; fauxlet fault remove %[1]s ends it\n", active.Name)
			}); err != nil {
				return err
			}
		}
		return nil
	})
}

func (f *faulting) newRemove() *cobra.Command {
	return &cobra.Command{
		Use:   "remove NAME...",
		Short: "End faults by their names",
		Example: example(`
			fauxlet fault remove status-1`),
		Args: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usagef(c, "the NAME of which fault? fauxlet fault list lists them, and fauxlet fault clear ends them all")
			}
			return nil
		},
		ValidArgsFunction: func(c *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
			return f.names(c), cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(c *cobra.Command, args []string) error {
			return f.ask(c, func(ctx context.Context, client *admin.Client) error {
				for _, name := range args {
					if err := client.RemoveFault(ctx, name); err != nil {
						return f.remote.explain(err)
					}
					if err := f.tell(c, map[string]string{"removed": name}, func(w io.Writer) { fmt.Fprintf(w, "%s has ended\n", name) }); err != nil {
						return err
					}
				}
				return nil
			})
		},
	}
}

// completionTimeout is how long a shell waits for the names of faults.
const completionTimeout = 2 * time.Second

// names are those of the active faults, for a shell to complete; none where they cannot be had.
func (f *faulting) names(c *cobra.Command) []string {
	var names []string
	_ = f.ask(c, func(ctx context.Context, client *admin.Client) error {
		ctx, cancel := context.WithTimeout(ctx, completionTimeout)
		defer cancel()
		active, err := client.Faults(ctx)
		for i := range active {
			names = append(names, active[i].Name+"\t"+active[i].Kind)
		}
		return err
	})
	return names
}

func (f *faulting) newClear() *cobra.Command {
	return &cobra.Command{
		Use:   "clear",
		Short: "End all faults",
		Example: example(`
			fauxlet fault clear`),
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return f.ask(c, func(ctx context.Context, client *admin.Client) error {
				cleared, err := client.ClearFaults(ctx)
				if err != nil {
					return f.remote.explain(err)
				}
				return f.tell(c, map[string]int{"cleared": cleared}, func(w io.Writer) { fmt.Fprintf(w, "%d ended\n", cleared) })
			})
		},
	}
}

func (f *faulting) newKinds() *cobra.Command {
	return &cobra.Command{
		Use:   "kinds",
		Short: "List what can go wrong, and the flags that each kind needs and takes",
		Example: example(`
			fauxlet fault kinds`),
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := f.checkOutput(c); err != nil {
				return err
			}
			var kinds []admin.FaultKind
			for _, kind := range faults.Kinds() {
				kinds = append(kinds, admin.FaultKind(kind))
			}
			return f.tell(c, kinds, func(w io.Writer) {
				for _, kind := range kinds {
					fmt.Fprintf(w, "%s\n    %s\n", kind.Name, kind.Explains)
					for _, fields := range []struct {
						say   string
						names []string
					}{{"needs", kind.Requires}, {"takes", append([]string{"name", "node"}, kind.Allows...)}} {
						if len(fields.names) > 0 {
							fmt.Fprintf(w, "    %s: --%s\n", fields.say, strings.Join(fields.names, " --"))
						}
					}
				}
			})
		},
	}
}
