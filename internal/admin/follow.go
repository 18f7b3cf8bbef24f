package admin

import (
	"context"
	"slices"
)

// Follower reads Entries as they come. It has no buffer: what the ring has lost before it was read is counted, and whoever
// records waits for no Follower.
type Follower struct {
	recorder *Recorder
	read     uint64 // the id up to which all was read
	woken    chan struct{}
}

// Follow reads what comes after an id. The caller must call Close when finished.
func (r *Recorder) Follow(id uint64) *Follower {
	f := &Follower{recorder: r, read: id, woken: make(chan struct{}, 1)}
	r.mu.Lock()
	defer r.mu.Unlock()
	followers := append(slices.Clone(*r.followers.Load()), f)
	r.followers.Store(&followers)
	return f
}

// Close ends it.
func (f *Follower) Close() {
	f.recorder.mu.Lock()
	defer f.recorder.mu.Unlock()
	followers := slices.DeleteFunc(slices.Clone(*f.recorder.followers.Load()), func(other *Follower) bool { return other == f })
	f.recorder.followers.Store(&followers)
}

func (f *Follower) wake() {
	select {
	case f.woken <- struct{}{}:
	default:
	}
}

// Next waits for Entries, or for Entries having been dropped, and gives them in order, with how many there were that came
// before them and are lost. It returns the error of ctx when that is done.
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
