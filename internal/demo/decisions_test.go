package demo

import (
	"context"
	"errors"
	"testing"

	"fauxlet/authchain"
	"fauxlet/internal/explain/offline"
)

func TestDecisionsDeliversByClientAddress(t *testing.T) {
	var d decisions
	d.observe(&authchain.Decision{Remote: "127.0.0.1:1"}) // no client waits for this Decision
	waitFirst, cancelFirst := d.expect("127.0.0.1:1")
	defer cancelFirst()
	waitSecond, cancelSecond := d.expect("127.0.0.1:2")
	defer cancelSecond()
	second := &authchain.Decision{Remote: "127.0.0.1:2"}
	first := &authchain.Decision{Remote: "127.0.0.1:1"}
	for _, decision := range []*authchain.Decision{second, first, {Remote: "127.0.0.1:1"}} {
		d.observe(decision)
	}
	if got, err := waitFirst(t.Context()); got != first || err != nil {
		t.Errorf("the first connection: %p, %v, want %p", got, err, first)
	}
	if got, err := waitSecond(t.Context()); got != second || err != nil {
		t.Errorf("the second connection: %p, %v, want %p", got, err, second)
	}
}

func TestDecisionsForgetsCanceledWait(t *testing.T) {
	var d decisions
	wait, cancel := d.expect("127.0.0.1:1")
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if _, err := wait(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want %v", err, context.Canceled)
	}
	cancel()
	if len(d.waiting) != 0 {
		t.Errorf("%d connections are still expected", len(d.waiting))
	}
}

func TestSentRequestsKeepsTheLast(t *testing.T) {
	var s sentRequests
	var all [maxSent + 1]authchain.Decision
	for i := range all {
		s.add(&all[i], &offline.Request{})
	}
	if s.of(&all[0]) != nil || s.of(&all[1]) == nil || s.of(&all[maxSent]) == nil {
		t.Errorf("want the last %d requests alone", maxSent)
	}
}
