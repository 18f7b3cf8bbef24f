// Package decisions keeps the most recent Decisions of all nodes in a process.
//
// A [Recorder] receives Decisions through Options.Observe of package server and holds them in a ring of fixed size. A
// [Follower] reads them as they arrive, a [Filter] selects some of them, and [Spans] exports them to OpenTelemetry.
// Package admin serves them over HTTP.
package decisions

import (
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"fauxlet/authchain"
	"fauxlet/internal/explain"
)

// DefaultSize is the number of Decisions that a Recorder keeps by default.
const DefaultSize = 1000

// bytesPerDecision limits the memory of a Recorder, as an average over its size. Only a Decision about an unusually
// large request (a long path, large certificates) takes more.
const bytesPerDecision = 16 << 10

// Entry is a recorded Decision.
type Entry struct {
	// ID numbers the Decisions of a process, starting at 1.
	ID uint64
	// Node is the name of the stand-in kubelet that received the request.
	Node     string
	Decision *authchain.Decision

	size int64
}

// Record is an Entry in the JSON form of the admin API.
type Record struct {
	ID   uint64 `json:"id"`
	Node string `json:"node"`
	authchain.Report
	// Explanation is present only on request: it is larger than the rest of the Record.
	Explanation *explain.Explanation `json:"explanation,omitempty"`
}

// Record returns the Entry's JSON form, without an explanation.
func (e *Entry) Record() Record { return Record{ID: e.ID, Node: e.Node, Report: e.Decision.Report()} }

// Recorder keeps the most recent Decisions. It is safe for concurrent use. Recording takes no lock and never waits
// for a reader: it stores the Decision itself in a ring, and readers convert it to JSON.
type Recorder struct {
	// instance distinguishes the IDs of this process from the IDs of an earlier process.
	instance string
	slots    []atomic.Pointer[Entry]
	maxBytes int64

	last   atomic.Uint64 // the newest ID in use
	oldest atomic.Uint64 // Entries with lower IDs were dropped to save memory
	bytes  atomic.Int64  // total size of the Entries in slots

	mu        sync.Mutex // serializes changes to followers
	followers atomic.Pointer[[]*Follower]
	missed    atomic.Uint64
}

// NewRecorder returns a Recorder of the last size Decisions. It keeps fewer if they are large: at most 16 KiB on
// average. It always keeps the newest Decision. A size below 1 means [DefaultSize].
func NewRecorder(size int) *Recorder {
	if size < 1 {
		size = DefaultSize
	}
	r := &Recorder{
		instance: strconv.FormatInt(time.Now().UnixNano(), 36),
		slots:    make([]atomic.Pointer[Entry], size),
		maxBytes: int64(size) * bytesPerDecision,
	}
	r.oldest.Store(1)
	r.followers.Store(new([]*Follower))
	return r
}

// Instance identifies this Recorder. IDs of Recorders with different instances are unrelated.
func (r *Recorder) Instance() string { return r.instance }

// LastID returns the ID of the newest Decision, 0 if there is none.
func (r *Recorder) LastID() uint64 { return r.last.Load() }

// OldestID returns the ID of the oldest Decision that is still kept. It is 1 in an empty Recorder.
func (r *Recorder) OldestID() uint64 { return max(r.first(r.last.Load()), r.oldest.Load()) }

// Missed returns how many Decisions were dropped before a Follower read them, summed over all Followers.
func (r *Recorder) Missed() uint64 { return r.missed.Load() }

// For returns the function that records the Decisions of a node.
func (r *Recorder) For(node string) func(*authchain.Decision) {
	return func(d *authchain.Decision) { r.record(node, d) }
}

func (r *Recorder) record(node string, d *authchain.Decision) {
	e := &Entry{ID: r.last.Add(1), Node: node, Decision: d, size: sizeOf(d)}
	slot := r.slot(e.ID)
	for {
		old := slot.Load()
		if old != nil && old.ID > e.ID {
			break // a newer Entry already occupies the slot
		}
		if slot.CompareAndSwap(old, e) {
			added := e.size
			if old != nil {
				added -= old.size
			}
			if r.bytes.Add(added) > r.maxBytes {
				r.shrink(e.ID)
			}
			break
		}
	}
	for _, f := range *r.followers.Load() {
		f.wake()
	}
}

func (r *Recorder) slot(id uint64) *atomic.Pointer[Entry] { return &r.slots[id%uint64(len(r.slots))] }

// shrink drops the oldest Entries until the rest fits into maxBytes. It never drops the Entry with the ID newest.
func (r *Recorder) shrink(newest uint64) {
	for r.bytes.Load() > r.maxBytes {
		oldest := r.oldest.Load()
		next := max(oldest, r.first(newest))
		if next >= newest {
			return
		}
		if !r.oldest.CompareAndSwap(oldest, next+1) {
			continue
		}
		slot := r.slot(next)
		if e := slot.Load(); e != nil && e.ID == next && slot.CompareAndSwap(e, nil) {
			r.bytes.Add(-e.size)
		}
	}
}

// first returns the lowest ID that the ring can still hold when last is its newest ID.
func (r *Recorder) first(last uint64) uint64 {
	if size := uint64(len(r.slots)); last > size {
		return last - size + 1
	}
	return 1
}

// at returns the Entry with an ID, or nil if it was dropped. It returns false if the Entry is not stored yet.
func (r *Recorder) at(id uint64) (e *Entry, ok bool) {
	last := r.last.Load()
	if id > last {
		return nil, false
	}
	switch e = r.slot(id).Load(); {
	case e != nil && e.ID == id:
		return e, true
	case e != nil && e.ID > id, id < r.oldest.Load(), id < r.first(last):
		return nil, true
	}
	return nil, false // record has taken the ID, but not stored the Entry yet
}

// After returns the kept Entries with an ID above id, in order. The result is complete up to the ID upTo, which the
// caller should pass as id in its next call.
func (r *Recorder) After(id uint64) (entries []*Entry, upTo uint64) {
	last := r.last.Load()
	if id >= last {
		return nil, id
	}
	for id = max(id, r.OldestID()-1); id < last; id++ {
		e, ok := r.at(id + 1)
		if !ok {
			break
		}
		if e != nil {
			entries = append(entries, e)
		}
	}
	return entries, id
}

// Get returns the Entry with an ID, or nil if it was dropped or never existed.
func (r *Recorder) Get(id uint64) *Entry {
	e, _ := r.at(id)
	return e
}
