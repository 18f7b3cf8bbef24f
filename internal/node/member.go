package node

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	coordinationv1 "k8s.io/api/coordination/v1"
	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/component-helpers/apimachinery/lease"
	nodeutil "k8s.io/component-helpers/node/util"
	"k8s.io/utils/clock"
)

// member is a node of a Fleet.
type member struct {
	*description
	fleet  *Fleet
	spec   *Spec
	logger *zap.Logger
	static map[types.NamespacedName]*v1.Pod

	stop       context.CancelFunc
	gone       chan struct{}
	deregister atomic.Bool
	// registered is the uid of the Node when it was registered; nil before that, and once it has been deleted.
	registered atomic.Pointer[types.UID]

	// reported is when the status was sent last, and reportDelay what is added to the time until it is sent again.
	reported    time.Time
	reportDelay time.Duration

	mu    sync.Mutex
	cidrs []string
	ipam  *ipam
}

func (f *Fleet) newMember(spec *Spec) (*member, error) {
	d, err := describe(spec)
	if err != nil {
		return nil, err
	}
	m := &member{description: d, fleet: f, spec: spec, gone: make(chan struct{}), logger: f.logger.With(zap.String("node", d.name))}
	m.deregister.Store(spec.Deregister)
	if m.static, err = staticPods(spec.Static, d.name, time.Now()); err != nil {
		return nil, err
	}
	return m, nil
}

// How a registration that failed is tried again. (kubelet: registerWithAPIServer)
const (
	registerFirst = 100 * time.Millisecond
	registerMost  = 7 * time.Second
	// updateRetries is how often a status that could not be sent is tried at once. (kubelet: nodeStatusUpdateRetry)
	updateRetries = 5
	// renewShare is the part of its duration after which a Lease is renewed. (kubelet: nodeLeaseRenewIntervalFraction)
	renewShare = 0.25
	// leaveTimeout is how long a node may take to say that it leaves, with all others that do, or to be registered.
	leaveTimeout = 20 * time.Second
)

// run registers the node, and keeps its Lease and its status until ctx is done; then it leaves.
func (m *member) run(ctx context.Context) {
	if !m.register(ctx) {
		return
	}
	defer m.leave(ctx)
	kubelet := &m.spec.Config.Kubelet
	renew := time.Duration(float64(kubelet.NodeLeaseDurationSeconds) * renewShare * float64(time.Second))
	failed := func() { m.heartbeatFailed(ctx) }
	controller := lease.NewController(clock.RealClock{}, m.fleet.heartbeats, m.name, kubelet.NodeLeaseDurationSeconds, failed, renew,
		m.name, v1.NamespaceNodeLease, m.ownLease)
	var renewing sync.WaitGroup
	defer renewing.Wait()
	renewing.Go(func() { controller.Run(ctx) })
	// (kubelet: syncNodeStatus with its jitter; the registration was the first report)
	every := kubelet.NodeStatusUpdateFrequency.Duration
	select {
	case <-ctx.Done():
	case <-time.After(wait.Jitter(every, 0.04)):
		wait.JitterUntilWithContext(ctx, m.report, every, 0.04, true)
	}
}

// heartbeatFailed tells that the connections may be dead. Those that have told that the Node is deleted are not, nor those of
// a request that was given up because the node leaves, and other nodes go by them.
func (m *member) heartbeatFailed(ctx context.Context) {
	if _, err := m.uid(); err == nil && ctx.Err() == nil && m.fleet.options.HeartbeatFailed != nil {
		m.fleet.options.HeartbeatFailed()
	}
}

// ownLease has the Lease go with its Node. (kubelet: SetNodeOwnerFunc)
func (m *member) ownLease(lease *coordinationv1.Lease) error {
	if len(lease.OwnerReferences) > 0 {
		return nil
	}
	uid, err := m.uid()
	lease.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "Node", Name: m.name, UID: uid}}
	return err
}

// uid is that of the Node, as it is watched, or as it was registered where the watch has not told yet; an error where there
// is no Node yet, or no more.
func (m *member) uid() (types.UID, error) {
	if node := m.fleet.getNode(m.name); node != nil {
		return node.UID, nil
	}
	if uid := m.registered.Load(); uid != nil {
		return *uid, nil
	}
	return "", fmt.Errorf("node %q not found", m.name)
}

// register creates or adopts the Node, however long that takes; false: ctx was done first.
func (m *member) register(ctx context.Context) bool {
	backoff := wait.Backoff{Duration: registerFirst, Factor: 2, Steps: 1 << 30, Cap: registerMost}
	for {
		err := m.takeTurn(ctx)
		if err == nil {
			return true
		}
		if ctx.Err() != nil {
			return false
		}
		again := backoff.Step()
		m.logger.Warn("Unable to register node with API server", zap.Error(err), zap.Duration("again", again))
		select {
		case <-time.After(again):
		case <-ctx.Done():
			return false
		}
	}
}

// takeTurn tries to register the Node when not too many others do.
func (m *member) takeTurn(ctx context.Context) error {
	select {
	case m.fleet.registering <- struct{}{}:
		defer func() { <-m.fleet.registering }()
	case <-ctx.Done():
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	// An attempt that has begun is not given up: who leaves must know whether there is a Node.
	trying, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaveTimeout)
	defer cancel()
	return m.tryRegister(trying)
}

// tryRegister does it once. (kubelet: tryRegisterWithAPIServer)
func (m *member) tryRegister(ctx context.Context) error {
	nodes := m.fleet.heartbeats.CoreV1().Nodes()
	now := time.Now()
	created, err := nodes.Create(ctx, m.initial(now), metav1.CreateOptions{})
	if err == nil {
		uid := created.UID // the rest of the object is not kept
		m.registered.Store(&uid)
		m.logger.Info("Successfully registered node", zap.Int32("port", m.port))
		m.sent(now, true)
		return nil
	}
	// Whoever may not create it may still have one.
	if !apierrors.IsAlreadyExists(err) && !apierrors.IsForbidden(err) {
		return err
	}
	existing, getErr := nodes.Get(ctx, m.name, metav1.GetOptions{})
	if getErr != nil {
		return fmt.Errorf("%w; and it could not be read: %w", err, getErr)
	}
	adopted, _ := m.update(m.adopt(existing), ready, now)
	if _, _, err := nodeutil.PatchNodeStatus(m.fleet.heartbeats.CoreV1(), types.NodeName(m.name), existing, adopted); err != nil {
		return err
	}
	uid := existing.UID
	m.registered.Store(&uid)
	m.logger.Info("Node was previously registered", zap.Int32("port", m.port))
	m.sent(now, true)
	return nil
}

// sent remembers when the status was sent. After a change the next is due at a random time, so that the nodes of a fleet
// do not all report at once. (kubelet: calculateDelay)
func (m *member) sent(at time.Time, changed bool) {
	m.reported, m.reportDelay = at, 0
	if changed {
		m.reportDelay = time.Duration((rand.Float64() - 0.5) * float64(m.spec.Config.Kubelet.NodeStatusReportFrequency.Duration))
	}
}

// report sends the status if it has changed, or was sent too long ago. (kubelet: updateNodeStatus)
func (m *member) report(ctx context.Context) {
	if m.fleet.options.Only != "" { // many nodes are at one address, which is not looked for a hundred times a second
		if err := m.look(m.spec); err != nil {
			m.logger.Warn("the node's addresses are as they were", zap.Error(err))
		}
	}
	for try := range updateRetries {
		// The first time what is watched will do. (kubelet: tryUpdateNodeStatus)
		var watched *v1.Node
		if try == 0 {
			watched = m.fleet.getNode(m.name)
		}
		err := m.tryReport(ctx, watched, ready)
		if err == nil || ctx.Err() != nil {
			return
		}
		if try > 0 {
			m.heartbeatFailed(ctx)
		}
		m.logger.Warn("Error updating node status, will retry", zap.Error(err))
	}
}

// tryReport does it once, to the Node as it was watched, or else as the apiserver has it.
func (m *member) tryReport(ctx context.Context, existing *v1.Node, is readiness) error {
	if existing == nil {
		var err error
		if existing, err = m.fleet.heartbeats.CoreV1().Nodes().Get(ctx, m.name, metav1.GetOptions{}); err != nil {
			return err
		}
	}
	now := time.Now()
	node, changed := m.update(existing, is, now)
	if !changed && now.Sub(m.reported) < m.spec.Config.Kubelet.NodeStatusReportFrequency.Duration+m.reportDelay {
		return nil
	}
	if _, _, err := nodeutil.PatchNodeStatus(m.fleet.heartbeats.CoreV1(), types.NodeName(m.name), existing, node); err != nil {
		return err
	}
	m.sent(now, changed)
	return nil
}

// leave says that the node is not ready any more, or deletes it.
func (m *member) leave(stopped context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(stopped), leaveTimeout)
	defer cancel()
	select {
	case m.fleet.registering <- struct{}{}:
		defer func() { <-m.fleet.registering }()
	case <-ctx.Done():
		m.logger.Warn("the node could not say that it leaves: too many others did")
		return
	}
	if m.deregister.Load() {
		err := m.fleet.heartbeats.CoreV1().Nodes().Delete(ctx, m.name, metav1.DeleteOptions{})
		if err == nil || apierrors.IsNotFound(err) {
			m.logger.Info("the node is deleted")
			return
		}
		m.logger.Warn("the node could not be deleted; a node's own credential may not do that", zap.Error(err))
	}
	if err := m.tryReport(ctx, m.fleet.getNode(m.name), leaving); err != nil {
		m.logger.Warn("the node could not say that it leaves", zap.Error(err))
		return
	}
	m.logger.Info("the node is not ready any more")
}

// addressesOfPods is where its pods' addresses come from, which the cluster may tell later than the first pod.
func (m *member) addressesOfPods() (*ipam, error) {
	var cidrs []string
	if node := m.fleet.getNode(m.name); node != nil {
		cidrs = node.Spec.PodCIDRs
	}
	if cidr := m.spec.Config.Kubelet.PodCIDR; len(cidrs) == 0 && cidr != "" {
		cidrs = []string{cidr}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ipam == nil || !slices.Equal(cidrs, m.cidrs) {
		made, err := newIPAM(m.name, cidrs)
		if err != nil {
			return nil, err
		}
		// Those that its pods have already, as after a restart, come before what any is given.
		for _, pod := range m.bound() {
			if !pod.Spec.HostNetwork && !hasEnded(&pod.Status) {
				made.keep(uidOf(pod), ipsOf(pod))
			}
		}
		m.ipam, m.cidrs = made, cidrs
	}
	return m.ipam, nil
}

// bound are the pods that the apiserver shows on the node.
func (m *member) bound() []*v1.Pod {
	objects, _ := m.fleet.pods.GetIndexer().ByIndex(indexNode, m.name) // there is such an index
	bound := make([]*v1.Pod, len(objects))
	for i, object := range objects {
		bound[i] = object.(*v1.Pod)
	}
	return bound
}
