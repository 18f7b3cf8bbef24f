package node

import (
	"fmt"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"fauxlet/internal/pods"
)

func newQuantity(n int64) *resource.Quantity { return resource.NewQuantity(n, resource.DecimalSI) }

// TestDescribe checks the Node that follows from flags and capacity.
func TestDescribe(t *testing.T) {
	w := &fixture{t: t, stores: map[string]*pods.Store{}}
	for _, test := range []struct {
		name  string
		flags []string
		with  func(*Spec)
		look  func(*description) string
		want  string
	}{
		{name: "addresses", look: addressesOf, want: "InternalIP=192.0.2.7 Hostname=node-1"},
		{name: "dual stack", flags: []string{"node-ip", "192.0.2.7,2001:db8::7"}, look: addressesOf,
			want: "InternalIP=192.0.2.7 InternalIP=2001:db8::7 Hostname=node-1"},
		{name: "the address that is listened on", flags: []string{"node-ip", "", "address", "192.0.2.9"},
			look: addressesOf,
			want: "InternalIP=192.0.2.9 Hostname=node-1"},
		{name: "loopback", flags: []string{"node-ip", "127.0.0.1"}, look: addressesOf,
			want: "InternalIP=127.0.0.1 Hostname=node-1"},
		{name: "a name that is an address", flags: []string{"node-ip", "", "hostname-override", "192.0.2.3"},
			look: addressesOf,
			want: "InternalIP=192.0.2.3 Hostname=192.0.2.3"},
		{name: "more, and none twice", with: func(s *Spec) {
			s.Addresses = []v1.NodeAddress{{Type: v1.NodeHostName, Address: "node-1"},
				{Type: v1.NodeExternalIP, Address: "203.0.113.7"}}
		}, look: addressesOf, want: "InternalIP=192.0.2.7 Hostname=node-1 ExternalIP=203.0.113.7"},
		{name: "pods", flags: []string{"max-pods", "50"}, look: amount("pods"), want: "50 50"},
		{name: "pods of each core", flags: []string{"max-pods", "50", "pods-per-core", "3"}, look: amount("pods"),
			want: "24 24"},
		{name: "what is reserved", flags: []string{"kube-reserved", "cpu=1", "system-reserved", "cpu=500m"},
			look: amount("cpu"),
			want: "8 6500m"},
		{name: "more reserved than there is", flags: []string{"kube-reserved", "cpu=9"}, look: amount("cpu"),
			want: "8 0"},
		{name: "huge pages", with: func(s *Spec) {
			s.Capacity = v1.ResourceList{"memory": resource.MustParse("4Gi"),
				"hugepages-1Gi": resource.MustParse("1Gi")}
		}, look: amount("memory"), want: "4Gi 3Gi"},
		{name: "more huge pages than memory", with: func(s *Spec) {
			s.Capacity = v1.ResourceList{"memory": resource.MustParse("1Gi"),
				"hugepages-1Gi": resource.MustParse("4Gi")}
		}, look: amount("memory"), want: "1Gi 0"},
		{name: "labels", flags: []string{"node-labels", "mine=a," + v1.LabelHostname + "=b"},
			look: func(d *description) string {
				labels := d.initial(time.Now()).Labels
				return fmt.Sprintln(len(labels), labels["mine"], labels[v1.LabelHostname], labels[v1.LabelOSStable],
					labels["beta.kubernetes.io/os"])
			}, want: "6 a b linux linux\n"},
		{name: "taints", flags: []string{"register-with-taints", "mine=a:NoExecute"},
			look: func(d *description) string {
				return fmt.Sprint(d.initial(time.Now()).Spec.Taints)
			}, want: "[{mine a NoExecute <nil>}]"},
		{name: "who attaches",
			look: func(d *description) string { return d.initial(time.Now()).Annotations[controllerManagedAttach] },
			want: "true"},
		{name: "port and versions", look: func(d *description) string {
			s := d.initial(time.Now()).Status
			return fmt.Sprint(s.DaemonEndpoints.KubeletEndpoint.Port, " ", s.NodeInfo.KubeletVersion, " ",
				s.NodeInfo.ContainerRuntimeVersion)
		}, want: "10250 v1.37.2 fauxlet://test"},
		{name: "conditions", look: func(d *description) string {
			var all []string
			for _, c := range d.initial(time.Now()).Status.Conditions {
				all = append(all, fmt.Sprintf("%s=%s", c.Type, c.Status))
			}
			return strings.Join(all, " ")
		}, want: "MemoryPressure=False DiskPressure=False PIDPressure=False Ready=True"},
		{name: "provider", flags: []string{"provider-id", "fake://1"},
			look: func(d *description) string { return d.initial(time.Now()).Spec.ProviderID }, want: "fake://1"},
	} {
		t.Run(test.name, func(t *testing.T) {
			w.t = t
			spec := w.specOf("node-1", test.flags...)
			if test.with != nil {
				test.with(&spec)
			}
			d, err := describe(&spec)
			if err != nil {
				t.Fatal(err)
			}
			if got := test.look(d); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}

func addressesOf(d *description) string {
	var all []string
	for _, a := range d.initial(time.Now()).Status.Addresses {
		all = append(all, string(a.Type)+"="+a.Address)
	}
	return strings.Join(all, " ")
}

// The function "amount" returns a function for the field "look" of TestDescribe. The returned function prints the
// capacity and the allocatable amount of a resource.
func amount(name v1.ResourceName) func(*description) string {
	return func(d *description) string {
		status := d.initial(time.Now()).Status
		capacity, allocatable := status.Capacity[name], status.Allocatable[name]
		return capacity.String() + " " + allocatable.String()
	}
}

// TestUpdate checks that new heartbeat times alone do not count as a change, and that the transition time of a
// condition is the time of its last change.
func TestUpdate(t *testing.T) {
	w := &fixture{t: t, stores: map[string]*pods.Store{}}
	spec := w.specOf("node-1")
	d, err := describe(&spec)
	if err != nil {
		t.Fatal(err)
	}
	first := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	readyOf := func(node *v1.Node) v1.NodeCondition {
		for _, c := range node.Status.Conditions {
			if c.Type == v1.NodeReady {
				return c
			}
		}
		t.Fatal("the Node has no condition Ready")
		return v1.NodeCondition{}
	}
	later := first.Add(time.Minute)
	node, changed := d.update(d.initial(first), ready, later)
	if c := readyOf(node); changed || !c.LastTransitionTime.Time.Equal(first) ||
		!c.LastHeartbeatTime.Time.Equal(later) {
		t.Errorf("after a minute: changed %v, %+v", changed, c)
	}
	node, changed = d.update(node, leaving, later)
	if c := readyOf(node); !changed || !c.LastTransitionTime.Time.Equal(later) || c.Status != v1.ConditionFalse {
		t.Errorf("leaving: changed %v, %+v", changed, c)
	}
	node.Labels[v1.LabelOSStable] = "plan9"
	if node, changed = d.update(node, leaving, later); !changed || node.Labels[v1.LabelOSStable] == "plan9" {
		t.Errorf("with a wrong label: changed %v, %v", changed, node.Labels)
	}
}

// TestAdopt checks an existing Node: default labels are corrected, the status of an earlier kubelet is replaced, and
// the rest is kept.
func TestAdopt(t *testing.T) {
	w := &fixture{t: t, stores: map[string]*pods.Store{}}
	yes := true
	before := func() *v1.Node {
		return &v1.Node{
			ObjectMeta: metav1.ObjectMeta{
				Labels: map[string]string{"theirs": "a", v1.LabelInstanceTypeStable: "m1",
					v1.LabelTopologyZone: "z1", v1.LabelOSStable: "plan9"},
				Annotations: map[string]string{"theirs": "a", controllerManagedAttach: "true"},
			},
			Spec: v1.NodeSpec{Taints: []v1.Taint{{Key: "theirs"}}, ProviderID: "theirs"},
			Status: v1.NodeStatus{
				Images:          []v1.ContainerImage{{Names: []string{"old"}}},
				RuntimeHandlers: []v1.NodeRuntimeHandler{{Name: "old"}},
				Features:        &v1.NodeFeatures{SupplementalGroupsPolicy: &yes},
				VolumesInUse:    []v1.UniqueVolumeName{"old"},
				VolumesAttached: []v1.AttachedVolume{{Name: "theirs"}},
			},
		}
	}
	for _, test := range []struct {
		name  string
		flags []string
		look  func(*v1.Node) string
		want  string
	}{
		{name: "their label", look: labelOf("theirs"), want: "a"},
		{name: "a label of no default", flags: []string{"node-labels", "theirs=b,mine=b"}, look: labelOf("theirs",
			"mine"), want: "a "},
		{name: "a default", flags: []string{"node-labels", v1.LabelTopologyZone + "=z2"},
			look: labelOf(v1.LabelTopologyZone, v1.LabelInstanceTypeStable, v1.LabelOSStable), want: "z2 m1 linux"},
		{name: "a default that is empty", flags: []string{"node-labels", v1.LabelInstanceTypeStable + "="},
			look: func(node *v1.Node) string {
				value, there := node.Labels[v1.LabelInstanceTypeStable]
				return fmt.Sprintf("%q %v", value, there)
			}, want: `"" false`},
		{name: "taints and provider", flags: []string{"register-with-taints", "mine=a:NoSchedule", "provider-id",
			"mine"},
			look: func(node *v1.Node) string {
				return fmt.Sprintf("%d %s %s", len(node.Spec.Taints), node.Spec.Taints[0].Key, node.Spec.ProviderID)
			}, want: "1 theirs theirs"},
		{name: "annotations", flags: []string{"enable-controller-attach-detach", "false"},
			look: func(node *v1.Node) string { return fmt.Sprint(node.Annotations) }, want: "map[theirs:a]"},
		{name: "status of another kubelet", look: func(node *v1.Node) string {
			s := node.Status
			return fmt.Sprint(len(s.Images), len(s.RuntimeHandlers), s.Features, len(s.VolumesInUse),
				len(s.VolumesAttached))
		}, want: "0 0 nil 0 1"},
	} {
		t.Run(test.name, func(t *testing.T) {
			w.t = t
			spec := w.specOf("node-1", test.flags...)
			d, err := describe(&spec)
			if err != nil {
				t.Fatal(err)
			}
			existing := before()
			node, changed := d.update(d.adopt(existing), ready, time.Now())
			if got := test.look(node); got != test.want || !changed {
				t.Errorf("got %s (changed: %v), want %s", got, changed, test.want)
			}
			if !equality.Semantic.DeepEqual(existing, before()) {
				t.Error("the existing object was modified")
			}
		})
	}
}

func labelOf(names ...string) func(*v1.Node) string {
	return func(node *v1.Node) string {
		var values []string
		for _, name := range names {
			values = append(values, node.Labels[name])
		}
		return strings.Join(values, " ")
	}
}
