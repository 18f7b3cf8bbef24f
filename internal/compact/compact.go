// Package compact keeps API objects in little memory.
//
// A pod of a typical web server takes 5 kB as a v1.Pod, and about 1 kB as a [Pod]: its encoded bytes, without managed
// fields. Pods with the same spec share the bytes of the spec. Each call of [Pod.Object] decodes the object again,
// which takes some microseconds.
package compact

import (
	"fmt"
	"unique"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// identity has the metadata that an informer reads.
type identity struct{ namespace, name, resourceVersion string }

func identityOf(object metav1.Object) identity {
	return identity{unique.Make(object.GetNamespace()).Value(), object.GetName(), object.GetResourceVersion()}
}

// GetObjectMeta implements [metav1.ObjectMetaAccessor]. The result has only the namespace, the name and the resource
// version.
func (i *identity) GetObjectMeta() metav1.Object {
	return &metav1.ObjectMeta{Namespace: i.namespace, Name: i.name, ResourceVersion: i.resourceVersion}
}

// Key returns the namespace and the name.
func (i *identity) Key() types.NamespacedName {
	return types.NamespacedName{Namespace: i.namespace, Name: i.name}
}

// Pod is an immutable pod. A nil Pod stands for a pod that does not exist.
type Pod struct {
	identity
	node  string  // spec.nodeName
	whole *v1.Pod // the pod, if it is not encoded; then the fields below are empty
	// spec is the encoded spec without nodeName. Equal specs share one string, which is freed with the last of them.
	spec unique.Handle[string]
	rest []byte // the encoded pod without spec and without managed fields
}

// Whole returns a Pod that is not encoded. The argument must not change later.
func Whole(pod *v1.Pod) *Pod {
	return &Pod{identity: identityOf(pod), node: pod.Spec.NodeName, whole: pod}
}

// Pack returns the encoded form of a pod, without its managed fields.
func Pack(pod *v1.Pod) (*Pod, error) {
	rest, spec := *pod, pod.Spec
	rest.ManagedFields, rest.Spec, spec.NodeName = nil, v1.PodSpec{}, ""
	encodedSpec, err := spec.Marshal()
	if err != nil {
		return nil, fmt.Errorf("encode the spec of pod %s/%s: %w", pod.Namespace, pod.Name, err)
	}
	encodedRest, err := rest.Marshal()
	if err != nil {
		return nil, fmt.Errorf("encode pod %s/%s: %w", pod.Namespace, pod.Name, err)
	}
	return &Pod{identity: identityOf(pod), node: unique.Make(pod.Spec.NodeName).Value(),
		spec: unique.Make(string(encodedSpec)), rest: encodedRest}, nil
}

// Node returns the name of the node in the pod's spec.
func (p *Pod) Node() string { return p.node }

// Object returns the pod, or nil for a nil Pod. The caller must not change it.
func (p *Pod) Object() *v1.Pod {
	switch {
	case p == nil:
		return nil
	case p.whole != nil:
		return p.whole
	}
	pod, spec := &v1.Pod{}, v1.PodSpec{}
	decoded(pod.Unmarshal(p.rest))
	decoded(spec.Unmarshal([]byte(p.spec.Value())))
	pod.Spec, pod.Spec.NodeName = spec, p.node
	return pod
}

// Node is an immutable Node. A nil Node stands for a Node that does not exist.
type Node struct {
	identity
	whole   *v1.Node // the Node, if it is not encoded
	encoded []byte   // the encoded Node without managed fields
}

// WholeNode returns a Node that is not encoded. The argument must not change later.
func WholeNode(node *v1.Node) *Node { return &Node{identity: identityOf(node), whole: node} }

// PackNode returns the encoded form of a Node, without its managed fields.
func PackNode(node *v1.Node) (*Node, error) {
	small := *node
	small.ManagedFields = nil
	encoded, err := small.Marshal()
	if err != nil {
		return nil, fmt.Errorf("encode Node %s: %w", node.Name, err)
	}
	return &Node{identity: identityOf(node), encoded: encoded}, nil
}

// Object returns the Node, or nil for a nil Node. The caller must not change it.
func (n *Node) Object() *v1.Node {
	switch {
	case n == nil:
		return nil
	case n.whole != nil:
		return n.whole
	}
	node := &v1.Node{}
	decoded(node.Unmarshal(n.encoded))
	return node
}

// The function "decoded" panics if bytes that this package has encoded cannot be decoded.
func decoded(err error) {
	if err != nil {
		panic("compact: " + err.Error())
	}
}
