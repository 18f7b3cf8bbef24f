package node

import (
	"context"
	"time"

	"go.uber.org/zap"
	coordinationv1 "k8s.io/api/coordination/v1"
	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	coordinationclient "k8s.io/client-go/kubernetes/typed/coordination/v1"
	"k8s.io/utils/ptr"
)

// leaseRenewer creates and renews the Lease of a node. It behaves like the controller of
// k8s.io/component-helpers/apimachinery/lease, which a kubelet uses. That controller needs a goroutine for each node
// and keeps the Lease with its managed fields, which is too much memory for thousands of nodes.
type leaseRenewer struct {
	member *member
	// latest is the encoded Lease from the last successful request, without managed fields, or nil.
	latest []byte
}

// leaseMaxBackOff is the longest time between attempts to create a Lease. (lease: maxBackoff)
const leaseMaxBackOff = 7 * time.Second

func (r *leaseRenewer) client() coordinationclient.LeaseInterface {
	return r.member.fleet.options.Heartbeats.CoordinationV1().Leases(v1.NamespaceNodeLease)
}

// renew makes one renewal. It first assumes that no other program has changed the Lease since the last renewal, which
// saves a request. (lease: sync)
func (r *leaseRenewer) renew(ctx context.Context) {
	if r.latest != nil {
		lease := &coordinationv1.Lease{}
		if lease.Unmarshal(r.latest) == nil && r.update(ctx, lease) {
			return
		}
	}
	r.latest = nil
	if lease, created := r.ensure(ctx); lease != nil && !created {
		r.update(ctx, lease)
	}
}

// keep remembers a Lease for the next renewal.
func (r *leaseRenewer) keep(lease *coordinationv1.Lease) {
	lease.ManagedFields = nil
	r.latest, _ = lease.Marshal() // without "latest", the next renewal reads the Lease
}

// ensure returns the Lease, and whether it had to create it. It retries until ctx is done. The Lease is nil if ctx is
// done or if the Node does not exist. (lease: backoffEnsureLease, ensureLease)
func (r *leaseRenewer) ensure(ctx context.Context) (lease *coordinationv1.Lease, created bool) {
	for wait := 200 * time.Millisecond; ; wait = min(2*wait, leaseMaxBackOff) {
		lease, err := r.client().Get(ctx, r.member.name, metav1.GetOptions{})
		if created := apierrors.IsNotFound(err); created {
			wanted := &coordinationv1.Lease{
				ObjectMeta: metav1.ObjectMeta{Name: r.member.name, Namespace: v1.NamespaceNodeLease},
				Spec:       coordinationv1.LeaseSpec{HolderIdentity: &r.member.name},
			}
			if r.prepare(wanted) != nil {
				return nil, false // the next renewal tries again
			}
			if lease, err = r.client().Create(ctx, wanted, metav1.CreateOptions{}); err == nil {
				r.keep(lease)
				return lease, true
			}
		}
		if err == nil {
			return lease, false
		}
		r.member.logger().Warn("Failed to ensure lease exists, will retry", zap.Error(err),
			zap.Duration("interval", wait))
		select {
		case <-ctx.Done():
			return nil, false
		case <-time.After(wait):
		}
	}
}

// The method "update" renews an existing Lease, and reports whether it succeeded. (lease: retryUpdateLease)
func (r *leaseRenewer) update(ctx context.Context, base *coordinationv1.Lease) bool {
	for try := range updateRetries {
		if base == nil {
			return false
		}
		lease := base.DeepCopy()
		if err := r.prepare(lease); err != nil {
			r.member.logger().Warn("Failed to prepare lease", zap.Error(err))
		} else {
			updated, err := r.client().Update(ctx, lease, metav1.UpdateOptions{})
			if err == nil {
				r.keep(updated)
				return true
			}
			if ctx.Err() != nil {
				return false
			}
			r.member.logger().Warn("Failed to update lease", zap.Error(err))
			if apierrors.IsConflict(err) { // the Lease was changed by another program
				base, _ = r.ensure(ctx)
				continue
			}
		}
		if try > 0 {
			r.member.heartbeatFailed(ctx)
		}
	}
	return false
}

// prepare sets the fields of a Lease that are sent with each renewal. It returns an error if the Node does not exist.
func (r *leaseRenewer) prepare(lease *coordinationv1.Lease) error {
	lease.Spec.LeaseDurationSeconds = ptr.To(r.member.spec.Config.Kubelet.NodeLeaseDurationSeconds)
	lease.Spec.RenewTime = &metav1.MicroTime{Time: time.Now()}
	return r.member.ownLease(lease)
}
