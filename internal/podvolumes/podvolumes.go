// Package podvolumes has the facts about a pod's volumes that metrics and statistics need: which of them a kubelet
// mounts, and the names of their volume plugins and claims.
package podvolumes

import (
	"iter"
	"slices"

	v1 "k8s.io/api/core/v1"

	"fauxlet/internal/podlife"
)

// Mounted iterates over the volumes that at least one container of the pod uses, in the order of the spec. A kubelet
// does not mount the others. (kubelet: volumemanager/populator, processPodVolumes)
func Mounted(pod *v1.Pod) iter.Seq[*v1.Volume] {
	return func(yield func(*v1.Volume) bool) {
		for i := range pod.Spec.Volumes {
			if volume := &pod.Spec.Volumes[i]; isUsed(pod, volume.Name) && !yield(volume) {
				return
			}
		}
	}
}

// IsBlock reports whether containers use a volume only as a raw block device.
func IsBlock(pod *v1.Pod, volume string) bool { return isUsed(pod, volume) && !isMounted(pod, volume) }

func isUsed(pod *v1.Pod, volume string) bool {
	if isMounted(pod, volume) {
		return true
	}
	for _, c := range podlife.Containers(pod) {
		if slices.ContainsFunc(c.VolumeDevices, func(d v1.VolumeDevice) bool { return d.Name == volume }) {
			return true
		}
	}
	return false
}

func isMounted(pod *v1.Pod, volume string) bool {
	for _, c := range podlife.Containers(pod) {
		if slices.ContainsFunc(c.VolumeMounts, func(m v1.VolumeMount) bool { return m.Name == volume }) {
			return true
		}
	}
	return false
}

// Plugin returns the name of the volume plugin as it is in the kubelet's metrics. For a volume whose plugin depends on
// a PersistentVolume, it returns "N/A": the node does not read PersistentVolumes. A kubelet uses the same name if it
// finds no plugin. (kubelet: volume/util, GetFullQualifiedPluginNameForVolume)
func Plugin(volume *v1.Volume) string {
	switch {
	case volume.EmptyDir != nil:
		return "kubernetes.io/empty-dir"
	case volume.ConfigMap != nil:
		return "kubernetes.io/configmap"
	case volume.Secret != nil:
		return "kubernetes.io/secret"
	case volume.Projected != nil:
		return "kubernetes.io/projected"
	case volume.DownwardAPI != nil:
		return "kubernetes.io/downward-api"
	case volume.HostPath != nil:
		return "kubernetes.io/host-path"
	case volume.CSI != nil:
		return "kubernetes.io/csi:" + volume.CSI.Driver
	case volume.Image != nil:
		return "kubernetes.io/image"
	case volume.NFS != nil:
		return "kubernetes.io/nfs"
	case volume.ISCSI != nil:
		return "kubernetes.io/iscsi"
	case volume.FC != nil:
		return "kubernetes.io/fc"
	}
	return "N/A"
}

// Claim returns the name of the PersistentVolumeClaim of a volume, which is in the pod's namespace, or the empty string
// if the volume has none.
func Claim(pod *v1.Pod, volume *v1.Volume) string {
	switch {
	case volume.PersistentVolumeClaim != nil:
		return volume.PersistentVolumeClaim.ClaimName
	case volume.Ephemeral != nil:
		return pod.Name + "-" + volume.Name // k8s.io/component-helpers/storage/ephemeral, VolumeClaimName
	}
	return ""
}
