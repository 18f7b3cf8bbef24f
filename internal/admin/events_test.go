package admin_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"fauxlet/authchain"
	"fauxlet/internal/admin"
	"fauxlet/internal/decisions"
)

// errEnough is returned by event handlers of these tests to end the event stream.
var errEnough = errors.New("enough")

// The function "read" reads an event stream until it has received the given number of decisions. It returns one text
// for each event: "start 2", "dropped 4", or the ID of a decision.
func read(t *testing.T, s *admin.Server, last string, filter decisions.Filter, count int, begun func()) (words []string,
	lastID string) {
	t.Helper()
	c := admin.NewClient(s.Addr(), "")
	defer c.Close()
	err := c.Events(t.Context(), last, filter, func(e admin.Event) error {
		switch e.Name {
		case admin.EventStart:
			var started admin.StartEvent
			if err := json.Unmarshal(e.Data, &started); err != nil || started.Instance == "" {
				t.Errorf("invalid data of an event: error %v, data %s", err, e.Data)
			}
			words = append(words, fmt.Sprint("start ", started.After))
			if begun != nil {
				begun()
			}
		case admin.EventDropped:
			var dropped admin.DroppedEvent
			if err := json.Unmarshal(e.Data, &dropped); err != nil {
				t.Error(err)
			}
			words = append(words, fmt.Sprint("dropped ", dropped.Count))
		case admin.EventDecision:
			var got decisions.Record
			if err := json.Unmarshal(e.Data, &got); err != nil {
				t.Error(err)
			}
			words = append(words, strconv.FormatUint(got.ID, 10))
			lastID = e.ID
			count--
		}
		if count == 0 {
			return errEnough
		}
		return nil
	})
	if !errors.Is(err, errEnough) {
		t.Errorf("the events ended: %v", err)
	}
	return words, lastID
}

// TestEventsBeginWhereRequested checks that a stream begins with the next Decision, after a given ID or time, or
// where an earlier stream ended.
func TestEventsBeginWhereRequested(t *testing.T) {
	r := recorded()
	s, _ := serve(t, admin.Options{Recorder: r})
	record := func() { r.For("node-3")(decision("/metrics")) } // the IDs of these Decisions are 7, 8 …
	words, last := read(t, s, "", decisions.Filter{}, 1, record)
	if !slices.Equal(words, []string{"start 6", "7"}) {
		t.Errorf("a stream of new Decisions: %q", words)
	}
	record()
	record()
	if words, _ = read(t, s, last, decisions.Filter{}, 2, nil); !slices.Equal(words, []string{"start 7", "8", "9"}) {
		t.Errorf("a stream that resumes after the last event: %q", words)
	}
	if words, _ = read(t, s, "", decisions.Filter{After: 7}, 2, nil); !slices.Equal(words,
		[]string{"start 7", "8", "9"}) {
		t.Errorf("a stream since ID 7: %q", words)
	}
	if words, _ = read(t, s, "", decisions.Filter{Since: time.Date(2026, 1, 2, 12, 4, 30, 0, time.UTC)}, 5,
		nil); !slices.Equal(words, []string{"start 0", "5", "6", "7", "8", "9"}) {
		t.Errorf("a stream since a time: %q", words)
	}
	if words, _ = read(t, s, "other-5", decisions.Filter{Path: "/metrics"}, 3, nil); !slices.Equal(words,
		[]string{"start 0", "7", "8", "9"}) {
		t.Errorf("a stream that resumes with an event ID of an earlier process, with a filter: %q", words)
	}
	for _, bad := range []string{"7", "-", "x-y"} {
		c := admin.NewClient(s.Addr(), "")
		defer c.Close()
		var denied *admin.StatusError
		if err := c.Events(t.Context(), bad, decisions.Filter{}, nil); !errors.As(err, &denied) ||
			denied.Status != http.StatusBadRequest {
			t.Errorf("resuming with the invalid event ID %q: %v", bad, err)
		}
	}
}

func TestEventsCountDroppedDecisions(t *testing.T) {
	r := decisions.NewRecorder(3)
	s, base := serve(t, admin.Options{Recorder: r})
	for i := range 10 {
		r.For("node-1")(decision(fmt.Sprint("/", i)))
	}
	words, _ := read(t, s, "", decisions.Filter{After: 2}, 3, nil)
	if !slices.Equal(words, []string{"start 2", "dropped 5", "8", "9", "10"}) {
		t.Errorf("the stream has the events %q", words)
	}
	for _, filter := range []decisions.Filter{{Since: time.Unix(0, 0)}, {Since: time.Unix(0, 0), Path: "/"}} {
		if words, _ := read(t, s, "", filter, 3, nil); !slices.Equal(words, []string{"start 7", "8", "9", "10"}) {
			t.Errorf("a stream of all kept Decisions: %q", words)
		}
	}
	if words, _ := read(t, s, "other-9", decisions.Filter{}, 3, nil); !slices.Equal(words,
		[]string{"start 7", "8", "9", "10"}) {
		t.Errorf("a stream that resumes with an event ID of another process: %q", words)
	}
	var got admin.Decisions
	if _, body := ask(t, "GET", base+"/api/decisions", ""); json.Unmarshal([]byte(body), &got) != nil ||
		got.Missed != 5 {
		t.Errorf("Missed is %d", got.Missed)
	}
}

// TestSlowReaderIsDisconnected checks that a client that does not read its event stream is disconnected and does not
// delay recording.
func TestSlowReaderIsDisconnected(t *testing.T) {
	r := decisions.NewRecorder(100)
	s, err := admin.Listen("127.0.0.1:0", admin.Options{Recorder: r})
	if err != nil {
		t.Fatal(err)
	}
	s.SetLimits(time.Minute, time.Minute, 50*time.Millisecond)
	start(t, s)
	conn := dial(t, s)
	if err := conn.(*net.TCPConn).SetReadBuffer(1); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, "GET /api/events HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the stream is open", func() bool { return s.Following() == 1 })
	long := decision("/" + strings.Repeat("x", 16<<10))
	eventually(t, "the stream is closed", func() bool {
		r.For("node-1")(long)
		return s.Following() == 0
	})
}

func TestEventsAreKeptAlive(t *testing.T) {
	s, err := admin.Listen("127.0.0.1:0", admin.Options{Recorder: decisions.NewRecorder(0)})
	if err != nil {
		t.Fatal(err)
	}
	s.SetLimits(time.Minute, 10*time.Millisecond, time.Minute)
	start(t, s)
	conn := dial(t, s)
	if _, err := io.WriteString(conn, "GET /api/events HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(conn)
	for alive := 0; alive < 3; {
		if !lines.Scan() {
			t.Fatal(lines.Err())
		}
		if lines.Text() == ": keep-alive" {
			alive++
		}
	}
}

func TestEventsEndWithServer(t *testing.T) {
	r := decisions.NewRecorder(0)
	s, err := admin.Listen("127.0.0.1:0", admin.Options{Recorder: r})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx) }()
	c := admin.NewClient(s.Addr(), "")
	defer c.Close()
	err = c.Events(t.Context(), "", decisions.Filter{}, func(admin.Event) error {
		stop()
		return nil
	})
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("the events ended: %v", err)
	}
	if err := <-served; err != nil {
		t.Errorf("Serve: %v", err)
	}
	if n := s.Following(); n != 0 {
		t.Errorf("%d event streams are open", n)
	}
}

// TestOneClientCannotBlockOthers opens the maximum number of streams, all but one of them from the same address. It
// then opens another stream from this address, and another one from the second address. Each of these two additional
// streams must end the oldest stream of the first address.
func TestOneClientCannotBlockOthers(t *testing.T) {
	s, _ := serve(t, admin.Options{})
	var first []*bufio.Reader // the streams from 127.0.0.1, oldest first
	follow := func(from string) *bufio.Reader {
		t.Helper()
		dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
		conn, err := dialer.Dial("tcp", s.Addr())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		if _, err := io.WriteString(conn, "GET /api/events HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		stream := bufio.NewReader(conn)
		response, err := http.ReadResponse(stream, nil)
		if err != nil {
			t.Fatal(err)
		}
		if response.StatusCode != http.StatusOK {
			t.Fatalf("a stream from %s: %s", from, response.Status)
		}
		return bufio.NewReader(response.Body)
	}
	ended := func(stream *bufio.Reader) {
		t.Helper()
		if _, err := io.Copy(io.Discard, stream); err != nil {
			t.Error(err)
		}
	}
	kept := follow("127.0.0.2")
	for range admin.MaxFollowers - 1 {
		first = append(first, follow("127.0.0.1"))
	}
	follow("127.0.0.1")
	ended(first[0])
	follow("127.0.0.2")
	ended(first[1])
	if n := s.Following(); n != admin.MaxFollowers {
		t.Errorf("%d event streams are open", n)
	}
	if line, err := kept.ReadString('\n'); line != "event: start\n" || err != nil {
		t.Errorf("the only stream of another client: %q, %v", line, err)
	}
}

// TestClientReadsLongEvents checks an event about a request with a path of 1 MiB.
func TestClientReadsLongEvents(t *testing.T) {
	r := decisions.NewRecorder(0)
	s, _ := serve(t, admin.Options{Recorder: r})
	r.For("node-1")(&authchain.Decision{Time: time.Now(), Path: "/" + strings.Repeat("<", 1<<20)})
	words, _ := read(t, s, "", decisions.Filter{Path: "<"}, 1,
		func() { r.For("node-1")(decision("/" + strings.Repeat("<", 1<<20))) })
	if !slices.Equal(words, []string{"start 1", "2"}) {
		t.Errorf("the stream has the events %q", words)
	}
}

// TestClientDetectsOtherServers checks that the client reports a server that is not the admin API, and follows no
// redirect.
func TestClientDetectsOtherServers(t *testing.T) {
	for name, test := range map[string]struct {
		answer string
		want   string
	}{
		"a page": {"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 5\r\n\r\n<html",
			"not a fauxlet admin API"},
		"not found": {"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "not a fauxlet admin API: 404"},
		"a redirect": {"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
			"not a fauxlet admin API: 302"},
		"no HTTP": {"SSH-2.0-OpenSSH\r\n", "malformed HTTP"},
		"nothing": {"", "EOF"},
		"half a reply": {"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 50\r\n\r\n{\"inst",
			"EOF"},
	} {
		t.Run(name, func(t *testing.T) {
			listener := must(net.Listen("tcp", "127.0.0.1:0"))
			defer listener.Close()
			go func() {
				for {
					conn, err := listener.Accept()
					if err != nil {
						return
					}
					_, _ = http.ReadRequest(bufio.NewReader(conn))
					_, _ = io.WriteString(conn, test.answer)
					conn.Close()
				}
			}()
			c := admin.NewClient(listener.Addr().String(), "")
			defer c.Close()
			if _, err := c.Decisions(t.Context(), decisions.Filter{}); err == nil ||
				!strings.Contains(err.Error(), test.want) {
				t.Errorf("decisions: %v, want %s", err, test.want)
			}
			if err := c.Events(t.Context(), "", decisions.Filter{}, nil); err == nil ||
				!strings.Contains(err.Error(), test.want) {
				t.Errorf("events: %v, want %s", err, test.want)
			}
		})
	}
}

// eventually waits until a condition holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !holds(); <-time.After(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the condition did not become true: %s", what)
		}
	}
}
