// Package faulty injects the active faults of package faults into one node. A [Node] decorates the interfaces around a
// server: its listeners, its [net/http.Server], its handler, its client CA, its clock, its transport for reviews, and
// the resource usage that it reports. [Node.FollowCaches] empties the server's review caches. The server itself
// contains no code for faults.
//
// A fault never grants access. Faults that change responses apply after the request has been authorized. Faults that
// change reviews can turn "allowed" into "denied", but not "denied" into "allowed". While the clock is skewed, a client
// certificate must be valid both at the true time and at the skewed time.
//
// While no fault is active, a decorator returns the decorated value itself or only forwards calls to it.
package faulty

import (
	"context"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"k8s.io/apimachinery/pkg/util/cache"

	"fauxlet/authchain"
	"fauxlet/internal/faults"
	"fauxlet/testcerts"
)

// Node injects faults into one node. Its methods are safe for concurrent use.
type Node struct {
	// StaticPod, if set, returns the name of a static pod as its manifest has it: without the node's name, which a
	// kubelet appends. For a pod that is not static, it returns "". Set StaticPod before the node serves requests.
	StaticPod func(namespace, pod string) string

	// BlackHoles, if set, limits the connections that faults leave unanswered, of all nodes that share it. If it is
	// nil, the node has its own limit. Set BlackHoles before the first call of [Node.Listener].
	BlackHoles *BlackHoles

	name   string
	faults *faults.Set
	logger *zap.Logger
	// authority returns the CA for serving-certificate faults, which it creates at the first call.
	authority func() (*testcerts.Authority, error)
	// certificates has the certificates of serving-certificate faults, by their kind and hosts. The mutex "minting" is
	// locked while a certificate is looked up or made, so that two handshakes at once get the same certificate.
	certificates *cache.LRUExpireCache
	minting      sync.Mutex
	// stopping is a context that ends when a listener of the node is closed. The listener calls the function "stop".
	stopping context.Context
	stop     context.CancelFunc
}

// NewNode returns decorators that inject the faults in set whose scope includes the node with the given name. If logger
// is nil, nothing is logged.
func NewNode(name string, set *faults.Set, logger *zap.Logger) *Node {
	if logger == nil {
		logger = zap.NewNop()
	}
	n := &Node{name: name, faults: set, logger: logger, certificates: cache.NewLRUExpireCache(maxCertificates)}
	n.authority = sync.OnceValues(func() (*testcerts.Authority, error) {
		return testcerts.NewAuthority("fauxlet-fault-ca")
	})
	n.stopping, n.stop = context.WithCancel(context.Background())
	return n
}

// Collector returns the metrics of the node's active faults.
func (n *Node) Collector() prometheus.Collector { return n.faults.Collector(n.name) }

// target returns a Target with the node's name, to which callers add the fields of a request, a review or a container.
func (n *Node) target() faults.Target { return faults.Target{Node: n.name} }

// podTarget returns a Target with the names of the node, a pod and a container.
func (n *Node) podTarget(namespace, pod, container string) faults.Target {
	t := n.target()
	t.Namespace, t.Pod, t.Container = namespace, pod, container
	if n.StaticPod != nil {
		t.StaticPod = n.StaticPod(namespace, pod)
	}
	return t
}

// active returns the active faults of the given kinds whose scope includes the node, in the order of the kinds.
func (n *Node) active(kinds ...string) []*faults.Active { return n.faults.OfNode(n.name, kinds...) }

// apply returns the active fault of a kind that applies to t, or nil. It records the fault in the Decision in ctx.
func (n *Node) apply(ctx context.Context, t *faults.Target, kind string) *faults.Active {
	fault := n.faults.Apply(t, kind)
	if fault != nil {
		authchain.AddAffectedBy(ctx, fault.Name)
	}
	return fault
}

// applyToNode returns the active fault of a kind that applies to the node itself or to a connection, or nil.
func (n *Node) applyToNode(kind string) *faults.Active {
	t := n.target()
	return n.faults.Apply(&t, kind)
}

// The method "wait" waits until the delay is over or the node stops, and returns nil. If ctx ends first, it returns the
// error of ctx.
func (n *Node) wait(ctx context.Context, delay time.Duration) error {
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-n.stopping.Done():
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}
