package admin

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"fauxlet/internal/decisions"
)

const (
	// maxSilence is how long an event stream may be silent. The Server sends something every keepAlive.
	maxSilence = 3 * keepAlive
	// maxEvent is the maximum length of a line of the event stream, in bytes. A request path may have 1 MiB, and its
	// JSON form is longer.
	maxEvent = 16 << 20
)

// Event is an event of /api/events.
type Event struct {
	// Name is [EventStart], [EventDecision] or [EventDropped]. A newer server may send other names.
	Name string
	// ID is the ID of a Decision's event, from which a later stream can resume.
	ID string
	// Data is JSON.
	Data []byte
}

// Events calls handle for each event that the filter selects. The stream begins after the event whose ID equals last;
// if last is empty, it contains only new events. Events returns when handle returns an error, ctx is done, or the
// connection is lost. The error is never nil.
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
		message := fmt.Sprintf("the server on %s is not a fauxlet admin API: it sends %q", c.address, contentType)
		return &StatusError{response.StatusCode, message}
	}
	silent := time.AfterFunc(maxSilence, func() { cancel(fmt.Errorf("the server sent nothing for %v", maxSilence)) })
	defer silent.Stop()
	lines := bufio.NewScanner(response.Body)
	lines.Buffer(nil, maxEvent)
	var event Event
	for lines.Scan() {
		silent.Reset(maxSilence)
		if lines.Text() != "" {
			event.addLine(lines.Text())
			continue
		}
		if event.Name != "" {
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

// addLine adds a line of the stream, of the form "field: value", to the event.
func (e *Event) addLine(line string) {
	field, value, _ := strings.Cut(line, ":")
	value = strings.TrimPrefix(value, " ")
	switch field {
	case "event":
		e.Name = value
	case "id":
		e.ID = value
	case "data":
		e.Data = append(e.Data, value...)
	}
}
