// Package admin keeps the last Decisions of a process, and shows them on a listener of its own: as JSON, as a stream of
// events, and as lines to keep. On the same listener are readiness, what was built, and the controls of the faults.
//
// A [Recorder] is fed by Options.Observe of package server. [New] makes the [Server] that shows what it has; [Listen] and
// [Server.Serve] put that on a port, which is no port of a kubelet. [Client] is the other side.
package admin

import (
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"fauxlet/authchain"
	"fauxlet/internal/explain"
)

// DefaultSize is how many Decisions are kept where nobody says.
const DefaultSize = 1000

// bytesEach bounds what is kept, in bytes for each Decision that there may be: more than one takes but for those that were
// sent something huge.
const bytesEach = 16 << 10

// Entry is a Decision that is kept.
type Entry struct {
	// ID is the running number of the Decision in its process, from 1.
	ID uint64
	// Node is the name of the node that made it.
	Node     string
	Decision *authchain.Decision

	size int64
}

// Told is an Entry as it is told.
type Told struct {
	ID   uint64 `json:"id"`
	Node string `json:"node"`
	authchain.Report
	// Road is told where it was asked for.
	Road *explain.Road `json:"road,omitempty"`
}

// Told tells of e, without its road.
func (e *Entry) Told() Told { return Told{ID: e.ID, Node: e.Node, Report: e.Decision.Report()} }

// Recorder keeps the last Decisions of all nodes of a process. It is safe for concurrent use. To record takes no lock and
// waits for nobody: a Decision is put in its place in a ring, whole, and is written as text when somebody looks.
type Recorder struct {
	// instance tells this Recorder's ids from those of a process before it.
	instance string
	slots    []atomic.Pointer[Entry]
	maxBytes int64

	last   atomic.Uint64 // the newest id that was given
	oldest atomic.Uint64 // what has a lower id was dropped, for its size or its age
	bytes  atomic.Int64  // the sizes of all in slots

	mu        sync.Mutex // of those who begin and end to follow
	followers atomic.Pointer[[]*Follower]
	missed    atomic.Uint64
}

// NewRecorder makes a Recorder of the last size Decisions, or fewer where they are large: it keeps no more than 16 KiB for
// each, all in all, but always the newest. A size below 1 is [DefaultSize].
func NewRecorder(size int) *Recorder {
	if size < 1 {
		size = DefaultSize
	}
	r := &Recorder{
		instance: strconv.FormatInt(time.Now().UnixNano(), 36),
		slots:    make([]atomic.Pointer[Entry], size),
		maxBytes: int64(size) * bytesEach,
	}
	r.oldest.Store(1)
	r.followers.Store(new([]*Follower))
	return r
}

// For is what records the Decisions of a node.
func (r *Recorder) For(node string) func(*authchain.Decision) {
	return func(d *authchain.Decision) { r.record(node, d) }
}

func (r *Recorder) record(node string, d *authchain.Decision) {
	e := &Entry{ID: r.last.Add(1), Node: node, Decision: d, size: sizeOf(d)}
	slot := r.slot(e.ID)
	for {
		old := slot.Load()
		if old != nil && old.ID > e.ID {
			break // the ring went round since the id was given; e is as old as what was overwritten
		}
		if slot.CompareAndSwap(old, e) {
			more := e.size
			if old != nil {
				more -= old.size
			}
			if r.bytes.Add(more) > r.maxBytes {
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

// shrink drops the oldest, though not the one of id, until what is left is small enough.
func (r *Recorder) shrink(id uint64) {
	for r.bytes.Load() > r.maxBytes {
		oldest := r.oldest.Load()
		next := max(oldest, r.first(id))
		if next >= id {
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

// first is the lowest id that the ring has room for when last is the newest.
func (r *Recorder) first(last uint64) uint64 {
	if size := uint64(len(r.slots)); last > size {
		return last - size + 1
	}
	return 1
}

// at gives the Entry of an id, nil where it is gone. It is not ok where the Entry is still to come.
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
	return nil, false // its id was given, and it is not in its place yet
}

// After gives the Entries that are kept of those after an id, in order, and the id up to which there are no others; the
// next are after that one.
func (r *Recorder) After(id uint64) (entries []*Entry, upTo uint64) {
	last := r.last.Load()
	if id >= last {
		return nil, id
	}
	for id = max(id, r.before()); id < last; id++ {
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

// before is the id before the first that is kept.
func (r *Recorder) before() uint64 { return max(r.first(r.last.Load()), r.oldest.Load()) - 1 }

// Get gives the Entry of an id, nil where it is gone or was never there.
func (r *Recorder) Get(id uint64) *Entry {
	e, _ := r.at(id)
	return e
}

// Sizes of what a Decision is made of, in bytes, as it is in memory.
const (
	sizeOfDecision    = 700 // with its Entry, and the request's context, of which it is a part
	sizeOfStep        = 144
	sizeOfQuestion    = 208
	sizeOfText        = 16 // beside its letters
	sizeOfConnection  = 400
	sizeOfCertificate = 2 << 10 // beside its bytes, which are kept twice: as they are, and as what was read from them
)

// sizeOf is about how many bytes are kept for a Decision. What several have in common is counted for each: the connection
// with the client's certificates is that of all its requests, and a user may be a cache's.
func sizeOf(d *authchain.Decision) int64 {
	n := sizeOfDecision + len(d.Remote) + len(d.Method) + len(d.Path) + len(d.Err) + len(d.Handshake) + len(d.NoRequest) + len(d.Traceparent)
	for _, fault := range d.AffectedBy {
		n += sizeOfText + len(fault)
	}
	for i := range d.Authentication {
		n += sizeOfStep + len(d.Authentication[i].Reason)
	}
	for i := range d.Authorization {
		n += sizeOfQuestion + len(d.Authorization[i].Reason)
	}
	if d.User != nil {
		n += len(d.User.GetName()) + len(d.User.GetUID())
		for _, group := range d.User.GetGroups() {
			n += sizeOfText + len(group)
		}
		for key, values := range d.User.GetExtra() {
			n += sizeOfText + len(key)
			for _, value := range values {
				n += sizeOfText + len(value)
			}
		}
	}
	if d.TLS != nil {
		n += sizeOfConnection
		for _, certificate := range d.TLS.PeerCertificates {
			n += sizeOfCertificate + 2*len(certificate.Raw)
		}
	}
	return int64(n)
}
