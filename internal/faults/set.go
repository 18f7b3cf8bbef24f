package faults

import (
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
)

// Set has the faults that are active: those of one process, whatever its nodes. It is safe for concurrent use. A nil Set
// has none.
type Set struct {
	// mu is held while the faults are changed, and until all who follow have been told.
	mu        sync.Mutex
	followers []*follower
	// now are the active faults in the order in which they came; nil: there never was one.
	now atomic.Pointer[Version]
}

// Version are the faults that are active until the next change. Each change makes another, though it be of none.
type Version struct{ active []*Active }

// Active is a fault that is active. Two are the same only if they are one.
type Active struct {
	Fault
	// Since is when it became active.
	Since time.Time
	// Origin says who set it: see [Set.Replace].
	Origin string

	matched, applied atomic.Int64
}

// Matched counts the connections, requests, reviews or containers in the fault's scope. Applied counts those that the
// fault was applied to, which are fewer if the fault has a count or a share.
func (a *Active) Matched() int64 { return a.matched.Load() }
func (a *Active) Applied() int64 { return a.applied.Load() }

// MarshalJSON writes the fault's own fields, with the others beside them.
func (a *Active) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Fault
		Since   time.Time `json:"since"`
		Origin  string    `json:"origin,omitempty"`
		Matched int64     `json:"matched"`
		Applied int64     `json:"applied"`
	}{a.Fault, a.Since, a.Origin, a.Matched(), a.Applied()})
}

// NewSet makes a Set without faults.
func NewSet() *Set { return &Set{} }

// Version is the present one, nil where there never was a fault. It is one look, and so whoever keeps the last one knows for
// nothing whether anything has changed since.
func (s *Set) Version() *Version {
	if s == nil {
		return nil
	}
	return s.now.Load()
}

// List gives the active faults in the order in which they came. The slice must not be changed.
func (s *Set) List() []*Active { return s.Version().List() }

// List gives the faults of the version. The slice must not be changed.
func (v *Version) List() []*Active {
	if v == nil {
		return nil
	}
	return v.active
}

// Empty says whether no fault is active.
func (s *Set) Empty() bool { return len(s.List()) == 0 }

// Add makes a fault active, and returns it, with a name if it had none. All of it is in force when Add returns, where
// servers that are told can have it so. It fails, and changes nothing, where the fault does not make sense or its name is
// taken.
func (s *Set) Add(f Fault) (*Active, error) {
	if err := f.Validate(); err != nil {
		return nil, err
	}
	f.complete()
	s.mu.Lock()
	defer s.mu.Unlock()
	now := slices.Clone(s.List())
	if other := named(now, f.Name); other != nil {
		return nil, fmt.Errorf("name: %q: is that of an active fault of the kind %s; remove that one first, or take another name", f.Name, other.Kind)
	}
	added := activate(f, "", now)
	s.set(append(now, added))
	return added, nil
}

// Remove ends the fault of a name, whatever its origin. One of a file comes back when the file is read again.
func (s *Set) Remove(name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := slices.Clone(s.List())
	removed := named(now, name)
	if removed == nil {
		return fmt.Errorf("no fault %q is active", name)
	}
	s.set(slices.DeleteFunc(now, func(a *Active) bool { return a == removed }))
	return nil
}

// Clear ends all faults, and returns how many there were.
func (s *Set) Clear() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	cleared := len(s.List())
	s.set(nil)
	return cleared
}

// Replace has the faults given in place of all those of an origin that is not empty: of a file. One that was active
// already and is as it was stays, with its counts; and those of other origins stay. It fails, and changes nothing, where a
// fault does not make sense or a name is taken; the error begins with the fault's index, as in [0].
func (s *Set) Replace(origin string, faults []Fault) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var others, before []*Active
	for _, a := range s.List() {
		if a.Origin == origin {
			before = append(before, a)
		} else {
			others = append(others, a)
		}
	}
	// Names that are given go first: none is made that another has.
	taken := slices.Clone(others)
	now := make([]*Active, len(faults))
	for i, f := range faults {
		if err := f.Validate(); err != nil {
			return fmt.Errorf("[%d].%w", i, err)
		}
		if f.Name == "" {
			continue
		}
		if other := named(taken, f.Name); other != nil {
			return fmt.Errorf("[%d].name: %q: is that of another fault, of the kind %s; take another name", i, f.Name, other.Kind)
		}
		now[i] = again(before, f, origin, taken)
		taken = append(taken, now[i])
	}
	for i, f := range faults {
		if f.Name == "" {
			now[i] = again(before, f, origin, taken)
			taken = append(taken, now[i])
		}
	}
	s.set(append(others, now...))
	return nil
}

// again is the fault as it was active before, or a new one.
func again(before []*Active, f Fault, origin string, taken []*Active) *Active {
	f.complete()
	for _, a := range before {
		same := a.Fault
		if f.Name == "" {
			same.Name = ""
		}
		if equality.Semantic.DeepEqual(same, f) && named(taken, a.Name) == nil {
			return a
		}
	}
	return activate(f, origin, taken)
}

// activate is a new active fault beside others.
func activate(f Fault, origin string, others []*Active) *Active {
	for n := 1; f.Name == ""; n++ {
		if name := fmt.Sprintf("%s-%d", f.Kind, n); named(others, name) == nil {
			f.Name = name
		}
	}
	return &Active{Fault: f, Since: time.Now(), Origin: origin}
}

func named(all []*Active, name string) *Active {
	for _, a := range all {
		if a.Name == name {
			return a
		}
	}
	return nil
}

// set makes faults the active ones, and tells who follows.
func (s *Set) set(now []*Active) {
	if slices.Equal(now, s.List()) {
		return
	}
	s.now.Store(&Version{now})
	for _, f := range slices.Clone(s.followers) {
		f.changed()
	}
}

type follower struct{ changed func() }

// Follow has changed called after each change, one call at a time, before whoever made the change goes on. It must not
// change the Set. The returned function ends it: no call begins after it has returned.
func (s *Set) Follow(changed func()) (stop func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := &follower{changed}
	s.followers = append(s.followers, f)
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.followers = slices.DeleteFunc(s.followers, func(other *follower) bool { return other == f })
	}
}

// Matching are the active faults of a kind whose scope a target is in, whether or not they strike it.
func (v *Version) Matching(t *Target, kind string) []*Active {
	var all []*Active
	for _, a := range v.List() {
		if a.Kind == kind && a.Scope.matches(t) {
			all = append(all, a)
		}
	}
	return all
}

// OfNode are the active faults of some kinds that may strike something on a node.
func (v *Version) OfNode(node string, kinds ...string) []*Active {
	var all []*Active
	for _, kind := range kinds {
		for _, a := range v.List() {
			if a.Kind == kind && matches(a.Node, node) {
				all = append(all, a)
			}
		}
	}
	return all
}

// Apply returns the first active fault of a kind that applies to the target, or nil. It counts what matches the scope of
// a fault, and what a fault applies to.
func (s *Set) Apply(t *Target, kind string) *Active {
	for _, a := range s.List() {
		if a.Kind == kind && a.Apply(t) {
			return a
		}
	}
	return nil
}

// Apply says whether the fault applies to the target. It counts as [Set.Apply] does.
func (a *Active) Apply(t *Target) bool {
	if !a.Scope.matches(t) {
		return false
	}
	n := a.matched.Add(1) - 1
	if !a.drawn(n) {
		return false
	}
	for {
		applied := a.applied.Load()
		if a.Count > 0 && applied >= a.Count {
			return false
		}
		if a.applied.CompareAndSwap(applied, applied+1) {
			return true
		}
	}
}
