package kubelettest

import (
	"fmt"
	"sync"

	"fauxlet/internal/faults"
)

// Fault is a failure to inject, with its scope. docs/faults.md lists its kinds, such as "connection-refused", and their
// fields.
type Fault = faults.Fault

// Scope selects the connections, requests, reviews or containers that a [Fault] applies to. An empty Scope selects all.
type Scope = faults.Scope

// WithFaults makes faults active when the kubelet starts. [Kubelet.Inject] activates faults later. If a fault is
// invalid, [New] fails the test, and [Start] and [NewUnstarted] return an error.
func WithFaults(all ...Fault) Option { return func(o *options) { o.faults = append(o.faults, all...) } }

func newFaults(o *options) (*faults.Set, error) {
	set := faults.NewSet()
	for _, f := range o.faults {
		if _, err := set.Add(f); err != nil {
			return nil, fmt.Errorf("WithFaults: %s: %w", f.Kind, err)
		}
	}
	return set, nil
}

// Inject makes a fault active until the caller calls "end", the function that Inject returns. Inject fails the test if
// the fault is invalid or if an active fault has the same name. The function "end" may be called from any goroutine. A
// second call of "end" does nothing.
func (k *Kubelet) Inject(f Fault) (end func()) {
	k.test.Helper()
	active, err := k.Faults.Add(f)
	if err != nil {
		k.test.Fatalf("kubelettest: Inject: %s: %v", f.Kind, err)
	}
	// Ignore the error: it means that the test has already removed the fault through Kubelet.Faults.
	return sync.OnceFunc(func() { _ = k.Faults.Remove(active.Name) })
}
