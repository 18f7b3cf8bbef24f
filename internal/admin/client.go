package admin

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"fauxlet/internal/faults"
)

// Client asks a Server.
type Client struct {
	address string
	token   string
	http    *http.Client
}

const (
	dialTimeout = 5 * time.Second
	// answerTimeout is for the beginning of an answer.
	answerTimeout = 30 * time.Second
	// silence is how long a stream of events is believed in, of which nothing is heard.
	silence = 3 * keepAlive
	// maxEvent is how long a line of it may be, in bytes: a path may be of 1 MiB, and more in JSON.
	maxEvent = 16 << 20
)

// NewClient makes a Client of the Server at an address, host and port, with its token, empty where it wants none. The caller
// should call Close when finished.
func NewClient(address, token string) *Client {
	return &Client{address: address, token: token, http: &http.Client{
		Transport: &http.Transport{
			DialContext:           (&net.Dialer{Timeout: dialTimeout}).DialContext,
			ResponseHeaderTimeout: answerTimeout,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// Close closes connections that nobody uses.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Denied is the error of a request that was answered, and not granted.
type Denied struct {
	Status int
	Text   string
}

func (d *Denied) Error() string { return d.Text }

// Decisions are those that are kept and that a filter means.
func (c *Client) Decisions(ctx context.Context, filter Filter) (*Decisions, error) {
	var decisions Decisions
	return &decisions, c.ask(ctx, http.MethodGet, "/api/decisions?"+filter.Query().Encode(), nil, &decisions)
}

// Faults are those that are active.
func (c *Client) Faults(ctx context.Context) ([]ActiveFault, error) {
	var answer struct {
		Faults []ActiveFault `json:"faults"`
	}
	err := c.ask(ctx, http.MethodGet, "/api/faults", nil, &answer)
	return answer.Faults, err
}

// AddFault makes a fault active.
func (c *Client) AddFault(ctx context.Context, fault faults.Fault) (*ActiveFault, error) {
	var active ActiveFault
	return &active, c.ask(ctx, http.MethodPost, "/api/faults", fault, &active)
}

// RemoveFault ends one, and ClearFaults all, and says how many there were.
func (c *Client) RemoveFault(ctx context.Context, name string) error {
	return c.ask(ctx, http.MethodDelete, "/api/faults/"+url.PathEscape(name), nil, nil)
}

func (c *Client) ClearFaults(ctx context.Context) (int, error) {
	var answer struct {
		Cleared int `json:"cleared"`
	}
	err := c.ask(ctx, http.MethodDelete, "/api/faults", nil, &answer)
	return answer.Cleared, err
}

// ask sends a request, with body as JSON where it is not nil, and reads the answer into what into points to.
func (c *Client) ask(ctx context.Context, method, path string, body, into any) error {
	response, err := c.send(ctx, method, path, body, nil)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if into == nil {
		return nil
	}
	if err := json.NewDecoder(response.Body).Decode(into); err != nil {
		return fmt.Errorf("what answers on %s is no fauxlet: %w", c.address, err)
	}
	return nil
}

// send sends a request, and gives the response to one that was granted.
func (c *Client) send(ctx context.Context, method, path string, body any, header http.Header) (*http.Response, error) {
	var data io.Reader
	if body != nil {
		encoded, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		data = bytes.NewReader(encoded)
	}
	request, err := http.NewRequestWithContext(ctx, method, "http://"+c.address+path, data)
	if err != nil {
		return nil, err
	}
	for name, values := range header {
		request.Header[name] = values
	}
	if method != http.MethodGet {
		request.Header.Set("Content-Type", "application/json")
	}
	if c.token != "" {
		request.Header.Set("Authorization", "Bearer "+c.token)
	}
	response, err := c.http.Do(request)
	if err != nil {
		var wrapped *url.Error
		if errors.As(err, &wrapped) {
			err = wrapped.Err // which does not say the whole query again
		}
		return nil, err
	}
	if response.StatusCode < http.StatusMultipleChoices {
		return response, nil
	}
	defer response.Body.Close()
	var refused struct {
		Error string `json:"error"`
	}
	text, _ := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if json.Unmarshal(text, &refused) != nil || refused.Error == "" {
		refused.Error = fmt.Sprintf("what answers on %s is no fauxlet: %s", c.address, response.Status)
	}
	return nil, &Denied{response.StatusCode, refused.Error}
}

// Event is one of /api/events.
type Event struct {
	// Name is one of [EventStart], [EventDecision] and [EventDropped], or another that is not known yet. ID is that of a
	// decision, to resume after it, and Data what is told of it, as JSON.
	Name, ID string
	Data     []byte
}

// Events calls each with the events that a filter means, those after the one of the id last, or, where that is empty, from
// now on. It returns the error of each or of ctx, or else why the stream has ended, which it does not by itself.
func (c *Client) Events(ctx context.Context, last string, filter Filter, each func(Event) error) error {
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
	if kind := response.Header.Get("Content-Type"); kind != "text/event-stream" {
		return &Denied{response.StatusCode, fmt.Sprintf("what answers on %s is no fauxlet: it sends %q", c.address, kind)}
	}
	silent := time.AfterFunc(silence, func() { cancel(fmt.Errorf("nothing was heard for %v", silence)) })
	defer silent.Stop()
	lines := bufio.NewScanner(response.Body)
	lines.Buffer(nil, maxEvent)
	var event Event
	for lines.Scan() {
		silent.Reset(silence)
		line := lines.Text()
		if line == "" {
			if event.Name != "" {
				if err := each(event); err != nil {
					return err
				}
			}
			event = Event{}
			continue
		}
		field, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch field {
		case "event":
			event.Name = value
		case "id":
			event.ID = value
		case "data":
			event.Data = append(event.Data, value...)
		}
	}
	if err := context.Cause(ctx); err != nil {
		return err
	}
	if err := lines.Err(); err != nil {
		return err
	}
	return io.ErrUnexpectedEOF
}
