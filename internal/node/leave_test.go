package node

import (
	"sync"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
)

// TestFleetLeavesWhileALeaseIsRenewed checks that the connections stay open when the Fleet stops and thereby cancels
// the renewal of a Lease. After that the nodes still need the connections to report that they are not ready.
func TestFleetLeavesWhileALeaseIsRenewed(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newFixture(t).run()
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
			t.Errorf("HeartbeatFailed was called %d times while the node was leaving", failed)
		}
		w.awaitReady("node-1", v1.ConditionFalse)
	})
}
