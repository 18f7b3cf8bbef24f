package node

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestRepeatCallsUntilTheContextIsDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var group sync.WaitGroup
		calls := []time.Duration{} // only the repetition uses it until the group is done
		began := time.Now()
		repeat(ctx, &group, 0, time.Minute, func(context.Context) {
			calls = append(calls, time.Since(began))
			time.Sleep(10 * time.Second) // the period begins after the call
		})
		time.Sleep(4 * time.Minute)
		cancel()
		group.Wait()
		if len(calls) != 4 || calls[0] != 0 {
			t.Fatalf("calls at %v, want 4, the first at once", calls)
		}
		for i, at := range calls[1:] {
			if wait := at - calls[i] - 10*time.Second; wait < time.Minute || wait > time.Minute+2400*time.Millisecond {
				t.Errorf("call %d came %v after the end of the one before, want 60 to 62.4 s", i+1, wait)
			}
		}
		time.Sleep(time.Hour)
		if len(calls) != 4 {
			t.Errorf("calls at %v, although the context is done", calls)
		}
	})
}

func TestRepeatEndsAfterTheCallThatRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var group sync.WaitGroup
		ended := false
		repeat(ctx, &group, time.Second, time.Second, func(context.Context) {
			cancel()
			time.Sleep(time.Minute)
			ended = true
		})
		group.Wait()
		if !ended {
			t.Error("the repetition has ended before its call")
		}
	})
}
