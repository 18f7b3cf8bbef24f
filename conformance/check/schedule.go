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
	// timeLimit bounds one check.
	timeLimit = 30 * time.Second
)

// Select returns the checks whose IDs begin with an element of only, and the checks that they need, in the order of
// all. If only is empty, Select returns all checks.
func Select(all []Check, only []string) ([]Check, error) {
	if len(only) == 0 {
		return all, nil
	}
	wanted := map[string]bool{}
	var want func(id string)
	want = func(id string) {
		i := slices.IndexFunc(all, func(c Check) bool { return c.ID == id })
		if wanted[id] || i < 0 {
			return
		}
		wanted[id] = true
		for _, need := range all[i].Needs {
			want(need)
		}
	}
	for _, name := range only {
		found := false
		for _, c := range all {
			if strings.HasPrefix(c.ID, name) {
				found = true
				want(c.ID)
			}
		}
		if !found {
			return nil, fmt.Errorf("%q is neither a check nor a prefix of one", name)
		}
	}
	return slices.DeleteFunc(slices.Clone(all), func(c Check) bool { return !wanted[c.ID] }), nil
}

// skipped is an error that skips the check. Functions that several checks share return it.
type skipped string

func (s skipped) Error() string { return string(s) }

// schedule runs each check after the checks that it needs. It calls onResult with each result; calls do not overlap.
func schedule(
	ctx context.Context, checks []Check, onResult func(conformance.Result),
	do func(context.Context, Check) (conformance.Result, error),
) []conformance.Result {
	results := make([]conformance.Result, len(checks))
	ended := make(map[string]chan struct{}, len(checks))
	index := make(map[string]int, len(checks))
	for i, c := range checks {
		ended[c.ID], index[c.ID] = make(chan struct{}), i
	}
	var reporting sync.Mutex
	var all sync.WaitGroup
	slots := make(chan struct{}, parallelism)
	for i, c := range checks {
		all.Go(func() {
			defer close(ended[c.ID])
			result := func() conformance.Result {
				for _, need := range c.Needs {
					if ended[need] == nil {
						return skip("needs " + need + ", which is not run")
					}
					<-ended[need]
				}
				for _, need := range c.Needs {
					if v := results[index[need]].Verdict; v != conformance.Pass && v != conformance.Warn {
						return skip("needs " + need + ", which did not pass")
					}
				}
				slots <- struct{}{}
				defer func() { <-slots }()
				return runOne(ctx, c, do)
			}()
			result.ID, result.Title = c.ID, c.Title
			if result.Flag == "" {
				result.Flag = c.Flag
			}
			if result.Evidence == nil {
				result.Evidence = []string{}
			}
			results[i] = result
			reporting.Lock()
			defer reporting.Unlock()
			onResult(result)
		})
	}
	all.Wait()
	return results
}

// runOne runs a check with a time limit.
func runOne(
	ctx context.Context,
	c Check,
	do func(context.Context, Check) (conformance.Result, error),
) conformance.Result {
	began := time.Now()
	limited, cancel := context.WithTimeoutCause(ctx, timeLimit, fmt.Errorf("not finished within %v", timeLimit))
	defer cancel()
	var result conformance.Result
	err := context.Cause(limited)
	if err == nil {
		result, err = do(limited, c)
	}
	// If the run or the time limit has ended, any result but a pass may be a consequence of that end.
	if err != nil || result.Verdict != conformance.Pass {
		switch {
		case ctx.Err() != nil:
			err = context.Cause(ctx)
		case limited.Err() != nil && err != nil:
			err = fmt.Errorf("%w: %w", context.Cause(limited), err)
		case limited.Err() != nil:
			err = context.Cause(limited)
		}
	}
	var reason skipped
	switch {
	case err == nil:
	case errors.As(err, &reason):
		result = skip(string(reason))
	default:
		result = skip("did not complete: " + err.Error())
		result.Incomplete = true
	}
	result.Duration = conformance.Seconds(time.Since(began))
	return result
}
