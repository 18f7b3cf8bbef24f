package decisions

import (
	"context"
	"slices"
)

// Follower reads Entries as they are recorded. It has no buffer of its own, so a slow Follower cannot delay recording.
// If the Recorder drops Entries before the Follower has read them, the Follower counts the dropped Entries. Only one
// goroutine may use a Follower.
type Follower struct {
	recorder *Recorder
	read     uint64 // the ID of the last Entry that was read or dropped
	woken    chan struct{}
}

// Follow returns a Follower of the Entries with an ID above id. The caller must close it.
func (r *Recorder) Follow(id uint64) *Follower {
	f := &Follower{recorder: r, read: id, woken: make(chan struct{}, 1)}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.followers = append(r.followers, f)
	return f
}

// Close removes the Follower from its Recorder.
func (f *Follower) Close() {
	f.recorder.mu.Lock()
	defer f.recorder.mu.Unlock()
	f.recorder.followers = slices.DeleteFunc(f.recorder.followers, func(other *Follower) bool { return other == f })
}

func (f *Follower) wake() {
	select {
	case f.woken <- struct{}{}:
	default:
	}
}

// Next waits for new Entries and returns them in order. The result "dropped" counts older Entries that the Recorder
// dropped before this Follower could read them. If "dropped" is not 0, there may be no Entries. Next returns the error
// of ctx when ctx is done.
func (f *Follower) Next(ctx context.Context) (entries []*Entry, dropped uint64, err error) {
	for {
		before := f.read
		entries, f.read = f.recorder.After(f.read)
		if dropped = f.read - before - uint64(len(entries)); dropped > 0 {
			f.recorder.missed.Add(dropped)
		}
		if f.read > before {
			return entries, dropped, nil
		}
		select {
		case <-f.woken:
		case <-ctx.Done():
			return nil, 0, ctx.Err()
		}
	}
}

// Wait waits for the first new Entry for which matches returns true, and returns it. The next call of Wait or Next
// continues with the Entry after it. Wait returns the error of ctx when ctx is done.
//
// To wait for the Decision about a request, call [Recorder.Follow] before you send the request. The Decision is
// recorded shortly after its response was written.
//
//	follower := recorder.Follow(recorder.LastID())
//	defer follower.Close()
//	// send the request, then
//	entry, err := follower.Wait(ctx, decisions.From(localAddress))
func (f *Follower) Wait(ctx context.Context, matches func(*Entry) bool) (*Entry, error) {
	for {
		entries, _, err := f.Next(ctx)
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			if matches(e) {
				f.read = e.ID
				return e, nil
			}
		}
	}
}

// From returns a function for [Follower.Wait] that matches the Decisions about requests from an address, HOST:PORT.
func From(remote string) func(*Entry) bool {
	return func(e *Entry) bool { return e.Decision.Remote == remote }
}
