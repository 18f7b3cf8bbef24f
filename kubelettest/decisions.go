package kubelettest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"fauxlet/authchain"
)

// patience is the longest that is waited, and less where the test has to be over sooner.
const patience = 30 * time.Second

// Decisions are what the kubelet made of each request, in the order in which the requests came; those of failed handshakes
// stand where they failed. Connections without a request, which a client may open to spare, are left out.
//
// A request's Decision is complete when its handler is done, which may be a moment after the client has the response. So
// Decisions waits for those of all requests that have come so far, and the Decision of each response that the test has seen
// is there. It fails the test where a request goes on for too long: a followed log or an exec is to be ended before, or
// else [Kubelet.Await] waits for a Decision in particular.
func (k *Kubelet) Decisions() []*authchain.Decision {
	k.t.Helper()
	ctx, cancel := patient(k.t)
	defer cancel()
	made, underWay := k.decisions.settled(ctx)
	if len(underWay) > 0 {
		k.t.Fatalf("kubelettest: Decisions: these requests are still under way:%s\nend them before (close the response's body, cancel its context), or wait with Await for what is done", list(underWay, request))
	}
	return slices.DeleteFunc(made, func(d *authchain.Decision) bool { return d.NoRequest != "" })
}

// Await waits until there is a Decision that is what is wanted, and gives the first: that of something that another goroutine
// does, of a handshake that failed, of which the client may know before the kubelet does, or of a connection without a
// request. It fails the test where none comes. Each Decision is looked at once; wanted must not call the Kubelet.
func (k *Kubelet) Await(wanted func(*authchain.Decision) bool) *authchain.Decision {
	k.t.Helper()
	ctx, cancel := patient(k.t)
	defer cancel()
	found, others := k.decisions.first(ctx, wanted)
	if found == nil {
		k.t.Fatalf("kubelettest: Await: no such Decision has come; those that did:%s", list(others, outcome))
	}
	return found
}

// patient ends when nobody should wait any longer.
func patient(t testing.TB) (context.Context, context.CancelFunc) {
	until := time.Now().Add(patience)
	if limited, ok := t.(interface{ Deadline() (time.Time, bool) }); ok {
		// What is to be said must be said before the test is ended.
		if deadline, ok := limited.Deadline(); ok && deadline.Add(-time.Second).Before(until) {
			until = deadline.Add(-time.Second)
		}
	}
	return context.WithDeadline(context.Background(), until)
}

// list has a line for each Decision; of one that is not complete, only its request may be told.
func list(decisions []*authchain.Decision, tell func(*authchain.Decision) string) string {
	if len(decisions) == 0 {
		return " none"
	}
	var b strings.Builder
	for _, d := range decisions {
		b.WriteString("\n\t" + tell(d))
	}
	return b.String()
}

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

// decisions are those of a Kubelet.
type decisions struct {
	mu sync.Mutex
	// all are in the order of their beginning; underWay are those of them that are not complete.
	all      []*authchain.Decision
	underWay map[*authchain.Decision]bool
	// changed is closed, and made anew, when one is complete.
	changed chan struct{}
}

func newDecisions() *decisions {
	return &decisions{underWay: map[*authchain.Decision]bool{}, changed: make(chan struct{})}
}

// begin is told of a request that has arrived.
func (d *decisions) begin(began *authchain.Decision) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.underWay[began] = true
	d.all = append(d.all, began)
}

// observe is told of a request that is over, or of a connection that had none.
func (d *decisions) observe(made *authchain.Decision) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.underWay[made] { // of a connection
		d.all = append(d.all, made)
	}
	delete(d.underWay, made)
	close(d.changed)
	d.changed = make(chan struct{})
}

// settled waits until the Decisions of all requests that have begun are complete, and gives them, or, where ctx ends before,
// those that are under way.
func (d *decisions) settled(ctx context.Context) (made, underWay []*authchain.Decision) {
	d.mu.Lock()
	defer d.mu.Unlock()
	made = slices.Clone(d.all)
	for {
		underWay = slices.DeleteFunc(slices.Clone(made), func(began *authchain.Decision) bool { return !d.underWay[began] })
		if len(underWay) == 0 || !d.change(ctx) {
			return made, underWay
		}
	}
}

// first waits for the first complete Decision that is what is wanted; nil where ctx ends before. It gives those that were
// not, too.
func (d *decisions) first(ctx context.Context, wanted func(*authchain.Decision) bool) (found *authchain.Decision, others []*authchain.Decision) {
	d.mu.Lock()
	defer d.mu.Unlock()
	looked := map[*authchain.Decision]bool{}
	for {
		for _, made := range d.all {
			if d.underWay[made] || looked[made] {
				continue
			}
			if wanted(made) {
				return made, others
			}
			looked[made] = true
			others = append(others, made)
		}
		if !d.change(ctx) {
			return nil, others
		}
	}
}

// change lets go of mu until a Decision is complete; false: ctx ended before.
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
