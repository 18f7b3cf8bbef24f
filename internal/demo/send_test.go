package demo

import (
	"testing"

	"fauxlet/authchain"
)

func TestObserveDeliversByClientAddress(t *testing.T) {
	s := newSender(nil)
	s.observe(&authchain.Decision{Remote: "127.0.0.1:1"}) // a Decision that no client waits for
	decided := make(chan *authchain.Decision, 1)
	s.waiting.Store("127.0.0.1:1", decided)
	first := &authchain.Decision{Remote: "127.0.0.1:1"}
	for _, d := range []*authchain.Decision{{Remote: "127.0.0.1:2"}, first, {Remote: "127.0.0.1:1"}} {
		s.observe(d)
	}
	if got := <-decided; got != first {
		t.Errorf("the Decision %+v was delivered, want the first one with the client's address", got)
	}
	if s.sentRequest(first) != nil {
		t.Error("sentRequest returns a request for a Decision about a request that the demo did not send")
	}
}
