package server

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"
)

// TestExpectedStreams checks that a stream counts towards the maximum until its connection arrives, but not longer than
// a minute.
func TestExpectedStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &expectedStreams{}
		add := func() http.HandlerFunc {
			arrived, _ := e.add(func(http.ResponseWriter, *http.Request) {})
			return arrived
		}
		first := add()
		time.Sleep(time.Second)
		for range maxExpected - 1 {
			add()
		}
		expect := func(accepted bool, when string) {
			t.Helper()
			if got := add() != nil; got != accepted {
				t.Errorf("%s: accepted: %v, want %v", when, got, accepted)
			}
		}
		expect(false, "the list is full")
		first(nil, nil)
		expect(true, "one connection has arrived")
		first(nil, nil)
		expect(false, "the same connection arrives again")
		time.Sleep(expectedFor)
		expect(false, "exactly a minute later")
		time.Sleep(time.Nanosecond)
		expect(true, "more than a minute later")
		if n := e.due.Len(); n != 1 {
			t.Errorf("%d streams are expected, want 1", n)
		}
	})
}
