package server_test

import (
	"testing"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"fauxlet/scenario"
)

// podsWithVolumes returns two running pods that share a claim. Each also has an emptyDir and a projected volume.
func podsWithVolumes() []scenario.Pod {
	var all []scenario.Pod
	for _, name := range []string{"volumes-0", "volumes-1"} {
		all = append(all, scenario.Pod{Pod: &v1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name},
			Spec: v1.PodSpec{
				Containers: []v1.Container{{Name: "app", Image: "app:1",
					VolumeMounts: []v1.VolumeMount{{Name: "data"}, {Name: "scratch"}, {Name: "token"}}}},
				Volumes: []v1.Volume{
					{Name: "data", VolumeSource: v1.VolumeSource{
						PersistentVolumeClaim: &v1.PersistentVolumeClaimVolumeSource{ClaimName: "shared"}}},
					{Name: "scratch", VolumeSource: v1.VolumeSource{EmptyDir: &v1.EmptyDirVolumeSource{}}},
					{Name: "token", VolumeSource: v1.VolumeSource{Projected: &v1.ProjectedVolumeSource{}}},
				},
			},
		}})
	}
	return all
}

// TestNodeMetrics expects that the kubelet's own metrics agree with the pods and with /stats/summary, and that exec and
// a failed command are counted.
func TestNodeMetrics(t *testing.T) {
	m := newMeasuring(t, "", append(measuredPods(2), podsWithVolumes()...))
	got := m.scrape(t, m.client)
	claim := `{namespace="default",persistentvolumeclaim="shared"}`
	want := map[string]float64{
		"kubelet_running_pods":                                                                               4,
		`kubelet_running_containers{container_state="running"}`:                                              6,
		`kubelet_desired_pods{static=""}`:                                                                    5,
		`kubelet_pod_worker_duration_seconds_count{operation_type="create"}`:                                 5,
		"kubelet_started_pods_total":                                                                         0,
		`volume_manager_total_volumes{plugin_name="N/A",state="actual_state_of_world"}`:                      2,
		`volume_manager_total_volumes{plugin_name="kubernetes.io/empty-dir",state="desired_state_of_world"}`: 2,
		"kubelet_volume_stats_inodes" + claim:                                                                655360,
	}
	_, text := get(t, m.client, m.url+"/stats/summary")
	summary := summaryOf(t, text)
	volumes := 0
	for _, pod := range summary.Pods {
		for _, v := range pod.VolumeStats {
			volumes++
			if (v.PVCRef != nil) != (v.Name == "data") {
				t.Errorf("volume %s of pod %s has the claim %v", v.Name, pod.PodRef.Name, v.PVCRef)
			}
			if v.PVCRef != nil {
				want["kubelet_volume_stats_capacity_bytes"+claim] = float64(*v.CapacityBytes)
				want["kubelet_volume_stats_available_bytes"+claim] = float64(*v.AvailableBytes)
				want["kubelet_volume_stats_used_bytes"+claim] = float64(*v.UsedBytes)
				want["kubelet_volume_stats_inodes_free"+claim] = float64(*v.InodesFree)
				want["kubelet_volume_stats_inodes_used"+claim] = float64(*v.InodesUsed)
			}
		}
	}
	if volumes != 6 {
		t.Errorf("the summary has %d volumes, want 6", volumes)
	}
	for name, value := range want {
		if seen, there := got[name]; !there || seen != value {
			t.Errorf("%s is %v (exists: %v), want %v", name, seen, there, value)
		}
	}
	if got := sum(got, "kubelet_node_name{node="); got != 1 {
		t.Errorf("kubelet_node_name is %v", got)
	}
	if got := sum(got, `kubernetes_build_info{`); got != 1 {
		t.Errorf("kubernetes_build_info is %v", got)
	}

	for command, status := range map[string]int{"true": 200, "false": 500} {
		response, _ := m.ask(t, m.client, "POST", "/run/default/volumes-0/app?cmd="+command)
		if response.StatusCode != status {
			t.Errorf("%s: %d", command, response.StatusCode)
		}
	}
	got = m.scrape(t, m.client)
	for name, value := range map[string]float64{
		`kubelet_runtime_operations_total{operation_type="exec_sync"}`:        2,
		`kubelet_runtime_operations_errors_total{operation_type="exec_sync"}`: 1,
	} {
		if got[name] != value {
			t.Errorf("%s is %v, want %v", name, got[name], value)
		}
	}
}

// TestVolumesCountAsEphemeralStorage expects that emptyDir volumes count as ephemeral storage of their pod, and that
// volumes are neither in a brief summary nor measured at all if volumeStatsAggPeriod is negative.
func TestVolumesCountAsEphemeralStorage(t *testing.T) {
	storage := func(m measuring) (used uint64, volumes int) {
		_, text := get(t, m.client, m.url+"/stats/summary")
		for _, pod := range summaryOf(t, text).Pods {
			used += *pod.EphemeralStorage.UsedBytes
			volumes += len(pod.VolumeStats)
		}
		return used, volumes
	}
	specs := podsWithVolumes()
	on := newMeasuring(t, "", specs)
	off := newMeasuring(t, "volumeStatsAggPeriod: -1s\n", specs)
	used, volumes := storage(on)
	usedOff, volumesOff := storage(off)
	if volumes != 6 || volumesOff != 0 || used != usedOff+2*4096 {
		t.Errorf("with volumes: %d bytes, %d volumes; without: %d bytes, %d volumes", used, volumes, usedOff,
			volumesOff)
	}
	if got := sum(off.scrape(t, off.client), "kubelet_volume_stats"); got != 0 {
		t.Errorf("kubelet_volume_stats_* is there although volumes are not measured")
	}
	_, brief := get(t, on.client, on.url+"/stats/summary?only_cpu_and_memory=true")
	for _, pod := range summaryOf(t, brief).Pods {
		if len(pod.VolumeStats) > 0 {
			t.Error("a brief summary has volumes")
		}
	}
}
