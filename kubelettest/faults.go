package kubelettest

import (
	"fmt"

	"fauxlet/internal/faults"
)

// WithFaults has something go wrong from the start. Faults that begin later are those of [Kubelet.Inject].
func WithFaults(all ...faults.Fault) Option {
	return func(o *options) { o.faults = append(o.faults, all...) }
}

// newFaults has the faults of the options.
func newFaults(o *options) (*faults.Set, error) {
	set := faults.NewSet()
	for _, f := range o.faults {
		if _, err := set.Add(f); err != nil {
			return nil, fmt.Errorf("WithFaults: %s: %w", f.Kind, err)
		}
	}
	return set, nil
}

// Inject has something go wrong from when it returns until the function that it gives is called. It fails the test where the
// fault does not make sense.
func (k *Kubelet) Inject(f faults.Fault) (end func()) {
	k.t.Helper()
	active, err := k.Faults.Add(f)
	if err != nil {
		k.t.Fatalf("kubelettest: Inject: %s: %v", f.Kind, err)
	}
	return func() {
		k.t.Helper()
		if err := k.Faults.Remove(active.Name); err != nil {
			k.t.Errorf("kubelettest: %v", err)
		}
	}
}
