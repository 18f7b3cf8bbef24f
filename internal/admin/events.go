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
)

const (
	// maxFollowers is how many may follow the events at once.
	maxFollowers = 100
	// sendAt is how many bytes are gathered before they are sent.
	sendAt = 32 << 10
)

// The events of /api/events.
const (
	// EventStart is the first. Its data is a [Started].
	EventStart = "start"
	// EventDecision has a [Told]. It alone has an id, by which one resumes.
	EventDecision = "decision"
	// EventDropped has a [DroppedSome]: so many decisions came in between, and were gone before they were read.
	EventDropped = "dropped"
)

// Started is the data of [EventStart]. Instance is another in each process; decisions after the id After follow.
type Started struct {
	Instance string `json:"instance"`
	After    uint64 `json:"after"`
}

// DroppedSome is the data of [EventDropped].
type DroppedSome struct {
	Count uint64 `json:"count"`
}

// eventID is the id of a decision among those of all processes.
func eventID(instance string, id uint64) string {
	return instance + "-" + strconv.FormatUint(id, 10)
}

// after is the id after which a follower wants to read: what it read last, by Last-Event-ID; all that is kept, where that is
// of another process; else what its query says, or what comes from now on.
func (s *Server) after(r *http.Request, filter *Filter) (uint64, error) {
	if last := r.Header.Get("Last-Event-ID"); last != "" {
		instance, number, _ := strings.Cut(last, "-")
		id, err := strconv.ParseUint(number, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("Last-Event-ID: %q is not the id of an event", last)
		}
		if instance != s.recorder.instance {
			return s.recorder.before(), nil
		}
		return id, nil
	}
	switch {
	case filter.After > 0:
		return filter.After, nil
	case r.URL.Query().Has(paramSince):
		return s.recorder.before(), nil
	}
	return s.recorder.last.Load(), nil
}

// getEvents sends Decisions as they come, as server-sent events.
func (s *Server) getEvents(w http.ResponseWriter, r *http.Request) error {
	filter, err := ParseFilter(r.URL.Query())
	if err != nil {
		return err
	}
	if filter.Limit != 0 {
		return errors.New("limit: events have no end; ask /api/decisions for the last ones")
	}
	after, err := s.after(r, &filter)
	if err != nil {
		return err
	}
	filter.After = 0
	if s.following.Add(1) > maxFollowers {
		s.following.Add(-1)
		return refuse(http.StatusServiceUnavailable, "%d others follow already", maxFollowers)
	}
	defer s.following.Add(-1)
	follower := s.recorder.Follow(after)
	defer follower.Close()

	w.Header().Set("Content-Type", "text/event-stream")
	stream := &eventStream{w: w, control: http.NewResponseController(w), patience: s.limits.patience}
	_ = stream.control.SetReadDeadline(time.Time{}) // that of the request does not hold for what follows
	stream.add(EventStart, "", Started{s.recorder.instance, after})
	for {
		if err := stream.send(); err != nil {
			return nil // the follower has gone, or was too slow
		}
		waiting, cancel := context.WithTimeout(r.Context(), s.limits.keepAlive)
		entries, dropped, err := follower.Next(waiting)
		cancel()
		switch {
		case r.Context().Err() != nil:
			return nil
		case err != nil:
			stream.buffer.WriteString(": still here\n\n")
		}
		if dropped > 0 {
			stream.add(EventDropped, "", DroppedSome{dropped})
		}
		tell := s.teller(filter.Road)
		for _, e := range filter.of(entries) {
			stream.add(EventDecision, eventID(s.recorder.instance, e.ID), tell(e))
			if stream.buffer.Len() > sendAt && stream.send() != nil {
				return nil
			}
		}
	}
}

// eventStream writes server-sent events.
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
