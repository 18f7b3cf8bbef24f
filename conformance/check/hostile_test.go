package check

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"fauxlet/conformance"
	"fauxlet/internal/freeport"
)

func newReader(r io.Reader) *bufio.Reader { return bufio.NewReader(r) }

// The function "ours" returns the checks that this file tests: the groups "hostile", "streams" and "after".
func ours() []Check { return slices.Concat(streamChecks(), hostileChecks(), afterChecks()) }

// The type "ran" is the result of one check, or the error if the check did not complete.
type ran struct {
	conformance.Result
	err error
}

// runAll runs each check on a separate API server. It runs several checks at once, because they mostly wait.
func runAll(t *testing.T, runs []*run, ids []string) []ran {
	all := ours()
	results := make([]ran, len(runs))
	var group errgroup.Group
	group.SetLimit(parallelism)
	for i, r := range runs {
		at := slices.IndexFunc(all, func(c Check) bool { return c.ID == ids[i] })
		if at < 0 {
			t.Fatalf("unknown check %q", ids[i])
		}
		group.Go(func() error {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
			defer cancel()
			f := &finding{flag: all[at].Flag, remedy: all[at].remedy}
			results[i].err = all[at].run(ctx, r, f)
			if reason := notApplicable(""); errors.As(results[i].err, &reason) {
				results[i] = ran{f.result(reason), nil}
			} else {
				results[i].Result = f.result(nil)
			}
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
		t.Errorf("the verdict is %s with the reason %q and the remedy %q, want %s and a reason with %q",
			r.Verdict, r.Reason, r.Remedy, verdict, why)
	}
}

// TestCorrectAPIServerPasses checks that an API server without a defect passes all checks.
func TestCorrectAPIServerPasses(t *testing.T) {
	t.Parallel()
	all := ids(ours())
	runs := make([]*run, len(all))
	for i := range all {
		runs[i] = startAPIServer(t, "")
		runs[i].soon = 10 * time.Second // long enough that a busy machine does not change a result
	}
	for i, result := range runAll(t, runs, all) {
		t.Run(all[i], func(t *testing.T) {
			if all[i] == "hostile.proxy-redirects" {
				result.check(t, conformance.Skipped, "nodes/proxy does not connect to 127.0.0.1")
				return
			}
			result.check(t, conformance.Pass, "")
		})
	}
}

// The constant "waits" is the value of run.soon in tests of defects that make a check wait until this time limit has
// passed.
const waits = 2 * time.Second

// The constant "noWait" is a short value of run.soon. It is for tests in which a check waits for a connection that
// never comes.
const noWait = 500 * time.Millisecond

// TestDefectsAreFound checks that each check fails, with the expected reason, on an API server with the defect that the
// check looks for.
func TestDefectsAreFound(t *testing.T) {
	t.Parallel()
	tests := []struct {
		wrong, check, why string
		soon              time.Duration
	}{
		{
			"follows redirects",
			"hostile.redirects",
			"requests instead of one: logs, and the kubelet redirects (301) to itself",
			0,
		},
		{
			"follows redirects to others",
			"hostile.redirects",
			"kube-apiserver followed a redirect and presented the certificate of CN=kubelet-client: logs, and the " +
				"kubelet redirects (301) to another kubelet",
			0,
		},
		{"follows redirects of upgrades", "hostile.redirects", "exec by SPDY, and the kubelet redirects (301)", 0},
		{
			"passes redirects of upgrades on",
			"hostile.redirects",
			"kube-apiserver passed on the redirect, and the user's client may follow it with its credential: " +
				"exec by SPDY",
			0,
		},
		{
			"goes on after a refused upgrade",
			"hostile.refused-upgrades",
			"a smuggled request reached the kubelet with kube-apiserver's credential (CVE-2018-1002105): exec by SPDY",
			0,
		},
		{"goes on after a refused upgrade", "hostile.not-switching", "a smuggled request reached the kubelet", 0},
		{
			"connects to no kubelet",
			"hostile.refused-upgrades",
			"kube-apiserver did not connect: exec by SPDY",
			noWait,
		},
		{"connects to no kubelet", "hostile.not-switching", "kube-apiserver did not connect: exec by SPDY", noWait},
		{"connects to no kubelet", "hostile.other-protocol", "kube-apiserver did not connect: exec by SPDY", noWait},
		{"connects to no kubelet", "hostile.broken", "kube-apiserver did not connect: logs", noWait},
		{"takes any protocol", "hostile.other-protocol", "kube-apiserver accepted a 101 for another protocol", 0},
		{
			"reads headers without an end",
			"hostile.headers",
			"kube-apiserver does not stop reading: logs, and the kubelet sends endless headers",
			waits,
		},
		{
			"hangs where an answer breaks off",
			"hostile.broken",
			"the user's request does not end: logs, and the kubelet sends a chunk whose size is not a number",
			waits,
		},
		{"passes errors on as they are", "hostile.errors", "the user gets at least 256 KiB of the message", 0},
		{
			"reads a log as fast as it can",
			"hostile.endless-log",
			"kube-apiserver keeps reading a log although its user does not read it",
			0,
		},
		{
			"does not see its user go",
			"hostile.endless-log",
			"the connection to the kubelet is still open 2s after the user left",
			waits,
		},
		{"does not see its user go", "after.open", "after their clients left", waits},
		{
			"does not see its user go",
			"hostile.slow",
			"the connection to the kubelet stays open after the user left: logs",
			waits,
		},
		{"does one thing at a time", "hostile.slow", "kube-apiserver does not serve other requests", waits},
		{"passes pages on", "hostile.page", `a log has the content type "text/html"`, 0},
		{
			"goes anywhere by nodes/proxy",
			"hostile.proxy-address",
			"nodes/proxy connects to a Node with the address 127.0.0.1",
			0,
		},
		{
			"keeps connections and does not use them",
			"after.reuse",
			"10 sequential requests for logs leave 10 connections open",
			0,
		},
		{"reads a log before it passes it on", "streams.latency", "a followed log did not begin within 2s", waits},
		{"keeps lines back", "streams.latency", "a line of a followed log did not arrive within 10s", 5 * waits},
		{"ends a log early", "streams.large-log", "of 67108864 bytes of a log 1048576 arrived, without an error", 0},
		{"mixes up a log", "streams.large-log", "the received log differs from the log that the kubelet sent", 0},
		{"takes its own for a status", "streams.words", "the user gets 500 for a kubelet's 400 for logs", 0},
		{"hangs where an answer breaks off", "streams.cut", "and the user's request does not end within", waits},
		{"speaks no SPDY", "streams.exec-spdy", "exec with SPDY failed", 0},
		{"speaks no SPDY", "streams.port-forward-spdy", "port-forward with SPDY failed", 0},
		{"speaks no WebSocket", "streams.exec-websocket", "exec with WebSocket failed", 0},
		{"speaks no WebSocket", "streams.exec-websocket-to-kubelet", "exec with WebSocket failed", 0},
		{"speaks no WebSocket", "streams.port-forward-websocket", "port-forward with WebSocket failed", 0},
		{"speaks no WebSocket", "streams.port-forward-websocket-to-kubelet", "port-forward with WebSocket failed", 0},
		{"speaks no WebSocket", "streams.attach", "attach with WebSocket failed", 0},
	}
	runs, ids := make([]*run, len(tests)), make([]string, len(tests))
	for i, test := range tests {
		runs[i], ids[i] = startAPIServer(t, test.wrong), test.check
		runs[i].soon = 20 * time.Second // long enough that a busy machine does not change a result
		if test.soon > 0 {
			runs[i].soon = test.soon
		}
	}
	for i, result := range runAll(t, runs, ids) {
		t.Run(tests[i].wrong+"/"+tests[i].check, func(t *testing.T) { result.check(t, conformance.Fail, tests[i].why) })
	}
}

// TestLostAPIServerIsNoFailure checks that a check does not fail if kube-apiserver refuses connections after the check
// has found a problem.
func TestLostAPIServerIsNoFailure(t *testing.T) {
	for _, test := range []struct {
		name     string
		lose     bool
		verdict  conformance.Verdict
		complete bool
	}{
		{"it answers", false, conformance.Fail, true},
		{"it is gone", true, conformance.Skipped, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			r, f := startAPIServer(t, ""), &finding{}
			closed, err := freeport.Next()
			must(t, err)
			err = unlessLost(func(context.Context, *run, *finding) error {
				if test.lose {
					r.client = kubernetes.NewForConfigOrDie(&rest.Config{Host: fmt.Sprint("127.0.0.1:", closed)})
				}
				return f.fail("no response")
			})(t.Context(), r, f)
			if got := f.result(err); got.Verdict != test.verdict || got.Incomplete == test.complete {
				t.Errorf("%+v, want %v", got, test.verdict)
			}
		})
	}
}
