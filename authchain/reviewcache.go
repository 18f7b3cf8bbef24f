package authchain

import (
	"hash/maphash"
	"maps"
	"slices"
	"time"

	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
)

// reviewCache has results of SubjectAccessReviews that the webhook authorizer has in its own cache too. A lookup in the
// webhook's cache takes longer, because the webhook encodes the whole review as JSON.
//
// The reviewCache does not change which requests cause a review. A result expires here just before it expires there.
// If another result replaces it here, it is still there. (The webhook removes the result that was used least recently
// when it has 8192 of them, and does not notice that a result is used here. But of so many results, hardly any is still
// here.)
type reviewCache struct {
	authorizedTTL, unauthorizedTTL time.Duration
	// The cache is indexed by a hash of the user's name and of the attributes.
	results slots[reviewed]
}

// reviewed is the result of one SubjectAccessReview. Other attributes than these do not differ between the reviews of a
// chain.
type reviewed struct {
	user              user.Info
	verb, subresource string
	result            authorizer.Decision
	reason            string
	expires           time.Time
}

// newReviewCache returns a small cache: few clients use a node, and a process may have thousands of nodes.
func newReviewCache(config Config) *reviewCache {
	return &reviewCache{authorizedTTL: config.AuthorizedTTL, unauthorizedTTL: config.UnauthorizedTTL,
		results: slots[reviewed]{size: 64}}
}

var reviewSeed = maphash.MakeSeed()

func reviewHash(u user.Info, verb, subresource string) uint64 {
	return maphash.Comparable(reviewSeed, [...]string{u.GetName(), verb, subresource})
}

// get returns the result for a user and attributes, or nil.
func (c *reviewCache) get(u user.Info, verb, subresource string, now time.Time) *reviewed {
	r := c.results.at(reviewHash(u, verb, subresource)).Load()
	if r == nil || r.verb != verb || r.subresource != subresource || !now.Before(r.expires) || !sameUser(r.user, u) {
		return nil
	}
	return r
}

// longestCached is the length of a path up to which results are stored. The webhook does not cache the result for a
// request whose attributes have 10,000 bytes or more, and the path is one of the attributes. (shouldCache)
const longestCached = 8000

// put stores the result of a review that was sent after the time start.
func (c *reviewCache) put(attrs *authorizer.AttributesRecord, result authorizer.Decision, reason string,
	start time.Time) {
	ttl := c.unauthorizedTTL
	if result == authorizer.DecisionAllow {
		ttl = c.authorizedTTL
	}
	if ttl <= 0 || len(attrs.Path) > longestCached {
		return
	}
	c.results.at(reviewHash(attrs.User, attrs.Verb, attrs.Subresource)).Store(&reviewed{user: attrs.User,
		verb: attrs.Verb, subresource: attrs.Subresource, result: result, reason: reason, expires: start.Add(ttl)})
}

// sameUser returns whether the reviews about two users are equal. It is false for users that differ only in bytes that
// are not UTF-8.
func sameUser(a, b user.Info) bool {
	return a == b || a.GetName() == b.GetName() && a.GetUID() == b.GetUID() &&
		slices.Equal(a.GetGroups(), b.GetGroups()) &&
		maps.EqualFunc(a.GetExtra(), b.GetExtra(), func(a, b []string) bool {
			return slices.Equal(a, b) && (a == nil) == (b == nil) // null and [] are different reviews
		})
}
