package node

import (
	"sync"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
)

// TestFleetLeavesWhileALeaseIsRenewed: a renewal that the end of the Fleet cuts off is no sign of dead connections. By those
// the nodes say that they leave: closing them would leave Nodes behind.
func TestFleetLeavesWhileALeaseIsRenewed(t *testing.T) {
	t.Parallel()
	w := newWorld(t).run()
	w.add(w.restless("node-1"))
	w.awaitReady("node-1", v1.ConditionTrue)
	w.awaitLease("node-1", time.Time{})
	renewing, answer := make(chan struct{}), make(chan struct{})
	reached := sync.OnceFunc(func() { close(renewing) })
	defer close(answer)
	w.mu.Lock()
	w.refuse = func(request string) error {
		if request == "update leases node-1" {
			reached()
			<-answer
		}
		return nil
	}
	w.mu.Unlock()
	<-renewing
	w.stop()
	if failed := w.failed.Load(); failed != 0 {
		t.Errorf("connections were said to be dead %d times, by which the node was leaving", failed)
	}
	w.awaitReady("node-1", v1.ConditionFalse)
}
