package faulty

import (
	"context"
	"slices"
	"sync"

	"fauxlet/internal/faults"
)

// cacheKinds are the kinds of fault that change what the server's caches hold, caches-flushed first. The kinds
// reviewer-down and reviewer-slow are missing, because the caches do not store failed reviews.
var cacheKinds = []string{faults.CachesFlushed, faults.ReviewerWrong, faults.ReviewerRevoking}

// FollowCaches calls reset whenever a change of the active faults requires the server to empty its review caches.
// The parameter enabled of reset is false if the server must not use the caches afterwards. FollowCaches stops
// calling reset when a listener of the node is closed.
//
// The caches are emptied when caches-flushed begins, and when a fault ends that may have left wrong answers in them.
// They are not emptied when a reviewer's fault begins, because a real reviewer that changes its answers cannot empty
// the kubelet's caches either.
func (n *Node) FollowCaches(reset func(enabled bool)) {
	var mu sync.Mutex // serializes the first update, below, with updates that changes of faults cause
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
