package node

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
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

// roundTripper is a function that implements http.RoundTripper.
type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// TestFleetWaitsForItsRequests checks that no request to the apiserver is under way when Run returns, and that none
// follows, even if a request takes a second to end after it was cancelled.
func TestFleetWaitsForItsRequests(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		var active atomic.Int32
		var ended atomic.Bool
		client, err := kubernetes.NewForConfigAndClient(&rest.Config{Host: "http://192.0.2.1"}, &http.Client{
			Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
				if ended.Load() {
					t.Errorf("a request was sent after Run had returned: %s", r.URL)
				}
				active.Add(1)
				defer active.Add(-1)
				if r.URL.Query().Get("watch") != "" {
					return nil, errors.New("this apiserver serves no watches") // so the informers send list requests
				}
				cancel()
				<-r.Context().Done()
				time.Sleep(time.Second)
				return nil, r.Context().Err()
			})})
		if err != nil {
			t.Fatal(err)
		}
		fleet, err := NewFleet(Options{Client: client})
		if err != nil {
			t.Fatal(err)
		}
		if err := fleet.Run(ctx); err != nil {
			t.Error(err)
		}
		ended.Store(true)
		if n := active.Load(); n > 0 {
			t.Errorf("%d requests were under way when Run returned", n)
		}
	})
}
