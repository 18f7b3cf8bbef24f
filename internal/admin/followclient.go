package admin

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"fauxlet/internal/decisions"
)

const (
	// maxSilence is how long an event stream may send nothing before the Client closes the connection. The Server sends
	// something every keepAlive.
	maxSilence = 3 * keepAlive
	// maxEvent is the maximum length of a line of the event stream, in bytes. A request path may have 1 MiB, and its
	// JSON form is longer.
	maxEvent = 16 << 20
	// firstRetry and maxRetry are the first and the longest pause before Follow connects again.
	firstRetry = 100 * time.Millisecond
	maxRetry   = 2 * time.Second
)

// Event is an event of /api/events.
type Event struct {
	// Name is [EventStart], [EventDecision] or [EventDropped]. A newer server may send other names.
	Name string
	// ID is the ID of a Decision's event, from which a later stream can resume. It is empty for other events.
	ID string
	// Data is the data of the event, as JSON.
	Data []byte
}

// Events calls the function "handle" for each event that the filter selects, beginning after the event with the ID
// "last". If this ID is empty, only new events are sent. Events returns when "handle" returns an error, ctx is done, or
// the connection is lost. The error is never nil.
func (c *Client) Events(ctx context.Context, last string, filter decisions.Filter, handle func(Event) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	header := http.Header{"Accept": {"text/event-stream"}}
	if last != "" {
		header.Set("Last-Event-ID", last)
	}
	response, err := c.send(ctx, http.MethodGet, "/api/events?"+filter.Query().Encode(), nil, header)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if contentType := response.Header.Get("Content-Type"); contentType != "text/event-stream" {
		message := c.notAdmin(fmt.Sprintf("it sends %q", contentType))
		return &StatusError{response.StatusCode, message}
	}
	silent := time.AfterFunc(maxSilence, func() { cancel(fmt.Errorf("the server sent nothing for %v", maxSilence)) })
	defer silent.Stop()
	lines := bufio.NewScanner(response.Body)
	lines.Buffer(nil, maxEvent)
	var event Event
	for lines.Scan() {
		silent.Reset(maxSilence)
		field, value, _ := strings.Cut(lines.Text(), ":")
		value = strings.TrimPrefix(value, " ")
		switch field {
		case "event":
			event.Name = value
		case "id":
			event.ID = value
		case "data":
			event.Data = append(event.Data, value...)
		}
		if lines.Text() != "" {
			continue
		}
		if event.Name != "" { // an empty line ends the event
			if err := handle(event); err != nil {
				return err
			}
		}
		event = Event{}
	}
	if err := context.Cause(ctx); err != nil {
		return err
	}
	if err := lines.Err(); err != nil {
		return err
	}
	return io.ErrUnexpectedEOF
}

// FollowOptions configure [Client.Follow].
type FollowOptions struct {
	Filter decisions.Filter
	// After is the ID of the last event that the caller has read. Instance identifies the server process that sent it.
	After, Instance string
	// The function "Decision" is called for each decision. If the function returns an error, Follow ends.
	Decision func(*decisions.Record) error
	// Note is called with a sentence for the user when the connection is lost, the server was restarted, or
	// decisions were dropped.
	Note func(string)
}

// Follow receives the decisions that the server makes, and calls the function o.Decision for each of them. It connects
// again when the connection is lost. It returns nil when ctx is done, the error that o.Decision returned, or a
// [StatusError] if the server refuses the request.
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
	lost   bool  // the connection to the server is lost
	failed error // the error that the function "Decision" returned
}

func (f *follow) event(e Event) error {
	var started StartEvent
	var dropped DroppedEvent
	var record decisions.Record
	data := map[string]any{EventStart: &started, EventDropped: &dropped, EventDecision: &record}[e.Name]
	if data == nil {
		return nil // ignore an event that only a newer server sends
	}
	if err := json.Unmarshal(e.Data, data); err != nil {
		return err
	}
	switch e.Name {
	case EventStart:
		switch {
		case started.Instance != f.Instance:
			f.Note("the stand-in was started again")
		case f.lost:
			f.Note("the stand-in is back")
		}
		f.Instance, f.lost = started.Instance, false
	case EventDropped:
		f.Note(fmt.Sprintf("%d decisions were dropped because they came too fast; the stand-in keeps more of them "+
			"with a larger --keep-decisions", dropped.Count))
	case EventDecision:
		f.After = e.ID
		f.failed = f.Decision(&record)
	}
	return f.failed
}
