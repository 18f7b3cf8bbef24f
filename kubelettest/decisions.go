package kubelettest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"fauxlet/authchain"
)

// The constant "patience" is how long Decisions, Await and Close wait for a Decision. They stop earlier if the test's
// deadline is earlier.
const patience = 30 * time.Second

// Decisions returns a Decision for each request and for each failed TLS handshake, in order of arrival. It returns no
// Decision for a connection that ended without a request, because HTTP clients open some connections that they never
// use. The caller must not change the Decisions. Decisions may be called after [Kubelet.Close].
//
// A Decision is complete when the request's handler has returned. This can be a moment after the client has received
// the response, so Decisions waits until all requests that have arrived are complete. If the test has received a
// response, the result therefore includes the Decision about it. If a request does not end within 30 s, Decisions fails
// the test. Close followed logs and streams before you call Decisions, or use [Kubelet.Await] to wait for a single
// Decision.
func (k *Kubelet) Decisions() []*authchain.Decision {
	k.test.Helper()
	ctx, cancel := patient(k.test)
	defer cancel()
	made, underWay := k.decisions.settled(ctx)
	if len(underWay) > 0 {
		k.test.Fatalf("kubelettest: Decisions: these requests have not ended:%s\n"+
			"end them first (close the response's body, cancel its context), or wait for one Decision with Await",
			list(underWay, request))
	}
	return slices.DeleteFunc(made, func(d *authchain.Decision) bool { return d.NoRequest != "" })
}

// Await waits for a Decision for which the function "wanted" returns true, and returns the first such Decision. Earlier
// Decisions are included. Use Await for a request that another goroutine sends, for a failed handshake (the client may
// detect the failure before the kubelet does), and for a connection that ended without a request. If no such Decision
// arrives within 30 s, Await fails the test. Await calls "wanted" once for each Decision. The function "wanted" must
// not call methods of the Kubelet.
func (k *Kubelet) Await(wanted func(*authchain.Decision) bool) *authchain.Decision {
	k.test.Helper()
	ctx, cancel := patient(k.test)
	defer cancel()
	found, others := k.decisions.first(ctx, wanted)
	if found == nil {
		k.test.Fatalf("kubelettest: Await: no such Decision has arrived, only these:%s", list(others, outcome))
	}
	return found
}

// The function "patient" returns a context that ends after the time "patience". It ends earlier if the test's deadline
// is near: one second before it, so that the failure can be reported before the test is killed.
func patient(test reporter) (context.Context, context.CancelFunc) {
	until := time.Now().Add(patience)
	if limited, ok := test.(interface{ Deadline() (time.Time, bool) }); ok {
		if deadline, ok := limited.Deadline(); ok && deadline.Add(-time.Second).Before(until) {
			until = deadline.Add(-time.Second)
		}
	}
	return context.WithDeadline(context.Background(), until)
}

func list(decisions []*authchain.Decision, format func(*authchain.Decision) string) string {
	if len(decisions) == 0 {
		return " none"
	}
	var b strings.Builder
	for _, d := range decisions {
		b.WriteString("\n\t" + format(d))
	}
	return b.String()
}

// The function "request" describes the request of a Decision, which may not be complete yet.
func request(d *authchain.Decision) string { return d.Method + " " + d.Path }

func outcome(d *authchain.Decision) string {
	switch {
	case d.Handshake != "":
		return d.Why()
	case d.NoRequest != "":
		return d.NoRequest
	}
	return fmt.Sprintf("%s: %d %s", request(d), d.Status, d.Why())
}

// decisions collects the Decisions of a Kubelet.
type decisions struct {
	mu sync.Mutex
	// The field "all" has every Decision, in the order in which the requests arrived. The field underWay has the
	// Decisions about requests in progress.
	all      []*authchain.Decision
	underWay map[*authchain.Decision]bool
	// The channel "changed" is closed each time a Decision becomes complete, and is then replaced by a new channel.
	changed chan struct{}
}

func newDecisions() *decisions {
	return &decisions{underWay: map[*authchain.Decision]bool{}, changed: make(chan struct{})}
}

func (d *decisions) begin(began *authchain.Decision) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.underWay[began] = true
	d.all = append(d.all, began)
}

// The method "observe" marks the Decision about a request as complete. If a connection ended without a request, the
// method "begin" was not called for the Decision. In this case observe also adds the Decision to the list.
func (d *decisions) observe(made *authchain.Decision) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.underWay[made] {
		d.all = append(d.all, made)
	}
	delete(d.underWay, made)
	close(d.changed)
	d.changed = make(chan struct{})
}

// The method "settled" waits until all requests that have arrived so far are complete, and returns the Decisions about
// them. If ctx ends first, the result "underWay" has the Decisions whose requests are still in progress.
func (d *decisions) settled(ctx context.Context) (made, underWay []*authchain.Decision) {
	d.mu.Lock()
	defer d.mu.Unlock()
	made = slices.Clone(d.all)
	for {
		underWay = slices.DeleteFunc(slices.Clone(made),
			func(began *authchain.Decision) bool { return !d.underWay[began] })
		if len(underWay) == 0 || !d.change(ctx) {
			return made, underWay
		}
	}
}

// The method "first" returns the first complete Decision for which the function "wanted" returns true, and waits for it
// if necessary. If ctx ends before that, the result "found" is nil. The result "others" has the Decisions for which
// "wanted" has returned false.
func (d *decisions) first(ctx context.Context, wanted func(*authchain.Decision) bool) (found *authchain.Decision,
	others []*authchain.Decision) {
	d.mu.Lock()
	defer d.mu.Unlock()
	seen := map[*authchain.Decision]bool{}
	for {
		for _, made := range d.all {
			if d.underWay[made] || seen[made] {
				continue
			}
			if wanted(made) {
				return made, others
			}
			seen[made] = true
			others = append(others, made)
		}
		if !d.change(ctx) {
			return nil, others
		}
	}
}

// The method "change" unlocks mu, waits until another Decision becomes complete, and locks mu again. It returns false
// if ctx ends first.
func (d *decisions) change(ctx context.Context) bool {
	changed := d.changed
	d.mu.Unlock()
	defer d.mu.Lock()
	select {
	case <-changed:
		return true
	case <-ctx.Done():
		return false
	}
}
