package kubelettest

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"

	"fauxlet/authchain"
)

func TestSettledWaitsForRequestsThatHaveArrived(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDecisions()
		first, second, handshake, later := &authchain.Decision{Path: "/1"}, &authchain.Decision{Path: "/2"},
			&authchain.Decision{Handshake: "EOF"}, &authchain.Decision{}
		d.begin(first)
		d.begin(second)
		d.observe(second)
		d.observe(handshake)
		var made []*authchain.Decision
		go func() { made, _ = d.settled(context.Background()) }()
		synctest.Wait()
		if made != nil {
			t.Fatalf("settled did not wait for a request in progress: %v", made)
		}
		d.begin(later)
		d.observe(first)
		synctest.Wait()
		if want := []*authchain.Decision{first, second, handshake}; !slices.Equal(made, want) {
			t.Errorf("%v, want %v", made, want)
		}

		ended, end := context.WithCancel(context.Background())
		end()
		if _, underWay := d.settled(ended); len(underWay) != 1 || underWay[0] != later {
			t.Errorf("incomplete Decisions: %v, want the later one", underWay)
		}
	})
}

func TestDecisionsLeaveOutConnectionsWithoutRequest(t *testing.T) {
	k := &Kubelet{test: t, decisions: newDecisions()}
	request := &authchain.Decision{Path: "/"}
	k.decisions.observe(&authchain.Decision{NoRequest: "nothing was sent"})
	k.decisions.begin(request)
	k.decisions.observe(request)
	if made := k.Decisions(); !slices.Equal(made, []*authchain.Decision{request}) {
		t.Errorf("Decisions returned %v, want only the Decision about the request", made)
	}
}

func TestFirstLooksAtEachCompleteDecisionOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDecisions()
		wanted, other := &authchain.Decision{Path: "/wanted"}, &authchain.Decision{Path: "/other"}
		d.begin(wanted)
		d.begin(other)
		var looked []string
		var found *authchain.Decision
		var others []*authchain.Decision
		go func() {
			found, others = d.first(context.Background(), func(made *authchain.Decision) bool {
				looked = append(looked, made.Path)
				return made == wanted
			})
		}()
		d.observe(other)
		synctest.Wait()
		if found != nil || !slices.Equal(looked, []string{"/other"}) {
			t.Fatalf("first examined %q and found %v", looked, found)
		}
		d.observe(wanted)
		synctest.Wait()
		if found != wanted || !slices.Equal(looked, []string{"/other", "/wanted"}) ||
			!slices.Equal(others, []*authchain.Decision{other}) {
			t.Errorf("first examined %q and found %v, others %v", looked, found, others)
		}
	})
}
