package compact_test

import (
	"bytes"
	"fmt"
	"reflect"
	"runtime"
	"testing"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"fauxlet/internal/compact"
)

// exampleSpec returns the spec of a pod with a volume, an environment variable and resources.
func exampleSpec(node string) v1.PodSpec {
	return v1.PodSpec{NodeName: node, RestartPolicy: v1.RestartPolicyAlways,
		Volumes: []v1.Volume{{Name: "settings", VolumeSource: v1.VolumeSource{ConfigMap: &v1.ConfigMapVolumeSource{
			LocalObjectReference: v1.LocalObjectReference{Name: "settings"}}}}},
		Containers: []v1.Container{{Name: "web", Image: "nginx", Env: []v1.EnvVar{{Name: "A", Value: "b"}},
			VolumeMounts: []v1.VolumeMount{{Name: "settings", MountPath: "/etc/settings"}},
			Resources: v1.ResourceRequirements{
				Limits: v1.ResourceList{v1.ResourceMemory: resource.MustParse("1Gi")}}}}}
}

func examplePod(name, node string) *v1.Pod {
	return &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name, UID: "u-1", ResourceVersion: "7",
			Labels: map[string]string{"app": "web"}, Annotations: map[string]string{"a": "b"}, Generation: 2,
			ManagedFields: []metav1.ManagedFieldsEntry{{Manager: "kubectl"}}},
		Spec: exampleSpec(node),
		Status: v1.PodStatus{Phase: v1.PodRunning, PodIP: "10.0.0.1", Conditions: []v1.PodCondition{
			{Type: v1.PodReady, Status: v1.ConditionTrue}}},
	}
}

func TestPackedPodLosesOnlyManagedFields(t *testing.T) {
	pod := examplePod("web-1", "node-1")
	packed, err := compact.Pack(pod)
	if err != nil {
		t.Fatal(err)
	}
	if packed.Node() != "node-1" || packed.Key().String() != "default/web-1" {
		t.Errorf("node %q, key %q", packed.Node(), packed.Key())
	}
	if m := packed.GetObjectMeta(); m.GetName() != "web-1" || m.GetNamespace() != "default" ||
		m.GetResourceVersion() != "7" {
		t.Errorf("metadata: %v", m)
	}
	got := packed.Object()
	if len(got.ManagedFields) > 0 {
		t.Error("the managed fields are still there")
	}
	got.ManagedFields = pod.ManagedFields
	before, _ := pod.Marshal()
	after, _ := got.Marshal()
	if !bytes.Equal(before, after) {
		t.Errorf("packed: %v\nwant %v", got, pod)
	}
	if len(pod.Spec.Containers) != 1 || pod.Spec.NodeName != "node-1" || len(pod.ManagedFields) != 1 {
		t.Error("Pack has changed its argument")
	}
	if compact.Whole(pod).Object() != pod {
		t.Error("Whole does not return its argument")
	}
	if (*compact.Pod)(nil).Object() != nil || (*compact.Node)(nil).Object() != nil {
		t.Error("a missing object is not nil")
	}
}

func TestPackedNodeLosesOnlyManagedFields(t *testing.T) {
	node := &v1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node-1", UID: "u", ResourceVersion: "3",
		Labels: map[string]string{"a": "b"}}, Spec: v1.NodeSpec{PodCIDRs: []string{"10.0.0.0/24"}},
		Status: v1.NodeStatus{Capacity: v1.ResourceList{v1.ResourceCPU: resource.MustParse("8")}}}
	want, _ := node.Marshal()
	node.ManagedFields = []metav1.ManagedFieldsEntry{{Manager: "kubectl"}}
	packed, err := compact.PackNode(node)
	if err != nil {
		t.Fatal(err)
	}
	got, _ := packed.Object().Marshal()
	if !bytes.Equal(got, want) || packed.Key().Name != "node-1" {
		t.Errorf("packed %s: %v, want %v", packed.Key(), packed.Object(), node)
	}
	if compact.WholeNode(node).Object() != node {
		t.Error("WholeNode does not return its argument")
	}
}

// TestPackedPodsShareTheirSpec compares the live memory of many packed pods with the same pods as objects.
func TestPackedPodsShareTheirSpec(t *testing.T) {
	const count = 2000
	live := func(keep func(*v1.Pod) any) uint64 {
		all := make([]any, count)
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		for i := range all {
			all[i] = keep(examplePod(fmt.Sprintf("web-%d", i), fmt.Sprintf("node-%d", i%10)))
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		runtime.KeepAlive(all)
		return (after.HeapAlloc - before.HeapAlloc) / count
	}
	whole := live(func(pod *v1.Pod) any { return compact.Whole(pod) })
	packed := live(func(pod *v1.Pod) any {
		p, err := compact.Pack(pod)
		if err != nil {
			t.Fatal(err)
		}
		return p
	})
	t.Logf("a pod takes %d bytes, and packed %d", whole, packed)
	if packed > whole/5 {
		t.Errorf("a packed pod takes %d bytes, a pod %d; want at most a fifth", packed, whole)
	}
	if reflect.TypeFor[compact.Pod]().Size() > 128 {
		t.Errorf("a compact.Pod itself takes %d bytes, want at most 128", reflect.TypeFor[compact.Pod]().Size())
	}
}
