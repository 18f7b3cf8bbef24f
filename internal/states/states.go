// Package states keeps the states of several things, such as connections, and lets goroutines wait for a state.
package states

import (
	"context"
	"sync"
)

// List is a list of states. The zero value is an empty list. The methods are safe for concurrent use.
type List[T any] struct {
	mu   sync.Mutex
	cond sync.Cond
	all  []*T
}

// Add adds a state. Only a function passed to Update may use the returned pointer.
func (l *List[T]) Add(state T) *T {
	l.Update(func() { l.all = append(l.all, &state) })
	return &state
}

// Update calls the given function, which may modify states, and then wakes the callers of Wait. The copies that All and
// Wait return share the contents of slices, maps and pointers with the states. Therefore the function must replace a
// slice, map or pointer instead of modifying its contents.
func (l *List[T]) Update(change func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change()
	l.cond.Broadcast()
}

// All returns copies of all states, in the order in which they were added.
func (l *List[T]) All() []T {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.copies()
}

func (l *List[T]) copies() []T {
	copies := make([]T, len(l.all))
	for i, state := range l.all {
		copies[i] = *state
	}
	return copies
}

// Wait calls the function "done" with the list of all states, and again after every change, until the function returns
// true. Wait then returns the last list and true. If ctx is done first, Wait returns the last list and false.
func (l *List[T]) Wait(ctx context.Context, done func([]T) bool) ([]T, bool) {
	defer context.AfterFunc(ctx, func() { l.Update(func() {}) })()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cond.L == nil { // other callers that wait read the field without the lock
		l.cond.L = &l.mu
	}
	for {
		all := l.copies()
		switch {
		case done(all):
			return all, true
		case ctx.Err() != nil:
			return all, false
		}
		l.cond.Wait()
	}
}
