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

// Set holds the active faults of a process, for all nodes in the process. It is safe for concurrent use. A nil Set is
// empty.
type Set struct {
	// mu is held during a change of the faults, until all functions that were passed to Follow have returned.
	mu        sync.Mutex
	followers []*follower
	// The field "now" points to the active faults. It is nil until the first fault becomes active.
	now atomic.Pointer[[]*Active]
}

// Active is an active fault. When a fault is removed and added again, it is a new Active with a different pointer.
type Active struct {
	Fault
	Since time.Time // Since is the time at which the fault became active.
	// Origin is the argument of [Set.Replace], for example the name of a file. It is empty for a fault from [Set.Add].
	Origin           string
	matched, applied atomic.Int64
}

// Matched returns the number of connections, requests, reviews or containers that were in the fault's scope. Applied
// returns the number to which the fault was applied. It is lower than Matched if Count or Share excluded some.
func (a *Active) Matched() int64 { return a.matched.Load() }
func (a *Active) Applied() int64 { return a.applied.Load() }

// MarshalJSON writes the fields of the Fault, followed by since, origin, matched and applied.
func (a *Active) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Fault
		Since   time.Time `json:"since"`
		Origin  string    `json:"origin,omitempty"`
		Matched int64     `json:"matched"`
		Applied int64     `json:"applied"`
	}{a.Fault, a.Since, a.Origin, a.Matched(), a.Applied()})
}

// NewSet returns an empty Set.
func NewSet() *Set { return &Set{} }

// List returns the active faults in the order in which they were added. The caller must not change the slice.
func (s *Set) List() []*Active {
	if s.Unused() {
		return nil
	}
	return *s.now.Load()
}

// Unused reports whether no fault has been active since the Set was created. Empty reports whether no fault is active
// now.
func (s *Set) Unused() bool { return s == nil || s.now.Load() == nil }
func (s *Set) Empty() bool  { return len(s.List()) == 0 }

// Add activates a fault and returns it. If the fault has no name, Add generates a name. If the fault is invalid or its
// name is taken, Add changes nothing and returns an error.
func (s *Set) Add(f Fault) (*Active, error) {
	if err := f.Validate(); err != nil {
		return nil, err
	}
	f.complete()
	s.mu.Lock()
	defer s.mu.Unlock()
	now := slices.Clone(s.List())
	if other := named(now, f.Name); other != nil {
		return nil, fmt.Errorf("name: %q: an active fault of the kind %s has this name; remove it first, or choose "+
			"another name", f.Name, other.Kind)
	}
	added := activate(f, "", now)
	s.set(append(now, added))
	return added, nil
}

// Remove ends the active fault with the given name. If the fault comes from a file, it becomes active again when the
// file is next read.
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

// Clear ends all active faults, and returns how many there were.
func (s *Set) Clear() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	cleared := len(s.List())
	s.set(nil)
	return cleared
}

// Replace replaces all faults of an origin, for example a file. The origin must not be empty. An unchanged fault stays
// active and keeps its counts. If a fault is invalid or its name is taken, Replace changes nothing and returns an error
// that begins with the index of the fault, as in [0].
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
	taken := slices.Clone(others)
	now := make([]*Active, len(faults))
	// Activate the faults with names first, so that no generated name is equal to one of these names.
	for _, withName := range []bool{true, false} {
		for i, f := range faults {
			if (f.Name != "") != withName {
				continue
			}
			if err := f.Validate(); err != nil {
				return fmt.Errorf("[%d].%w", i, err)
			}
			if other := named(taken, f.Name); other != nil {
				return fmt.Errorf("[%d].name: %q: another fault, of the kind %s, has this name; choose another name",
					i, f.Name, other.Kind)
			}
			now[i] = again(before, f, origin, taken)
			taken = append(taken, now[i])
		}
	}
	s.set(append(others, now...))
	return nil
}

// The function "again" looks for a fault in the list "before" that equals f. If there is one, it returns that active
// fault, which therefore keeps its counts. Otherwise it activates f.
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

// activate returns a new Active for f. If f has no name, activate generates a name that is not taken.
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

// The method "set" replaces the active faults and calls the functions that were passed to Follow. The caller holds mu.
func (s *Set) set(now []*Active) {
	if slices.Equal(now, s.List()) {
		return
	}
	s.now.Store(&now)
	for _, f := range slices.Clone(s.followers) {
		f.changed()
	}
}

type follower struct{ changed func() }

// Follow calls the function "changed" after each change of the active faults. This function must not change the Set. It
// is never called twice at the same time. A method that changes the Set returns only after the calls of all these
// functions have returned. After the function "stop" has returned, "changed" is no longer called.
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

// Matching returns the active faults of a kind whose scope includes a target. It ignores the fields Count and Share,
// and does not change the counts of the faults.
func (s *Set) Matching(t *Target, kind string) []*Active {
	var all []*Active
	for _, a := range s.List() {
		if a.Kind == kind && a.Scope.matches(t) {
			all = append(all, a)
		}
	}
	return all
}

// OfNode returns the active faults of the given kinds whose scope includes a node, in the order of the kinds.
func (s *Set) OfNode(node string, kinds ...string) []*Active {
	var all []*Active
	for _, kind := range kinds {
		for _, a := range s.List() {
			if a.Kind == kind && matches(a.Node, node) {
				all = append(all, a)
			}
		}
	}
	return all
}

// Apply returns the first active fault of a kind that applies to the target, or nil. It updates the counts Matched and
// Applied of the faults that it considers.
func (s *Set) Apply(t *Target, kind string) *Active {
	for _, a := range s.List() {
		if a.Kind == kind && a.Apply(t) {
			return a
		}
	}
	return nil
}

// Apply reports whether the fault applies to the target, and updates the fault's counts Matched and Applied.
func (a *Active) Apply(t *Target) bool {
	if !a.Scope.matches(t) {
		return false
	}
	n := a.matched.Add(1) - 1
	if !a.selects(n) {
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
