package check

import (
	"bufio"
	"context"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"fauxlet/conformance"
)

func newReader(r io.Reader) *bufio.Reader { return bufio.NewReader(r) }

// ours are the checks of these files.
func ours() []Check { return slices.Concat(streamChecks(), hostileChecks(), afterChecks()) }

// ran is a check that was run.
type ran struct {
	conformance.Result
	err error
}

// runAll runs checks, each on its own apiserver, as many at once as a run does: they wait more than they work.
func runAll(t *testing.T, runs []*run, ids []string) []ran {
	all := ours()
	results := make([]ran, len(runs))
	var group errgroup.Group
	group.SetLimit(together)
	for i, r := range runs {
		at := slices.IndexFunc(all, func(c Check) bool { return c.ID == ids[i] })
		if at < 0 {
			t.Fatalf("there is no check %q", ids[i])
		}
		group.Go(func() error {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			results[i].Result, results[i].err = all[at].run(ctx, r)
			return nil
		})
	}
	_ = group.Wait()
	return results
}

func (r ran) check(t *testing.T, verdict conformance.Verdict, why string) {
	t.Helper()
	t.Logf("%s %s\n\t%s", r.Verdict, r.Reason, strings.Join(r.Evidence, "\n\t"))
	if r.err != nil {
		t.Fatal(r.err)
	}
	if r.Verdict != verdict || !strings.Contains(r.Reason, why) || (r.Verdict == conformance.Fail) != (r.Remedy != "") {
		t.Errorf("%s: %q, remedy %q, want %s: %q", r.Verdict, r.Reason, r.Remedy, verdict, why)
	}
}

// TestRightApiserver: one that is made as a kube-apiserver is passes them all.
func TestRightApiserver(t *testing.T) {
	all := ids(ours())
	runs := make([]*run, len(all))
	for i := range all {
		runs[i] = startAPIServer(t, "")
	}
	for i, result := range runAll(t, runs, all) {
		t.Run(all[i], func(t *testing.T) {
			if all[i] == "hostile.proxy-redirects" {
				result.check(t, conformance.Skipped, "nodes/proxy does not go to 127.0.0.1")
				return
			}
			result.check(t, conformance.Pass, "")
		})
	}
}

// waits is how long an apiserver is waited for that is wrong in that it keeps waiting.
const waits = 2 * time.Second

// TestWrongApiservers: each check fails on an apiserver that is wrong about what it checks, and says so.
func TestWrongApiservers(t *testing.T) {
	tests := []struct {
		wrong, check, why string
		soon              time.Duration
	}{
		{"follows redirects", "hostile.redirects", "times, and not once: logs, answered by a kubelet with 301 to itself", 0},
		{"follows redirects to others", "hostile.redirects", "kube-apiserver has followed, and has shown there that it is CN=kubelet-client: logs, answered by a kubelet with 301 to another kubelet", 0},
		{"follows redirects of upgrades", "hostile.redirects", "exec by SPDY, answered by a kubelet with 301", 0},
		{"passes redirects of upgrades on", "hostile.redirects", "kube-apiserver passed the redirect on, by which its user's client takes its credential elsewhere: exec by SPDY", 0},
		{"goes on after a refused upgrade", "hostile.refused-upgrades", "a user's own request went to the kubelet with kube-apiserver's credential (CVE-2018-1002105): exec by SPDY", 0},
		{"goes on after a refused upgrade", "hostile.not-switching", "a user's own request went to the kubelet", 0},
		{"takes any protocol", "hostile.other-protocol", "kube-apiserver took an answer of 101 for another protocol as its own", 0},
		{"reads headers without an end", "hostile.headers", "kube-apiserver does not stop reading: logs, and the kubelet sends headers without an end", waits},
		{"hangs where an answer breaks off", "hostile.broken", "the user's request does not end: logs, and the kubelet sends a chunk with a size that is no number", waits},
		{"passes errors on as they are", "hostile.errors", "the user gets 256 KiB of it, and perhaps more", 0},
		{"reads a log as fast as it can", "hostile.endless-log", "kube-apiserver goes on reading a log that its user does not read", 0},
		{"does not see its user go", "hostile.endless-log", "the connection to the kubelet is still open 2s after the user has gone", waits},
		{"does not see its user go", "after.open", "streams of clients that have gone are still open", waits},
		{"does not see its user go", "hostile.slow", "the connection to the kubelet stays open after the user has gone: logs", waits},
		{"does one thing at a time", "hostile.slow", "kube-apiserver does not answer others", waits},
		{"passes pages on", "hostile.page", `a log is passed on as "text/html"`, 0},
		{"goes anywhere by nodes/proxy", "hostile.proxy-address", "nodes/proxy goes to a Node that says its address is 127.0.0.1", 0},
		{"keeps connections and does not use them", "after.reuse", "10 requests for logs, one after the other, leave 10 connections open", 0},
		{"reads a log before it passes it on", "streams.latency", "a followed log has not begun within 2s", waits},
		{"keeps lines back", "streams.latency", "a line of a followed log did not come within 2s", waits},
		{"ends a log early", "streams.large-log", "of 67108864 bytes of a log 1048576 came, without an error", 0},
		{"mixes up a log", "streams.large-log", "what came of a large log is not what was sent", 0},
		{"takes its own for a status", "streams.words", "a kubelet's 400 for logs becomes 500", 0},
		{"hangs where an answer breaks off", "streams.cut", "and the user's request does not end within", waits},
		{"speaks no SPDY", "streams.exec-spdy", "exec by SPDY did not work", 0},
		{"speaks no SPDY", "streams.port-forward-spdy", "port-forward by SPDY did not work", 0},
		{"speaks no WebSocket", "streams.exec-websocket", "exec by WebSocket did not work", 0},
		{"speaks no WebSocket", "streams.exec-websocket-to-kubelet", "exec by WebSocket did not work", 0},
		{"speaks no WebSocket", "streams.port-forward-websocket", "port-forward by WebSocket did not work", 0},
		{"speaks no WebSocket", "streams.port-forward-websocket-to-kubelet", "port-forward by WebSocket did not work", 0},
		{"speaks no WebSocket", "streams.attach", "attach by WebSocket did not work", 0},
	}
	runs, ids := make([]*run, len(tests)), make([]string, len(tests))
	for i, test := range tests {
		runs[i], ids[i] = startAPIServer(t, test.wrong), test.check
		runs[i].soon = 20 * time.Second // so that nothing depends on how busy this machine is
		if test.soon > 0 {
			runs[i].soon = test.soon
		}
	}
	for i, result := range runAll(t, runs, ids) {
		t.Run(tests[i].wrong+"/"+tests[i].check, func(t *testing.T) { result.check(t, conformance.Fail, tests[i].why) })
	}
}
