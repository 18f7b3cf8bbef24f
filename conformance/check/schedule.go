package check

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"fauxlet/conformance"
)

const (
	// parallelism is the number of checks that run at once. It is high because checks mostly wait.
	parallelism = 8
	// timeLimit is the maximum duration of one check, unless a quarter of the time for the whole run is more. A check of
	// CSR approvers has Options.ApproverWait in addition.
	timeLimit = 30 * time.Second
)

// Select returns the checks whose IDs begin with one of the given texts, and the checks that they need. The checks keep
// their order. If no texts are given, Select returns the checks that run by default: all except the group approver. The
// checks of this group must be selected by their IDs or by the whole name of the group.
func Select(all []Check, only []string) ([]Check, error) {
	if len(only) == 0 {
		return slices.DeleteFunc(slices.Clone(all), func(c Check) bool { return c.onRequest }), nil
	}
	wanted := map[string]bool{}
	for _, name := range only {
		found := false
		for _, c := range all {
			if strings.HasPrefix(c.ID, name) && (!c.onRequest || strings.HasPrefix(name, c.group())) {
				found, wanted[c.ID] = true, true
			}
		}
		if !found {
			return nil, fmt.Errorf("%q is neither a check ID nor the beginning of a check ID", name)
		}
	}
	for _, c := range slices.Backward(all) { // the checks that c needs precede it
		for _, need := range c.Needs {
			wanted[need] = wanted[need] || wanted[c.ID]
		}
	}
	return slices.DeleteFunc(slices.Clone(all), func(c Check) bool { return !wanted[c.ID] }), nil
}

// schedule runs each check after the checks that it needs. It calls onResult with each result; calls do not overlap.
func schedule(ctx context.Context, r *run, checks []Check, onResult func(conformance.Result)) []conformance.Result {
	limit := timeLimit
	if deadline, ok := ctx.Deadline(); ok {
		limit = max(limit, (time.Until(deadline) / 4).Round(time.Second))
	}
	results := make([]conformance.Result, len(checks))
	byID := make(map[string]*conformance.Result, len(checks))
	ended := make(map[string]chan struct{}, len(checks))
	for i, c := range checks {
		byID[c.ID], ended[c.ID] = &results[i], make(chan struct{})
	}
	// missing waits until the checks that c needs have ended. It returns an error of the type skipped if one of them is
	// not part of the run, and of the type blocked if its verdict is neither Pass nor Warn.
	missing := func(c Check) error {
		for _, need := range c.Needs {
			if ended[need] == nil {
				return skipped("needs " + need + ", which is not run")
			}
			<-ended[need]
		}
		for _, need := range c.Needs {
			if v := byID[need].Verdict; v != conformance.Pass && v != conformance.Warn {
				return blocked{need, "needs " + need + ", which did not pass"}
			}
		}
		return nil
	}
	var reporting sync.Mutex
	var all sync.WaitGroup
	slots := make(chan struct{}, parallelism)
	for i, c := range checks {
		all.Go(func() {
			defer close(ended[c.ID])
			f := &finding{evidence: []string{}, flag: c.Flag, remedy: c.remedy}
			var took time.Duration
			err := missing(c)
			if err == nil {
				slots <- struct{}{}
				began := time.Now()
				err = runOne(ctx, r, c, f, limit)
				took = time.Since(began)
				<-slots
			}
			results[i] = f.result(err)
			results[i].ID, results[i].Title, results[i].Duration = c.ID, c.Title, conformance.Seconds(took)
			reporting.Lock()
			defer reporting.Unlock()
			onResult(results[i])
		})
	}
	all.Wait()
	return results
}

// runOne runs a check with a time limit. It returns an error if the check did not reach a verdict.
func runOne(ctx context.Context, r *run, c Check, f *finding, limit time.Duration) error {
	if c.onRequest {
		limit += r.options.ApproverWait
	}
	late := fmt.Errorf("the check did not finish within %v", limit)
	limited, cancel := context.WithTimeoutCause(ctx, limit, late)
	defer cancel()
	if err := context.Cause(limited); err != nil {
		return err
	}
	err := c.run(limited, r, f)
	cause := context.Cause(limited)
	switch {
	case err == nil && len(f.problems) == 0:
		return nil
	case cause == nil && len(f.problems) > 0:
		return nil // a problem that was found before the error is enough for a verdict
	case cause == nil:
		return err
	// The run was stopped, or the time limit has passed. If the check returned an error, this may be its only reason.
	case ctx.Err() != nil || err == nil || errors.Is(err, cause):
		return cause
	}
	return fmt.Errorf("%w: %w", cause, err)
}
