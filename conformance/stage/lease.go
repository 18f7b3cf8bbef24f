package stage

import (
	"context"
	"fmt"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
)

// A run is alive while it renews the Lease in its namespace. If the Lease has expired, the next run deletes the run's
// objects. Only the API server's clock measures the age of a renewal.

const (
	leaseName     = "run"
	renewInterval = 10 * time.Second
	renewDeadline = 40 * time.Second // after this time without a renewal, a run stops
	leaseDuration = time.Minute      // after this time without a renewal, a Lease expires
)

func (s *Stage) createLease(ctx context.Context) error {
	_, err := create(ctx, &coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{Name: leaseName, Labels: s.labels()},
		Spec: coordinationv1.LeaseSpec{
			HolderIdentity:       ptr.To(s.Name()),
			LeaseDurationSeconds: ptr.To(int32(leaseDuration / time.Second)),
			RenewTime:            ptr.To(metav1.NowMicro()),
		},
	}, s.client.CoordinationV1().Leases(s.Name()).Create)
	return err
}

// renewLease renews the Lease until ctx is done. It calls stop if the Lease was deleted or could not be renewed for
// renewDeadline.
func (s *Stage) renewLease(ctx context.Context, stop context.CancelCauseFunc) {
	ticker := time.NewTicker(renewInterval)
	defer ticker.Stop()
	last := time.Now()
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		patch := fmt.Sprintf(`{"spec":{"renewTime":%q}}`, metav1.NowMicro().UTC().Format(metav1.RFC3339Micro))
		once, cancel := context.WithTimeout(ctx, renewInterval)
		_, err := s.client.CoordinationV1().Leases(s.Name()).
			Patch(once, leaseName, types.MergePatchType, []byte(patch), metav1.PatchOptions{})
		cancel()
		switch {
		case err == nil:
			last = time.Now()
		case ctx.Err() == nil && (apierrors.IsNotFound(err) || time.Since(last) > renewDeadline):
			stop(fmt.Errorf("could not renew the Lease of this run for %v; another run may delete its objects: %w",
				time.Since(last).Round(time.Second), err))
			return
		}
	}
}

// lastChanged returns the time of an object's last change, according to the API server's clock.
func lastChanged(o metav1.Object) time.Time {
	last := o.GetCreationTimestamp().Time
	for _, entry := range o.GetManagedFields() {
		if entry.Time != nil && entry.Time.After(last) {
			last = entry.Time.Time
		}
	}
	return last
}

// deadRuns returns the IDs of dead runs. A run is dead if its Lease has expired, or if it has no Lease and its newest
// object is older than leaseDuration. The keys of "leases" are run IDs. The parameter "now" is the time on the API
// server's clock.
func deadRuns(all []owned, leases map[string]*coordinationv1.Lease, now time.Time) []string {
	last := map[string]time.Time{}
	for _, o := range all {
		if id := o.Labels[RunLabel]; o.CreationTimestamp.After(last[id]) {
			last[id] = o.CreationTimestamp.Time
		}
	}
	var ids []string
	for id, changed := range last {
		if lease := leases[id]; lease != nil {
			changed = lastChanged(lease)
		}
		if now.Sub(changed) > leaseDuration {
			ids = append(ids, id)
		}
	}
	return ids
}

// removeDeadRuns deletes the objects of dead runs. The parameter "now" is the time on the API server's clock.
func (s *Stage) removeDeadRuns(ctx context.Context, now time.Time) error {
	all, err := s.find(ctx, "")
	if err != nil {
		return err
	}
	leases := map[string]*coordinationv1.Lease{}
	for _, o := range all {
		if o.resource != namespaces {
			continue
		}
		lease, err := s.client.CoordinationV1().Leases(o.Name).Get(ctx, leaseName, metav1.GetOptions{})
		switch {
		case err == nil:
			leases[o.Labels[RunLabel]] = lease
		case !apierrors.IsNotFound(err):
			return err
		}
	}
	for _, id := range deadRuns(all, leases, now) {
		if id == s.id {
			continue
		}
		s.notify(fmt.Sprintf("removing the objects of run %s, which did not end properly", id))
		for _, object := range s.remove(ctx, id) {
			s.notify("not removed: " + object)
		}
	}
	return nil
}
