package stage

import (
	"slices"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/utils/ptr"
)

func TestDeadRuns(t *testing.T) {
	now := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	object := func(resource schema.GroupVersionResource, age time.Duration) owned {
		return owned{resource, metav1.ObjectMeta{
			Name:              nameOf("a") + "-x",
			Labels:            map[string]string{RunLabel: "a"},
			CreationTimestamp: metav1.Time{Time: now.Add(-age)},
		}}
	}
	renewed := func(made, renewed time.Duration) *coordinationv1.Lease {
		lease := &coordinationv1.Lease{
			ObjectMeta: metav1.ObjectMeta{CreationTimestamp: metav1.Time{Time: now.Add(-made)}},
		}
		lease.ManagedFields = []metav1.ManagedFieldsEntry{
			{Manager: "other"},
			{Manager: "fauxlet", Time: ptr.To(metav1.NewTime(now.Add(-renewed)))},
		}
		// renewTime comes from the run's own clock, which may be wrong, so it must be ignored.
		lease.Spec.RenewTime = ptr.To(metav1.NewMicroTime(now.Add(24 * time.Hour)))
		return lease
	}
	for _, test := range []struct {
		name  string
		all   []owned
		lease *coordinationv1.Lease
		want  bool
	}{
		{"renewed a moment ago", []owned{object(nodes, time.Hour)}, renewed(time.Hour, 50*time.Second), false},
		{"last renewed too long ago", []owned{object(nodes, time.Hour)}, renewed(time.Hour, 61*time.Second), true},
		{"never renewed, but new", []owned{object(nodes, time.Second)}, renewed(5*time.Second, 5*time.Second), false},
		{"no Lease yet", []owned{object(namespaces, 2*time.Second)}, nil, false},
		{"a namespace without a Lease", []owned{object(namespaces, 2*time.Minute)}, nil, true},
		{"a Node without a namespace", []owned{object(nodes, 2*time.Minute)}, nil, true},
		{"the newest object counts", []owned{object(nodes, 2*time.Minute), object(nodes, time.Second),
			object(nodes, 3*time.Minute)}, nil, false},
		{"a CertificateSigningRequest", []owned{object(requests, time.Hour)}, nil, true},
	} {
		leases := map[string]*coordinationv1.Lease{"other": renewed(0, 0)}
		if test.lease != nil {
			leases["a"] = test.lease
		}
		if got := slices.Equal(deadRuns(test.all, leases, now), []string{"a"}); got != test.want {
			t.Errorf("%s: the run is considered dead: %v, want %v", test.name, got, test.want)
		}
	}
}

// TestIsOwned also tests objects that have the run's label, but a name that the run does not use.
func TestIsOwned(t *testing.T) {
	for name, want := range map[string]bool{
		"fauxlet-check-a": true, "fauxlet-check-a-x": true, "fauxlet-check-ab": false,
		"fauxlet-check-b-x": false, "kube-system": false, "": false,
	} {
		if got := isOwned(&metav1.ObjectMeta{Name: name, Labels: map[string]string{RunLabel: "a"}}); got != want {
			t.Errorf("the object %q is owned by the run: %v, want %v", name, got, want)
		}
	}
	if isOwned(&metav1.ObjectMeta{Name: "fauxlet-check-", Labels: map[string]string{RunLabel: ""}}) {
		t.Error("an object without a run ID is considered owned")
	}
}
