package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"fauxlet/internal/decisions"
)

// FollowOptions configure [Client.Follow].
type FollowOptions struct {
	Filter decisions.Filter
	// After is the ID of the last event that the caller has read. Instance identifies the server process that sent
	// it.
	After, Instance string
	// Decision is called for each decision. Its error ends Follow.
	Decision func(*decisions.Record) error
	// Note is called with a sentence for the user when the connection is lost, the server was restarted, or
	// decisions were dropped.
	Note func(string)
}

// The first and the longest pause before Follow connects again.
const (
	firstRetry = 100 * time.Millisecond
	maxRetry   = 2 * time.Second
)

// Follow calls Decision for each decision that the server makes, until ctx is done, and connects again when the
// connection is lost. It returns nil when ctx is done, the error that Decision returned, or a [StatusError] if the
// server refuses the request.
func (c *Client) Follow(ctx context.Context, o FollowOptions) error {
	f := &follow{FollowOptions: o}
	pause := firstRetry
	for {
		err := c.Events(ctx, f.After, f.Filter, func(e Event) error {
			pause = firstRetry
			return f.event(e)
		})
		var refused *StatusError
		switch {
		case ctx.Err() != nil:
			return nil
		case f.failed != nil:
			return f.failed
		case errors.As(err, &refused):
			return refused
		case !f.lost:
			f.lost = true
			f.Note(fmt.Sprintf("the stand-in is gone (%v); waiting for it to come back", err))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
		pause = min(2*pause, maxRetry)
	}
}

// follow holds the state of one call of Follow.
type follow struct {
	FollowOptions
	lost   bool  // there is no connection
	failed error // the error that Decision returned
}

func (f *follow) event(e Event) error {
	switch e.Name {
	case EventStart:
		var started StartEvent
		if err := json.Unmarshal(e.Data, &started); err != nil {
			return err
		}
		switch {
		case started.Instance != f.Instance:
			f.Note("the stand-in was started again")
		case f.lost:
			f.Note("the stand-in is back")
		}
		f.Instance, f.lost = started.Instance, false
	case EventDropped:
		var dropped DroppedEvent
		if err := json.Unmarshal(e.Data, &dropped); err != nil {
			return err
		}
		f.Note(fmt.Sprintf("%d decisions were dropped because they came too fast; the stand-in keeps more of "+
			"them with a "+
			"larger --keep-decisions", dropped.Count))
	case EventDecision:
		record := &decisions.Record{}
		if err := json.Unmarshal(e.Data, record); err != nil {
			return err
		}
		f.After = e.ID
		f.failed = f.Decision(record)
		return f.failed
	}
	return nil
}
