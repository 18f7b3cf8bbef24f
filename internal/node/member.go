package node

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	coordinationv1 "k8s.io/api/coordination/v1"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	corev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	nodeutil "k8s.io/component-helpers/node/util"

	"fauxlet/internal/compact"
)

// member is one node of a Fleet.
type member struct {
	*description
	fleet  *Fleet
	static map[types.NamespacedName]*v1.Pod
	// changed has the static pods whose content has changed, but not their UID. Fleet.mu guards it.
	changed map[types.NamespacedName]bool

	stop       context.CancelFunc
	gone       chan struct{}
	deregister atomic.Bool
	// registered is the UID of the registered Node. It is nil before the registration and after a deletion of the Node.
	registered atomic.Pointer[types.UID]

	reported    time.Time     // the time of the last status report
	reportDelay time.Duration // extra time until the next report
	// upToDate is the version of the Node in the cache that did not differ from the status of the node. It is nil if
	// the addresses of the node may change.
	upToDate *compact.Node

	mu    sync.Mutex
	cidrs []string
	ipam  *ipam
}

func (f *Fleet) newMember(spec *Spec) (*member, error) {
	d, err := describe(spec)
	if err != nil {
		return nil, err
	}
	m := &member{description: d, fleet: f, gone: make(chan struct{}), changed: map[types.NamespacedName]bool{}}
	m.deregister.Store(spec.Deregister)
	spec.Pods.OnExit(f.queue.Add)
	spec.Pods.SetAllocatable(f.shareAllocatable(d.template().Status.Allocatable))
	spec.Pods.SetObjects(objects{m}, spec.Config.Kubelet.SyncFrequency.Duration)
	return m, nil
}

// logger returns a logger whose lines name the node. It is made for each line, because it takes several kilobytes.
func (m *member) logger() *zap.Logger { return m.fleet.options.Logger.With(zap.String("node", m.name)) }

// shareAllocatable returns a list that is equal to its argument. Nodes with equal lists share one list.
func (f *Fleet) shareAllocatable(list v1.ResourceList) v1.ResourceList {
	if shared := f.allocatable.Load(); shared != nil && equality.Semantic.DeepEqual(*shared, list) {
		return *shared
	}
	f.allocatable.Store(&list)
	return list
}

// The method "context" marks a context for requests that belong to the node.
func (m *member) context(ctx context.Context) context.Context {
	if m.spec.Context == nil {
		return ctx
	}
	return m.spec.Context(ctx)
}

const (
	// registerFirst and registerMost limit the delay between attempts to register. (kubelet: registerWithAPIServer)
	registerFirst = 100 * time.Millisecond
	registerMost  = 7 * time.Second

	// updateRetries is the number of attempts to send one status report. The attempts follow each other without delay.
	// (kubelet: nodeStatusUpdateRetry)
	updateRetries = 5
	// A Lease is renewed after renewShare of its duration. (kubelet: nodeLeaseRenewIntervalFraction)
	renewShare = 0.25
	// leaveTimeout limits one attempt to register. It also limits the time in which a stopping node deletes its Node or
	// reports that it is not ready, including the wait for other nodes that are stopping.
	leaveTimeout = 20 * time.Second
)

// run registers the node. Then it starts to renew the node's Lease and to report its status, and returns. When ctx is
// done, the node leaves, and the function "gone" is called.
func (m *member) run(ctx context.Context, gone func()) {
	if !m.register(ctx) {
		gone()
		return
	}
	kubelet := &m.spec.Config.Kubelet
	renew := time.Duration(float64(kubelet.NodeLeaseDurationSeconds) * renewShare * float64(time.Second))
	var heartbeats sync.WaitGroup
	repeat(ctx, &heartbeats, 0, renew, (&leaseRenewer{member: m}).renew)
	// The registration has reported the status, so the first report comes after an interval. (kubelet: syncNodeStatus)
	every := kubelet.NodeStatusUpdateFrequency.Duration
	repeat(ctx, &heartbeats, wait.Jitter(every, 0.04), every, m.report)
	context.AfterFunc(ctx, func() {
		heartbeats.Wait()
		m.leave(ctx)
		gone()
	})
}

// heartbeatFailed reports that the connections may be dead. It does nothing if the heartbeat failed because the Node
// was deleted or because the node is stopping. In these cases the connections work, and other nodes use them.
func (m *member) heartbeatFailed(ctx context.Context) {
	if _, err := m.uid(); err == nil && ctx.Err() == nil && m.fleet.options.HeartbeatFailed != nil {
		m.fleet.options.HeartbeatFailed()
	}
}

// ownLease makes the Node the owner of its Lease, which is then deleted with the Node. (kubelet: SetNodeOwnerFunc)
func (m *member) ownLease(lease *coordinationv1.Lease) error {
	if len(lease.OwnerReferences) > 0 {
		return nil
	}
	uid, err := m.uid()
	lease.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "Node", Name: m.name, UID: uid}}
	return err
}

// uid returns the UID of the Node. It comes from the cache or, if the watch has not delivered the Node yet, from the
// registration. uid returns an error if the Node does not exist.
func (m *member) uid() (types.UID, error) {
	if node := m.fleet.getNode(m.name); node != nil {
		return node.UID, nil
	}
	if uid := m.registered.Load(); uid != nil {
		return *uid, nil
	}
	return "", fmt.Errorf("node %q not found", m.name)
}

// register creates or adopts the Node, and retries until it succeeds. It returns false if ctx is done first.
func (m *member) register(ctx context.Context) bool {
	backoff := wait.Backoff{Duration: registerFirst, Factor: 2, Steps: 100, Cap: registerMost}
	err := backoff.DelayFunc().Until(ctx, true, true, func(ctx context.Context) (bool, error) {
		err := m.takeTurn(ctx)
		if err != nil && ctx.Err() == nil {
			m.logger().Warn("Unable to register node with API server", zap.Error(err), m.fleet.remedy(err))
		}
		return err == nil, nil
	})
	return err == nil
}

// remedy returns a log field with the remedy for an error of the apiserver. The field is empty if the Fleet has already
// logged the same remedy, or if there is none.
func (f *Fleet) remedy(err error) zap.Field {
	var remedy string
	var certificate *tls.CertificateVerificationError
	var unreachable *url.Error
	switch {
	case apierrors.IsUnauthorized(err):
		remedy = "replace the credential in the kubeconfig: the apiserver does not know it, or it has expired"
	case apierrors.IsForbidden(err):
		remedy = "use the node's own credential in the kubeconfig (CN=system:node:NAME, O=system:nodes, with " +
			"the name of " +
			"the node), or one that may create Nodes"
	case errors.As(err, &certificate):
		remedy = "correct certificate-authority and server in the kubeconfig: the apiserver's serving " +
			"certificate must be " +
			"valid for that server, and signed by that CA"
	case errors.As(err, &unreachable):
		remedy = "start the apiserver, or correct server in the kubeconfig; the node registers as soon as the " +
			"apiserver " +
			"answers"
	default:
		return zap.Skip()
	}
	if _, logged := f.remedies.LoadOrStore(remedy, true); logged {
		return zap.Skip()
	}
	return zap.String("remedy", remedy)
}

// takeTurn waits until fewer than the maximum number of nodes are registering, and then tries once to register.
func (m *member) takeTurn(ctx context.Context) error {
	if err := m.fleet.registering.Acquire(ctx, 1); err != nil {
		return err
	}
	defer m.fleet.registering.Release(1)
	// A started attempt is finished even if ctx ends, so that m.leave knows whether the Node exists.
	trying, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaveTimeout)
	defer cancel()
	return m.tryRegister(trying)
}

// tryRegister makes one attempt to create or adopt the Node. (kubelet: tryRegisterWithAPIServer)
func (m *member) tryRegister(ctx context.Context) error {
	nodes := m.heartbeats().Nodes()
	now, done := time.Now(), "Successfully registered node"
	node, err := nodes.Create(ctx, m.initial(now), metav1.CreateOptions{})
	// A credential that may not create the Node may still be allowed to update an existing one.
	if apierrors.IsAlreadyExists(err) || apierrors.IsForbidden(err) {
		var getErr error
		if node, getErr = nodes.Get(ctx, m.name, metav1.GetOptions{}); getErr != nil {
			return fmt.Errorf("%w; reading the existing Node failed too: %w", err, getErr)
		}
		adopted, _ := m.update(m.adopt(node), ready, now)
		done = "Node was previously registered"
		_, _, err = nodeutil.PatchNodeStatus(m.heartbeats(), types.NodeName(m.name), node, adopted)
	}
	if err != nil {
		return err
	}
	uid := node.UID // copy the UID, so that the object can be freed
	m.registered.Store(&uid)
	m.logger().Info(done, zap.Int32("port", m.spec.Port))
	m.sent(now, true)
	return nil
}

// heartbeats returns the client for requests that must fail quickly on a dead connection.
func (m *member) heartbeats() corev1.CoreV1Interface { return m.fleet.options.Heartbeats.CoreV1() }

// The method "sent" records that the status was sent. After a change the next report gets a random delay, so that the
// nodes of a fleet do not all report at the same time. (kubelet: calculateDelay)
func (m *member) sent(at time.Time, changed bool) {
	m.reported, m.reportDelay = at, 0
	if changed {
		every := m.spec.Config.Kubelet.NodeStatusReportFrequency.Duration
		m.reportDelay = time.Duration((rand.Float64() - 0.5) * float64(every))
	}
}

// The method "report" sends the status if it has changed or if the last report is too old. (kubelet: updateNodeStatus)
func (m *member) report(ctx context.Context) {
	// If Options.Only is set, the node looks up its addresses before each report, as a kubelet does. Otherwise it keeps
	// the addresses that it had at the start, because all nodes of the process share them.
	if m.fleet.options.Only != "" {
		if err := m.findAddresses(m.spec); err != nil {
			m.logger().Warn("the node's addresses were not updated", zap.Error(err))
		}
	}
	cached := m.fleet.cachedNode(m.name)
	if cached != nil && cached == m.upToDate && !m.isDue(time.Now()) {
		return // comparing the same objects again would have the same result
	}
	for try := range updateRetries {
		// The first attempt uses the cached Node; later attempts request the Node. (kubelet: tryUpdateNodeStatus)
		var watched *v1.Node
		if try == 0 {
			watched = cached.Object()
		}
		err := m.tryReport(ctx, watched, ready)
		if err == nil || ctx.Err() != nil {
			if try == 0 && err == nil && m.fleet.options.Only == "" {
				m.upToDate = cached
			}
			return
		}
		if try > 0 {
			m.heartbeatFailed(ctx)
		}
		m.logger().Warn("Error updating node status, will retry", zap.Error(err))
	}
}

// tryReport makes one attempt to report the status. The argument "existing" is the Node as the apiserver has it. If it
// is nil, tryReport requests the Node.
func (m *member) tryReport(ctx context.Context, existing *v1.Node, is readiness) error {
	if existing == nil {
		var err error
		if existing, err = m.heartbeats().Nodes().Get(ctx, m.name, metav1.GetOptions{}); err != nil {
			return err
		}
	}
	now := time.Now()
	node, changed := m.update(existing, is, now)
	if !changed && !m.isDue(now) {
		return nil
	}
	if _, _, err := nodeutil.PatchNodeStatus(m.heartbeats(), types.NodeName(m.name), existing, node); err != nil {
		return err
	}
	m.sent(now, changed)
	return nil
}

// isDue reports whether the status must be sent, even if it has not changed.
func (m *member) isDue(now time.Time) bool {
	return now.Sub(m.reported) >= m.spec.Config.Kubelet.NodeStatusReportFrequency.Duration+m.reportDelay
}

// The method "leave" reports that the node is not ready, or deletes the Node.
func (m *member) leave(stopped context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(stopped), leaveTimeout)
	defer cancel()
	if m.fleet.registering.Acquire(ctx, 1) != nil {
		m.logger().Warn("could not report NotReady in time: too many nodes are leaving")
		return
	}
	defer m.fleet.registering.Release(1)
	if m.deregister.Load() {
		err := m.heartbeats().Nodes().Delete(ctx, m.name, metav1.DeleteOptions{})
		if err == nil || apierrors.IsNotFound(err) {
			m.logger().Info("Node deleted")
			return
		}
		m.logger().Warn("cannot delete the Node; a node's own credential does not have the right to delete it",
			zap.Error(err))
	}
	if err := m.tryReport(ctx, m.fleet.getNode(m.name), leaving); err != nil {
		m.logger().Warn("cannot report NotReady", zap.Error(err))
		return
	}
	m.logger().Info("node is NotReady")
}

// addressesOfPods returns the allocator of pod IPs. It makes a new allocator when the Node's podCIDRs have changed.
// The podCIDRs may change even after the first pod has started.
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
		// Reserve the addresses of pods that already exist, for example after a restart.
		for _, cached := range m.bound() {
			pod := cached.Object()
			if !pod.Spec.HostNetwork && !hasEnded(&pod.Status) {
				made.keep(uidOf(pod), ipsOf(pod))
			}
		}
		m.ipam, m.cidrs = made, cidrs
	}
	return m.ipam, nil
}

// The method "bound" returns the pods in the cache that are bound to the node.
func (m *member) bound() []*compact.Pod {
	objects, _ := m.fleet.pods.GetIndexer().ByIndex(indexNode, m.name) // the only possible error is an unknown index
	bound := make([]*compact.Pod, len(objects))
	for i, object := range objects {
		bound[i] = object.(*compact.Pod)
	}
	return bound
}
