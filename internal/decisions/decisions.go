// Package decisions keeps the most recent Decisions of all nodes in a process.
//
// A [Recorder] receives Decisions through Options.Observe of package server and keeps the last ones. A
// [Follower] reads them as they arrive, a [Filter] selects some of them, and [Spans] exports them to OpenTelemetry.
// Package admin serves them over HTTP.
package decisions

import (
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"fauxlet/authchain"
	"fauxlet/internal/explain"
)

// DefaultSize is the number of Decisions that a Recorder keeps by default.
const DefaultSize = 1000

// bytesPerDecision limits the memory of a Recorder: a Recorder of n Decisions keeps at most n times this many bytes. A
// single Decision takes more only if its request is unusually large (a long path, large certificates).
const bytesPerDecision = 16 << 10

// Entry is a recorded Decision.
type Entry struct {
	// ID is the number of the Decision in its process, counted from 1.
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
	// Explanation is set only if the client requests explanations, because it is larger than the rest of the Record.
	Explanation *explain.Explanation `json:"explanation,omitempty"`
}

// Record returns the Entry's JSON form, without an explanation.
func (e *Entry) Record() Record { return Record{ID: e.ID, Node: e.Node, Report: e.Decision.Report()} }

// Recorder keeps the most recent Decisions. It is safe for concurrent use. Recording a Decision is fast and never waits
// for a reader, because the Recorder only stores the Decision. Readers convert it to JSON.
type Recorder struct {
	// instance distinguishes the IDs of this process from the IDs of an earlier process.
	instance string
	size     int
	missed   atomic.Uint64

	mu        sync.Mutex // protects the fields below; held for a few instructions only
	entries   []*Entry   // the kept Entries: their IDs are consecutive, and the last one is the newest
	last      uint64     // the ID of the newest Decision
	bytes     int64      // the estimated size of all kept Entries
	followers []*Follower
}

// NewRecorder returns a Recorder that keeps at most "size" Decisions, the newest ones. It keeps fewer if they are
// large: together they take at most "size" times 16 KiB, except that the newest one is always kept. A size below 1
// means [DefaultSize].
func NewRecorder(size int) *Recorder {
	if size < 1 {
		size = DefaultSize
	}
	return &Recorder{instance: strconv.FormatInt(time.Now().UnixNano(), 36), size: size}
}

// Instance returns an identifier of this Recorder. IDs of Recorders with different instances are unrelated.
func (r *Recorder) Instance() string { return r.instance }

// LastID returns the ID of the newest Decision, or 0 if there is none.
func (r *Recorder) LastID() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.last
}

// OldestID returns the ID of the oldest Decision that is still kept. It is 1 in an empty Recorder.
func (r *Recorder) OldestID() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.oldest()
}

func (r *Recorder) oldest() uint64 { return r.last - uint64(len(r.entries)) + 1 }

// Missed returns how many Decisions were dropped before a Follower read them, summed over all Followers.
func (r *Recorder) Missed() uint64 { return r.missed.Load() }

// For returns the function that records the Decisions of a node.
func (r *Recorder) For(node string) func(*authchain.Decision) {
	return func(d *authchain.Decision) { r.record(node, d) }
}

func (r *Recorder) record(node string, d *authchain.Decision) {
	e := &Entry{Node: node, Decision: d, size: sizeOf(d)}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last++
	e.ID = r.last
	r.entries = append(r.entries, e)
	r.bytes += e.size
	for len(r.entries) > r.size || len(r.entries) > 1 && r.bytes > int64(r.size)*bytesPerDecision {
		r.bytes -= r.entries[0].size
		r.entries[0] = nil
		r.entries = r.entries[1:]
	}
	for _, f := range r.followers {
		f.wake()
	}
}

// After returns the kept Entries whose ID is greater than the given ID, in order. The result "upTo" is the ID to pass
// to the next call of After.
func (r *Recorder) After(id uint64) (entries []*Entry, upTo uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if id >= r.last {
		return nil, id
	}
	return slices.Clone(r.entries[max(id+1, r.oldest())-r.oldest():]), r.last
}

// Get returns the Entry with the given ID, or nil if this Entry was dropped or never existed.
func (r *Recorder) Get(id uint64) *Entry {
	r.mu.Lock()
	defer r.mu.Unlock()
	if id < r.oldest() || id > r.last {
		return nil
	}
	return r.entries[id-r.oldest()]
}
