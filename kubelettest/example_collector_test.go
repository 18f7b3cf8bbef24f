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

// collector follows the log of a container to its end, and goes on where it was when the connection breaks.
type collector struct {
	client *http.Client
	log    string // its URL
	lines  []string
	last   time.Time // when the last of lines was written
}

func (c *collector) collect(ctx context.Context) error {
	for {
		if ended, err := c.follow(ctx); ended || err != nil {
			return err
		}
	}
}

// follow reads on until the log has ended, or the connection has.
func (c *collector) follow(ctx context.Context) (ended bool, err error) {
	query := url.Values{"follow": {"true"}, "timestamps": {"true"}}
	if !c.last.IsZero() {
		query.Set("sinceTime", c.last.Format(time.RFC3339)) // whole seconds: some lines come again
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
			return false, ctx.Err() // half a line comes again, whole
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
	response, err := k.Client("kubelet-client").Get(k.URL + path) // the faults are used up
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	whole, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	if want := slices.Collect(strings.Lines(string(whole))); !slices.Equal(c.lines, want) {
		t.Errorf("it has %d lines of %d, or not the same", len(c.lines), len(want))
	}
	// It was cut off twice, and asked again from where it was.
	if decisions := k.Decisions(); len(decisions) != 4 {
		t.Errorf("%d requests, want 3 and the test's own", len(decisions))
	}
}
