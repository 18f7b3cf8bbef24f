package main

import (
	"errors"
	"fmt"
	"io"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"fauxlet/internal/admin"
	"fauxlet/internal/color"
	"fauxlet/internal/decisions"
)

func newWatch() *cobra.Command {
	var w watchCommand
	c := &cobra.Command{Use: "watch", Args: noArgs, RunE: func(c *cobra.Command, _ []string) error { return w.run(c) }}
	flags := c.Flags()
	flags.BoolVarP(&w.verbose, "verbose", "v", false, "print the explanation of each decision, and the remedies")
	flags.StringVarP(&w.output, "output", "o", "text", "text, or json: one decision on each line, as in /api/decisions")
	flags.BoolVarP(&w.follow, "follow", "f", true, "wait for new decisions; false prints the decisions so far and ends")
	flags.IntVar(&w.tail, "tail", 10, "number of earlier decisions to print first; -1 is all that are kept")
	flags.StringVar(&w.since, "since", "", "only decisions after this id, after this time (2026-01-02T15:04:05Z), "+
		"or within this long before now (5m). With --since, --tail defaults to -1")
	flags.StringVar(&w.filter.Outcome, "outcome", "", "only decisions with this outcome: "+
		strings.Join(decisions.Outcomes, ", ")+" (no authentication was needed)")
	flags.StringVar(&w.filter.User, "user", "", "only decisions about this user")
	flags.StringVar(&w.filter.Node, "node", "", "only decisions of this node")
	flags.StringVar(&w.filter.Path, "path", "",
		"only paths that begin with this value; a value without a leading slash may stand anywhere in the path")
	flags.StringVar(&w.filter.Status, "status", "", "only this status code, as in 403 or 4xx")
	flags.StringVar(&w.rbac, "rbac", "", "instead of decisions, print the smallest ClusterRoles that allow what this "+
		"`user` has requested so far, one for each range of Kubernetes versions, and end")
	flags.StringArrayVar(&w.files, "filename", nil, "with --rbac, compare the user's requests with its rights in this "+
		"`file` of RBAC manifests, or - for the standard input; may be repeated")
	w.remote.addTo(c)
	completeFlag(c, "outcome", decisions.Outcomes...)
	completeFlag(c, "output", "text", "json")
	return c
}

type watchCommand struct {
	remote              remoteFlags
	verbose, follow     bool
	output, since, rbac string
	files               []string // of --filename
	tail                int
	filter              decisions.Filter
}

func (w *watchCommand) run(c *cobra.Command) error {
	if err := w.readFlags(c); err != nil {
		return err
	}
	client, err := w.remote.client(c)
	if err != nil {
		return err
	}
	defer client.Close()
	if c.Flags().Changed("rbac") {
		return w.printRoles(c, client)
	}
	signal.Ignore(syscall.SIGHUP) // kill -HUP $(pidof fauxlet) is meant for fauxlet serve
	ctx := c.Context()
	w.filter.Explanation = w.verbose
	first := w.filter
	if w.tail >= 0 && first.After == 0 { // if After is set, a limit would select the oldest decisions
		first.Limit = max(w.tail, 1)
	}
	kept, err := client.Decisions(ctx, first)
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return w.remote.addRemedy(err)
	}
	records := kept.Decisions
	if w.tail >= 0 {
		records = records[max(0, len(records)-w.tail):]
	}
	for i := range records {
		if err := w.print(c.OutOrStdout(), &records[i]); err != nil {
			return err
		}
	}
	if !w.follow {
		return nil
	}
	// The stream begins after the printed decisions (option After), so the filter must not specify another beginning.
	w.filter.After, w.filter.Since = 0, time.Time{}
	err = client.Follow(ctx, admin.FollowOptions{
		Filter: w.filter, After: kept.Resume(), Instance: kept.Instance,
		Decision: func(d *decisions.Record) error { return w.print(c.OutOrStdout(), d) },
		Note:     func(text string) { fmt.Fprintln(c.ErrOrStderr(), "--", color.Printable(text)) },
	})
	if _, refused := errors.AsType[*admin.StatusError](err); refused {
		return w.remote.addRemedy(err)
	}
	return err
}

// printRoles prints the roles of the user in --rbac.
func (w *watchCommand) printRoles(c *cobra.Command, client *admin.Client) error {
	for _, name := range []string{"verbose", "follow", "tail", "since", "outcome", "user", "node", "path", "status"} {
		if c.Flags().Changed(name) {
			return usagef(c, "--rbac looks at all requests of the user that are kept; remove --%s", name)
		}
	}
	roles, err := client.RBAC(c.Context(), w.rbac)
	switch {
	case w.rbac == "":
		return usagef(c, "--rbac: give the name of a user")
	case err != nil:
		return w.remote.addRemedy(err)
	case len(w.files) == 0:
		return printReport(c, w.output, roles)
	}
	report, warnings, err := roles.Compare(c.InOrStdin(), w.files)
	if err != nil {
		return fmt.Errorf("--filename: %w", err)
	}
	warn(c.ErrOrStderr(), warnings)
	return printReport(c, w.output, report)
}

func (w *watchCommand) print(out io.Writer, d *decisions.Record) error {
	if w.output == "json" {
		return color.WriteJSON(out, d, "")
	}
	style := color.For(out)
	text := d.Line(style)
	if w.verbose {
		text += d.Details(style)
	}
	_, err := io.WriteString(out, text)
	return err
}

// readFlags validates the flags, and copies the value of --since into the filter.
func (w *watchCommand) readFlags(c *cobra.Command) error {
	if err := checkOneOf(c, "output", w.output, "text", "json"); err != nil {
		return err
	}
	if len(w.files) > 0 && !c.Flags().Changed("rbac") {
		return usagef(c, "--filename: compares manifests with the requests of a user; add --rbac USER")
	}
	if w.tail < -1 {
		return usagef(c, "--tail: %d: must be a number of decisions, or -1 for all", w.tail)
	}
	if err := w.filter.Validate(); err != nil {
		return usagef(c, "--%w", err)
	}
	if w.since == "" {
		return nil
	}
	if !c.Flags().Changed("tail") {
		w.tail = -1
	}
	if id, err := strconv.ParseUint(w.since, 10, 64); err == nil {
		w.filter.After = id
	} else if ago, err := time.ParseDuration(w.since); err == nil {
		w.filter.Since = time.Now().Add(-ago)
	} else if w.filter.Since, err = time.Parse(time.RFC3339, w.since); err != nil {
		return usagef(c, "--since: %q is neither an id, nor a time as in 2026-01-02T15:04:05Z, nor a duration as in 5m",
			w.since)
	}
	return nil
}
