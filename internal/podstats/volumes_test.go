package podstats_test

import (
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/utils/ptr"

	"fauxlet/internal/podstats"
	"fauxlet/scenario"
)

// TestVolumes measures a volume of each type. All volumes except one are mounted.
func TestVolumes(t *testing.T) {
	sources := map[string]v1.VolumeSource{
		"claim":    {PersistentVolumeClaim: &v1.PersistentVolumeClaimVolumeSource{ClaimName: "data"}},
		"device":   {PersistentVolumeClaim: &v1.PersistentVolumeClaimVolumeSource{ClaimName: "raw"}},
		"disk":     {EmptyDir: &v1.EmptyDirVolumeSource{}},
		"downward": {DownwardAPI: &v1.DownwardAPIVolumeSource{Items: make([]v1.DownwardAPIVolumeFile, 2)}},
		"generic":  {Ephemeral: &v1.EphemeralVolumeSource{}},
		"host":     {HostPath: &v1.HostPathVolumeSource{}},
		"limited": {EmptyDir: &v1.EmptyDirVolumeSource{Medium: v1.StorageMediumMemory,
			SizeLimit: ptr.To(resource.MustParse("1Mi"))}},
		"memory":    {EmptyDir: &v1.EmptyDirVolumeSource{Medium: v1.StorageMediumMemory}},
		"settings":  {ConfigMap: &v1.ConfigMapVolumeSource{}},
		"token":     {Projected: &v1.ProjectedVolumeSource{Sources: make([]v1.VolumeProjection, 3)}},
		"unmounted": {Secret: &v1.SecretVolumeSource{}},
	}
	pod := running("web", since)
	container := &pod.Spec.Containers[0]
	for _, name := range slices.Sorted(maps.Keys(sources)) {
		pod.Spec.Volumes = append(pod.Spec.Volumes, v1.Volume{Name: name, VolumeSource: sources[name]})
		switch name {
		case "unmounted":
		case "device":
			container.VolumeDevices = []v1.VolumeDevice{{Name: name}}
		default:
			container.VolumeMounts = append(container.VolumeMounts, v1.VolumeMount{Name: name})
		}
	}
	const memory = 1 << 30
	machine := podstats.NewMachine("node-1", 2, memory, since.Add(-podstats.Interval))
	measured := podstats.Measure([]scenario.Pod{{Pod: pod}}, machine, since.Add(10*podstats.Interval), nil)
	all := measured.Cgroups[0].Filesystems
	disk := all[slices.IndexFunc(all, func(f podstats.Filesystem) bool { return f.Device == podstats.PartitionDevice })]
	var got []podstats.Volume
	for _, c := range measured.Cgroups {
		got = append(got, c.Volumes...)
	}
	onDisk := func(v podstats.Volume) podstats.Volume {
		v.Capacity, v.Available = disk.Capacity, disk.Capacity-disk.Used
		v.Inodes, v.InodesFree, v.Ephemeral = disk.Inodes, disk.Inodes-disk.InodesUsed, true
		return v
	}
	inMemory := func(v podstats.Volume, capacity uint64) podstats.Volume {
		v.Capacity, v.Available = capacity, capacity-v.Used
		v.Inodes, v.InodesFree = memory/8192, memory/8192-v.InodesUsed
		return v
	}
	const size, inodes = 10_464_022_528, 655_360 // of each claim
	claimed := func(name, claim string, i int) podstats.Volume {
		v := podstats.Volume{Name: name, Claim: claim, Capacity: size, Inodes: inodes}
		v.Used, v.InodesUsed = got[i].Used, got[i].InodesUsed
		if v.Used == 0 || v.Used > size/2 || v.InodesUsed > inodes/2 {
			t.Errorf("%s: %d bytes and %d inodes are used", name, v.Used, v.InodesUsed)
		}
		v.Available, v.InodesFree = v.Capacity-v.Used, v.Inodes-v.InodesUsed
		return v
	}
	want := []podstats.Volume{
		claimed("claim", "data", 0),
		{Name: "device", Claim: "raw", Capacity: size},
		onDisk(podstats.Volume{Name: "disk", Used: 4096, InodesUsed: 1}),
		inMemory(podstats.Volume{Name: "downward", Used: 8192, InodesUsed: 7}, memory),
		claimed("generic", "web-generic", 4),
		inMemory(podstats.Volume{Name: "limited", InodesUsed: 1}, 1<<20),
		inMemory(podstats.Volume{Name: "memory", InodesUsed: 1}, memory),
		onDisk(podstats.Volume{Name: "settings", Used: 12288, InodesUsed: 5}),
		inMemory(podstats.Volume{Name: "token", Used: 12288, InodesUsed: 9}, memory),
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(podstats.Volume{})); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if diff := cmp.Diff([]podstats.Volume{want[0], want[1], want[4]}, podstats.ClaimedVolumes(pod),
		cmpopts.IgnoreUnexported(podstats.Volume{})); diff != "" {
		t.Errorf("volumes with claims (-want +got)\n%s", diff)
	}
}
