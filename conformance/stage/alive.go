package stage

import (
	"context"
	"fmt"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
)

// A run is alive while it renews the Lease in its namespace. One that was killed renews it no longer, and what it made is
// removed by the next run. How old a renewal is, is told by the apiserver's clock alone.

const (
	leaseName = "run"
	// renewing is how often the Lease is renewed.
	renewing = 10 * time.Second
	// abandoned is how old the last renewal of a run is that is no more. A run that could not renew gives up well before.
	abandoned = time.Minute
	givingUp  = 40 * time.Second
)

// createLease says that the run is alive.
func (o *Stage) createLease(ctx context.Context) error {
	_, err := create(ctx, &coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{Name: leaseName, Labels: o.labels()},
		Spec: coordinationv1.LeaseSpec{
			HolderIdentity: ptr.To(o.Name()), LeaseDurationSeconds: ptr.To(int32(abandoned / time.Second)), RenewTime: ptr.To(metav1.NowMicro()),
		},
	}, o.client.CoordinationV1().Leases(o.Name()).Create)
	return err
}

// renew renews the Lease until ctx is done. Where that was impossible for too long, the run is stopped.
func (o *Stage) renew(ctx context.Context, stop context.CancelCauseFunc) {
	ticker := time.NewTicker(renewing)
	defer ticker.Stop()
	last := time.Now()
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		patch := fmt.Sprintf(`{"spec":{"renewTime":%q}}`, metav1.NowMicro().UTC().Format(metav1.RFC3339Micro))
		once, cancel := context.WithTimeout(ctx, renewing)
		_, err := o.client.CoordinationV1().Leases(o.Name()).Patch(once, leaseName, mergePatch, []byte(patch), metav1.PatchOptions{})
		cancel()
		switch {
		case err == nil:
			last = time.Now()
		case ctx.Err() == nil && (apierrors.IsNotFound(err) || time.Since(last) > givingUp):
			stop(fmt.Errorf("the Lease of this run could not be renewed for %v, and others may remove what it made: %w", time.Since(last).Round(time.Second), err))
			return
		}
	}
}

// changed is when an object was last changed, by the apiserver's clock.
func changed(o metav1.Object) time.Time {
	last := o.GetCreationTimestamp().Time
	for _, entry := range o.GetManagedFields() {
		if entry.Time != nil && entry.Time.After(last) {
			last = entry.Time.Time
		}
	}
	return last
}

// dead are the runs that are no more: those whose Lease, or where there is none whose newest object, is older than a run
// would let it be. The Leases are by run; now is by the apiserver's clock.
func (p Owner) dead(all *owned, leases map[string]*coordinationv1.Lease, now time.Time) []string {
	last, order := map[string]time.Time{}, []string{}
	all.each(func(_ string, object metav1.Object) {
		id := object.GetLabels()[p.label()]
		if _, there := last[id]; !there {
			order = append(order, id)
		}
		if made := object.GetCreationTimestamp().Time; made.After(last[id]) {
			last[id] = made
		}
	})
	var ids []string
	for _, id := range order {
		if lease := leases[id]; lease != nil {
			last[id] = changed(lease)
		}
		if now.Sub(last[id]) > abandoned {
			ids = append(ids, id)
		}
	}
	return ids
}

// sweep removes what runs that are no more have left behind. now is by the apiserver's clock.
func (o *Stage) sweep(ctx context.Context, now time.Time) error {
	all, err := o.program.find(ctx, o.client, "")
	if err != nil {
		return err
	}
	leases := map[string]*coordinationv1.Lease{}
	for _, namespace := range all.namespaces {
		lease, err := o.client.CoordinationV1().Leases(namespace.Name).Get(ctx, leaseName, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return err
		}
		leases[namespace.Labels[o.program.label()]] = lease
	}
	for _, id := range o.program.dead(all, leases, now) {
		if id == o.id {
			continue
		}
		o.note(fmt.Sprintf("removing what run %s, which is no more, has left behind", id))
		for _, left := range o.program.remove(ctx, o.client, id) {
			o.note("could not be removed: " + left)
		}
	}
	return nil
}
