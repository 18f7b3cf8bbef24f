package node

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
)

// These are the annotations of static pods and mirror pods. (kubelet: pkg/kubelet/types)
const (
	annotationHash   = "kubernetes.io/config.hash"
	annotationMirror = "kubernetes.io/config.mirror"
	annotationSeen   = "kubernetes.io/config.seen"
	annotationSource = "kubernetes.io/config.source"
)

// staticPods turns manifests into the static pods of a node. The node's name is appended to their names. A manifest
// without a UID gets a hash of its content, so it keeps its UID while it is unchanged. (kubelet: pkg/kubelet/config,
// applyDefaults)
func staticPods(given []*v1.Pod, node string, now time.Time) (map[types.NamespacedName]*v1.Pod, error) {
	if len(given) == 0 {
		return nil, nil
	}
	all := make(map[types.NamespacedName]*v1.Pod, len(given))
	for _, original := range given {
		pod := original.DeepCopy()
		pod.Namespace = cmp.Or(pod.Namespace, metav1.NamespaceDefault)
		if pod.UID == "" {
			text, err := json.Marshal(pod)
			if err != nil {
				return nil, err
			}
			sum := sha256.Sum256(append(text, "host:"+node...))
			pod.UID = types.UID(hex.EncodeToString(sum[:16]))
		}
		pod.Name = pod.Name + "-" + strings.ToLower(node)
		pod.Spec.NodeName = node
		pod.Annotations = maps.Clone(pod.Annotations)
		metav1.SetMetaDataAnnotation(&pod.ObjectMeta, annotationHash, string(pod.UID))
		metav1.SetMetaDataAnnotation(&pod.ObjectMeta, annotationSource, "file")
		metav1.SetMetaDataAnnotation(&pod.ObjectMeta, annotationSeen, now.Format(time.RFC3339Nano))
		pod.Spec.Tolerations = append(pod.Spec.Tolerations,
			v1.Toleration{Operator: v1.TolerationOpExists, Effect: v1.TaintEffectNoExecute})
		pod.Status = v1.PodStatus{Phase: v1.PodPending}
		key := keyOf(pod)
		if _, there := all[key]; there {
			return nil, fmt.Errorf("static pod %s: two manifests have this name; rename one of them", key)
		}
		all[key] = pod
	}
	return all, nil
}

// CheckStatic returns an error if pods cannot be the static pods of a node.
func CheckStatic(given []*v1.Pod) error {
	_, err := staticPods(given, "", time.Time{})
	return err
}

// isSame reports whether two versions of a static pod are equal, except for the time when they were read. Two versions
// with different content have the same UID if the manifest sets it.
func isSame(a, b *v1.Pod) bool {
	seen := maps.Clone(b.Annotations)
	seen[annotationSeen] = a.Annotations[annotationSeen]
	return a.UID == b.UID && equality.Semantic.DeepEqual(a.Spec, b.Spec) &&
		maps.Equal(a.Labels, b.Labels) && maps.Equal(a.Annotations, seen)
}

// IsStatic reports whether a pod is a static pod or its mirror pod.
func IsStatic(pod *v1.Pod) bool {
	source, found := pod.Annotations[annotationSource]
	return found && source != "api"
}

func isMirror(pod *v1.Pod) bool {
	_, is := pod.Annotations[annotationMirror]
	return is
}

// noteChange makes sync pass a static pod to its Life again if its manifest has changed but sets the same UID. A pod
// with another UID gets a new Life. Only sync calls noteChange.
func (m *member) noteChange(key types.NamespacedName) {
	m.fleet.mu.Lock()
	defer m.fleet.mu.Unlock()
	if l := m.fleet.lives[key]; m.changed[key] && l != nil {
		l.shown = nil
	}
	delete(m.changed, key)
}

// The method "mirror" returns the mirror pod of a static pod. If there is no mirror pod and the Node exists, the method
// creates a mirror pod. If the mirror pod is outdated or is being deleted, the method deletes it and returns nil; a
// later call then creates a new one. (kubelet: syncPod, MirrorClient)
func (m *member) mirror(ctx context.Context, pod, shown *v1.Pod) (*v1.Pod, error) {
	m.noteChange(keyOf(pod))
	switch {
	case shown == nil:
	case !isMirror(shown):
		m.logger().Warn("cannot create the mirror pod: an ordinary pod has the same name; delete it, or rename the " +
			"static pod: " + keyOf(pod).String())
		return nil, nil
	case shown.Annotations[annotationMirror] == pod.Annotations[annotationHash] && shown.DeletionTimestamp == nil:
		return shown, nil
	default:
		// After the watch has delivered the deletion, a new mirror pod is created.
		return nil, m.fleet.delete(ctx, shown)
	}
	uid, err := m.uid()
	if err != nil {
		return nil, nil // the Node does not exist yet; sync runs again when the watch delivers it
	}
	mirror := pod.DeepCopy()
	mirror.UID = ""
	mirror.Annotations[annotationMirror] = pod.Annotations[annotationHash]
	// NodeRestriction rejects a mirror pod without an owner.
	mirror.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "Node", Name: m.name, UID: uid,
		Controller: ptr.To(true)}}
	made, err := m.fleet.options.Client.CoreV1().Pods(mirror.Namespace).Create(ctx, mirror, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		return nil, nil // the mirror pod exists, and the watch will deliver it
	}
	if err != nil {
		return nil, fmt.Errorf("create the mirror pod: %w", err)
	}
	return made, nil
}
