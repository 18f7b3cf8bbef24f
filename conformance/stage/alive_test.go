package stage

import (
	"slices"
	"testing"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
)

var checking = Owner{Name: "check"}

// TestDead says of runs whether they are no more, by objects and Leases of them.
func TestDead(t *testing.T) {
	now := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	object := func(id string, age time.Duration) metav1.ObjectMeta {
		return metav1.ObjectMeta{Name: checking.nameOf(id) + "-x", Labels: map[string]string{checking.label(): id}, CreationTimestamp: metav1.Time{Time: now.Add(-age)}}
	}
	node := func(id string, age time.Duration) *owned {
		return &owned{nodes: []v1.Node{{ObjectMeta: object(id, age)}}}
	}
	renewed := func(made, renewed time.Duration) *coordinationv1.Lease {
		lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{CreationTimestamp: metav1.Time{Time: now.Add(-made)}}}
		lease.ManagedFields = []metav1.ManagedFieldsEntry{{Manager: "other"}, {Manager: "fauxlet", Time: ptr.To(metav1.NewTime(now.Add(-renewed)))}}
		// What the run itself says of the time is not looked at: its clock may be wrong.
		lease.Spec.RenewTime = ptr.To(metav1.NewMicroTime(now.Add(24 * time.Hour)))
		return lease
	}
	for _, test := range []struct {
		name  string
		all   *owned
		lease *coordinationv1.Lease
		want  bool
	}{
		{"renewed a moment ago", node("a", time.Hour), renewed(time.Hour, 50*time.Second), false},
		{"not renewed for long", node("a", time.Hour), renewed(time.Hour, 61*time.Second), true},
		{"never renewed, and young", node("a", time.Second), renewed(5*time.Second, 5*time.Second), false},
		{"no Lease yet", &owned{namespaces: []v1.Namespace{{ObjectMeta: object("a", 2*time.Second)}}}, nil, false},
		{"a namespace without a Lease", &owned{namespaces: []v1.Namespace{{ObjectMeta: object("a", 2*time.Minute)}}}, nil, true},
		{"a Node without a namespace", node("a", 2*time.Minute), nil, true},
		{"the newest counts", &owned{nodes: []v1.Node{{ObjectMeta: object("a", 2*time.Minute)}, {ObjectMeta: object("a", time.Second)}, {ObjectMeta: object("a", 3*time.Minute)}}}, nil, false},
		{"a request", &owned{requests: []certificatesv1.CertificateSigningRequest{{ObjectMeta: object("a", time.Hour)}}}, nil, true},
	} {
		leases := map[string]*coordinationv1.Lease{"other": renewed(0, 0)}
		if test.lease != nil {
			leases["a"] = test.lease
		}
		if got := slices.Equal(checking.dead(test.all, leases, now), []string{"a"}); got != test.want {
			t.Errorf("%s: dead is %v, want %v", test.name, got, test.want)
		}
	}
}

// TestOurs has objects that have the label and not the name.
func TestOurs(t *testing.T) {
	for name, want := range map[string]bool{
		"fauxlet-check-a": true, "fauxlet-check-a-x": true, "fauxlet-check-ab": false, "fauxlet-check-b-x": false, "kube-system": false, "": false,
	} {
		if got := checking.isOurs(&metav1.ObjectMeta{Name: name, Labels: map[string]string{checking.label(): "a"}}); got != want {
			t.Errorf("%q: %v, want %v", name, got, want)
		}
	}
	if checking.isOurs(&metav1.ObjectMeta{Name: "fauxlet-check-", Labels: map[string]string{checking.label(): ""}}) {
		t.Error("an object of no run is ours")
	}
}
