package podcounts_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	dto "github.com/prometheus/client_model/go"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"fauxlet/internal/podcounts"
)

// samples has the values of gauges and counters, and for each histogram the number and the sum of its observations.
type samples map[string]string

func (s samples) Gauge(name, help string, value float64, labels ...string) {
	s.add(name, help, fmt.Sprint(value), labels)
}

func (s samples) Counter(name, help string, value float64, labels ...string) {
	s.add(name, help, fmt.Sprint(value), labels)
}

func (s samples) Histogram(name, help string, value *dto.Histogram, labels ...string) {
	s.add(name, help, fmt.Sprintf("%d, %.3g s", value.GetSampleCount(), value.GetSampleSum()), labels)
}

func (s samples) add(name, _, value string, labels []string) {
	key := name
	for pair := range slices.Chunk(labels, 2) {
		key += " " + pair[1]
	}
	if _, found := s[key]; found {
		panic(key + " appears twice")
	}
	s[key] = value
}

func scrape(c *podcounts.Counts, pods ...*v1.Pod) samples {
	s := samples{}
	c.Write(s, pods)
	return s
}

// expect compares the samples whose names are in want. An empty value means that there is no such sample.
func expect(t *testing.T, what string, got samples, want map[string]string) {
	t.Helper()
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if got[name] != want[name] {
			t.Errorf("%s: %s is %q, want %q", what, name, got[name], want[name])
		}
	}
}

// podIn returns the pod with one main container in the given state, and an init container that has run for a second.
func podIn(phase v1.PodPhase, now time.Time, state v1.ContainerState) *v1.Pod {
	began := metav1.NewTime(now)
	pod := &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web", UID: "1", CreationTimestamp: began},
		Spec: v1.PodSpec{
			InitContainers: []v1.Container{{Name: "init"}},
			Containers: []v1.Container{{Name: "main", VolumeMounts: []v1.VolumeMount{{Name: "scratch"},
				{Name: "settings"}}}},
			Volumes: []v1.Volume{
				{Name: "scratch", VolumeSource: v1.VolumeSource{EmptyDir: &v1.EmptyDirVolumeSource{}}},
				{Name: "settings", VolumeSource: v1.VolumeSource{ConfigMap: &v1.ConfigMapVolumeSource{}}},
				{Name: "unused", VolumeSource: v1.VolumeSource{Secret: &v1.SecretVolumeSource{}}},
			},
		},
		Status: v1.PodStatus{Phase: phase, StartTime: &began,
			ContainerStatuses: []v1.ContainerStatus{{Name: "main", State: state}}},
	}
	if state.Waiting == nil {
		pod.Status.InitContainerStatuses = []v1.ContainerStatus{{Name: "init", State: v1.ContainerState{
			Terminated: &v1.ContainerStateTerminated{Reason: "Completed", StartedAt: began,
				FinishedAt: metav1.NewTime(now.Add(time.Second))},
		}}}
	}
	return pod
}

var (
	waits = v1.ContainerState{Waiting: &v1.ContainerStateWaiting{Reason: "PodInitializing"}}
	runs  = v1.ContainerState{Running: &v1.ContainerStateRunning{}}
	fails = v1.ContainerState{Terminated: &v1.ContainerStateTerminated{ExitCode: 3, Reason: "Error"}}
)

// TestLifeOfAPod counts one pod from its creation to its removal.
func TestLifeOfAPod(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, took := podcounts.New(), 250*time.Millisecond
		created := time.Now()
		expect(t, "no pod", scrape(c), map[string]string{
			"kubelet_running_pods": "0", "kubelet_running_containers running": "0", "kubelet_started_pods_total": "0",
			"kubelet_working_pods desired sync ": "0", "kubelet_working_pods runtime_only sync unknown": "0",
			"kubelet_pod_worker_duration_seconds create": "", "kubelet_runtime_operations_total run_podsandbox": "",
		})

		waiting := podIn(v1.PodPending, created, waits)
		c.Changed(nil, waiting, took)
		expect(t, "waiting", scrape(c, waiting), map[string]string{
			"kubelet_running_pods": "0", "kubelet_desired_pods ": "1", "kubelet_active_pods ": "1",
			"kubelet_pod_worker_duration_seconds create":                                  "1, 0.25 s",
			"kubelet_containers_per_pod_count":                                            "1, 1 s",
			"kubelet_pod_start_duration_seconds":                                          "1, 0.25 s",
			"kubelet_started_pods_total":                                                  "0",
			"volume_manager_total_volumes kubernetes.io/empty-dir desired_state_of_world": "1",
			"volume_manager_total_volumes kubernetes.io/empty-dir actual_state_of_world":  "",
			"volume_manager_total_volumes kubernetes.io/secret desired_state_of_world":    "",
		})

		time.Sleep(4 * time.Second)
		running := podIn(v1.PodRunning, created, runs)
		c.Changed(waiting, running, took)
		again := podIn(v1.PodRunning, created, runs)
		c.Changed(running, again, took)
		expect(t, "running", scrape(c, again), map[string]string{
			"kubelet_running_pods": "1", "kubelet_running_containers running": "1",
			"kubelet_running_containers exited":                                                     "1",
			"kubelet_pod_worker_duration_seconds sync":                                              "2, 0.5 s",
			"kubelet_pod_start_duration_seconds":                                                    "2, 4.25 s",
			"kubelet_pod_start_total_duration_seconds":                                              "1, 4 s",
			"kubelet_pod_start_sli_duration_seconds":                                                "1, 3 s",
			"kubelet_started_pods_total":                                                            "1",
			"kubelet_started_containers_total container":                                            "1",
			"kubelet_started_containers_total init_container":                                       "1",
			"kubelet_terminated_containers_total init_container 0 Completed":                        "1",
			"kubelet_runtime_operations_total run_podsandbox":                                       "1",
			"kubelet_runtime_operations_total create_container":                                     "2",
			"kubelet_runtime_operations_duration_seconds start_container":                           "2, 0.5 s",
			"kubelet_runtime_operations_total stop_podsandbox":                                      "",
			"kubelet_cgroup_manager_duration_seconds create":                                        "1, 0.25 s",
			"storage_operation_duration_seconds false volume_mount success kubernetes.io/configmap": "1, 0.25 s",
			"storage_operation_duration_seconds false volume_mount success kubernetes.io/secret":    "",
			"volume_operation_total_seconds overall_volume_mount kubernetes.io/empty-dir":           "1, 0.25 s",
			"volume_manager_total_volumes kubernetes.io/empty-dir actual_state_of_world":            "1",
		})

		deleted := podIn(v1.PodFailed, created, fails)
		deleted.DeletionTimestamp = &metav1.Time{Time: time.Now()}
		c.Changed(again, deleted, took)
		expect(t, "ended", scrape(c, deleted), map[string]string{
			"kubelet_running_pods": "0", "kubelet_active_pods ": "0", "kubelet_desired_pods ": "1",
			"kubelet_working_pods desired terminated ":                                                "1",
			"kubelet_pod_worker_duration_seconds update":                                              "1, 0.25 s",
			"kubelet_terminated_containers_total container 3 Error":                                   "1",
			"kubelet_runtime_operations_total stop_container":                                         "1",
			"kubelet_runtime_operations_total stop_podsandbox":                                        "1",
			"storage_operation_duration_seconds false volume_unmount success kubernetes.io/configmap": "1, 0.25 s",
			"volume_manager_total_volumes kubernetes.io/empty-dir desired_state_of_world":             "",
		})

		c.Removed(deleted, took)
		expect(t, "removed", scrape(c), map[string]string{
			"kubelet_desired_pods ":                                    "0",
			"kubelet_pod_worker_duration_seconds terminated":           "1, 0.25 s",
			"kubelet_runtime_operations_total remove_container":        "2",
			"kubelet_runtime_operations_total remove_podsandbox":       "1",
			"kubelet_runtime_operations_total stop_podsandbox":         "1",
			"kubelet_cgroup_manager_duration_seconds destroy":          "1, 0.25 s",
			"kubelet_runtime_operations_errors_total create_container": "",
		})
	})
}

// TestPodsOlderThanTheProcess expects that nothing counts as started that ran before. After a restart of the process,
// a later restart of a container counts.
func TestPodsOlderThanTheProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		old := podIn(v1.PodRunning, time.Now(), runs)
		time.Sleep(time.Minute)
		c := podcounts.New()
		c.Changed(nil, old, 0)
		expect(t, "at first", scrape(c, old), map[string]string{
			"kubelet_running_pods": "1", "kubelet_started_pods_total": "0",
			"kubelet_started_containers_total container": "",
			"kubelet_pod_worker_duration_seconds create": "1, 0 s", "kubelet_pod_start_total_duration_seconds": "",
			"storage_operation_duration_seconds false volume_mount success kubernetes.io/configmap": "",
		})
		restarted := old.DeepCopy()
		restarted.Status.ContainerStatuses[0].RestartCount = 2
		restarted.Status.ContainerStatuses[0].LastTerminationState = fails
		c.Changed(old, restarted, 0)
		expect(t, "restarted", scrape(c, restarted), map[string]string{
			"kubelet_started_containers_total container": "2", "kubelet_running_containers exited": "2",
			"kubelet_started_pods_total": "0",
		})
		other := old.DeepCopy()
		other.UID = "2"
		c.Changed(restarted, other, 0)
		expect(t, "replaced", scrape(c, other), map[string]string{
			"kubelet_runtime_operations_total remove_podsandbox": "1",
			"kubelet_pod_worker_duration_seconds create":         "2, 0 s",
		})
	})
}

// TestRelists expects one relist for each second, however often the metrics are scraped.
func TestRelists(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, began := podcounts.New(), time.Now()
		for range 3 {
			time.Sleep(2500 * time.Millisecond)
			scrape(c)
			scrape(c)
		}
		expect(t, "after 7.5 s", scrape(c), map[string]string{
			"kubelet_pleg_relist_duration_seconds":             "8, 0 s",
			"kubelet_pleg_relist_interval_seconds":             "7, 7 s",
			"kubelet_pleg_last_seen_seconds":                   fmt.Sprint(float64(began.Add(7 * time.Second).Unix())),
			"kubelet_runtime_operations_total list_containers": "8",
		})
	})
}

// TestOperations counts operations that clients request.
func TestOperations(t *testing.T) {
	c := podcounts.New()
	c.Operation(podcounts.Exec, time.Second, nil)
	c.Operation(podcounts.Exec, time.Second, fmt.Errorf("too many"))
	c.Operation(podcounts.PortForward, 0, nil)
	expect(t, "operations", scrape(c), map[string]string{
		"kubelet_runtime_operations_total exec":            "2",
		"kubelet_runtime_operations_errors_total exec":     "1",
		"kubelet_runtime_operations_duration_seconds exec": "2, 2 s",
		"kubelet_runtime_operations_total port_forward":    "1",
		"kubelet_runtime_operations_total attach":          "",
	})
}

// TestStaticPods expects that static pods are counted apart.
func TestStaticPods(t *testing.T) {
	pod := podIn(v1.PodRunning, time.Now(), runs)
	pod.Annotations = map[string]string{"kubernetes.io/config.source": "file"}
	got := scrape(podcounts.New(), pod)
	expect(t, "one static pod", got, map[string]string{
		"kubelet_desired_pods ": "0", "kubelet_desired_pods true": "1", "kubelet_active_pods true": "1",
		"kubelet_mirror_pods": "1", "kubelet_working_pods desired sync true": "1",
	})
	for name := range got {
		if strings.Contains(name, "orphan") && got[name] != "0" {
			t.Errorf("%s: %s", name, got[name])
		}
	}
}
