package demo

import (
	"context"
	"sync"

	"fauxlet/authchain"
)

// decisions delivers the Decision about a connection to the goroutine that uses the connection.
// A kubelet records the Decision after it has sent its response, so the client has to wait for it.
type decisions struct {
	mu      sync.Mutex
	waiting map[string]chan *authchain.Decision // by the client's address
}

// observe receives each Decision of the stand-in kubelet. It does not block.
func (d *decisions) observe(decision *authchain.Decision) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if next := d.waiting[decision.Remote]; next != nil {
		next <- decision
		delete(d.waiting, decision.Remote)
	}
}

// expect returns a function that waits for the first Decision about a connection from the address remote. Call
// expect before anything is sent on the connection. Call cancel when the Decision is no longer needed.
func (d *decisions) expect(remote string) (wait func(context.Context) (*authchain.Decision, error), cancel func()) {
	next := make(chan *authchain.Decision, 1)
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.waiting == nil {
		d.waiting = map[string]chan *authchain.Decision{}
	}
	d.waiting[remote] = next
	wait = func(ctx context.Context) (*authchain.Decision, error) {
		select {
		case decision := <-next:
			return decision, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	cancel = func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.waiting[remote] == next {
			delete(d.waiting, remote)
		}
	}
	return wait, cancel
}
