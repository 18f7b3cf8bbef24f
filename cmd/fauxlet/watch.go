package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"fauxlet/internal/admin"
	"fauxlet/internal/color"
	"fauxlet/internal/decisions"
)

func newWatch() *cobra.Command {
	var w watching
	c := &cobra.Command{
		Use:   "watch",
		Short: "Follow what a running stand-in decides, and why",
		Long: text(`
			watch prints a line for each request to a running fauxlet serve or demo when it is answered, for each TLS
			handshake that failed, and for each connection on which no request came: first the last ones that there were, then
			those that come, until Ctrl-C. When the stand-in stops, watch waits for it to come back. With --verbose it prints
			the whole road of each: TLS, client certificate, token, anonymous, identity, attributes, reviews, answer.

			Requests that take long, as logs that are followed do, are told of when they are over. There is colour on a
			terminal, unless NO_COLOR is set.`),
		Example: example(`
			fauxlet watch

			# Who is refused, and at which step.
			fauxlet watch --outcome refused --verbose

			# The last 5 of one user, as JSON, and no more.
			fauxlet watch --user kubelet-client --tail 5 --follow=false --output json`),
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error { return w.run(c) },
	}
	w.remote.addTo(c)
	flags := c.Flags()
	flags.BoolVarP(&w.verbose, "verbose", "v", false, "print the whole road of each decision, and what to change")
	flags.StringVarP(&w.output, "output", "o", "text", "text, or json: a decision on each line, as /api/decisions has it")
	flags.BoolVarP(&w.follow, "follow", "f", true, "wait for more; false prints what there is, and ends")
	flags.IntVar(&w.tail, "tail", 10, "how many of those that there were to begin with; -1 is all that are kept")
	flags.StringVar(&w.since, "since", "", "begin with those after this: an id, a time as in 2026-01-02T15:04:05Z, or a duration as in 5m; then --tail is -1, unless it is given")
	flags.StringVar(&w.filter.Outcome, "outcome", "", "only those that end so: "+strings.Join(decisions.Outcomes, ", ")+" (which nobody had to judge)")
	flags.StringVar(&w.filter.User, "user", "", "only those of this user")
	flags.StringVar(&w.filter.Node, "node", "", "only those of this node")
	flags.StringVar(&w.filter.Path, "path", "", "only those of paths that begin so, or, without a slash in front, have this in them")
	flags.StringVar(&w.filter.Status, "status", "", "only those answered so, as in 403 or 4xx")
	completeFlag(c, "outcome", decisions.Outcomes...)
	completeFlag(c, "output", "text", "json")
	return c
}

// watching is the command line of watch.
type watching struct {
	remote          remoteFlags
	verbose, follow bool
	output, since   string
	tail            int
	filter          decisions.Filter
}

func (w *watching) run(c *cobra.Command) error {
	if err := w.readFlags(c); err != nil {
		return err
	}
	client, err := w.remote.client(c)
	if err != nil {
		return err
	}
	defer client.Close()
	ctx := c.Context()
	p := &decisionPrinter{out: c.OutOrStdout(), json: w.output == "json", verbose: w.verbose, style: color.For(c.OutOrStdout())}

	w.filter.Explanation = w.verbose
	first := w.filter
	if w.tail >= 0 && first.After == 0 { // after an id, a limit is to the first ones
		first.Limit = max(w.tail, 1)
	}
	kept, err := client.Decisions(ctx, first)
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return w.remote.explain(err)
	}
	decisions := kept.Decisions
	if w.tail >= 0 {
		decisions = decisions[max(0, len(decisions)-w.tail):]
	}
	for i := range decisions {
		if err := p.print(&decisions[i]); err != nil {
			return err
		}
	}
	if !w.follow {
		return nil
	}
	w.filter.After, w.filter.Since = 0, time.Time{} // what comes is after those
	f := &following{client: client, filter: w.filter, last: kept.Resume(), instance: kept.Instance, printer: p, notes: c.ErrOrStderr()}
	return f.run(ctx, w.remote.explain)
}

// readFlags checks the flags, and makes the filter of them.
func (w *watching) readFlags(c *cobra.Command) error {
	if w.output != "text" && w.output != "json" {
		return usagef(c, "--output: %q is neither text nor json", w.output)
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
		return usagef(c, "--since: %q is neither an id, nor a time as in 2026-01-02T15:04:05Z, nor a duration as in 5m", w.since)
	}
	return nil
}

// following prints what comes, over as many connections as it takes.
type following struct {
	client  *admin.Client
	filter  decisions.Filter
	printer *decisionPrinter
	notes   io.Writer

	last     string // the id of the event that was read last
	instance string // the process that it is of
	lost     bool
}

// How long is waited before a stand-in that is gone is looked for again.
const (
	soon  = 100 * time.Millisecond
	later = 2 * time.Second
)

// run ends, with nil, when ctx does; else where asking again is of no use, or nothing can be printed any more.
func (f *following) run(ctx context.Context, explain func(error) error) error {
	wait := soon
	for {
		err := f.client.Events(ctx, f.last, f.filter, func(e admin.Event) error {
			wait = soon
			return f.event(e)
		})
		var denied *admin.StatusError
		var unprintable *printError
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.As(err, &unprintable):
			return unprintable.error
		case errors.As(err, &denied):
			return explain(err)
		case !f.lost:
			f.lost = true
			f.note("the stand-in is gone (%v); waiting for it to come back", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
		wait = min(2*wait, later)
	}
}

func (f *following) note(format string, args ...any) {
	fmt.Fprintf(f.notes, "-- "+format+"\n", args...)
}

func (f *following) event(e admin.Event) error {
	switch e.Name {
	case admin.EventStart:
		var started admin.StartEvent
		if err := json.Unmarshal(e.Data, &started); err != nil {
			return err
		}
		switch {
		case started.Instance != f.instance:
			f.note("the stand-in was started again")
		case f.lost:
			f.note("the stand-in is back")
		}
		f.instance, f.lost = started.Instance, false
	case admin.EventDropped:
		var dropped admin.DroppedEvent
		if err := json.Unmarshal(e.Data, &dropped); err != nil {
			return err
		}
		f.note("%d decisions came faster than they could be told, and are not shown; a larger --keep-decisions of the stand-in keeps more", dropped.Count)
	case admin.EventDecision:
		var told decisions.Record
		if err := json.Unmarshal(e.Data, &told); err != nil {
			return err
		}
		f.last = e.ID
		if err := f.printer.print(&told); err != nil {
			return &printError{err}
		}
	}
	return nil
}

// printError is that nothing can be printed any more.
type printError struct{ error }
