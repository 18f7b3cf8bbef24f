package faulty_test

import (
	"net"
	"slices"
	"testing"
)

func TestFollowCachesResetsWhenAnswersMayBeWrong(t *testing.T) {
	n, set := node()
	add(t, set, `{"name": "from-the-start", "kind": "caches-flushed"}`)
	var resets []bool
	expect := func(what string, want ...bool) {
		t.Helper()
		if !slices.Equal(resets, want) {
			t.Errorf("%s: reset with %v, want %v", what, resets, want)
		}
		resets = nil
	}
	n.FollowCaches(func(enabled bool) { resets = append(resets, enabled) })
	expect("flushed from the start", false)
	set.Clear()
	expect("the fault ends", true)
	add(t, set, `{"kind": "reviewer-wrong"}`)
	expect("a wrong reviewer begins: cached answers still hold")
	add(t, set, `{"kind": "reviewer-slow", "delay": "1s"}`)
	add(t, set, `{"kind": "caches-flushed", "node": "node-2"}`)
	expect("faults that change no cache of this node")
	add(t, set, `{"kind": "caches-flushed"}`)
	expect("caches-flushed begins", false)
	add(t, set, `{"kind": "reviewer-revoking"}`)
	expect("a revoking reviewer begins while caches are flushed", false)
	set.Clear()
	expect("all end", true)

	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n.Listener(inner, true).Close()
	add(t, set, `{"kind": "caches-flushed"}`)
	expect("the node has stopped")
}
