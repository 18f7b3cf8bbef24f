package kubelettest_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"fauxlet/kubelettest"
	"fauxlet/scenario"
)

// collector is the program under test. It follows the log of a container to its end. When the connection breaks, it
// connects again and continues after the last line that it has received.
type collector struct {
	client *http.Client
	log    string // log is the URL of the container's log
	lines  []string
	last   time.Time // the timestamp of the last line that was received
}

func (c *collector) collect(ctx context.Context) error {
	for {
		if ended, err := c.follow(ctx); ended || err != nil {
			return err
		}
	}
}

// follow reads the log until it ends or the connection breaks. The result "ended" is true if the log has ended.
func (c *collector) follow(ctx context.Context) (ended bool, err error) {
	query := url.Values{"follow": {"true"}, "timestamps": {"true"}}
	if !c.last.IsZero() {
		query.Set("sinceTime", c.last.Format(time.RFC3339)) // sinceTime has whole seconds, so some lines are sent again
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, c.log+"?"+query.Encode(), nil)
	if err != nil {
		return false, err
	}
	response, err := c.client.Do(request)
	if err != nil {
		return false, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return false, fmt.Errorf("%s: %s", c.log, response.Status)
	}
	for body := bufio.NewReader(response.Body); ; {
		line, err := body.ReadString('\n')
		if err == io.EOF {
			return true, nil
		} else if err != nil {
			return false, ctx.Err() // drop an incomplete line, because the next request reads all of it
		}
		written, text, _ := strings.Cut(line, " ")
		when, err := time.Parse(time.RFC3339Nano, written)
		if err != nil {
			return false, err
		}
		if when.After(c.last) {
			c.lines, c.last = append(c.lines, text), when
		}
	}
}

func TestCollector(t *testing.T) {
	t.Parallel()
	k := kubelettest.New(t, kubelettest.WithPods(kubelettest.Pod("shop", "web", map[string]scenario.Container{
		"app": {State: "Completed", Log: scenario.Log{Lines: 2000}},
	})))
	const path = "/containerLogs/shop/web/app"
	k.Inject(kubelettest.Fault{Kind: "cut", After: 60_000, Scope: kubelettest.Scope{Route: path, Count: 2}})
	c := &collector{client: k.Client("kubelet-client"), log: k.URL + path}

	if err := c.collect(t.Context()); err != nil {
		t.Fatal(err)
	}
	response, err := k.Client("kubelet-client").Get(k.URL + path) // the fault has been applied twice and has ended
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	whole, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	if want := slices.Collect(strings.Lines(string(whole))); !slices.Equal(c.lines, want) {
		t.Errorf("the collector's %d lines are not the %d lines of the log", len(c.lines), len(want))
	}
	// The connection of the collector was cut twice, so the collector sent three requests.
	if decisions := k.Decisions(); len(decisions) != 4 {
		t.Errorf("%d requests, want 3 by the collector and 1 by the test", len(decisions))
	}
}
