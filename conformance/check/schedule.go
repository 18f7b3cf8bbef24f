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
	// together is how many checks run at once. They wait more than they work.
	together = 8
	// patience is how long one check may take.
	patience = 30 * time.Second
)

// Select gives the checks that are meant by ids and beginnings of ids, with those that they need, in the order of all.
// Nothing means all.
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
			return nil, fmt.Errorf("%q: no check has that name, or a name that begins so", name)
		}
	}
	return slices.DeleteFunc(slices.Clone(all), func(c Check) bool { return !wanted[c.ID] }), nil
}

// skipped is an error by which what a check uses says that it cannot say anything.
type skipped string

func (s skipped) Error() string { return string(s) }

// schedule runs the checks, each after those that it needs, and tells each result as it comes, one at a time.
func schedule(ctx context.Context, checks []Check, tell func(conformance.Result), do func(context.Context, Check) (conformance.Result, error)) []conformance.Result {
	results := make([]conformance.Result, len(checks))
	ended := make(map[string]chan struct{}, len(checks))
	index := make(map[string]int, len(checks))
	for i, c := range checks {
		ended[c.ID], index[c.ID] = make(chan struct{}), i
	}
	var telling sync.Mutex
	var all sync.WaitGroup
	slots := make(chan struct{}, together)
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
				return one(ctx, c, do)
			}()
			result.ID, result.Title = c.ID, c.Title
			if result.Flag == "" {
				result.Flag = c.Flag
			}
			if result.Evidence == nil {
				result.Evidence = []string{}
			}
			results[i] = result
			telling.Lock()
			defer telling.Unlock()
			tell(result)
		})
	}
	all.Wait()
	return results
}

// one runs a check.
func one(ctx context.Context, c Check, do func(context.Context, Check) (conformance.Result, error)) conformance.Result {
	began := time.Now()
	limited, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("not done within %v", patience))
	defer cancel()
	var result conformance.Result
	err := context.Cause(limited)
	if err == nil {
		result, err = do(limited, c)
	}
	// Whatever is amiss when the run is stopped or the time is over, may be amiss because of that.
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
	var why skipped
	switch {
	case err == nil:
	case errors.As(err, &why):
		result = skip(string(why))
	default:
		result = skip("could not come to its end: " + err.Error())
		result.Incomplete = true
	}
	result.Duration = conformance.Seconds(time.Since(began))
	return result
}
