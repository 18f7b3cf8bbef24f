package authchain

import (
	"context"
	"slices"
)

// AddAffectedBy adds names to the faults that affected the request or connection. The goroutine that serves the request
// may call it until the Decision is complete.
func (d *Decision) AddAffectedBy(names ...string) {
	for _, name := range names {
		if !slices.Contains(d.AffectedBy, name) {
			d.AffectedBy = append(d.AffectedBy, name)
		}
	}
}

// AddAffectedBy adds names to the faults that affected the request that ctx belongs to. If ctx belongs to a TokenReview,
// which several requests may wait for, the names are added to the Decisions of all of them.
func AddAffectedBy(ctx context.Context, names ...string) {
	if review := reviewOf(ctx); review != nil {
		review.faults = append(review.faults, names...)
	} else if decision := FromContext(ctx); decision != nil {
		decision.AddAffectedBy(names...)
	}
}

type affectedByKey struct{}

// WithAffectedBy returns a context whose Decision, if [NewDecision] begins one, is affected by the faults of these names.
// It is for what affects a request before it reaches the server.
func WithAffectedBy(ctx context.Context, names ...string) context.Context {
	return context.WithValue(ctx, affectedByKey{}, slices.Clip(names))
}
