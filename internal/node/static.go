package node

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/yaml"

	"fauxlet/internal/pods"
	"fauxlet/scenario"
)

// These are the annotations of static pods and mirror pods. (kubelet: pkg/kubelet/types)
const (
	annotationHash   = "kubernetes.io/config.hash"
	annotationMirror = "kubernetes.io/config.mirror"
	annotationSeen   = "kubernetes.io/config.seen"
	annotationSource = "kubernetes.io/config.source"
)

// staticPods turns manifests into the static pods of a node. The node's name is appended to their names. Their UIDs are
// hashes of their content, so an unchanged manifest keeps its UID. (kubelet: pkg/kubelet/config, applyDefaults)
func staticPods(given []*v1.Pod, node string, now time.Time) (map[types.NamespacedName]*v1.Pod, error) {
	if len(given) == 0 {
		return nil, nil
	}
	all := make(map[types.NamespacedName]*v1.Pod, len(given))
	for _, original := range given {
		pod := original.DeepCopy()
		pod.Namespace = cmp.Or(pod.Namespace, metav1.NamespaceDefault)
		text, err := json.Marshal(pod)
		if err != nil {
			return nil, err
		}
		sum := sha256.Sum256(append(text, "host:"+node...))
		pod.UID = types.UID(hex.EncodeToString(sum[:16]))
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

// IsStatic reports whether a pod is a static pod or its mirror pod.
func IsStatic(pod *v1.Pod) bool {
	source, found := pod.Annotations[annotationSource]
	return found && source != "api"
}

func isMirror(pod *v1.Pod) bool {
	_, is := pod.Annotations[annotationMirror]
	return is
}

// The method "mirror" returns the mirror pod of a static pod. If there is no mirror pod and the Node exists, the method
// creates a mirror pod. If the mirror pod is outdated or is being deleted, the method deletes it and returns nil; a
// later call then creates a new one. (kubelet: syncPod, MirrorClient)
func (m *member) mirror(ctx context.Context, pod, shown *v1.Pod) (*v1.Pod, error) {
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

// ReadManifests reads static pods from a file, or from every file of a folder whose name does not begin with a dot.
// An empty path, or a path that does not exist, gives no pods. (kubelet: pkg/kubelet/config, sourceFile. A kubelet
// logs an unreadable file and continues. ReadManifests returns an error.)
func ReadManifests(path string) ([]*v1.Pod, error) {
	if path == "" {
		return nil, nil
	}
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	files := []string{path}
	if info.IsDir() {
		if files, err = filepath.Glob(filepath.Join(path, "[^.]*")); err != nil {
			return nil, err
		}
	}
	var all []*v1.Pod
	for _, file := range files {
		if info, err := os.Stat(file); err != nil || !info.Mode().IsRegular() {
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		pod := &v1.Pod{}
		if err := yaml.UnmarshalStrict(text, pod); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		if pod.Kind != "Pod" || pod.APIVersion != "v1" || pod.Name == "" {
			return nil, fmt.Errorf("%s: apiVersion %q, kind %q, name %q: must be a v1 Pod with a name", file,
				pod.APIVersion, pod.Kind, pod.Name)
		}
		if _, err := pods.NewStore(scenario.Pod{Pod: pod}); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		all = append(all, pod)
	}
	return all, nil
}
