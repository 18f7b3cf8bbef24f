package faulty

import (
	"context"
	"slices"
	"sync"

	"fauxlet/internal/faults"
)

// cacheKinds are the kinds of fault that decide what the server's review caches contain. The kind caches-flushed must
// be first, because FollowCaches looks for it there. The list does not contain the kinds of fault that delay reviews or
// make them fail: a delayed answer is still correct, and the server does not cache failed reviews.
var cacheKinds = []string{faults.CachesFlushed, faults.ReviewerWrong, faults.ReviewerRevoking}

// FollowCaches calls the function "reset" whenever a change of the active faults requires the server to empty its
// review caches. The argument "enabled" is false if the server must not use the caches afterwards. The calls stop when
// a listener of the node is closed.
//
// The caches are emptied when a caches-flushed fault begins, and when a fault ends that may have caused wrong cached
// answers. They are not emptied when an apiserver begins to give wrong answers, because a real apiserver cannot empty
// the kubelet's caches.
func (n *Node) FollowCaches(reset func(enabled bool)) {
	var mu sync.Mutex // mu serializes calls of "update", because faults may change during the first call
	var before []*faults.Active
	update := func() {
		mu.Lock()
		defer mu.Unlock()
		if n.stopping.Err() != nil {
			return
		}
		now := n.active(cacheKinds...)
		flushed := len(now) > 0 && now[0].Kind == faults.CachesFlushed
		began := slices.ContainsFunc(now, func(a *faults.Active) bool { return !slices.Contains(before, a) })
		ended := slices.ContainsFunc(before, func(a *faults.Active) bool { return !slices.Contains(now, a) })
		before = now
		if ended || began && flushed {
			reset(!flushed)
		}
	}
	context.AfterFunc(n.stopping, n.faults.Follow(update))
	update()
}
