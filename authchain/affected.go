package authchain

import (
	"context"
	"slices"
)

// AddAffectedBy adds names of faults to d.AffectedBy. Names that AffectedBy already contains are not added again. Only
// the goroutine that serves the request may call it.
func (d *Decision) AddAffectedBy(names ...string) {
	for _, name := range names {
		if !slices.Contains(d.AffectedBy, name) {
			d.AffectedBy = append(d.AffectedBy, name)
		}
	}
}

// AddAffectedBy adds names of faults to AffectedBy of the Decision that ctx belongs to. If ctx is the context of a
// TokenReview that the chain sends, the names are added to the Decision of each request that waits for the review. If
// ctx belongs to no Decision, the call has no effect.
//
// An http.RoundTripper that makes reviews fail calls AddAffectedBy with the context of the review's HTTP request.
func AddAffectedBy(ctx context.Context, names ...string) {
	if review := tokenReviewFrom(ctx); review != nil {
		review.affectedBy = append(review.affectedBy, names...)
	} else if decision := FromContext(ctx); decision != nil {
		decision.AddAffectedBy(names...)
	}
}

type affectedByKey struct{}

// WithAffectedBy returns a copy of ctx for a request that has no Decision yet. When [NewDecision] makes the Decision,
// it adds the names of the faults to AffectedBy.
func WithAffectedBy(ctx context.Context, names ...string) context.Context {
	return context.WithValue(ctx, affectedByKey{}, names)
}
