package node

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// TestManyNodes checks that each node needs two goroutines, and that no goroutines of removed nodes remain.
func TestManyNodes(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		const many = 100
		w := newFixture(t).run()
		w.add(w.specOf("first"))
		w.create(podOf("first", "first", "first"))
		w.awaitPhase("first", v1.PodRunning)
		w.awaitLease("first", time.Time{})
		before := runtime.NumGoroutine()
		names := make([]string, many)
		for i := range names {
			names[i] = fmt.Sprintf("node-%d", i)
			w.add(w.specOf(names[i]))
		}
		w.eventually("all nodes have a Lease", func() string {
			leases, err := w.client.CoordinationV1().Leases(v1.NamespaceNodeLease).List(context.Background(),
				metav1.ListOptions{})
			if err != nil || len(leases.Items) != many+1 {
				return fmt.Sprint(len(leases.Items), err)
			}
			return ""
		})
		w.eventually("each node needs at most two goroutines", func() string {
			if n := runtime.NumGoroutine() - before; n > 2*many+20 { // requests in progress may need 20 more goroutines
				return fmt.Sprint(n)
			}
			return ""
		})
		var removing sync.WaitGroup
		for _, name := range names {
			removing.Go(func() {
				if err := w.fleet.Remove(context.Background(), name); err != nil {
					t.Error(err)
				}
			})
		}
		removing.Wait()
		nodes, err := w.client.CoreV1().Nodes().List(context.Background(), metav1.ListOptions{})
		if err != nil || len(nodes.Items) != 1 {
			t.Errorf("%d Nodes, error %v; want 1 Node", len(nodes.Items), err)
		}
		w.eventually("the goroutines of removed nodes end", func() string {
			if n := runtime.NumGoroutine() - before; n > 20 {
				return fmt.Sprint(n)
			}
			return ""
		})
	})
}

// TestNodesComeAndGo adds and removes nodes concurrently while pods are created and deleted.
func TestNodesComeAndGo(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newFixture(t).run()
		var specs []Spec
		for i := range 8 {
			specs = append(specs, w.specOf(fmt.Sprintf("node-%d", i)))
		}
		var going sync.WaitGroup
		for i, spec := range specs {
			going.Go(func() {
				name := spec.Config.NodeName
				pod := podOf(name, "pod-"+name, types.UID(name))
				if _, err := w.client.CoreV1().Pods("default").Create(context.Background(), pod,
					metav1.CreateOptions{}); err != nil {
					t.Error(err)
				}
				for range 5 {
					if err := w.fleet.Add(spec); err != nil {
						t.Error(err)
					}
					if err := w.fleet.SetStatic(name, []*v1.Pod{manifest(fmt.Sprint("static-", i),
						"a:1")}); err != nil {
						t.Error(err)
					}
					if err := w.fleet.Remove(context.Background(), name); err != nil {
						t.Error(err)
					}
				}
				if err := w.fleet.Add(spec); err != nil {
					t.Error(err)
				}
			})
		}
		going.Wait()
		for _, spec := range specs {
			name := spec.Config.NodeName
			w.awaitReady(name, v1.ConditionTrue)
			w.awaitPhase("pod-"+name, v1.PodRunning)
			w.awaitServed(name, map[string]types.UID{"pod-" + name: types.UID(name)})
		}
	})
}

// TestRemovedWhileItRegisters checks that a node that is removed during its registration leaves no Node object in
// the apiserver.
func TestRemovedWhileItRegisters(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newFixture(t)
		asked, answer := make(chan struct{}), make(chan struct{})
		w.refuse = func(request string) error {
			if request == "create nodes node-1" {
				close(asked)
				<-answer
			}
			return nil
		}
		w.run().add(w.specOf("node-1"))
		<-asked
		removed := make(chan error, 1)
		go func() { removed <- w.fleet.Remove(context.Background(), "node-1") }()
		w.eventually("the node is removed from the Fleet", func() string {
			if w.fleet.member("node-1") != nil {
				return "the node is still in the Fleet"
			}
			return ""
		})
		close(answer)
		if err := <-removed; err != nil {
			t.Error(err)
		}
		w.eventually("the Node is created and then deleted", func() string {
			if node, err := w.node("node-1"); !apierrors.IsNotFound(err) {
				return fmt.Sprint(node.Name, err)
			}
			if w.created("nodes") != 1 {
				return "the Node was not created"
			}
			return ""
		})
	})
}

// TestFleetAddsWhileItStops checks a node that is added while the Fleet stops. When Run returns, this node has
// stopped or was never started.
func TestFleetAddsWhileItStops(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newFixture(t)
		w.refuse = func(request string) error {
			if strings.HasPrefix(request, "create nodes") {
				return errors.New("not now")
			}
			return nil
		}
		w.run()
		var specs []Spec
		for i := range 50 {
			specs = append(specs, w.specOf(fmt.Sprintf("node-%d", i)))
		}
		var adding sync.WaitGroup
		for _, spec := range specs {
			adding.Go(func() { _ = w.fleet.Add(spec) }) // Add may fail because the Fleet has stopped
		}
		w.stop()
		adding.Wait()
	})
}

// TestStoppedFleetRegistersNothing checks that no node registers if the context has already ended.
func TestStoppedFleetRegistersNothing(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newFixture(t)
		for i := range 20 {
			w.add(w.specOf(fmt.Sprintf("node-%d", i)))
		}
		stopped, stop := context.WithCancel(context.Background())
		stop()
		if err := w.fleet.Run(stopped); err != nil {
			t.Error(err)
		}
		if n := w.created("nodes"); n > 0 {
			t.Errorf("%d Nodes were created, want none", n)
		}
	})
}
