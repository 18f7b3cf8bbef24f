package faulty

import (
	"slices"
	"sync"

	"fauxlet/internal/faults"
)

// cacheKinds are the kinds of fault that change what the server's caches hold, caches-flushed first. reviewer-down
// and reviewer-slow are not among them: a failed review is not cached.
var cacheKinds = []string{faults.CachesFlushed, faults.ReviewerWrong, faults.ReviewerRevoking}

// FollowCaches calls reset whenever a fault makes it necessary to empty the server's caches of reviews, until a
// listener of the node is closed. enabled says whether the caches are used from then on.
//
// Caches are emptied when a fault ends that may have left wrong answers in them, and when caches-flushed begins. When
// another fault begins they stay: a real reviewer that changes its mind does not reach the kubelet's caches either.
func (n *Node) FollowCaches(reset func(enabled bool)) {
	var mu sync.Mutex // makes the first update, below, wait for one that a change causes
	var before []*faults.Active
	update := func() {
		mu.Lock()
		defer mu.Unlock()
		now := n.active(cacheKinds...)
		flushed := len(now) > 0 && now[0].Kind == faults.CachesFlushed
		began := slices.ContainsFunc(now, func(a *faults.Active) bool { return !slices.Contains(before, a) })
		ended := slices.ContainsFunc(before, func(a *faults.Active) bool { return !slices.Contains(now, a) })
		before = now
		if ended || began && flushed {
			reset(!flushed)
		}
	}
	n.stopFollowing(n.faults.Follow(update))
	update()
}
