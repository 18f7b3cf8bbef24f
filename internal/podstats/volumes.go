package podstats

import (
	"slices"

	v1 "k8s.io/api/core/v1"

	"fauxlet/internal/podvolumes"
)

// Volume is the use of a volume of a pod, in bytes and inodes.
type Volume struct {
	Name string
	// Claim is the name of the PersistentVolumeClaim in the pod's namespace. It is empty if the volume has none.
	Claim string
	// Ephemeral is true if the volume counts as ephemeral storage of the pod. (kubelet: IsLocalEphemeralVolume)
	Ephemeral                      bool
	Capacity, Used, Available      uint64
	Inodes, InodesUsed, InodesFree uint64

	// onDisk is true if the volume is a folder on the node's disk. Otherwise inMemory is true if it is a tmpfs.
	onDisk, inMemory bool
}

const (
	blockSize = 4096
	// claimCapacity and claimInodes are what an ext4 file system of 10 GiB has. The node does not read the claims, so
	// all claims have this size.
	claimCapacity, claimInodes = 10_464_022_528, 655_360
)

// volumes returns the volumes of a pod that a kubelet measures, without their capacity if it depends on the node. It
// leaves out volumes of the types hostPath and image, which a kubelet does not measure.
func volumes(pod *v1.Pod) []Volume {
	var all []Volume
	for spec := range podvolumes.Mounted(pod) {
		v := Volume{Name: spec.Name, Claim: podvolumes.Claim(pod, spec)}
		switch {
		case spec.HostPath != nil, spec.Image != nil:
			continue
		case spec.EmptyDir != nil:
			v.Ephemeral = spec.EmptyDir.Medium == v1.StorageMediumDefault
			v.onDisk, v.inMemory = v.Ephemeral, !v.Ephemeral
			v.InodesUsed = 1
			if v.onDisk {
				v.Used = blockSize
			}
			if limit := spec.EmptyDir.SizeLimit; v.inMemory && limit != nil && limit.Sign() > 0 {
				v.Capacity = uint64(limit.Value())
			}
		case spec.ConfigMap != nil:
			v.onDisk, v.Ephemeral = true, true
			v.addFiles(len(spec.ConfigMap.Items))
			v.Used += 2 * blockSize // the two folders, which take no space in a tmpfs
		case spec.Secret != nil:
			v.inMemory = true
			v.addFiles(len(spec.Secret.Items))
		case spec.DownwardAPI != nil:
			v.inMemory = true
			v.addFiles(len(spec.DownwardAPI.Items))
		case spec.Projected != nil:
			v.inMemory = true
			v.addFiles(len(spec.Projected.Sources))
		case podvolumes.IsBlock(pod, spec.Name): // a kubelet knows nothing but the size of a block device
			v.Capacity = claimCapacity
		default:
			l := load{hash: hashOf(pod.Namespace, v.Claim)}
			if v.Claim == "" {
				l.hash = hashOf(string(pod.UID), v.Name)
			}
			v.Capacity, v.Inodes = claimCapacity, claimInodes
			v.Used, v.InodesUsed = v.Capacity/100*uint64(l.digit(1, 40)), 11+uint64(l.digit(0, 5_000))
			v.Available, v.InodesFree = v.Capacity-v.Used, v.Inodes-v.InodesUsed
		}
		all = append(all, v)
	}
	return all
}

// ClaimedVolumes returns the volumes of a pod that have a PersistentVolumeClaim. Their use does not depend on the node.
func ClaimedVolumes(pod *v1.Pod) []Volume {
	return slices.DeleteFunc(volumes(pod), func(v Volume) bool { return v.Claim == "" })
}

// addFiles adds the files of a volume that a kubelet writes: for each file a link, and besides them two folders and the
// link "..data". A volume whose files the pod does not list has one file.
func (v *Volume) addFiles(count int) {
	files := uint64(max(count, 1))
	v.Used, v.InodesUsed = files*blockSize, 3+2*files
}

// fitVolumes sets the capacity of the volumes on the node's disk and in its memory.
func (t *tree) fitVolumes(groups []Cgroup, filesystems []Filesystem) {
	disk := &filesystems[slices.IndexFunc(filesystems, func(f Filesystem) bool { return f.Device == PartitionDevice })]
	for i := range groups {
		for j := range groups[i].Volumes {
			v := &groups[i].Volumes[j]
			switch {
			case v.onDisk:
				v.Capacity, v.Inodes = disk.Capacity, disk.Inodes
				v.Available, v.InodesFree = disk.Capacity-disk.Used, disk.Inodes-disk.InodesUsed
			case v.inMemory:
				limit := min(t.machine.Memory, groups[i].MemoryLimit)
				if v.Capacity == 0 || v.Capacity > limit {
					v.Capacity = limit
				}
				v.Inodes = t.machine.Memory / pageSize / 2 // the kernel's default for a tmpfs
				v.Used = min(v.Used, v.Capacity)
				v.Available, v.InodesFree = v.Capacity-v.Used, v.Inodes-min(v.InodesUsed, v.Inodes)
			}
		}
	}
}
