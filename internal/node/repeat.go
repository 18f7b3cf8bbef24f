package node

import (
	"context"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
)

// repetition calls a function at intervals. Between the calls it has only a timer and no goroutine, because a process
// may have thousands of nodes, and a goroutine takes several kilobytes.
type repetition struct {
	ctx    context.Context
	group  *sync.WaitGroup
	period time.Duration
	call   func(context.Context)

	mu    sync.Mutex
	timer *time.Timer
}

// repeat calls a function after the time "first", and then again and again. As in a kubelet, each call follows after
// the period and at most 4 percent more. The period begins when the function has returned. The repetition ends when ctx
// is done and the function is not running. Until then "group" counts it.
func repeat(ctx context.Context, group *sync.WaitGroup, first, period time.Duration, call func(context.Context)) {
	r := &repetition{ctx: ctx, group: group, period: period, call: call}
	group.Add(1)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.timer = time.AfterFunc(first, r.run)
	context.AfterFunc(ctx, r.stop)
}

func (r *repetition) run() {
	if r.ctx.Err() == nil {
		r.call(r.ctx)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ctx.Err() != nil {
		r.group.Done()
		return
	}
	r.timer.Reset(wait.Jitter(r.period, 0.04))
}

// The method "stop" runs when ctx is done. If the function is running, the method "run" ends the repetition.
func (r *repetition) stop() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.timer.Stop() {
		r.group.Done()
	}
}
