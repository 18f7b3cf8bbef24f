package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"fauxlet/internal/decisions"
)

// sendAt is the size of the buffer, in bytes, at which buffered events are sent to the client.
const sendAt = 32 << 10

// Names of the events that /api/events sends.
const (
	// EventStart is the first event. Its data is a [StartEvent].
	EventStart = "start"
	// EventDecision is sent for each Decision. Its data is a [decisions.Record]. Only this event has an ID, from which
	// a client can resume.
	EventDecision = "decision"
	// EventDropped is sent after Decisions were lost. Its data is a [DroppedEvent].
	EventDropped = "dropped"
)

// StartEvent is the data of [EventStart]. Instance identifies the server process. The stream contains the Decisions
// whose IDs are greater than After.
type StartEvent struct {
	Instance string `json:"instance"`
	After    uint64 `json:"after"`
}

// DroppedEvent is the data of [EventDropped]: how many Decisions were dropped before this stream could send them.
type DroppedEvent struct {
	Count uint64 `json:"count"`
}

// eventID returns the ID of an event. It contains the instance of the process, so it is unique across processes.
func eventID(instance string, id uint64) string {
	return instance + "-" + strconv.FormatUint(id, 10)
}

// followAfter returns the ID of the Decision after which a stream begins. The header Last-Event-ID resumes an earlier
// stream. If another process sent the earlier stream, the new stream begins with the oldest Decision. Without this
// header, the stream begins after the Decision ID or the time in the query parameter "since". Without both, the stream
// contains only new Decisions.
func (s *Server) followAfter(r *http.Request, filter *decisions.Filter) (uint64, error) {
	oldest := s.recorder.OldestID() - 1
	if last := r.Header.Get("Last-Event-ID"); last != "" {
		instance, number, _ := strings.Cut(last, "-")
		id, err := strconv.ParseUint(number, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("Last-Event-ID: %q is not an event ID; send the ID of the last event, or none", last)
		}
		if instance != s.recorder.Instance() {
			return oldest, nil
		}
		return id, nil
	}
	switch {
	case filter.After > 0:
		return filter.After, nil
	case r.URL.Query().Has("since"):
		return oldest, nil
	}
	return s.recorder.LastID(), nil
}

// getEvents sends Decisions as server-sent events until the client disconnects or openStreams ends the stream.
func (s *Server) getEvents(w http.ResponseWriter, r *http.Request) error {
	filter, err := decisions.ParseFilter(r.URL.Query())
	if err != nil {
		return err
	}
	if filter.Limit != 0 {
		return errors.New("limit: an event stream has no limit; use /api/decisions for the most recent decisions")
	}
	after, err := s.followAfter(r, &filter)
	if err != nil {
		return err
	}
	filter.After = 0
	ctx, ended := s.streams.begin(r)
	defer ended()
	follower := s.recorder.Follow(after)
	defer follower.Close()

	w.Header().Set("Content-Type", "text/event-stream")
	stream := &eventStream{w: w, control: http.NewResponseController(w), patience: s.limits.patience}
	_ = stream.control.SetReadDeadline(time.Time{}) // the request is complete; its deadline must not end the stream
	stream.add(EventStart, "", StartEvent{s.recorder.Instance(), after})
	s.stream(ctx, stream, follower, &filter)
	return nil
}

// The method "stream" sends the Decisions that the follower reads, until ctx is done or a write to the client fails.
func (s *Server) stream(ctx context.Context, out *eventStream, follower *decisions.Follower, filter *decisions.Filter) {
	for {
		if out.send() != nil {
			return // the client has disconnected or is too slow
		}
		waiting, cancel := context.WithTimeout(ctx, s.limits.keepAlive)
		entries, dropped, err := follower.Next(waiting)
		cancel()
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			out.buffer.WriteString(": keep-alive\n\n")
		}
		if dropped > 0 {
			out.add(EventDropped, "", DroppedEvent{dropped})
		}
		record := s.recordFunc(filter.Explanation)
		selected, _ := filter.Select(entries)
		for _, e := range selected {
			out.add(EventDecision, eventID(s.recorder.Instance(), e.ID), record(e))
			if out.buffer.Len() > sendAt && out.send() != nil {
				return
			}
		}
	}
}

// eventStream buffers server-sent events and writes them.
type eventStream struct {
	w        http.ResponseWriter
	control  *http.ResponseController
	patience time.Duration
	buffer   bytes.Buffer
}

func (e *eventStream) add(event, id string, data any) {
	text, err := json.Marshal(data)
	if err != nil {
		return
	}
	fmt.Fprintf(&e.buffer, "event: %s\n", event)
	if id != "" {
		fmt.Fprintf(&e.buffer, "id: %s\n", id)
	}
	fmt.Fprintf(&e.buffer, "data: %s\n\n", text)
}

func (e *eventStream) send() error {
	defer e.buffer.Reset()
	if err := e.control.SetWriteDeadline(time.Now().Add(e.patience)); err != nil {
		return err
	}
	if _, err := e.w.Write(e.buffer.Bytes()); err != nil {
		return err
	}
	return e.control.Flush()
}
