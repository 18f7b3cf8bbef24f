package faulty

import (
	"context"
	"slices"
	"sync"

	"fauxlet/internal/faults"
)

// cacheKinds are the kinds of fault that affect the contents of the server's review caches. The kind caches-flushed
// must be first. The kinds reviewer-down and reviewer-slow are missing, because the caches do not store failed reviews.
var cacheKinds = []string{faults.CachesFlushed, faults.ReviewerWrong, faults.ReviewerRevoking}

// FollowCaches calls the function "reset" whenever a change of the active faults requires the server to empty its
// review caches. The argument of the call is false if the server must not use the caches afterwards. The calls stop
// when a listener of the node is closed.
//
// The caches are emptied when caches-flushed begins, and when a fault ends that may have caused wrong answers in the
// caches. They are not emptied when a fault of the reviewer (the apiserver that answers the reviews) begins, because a
// real apiserver cannot empty the kubelet's caches when its answers change.
func (n *Node) FollowCaches(reset func(enabled bool)) {
	var mu sync.Mutex // mu serializes calls of "update", because a fault may change during the first call
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
