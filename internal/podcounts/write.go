package podcounts

import (
	"strconv"
	"time"

	v1 "k8s.io/api/core/v1"

	"fauxlet/internal/metric"
	"fauxlet/internal/podlife"
	"fauxlet/internal/podvolumes"
)

// Operation is an operation of the container runtime. (kubelet: pkg/kubelet/kuberuntime/instrumented_services.go)
type Operation int

// These operations have a counterpart in this process.
const (
	Attach Operation = iota
	containerStatus
	createContainer
	Exec
	ExecSync
	listContainers
	listPodSandbox
	podSandboxStatus
	PortForward
	removeContainer
	removePodSandbox
	runPodSandbox
	startContainer
	stopContainer
	stopPodSandbox
	operations // the number of operations
)

var operationNames = [operations]string{"attach", "container_status", "create_container", "exec", "exec_sync",
	"list_containers", "list_podsandbox", "podsandbox_status", "port_forward", "remove_container", "remove_podsandbox",
	"run_podsandbox", "start_container", "stop_container", "stop_podsandbox"}

// work is the reason why a kubelet's pod worker synchronizes a pod.
type work int

const (
	workCreate work = iota
	workSync
	workTerminated
	workUpdate
	works // the number of reasons
)

var workNames = [works]string{"create", "sync", "terminated", "update"}

// cgroupWork is an operation of the kubelet's cgroup manager.
type cgroupWork int

const (
	cgroupCreate cgroupWork = iota
	cgroupDestroy
	cgroupUpdate
	cgroupWorks // the number of operations
)

var cgroupWorkNames = [cgroupWorks]string{"create", "destroy", "update"}

// These are operations of the kubelet's volume manager. volumeOverall has a metric of its own.
const (
	volumeAttached = "verify_controller_attached_volume"
	volumeMount    = "volume_mount"
	volumeUnmount  = "volume_unmount"
	volumeOverall  = "overall_volume_mount"
)

// storageKey is a volume plugin and an operation of the volume manager.
type storageKey struct{ plugin, operation string }

// terminationKey is a kind of termination of a container.
type terminationKey struct {
	containerType, reason string
	code                  int32
}

// typeNames are the values of the label container_type. A kubelet counts a sidecar as an init container.
var typeNames = [...]string{podlife.MainContainer: "container", podlife.InitContainer: "init_container",
	podlife.Sidecar: "init_container", podlife.EphemeralContainer: "ephemeral_container"}

// These are the buckets of the kubelet's histograms. (kubelet: pkg/kubelet/metrics, pkg/volume/util)
var (
	defaultBounds   = []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}
	containerBounds = []float64{1, 2, 4, 8, 16}
	startBounds     = []float64{0.5, 1, 2, 3, 4, 5, 6, 8, 10, 20, 30, 45, 60, 120, 180, 240, 300, 360, 480, 600, 900,
		1200, 1800, 2700, 3600}
	runtimeBounds = exponential(.005, 2.5, 14)
	storageBounds = []float64{.1, .25, .5, 1, 2.5, 5, 10, 15, 25, 50, 120, 300, 600}
)

func exponential(start, factor float64, count int) []float64 {
	bounds := make([]float64, count)
	for i := range bounds {
		bounds[i] = start
		start *= factor
	}
	return bounds
}

// relistPeriod is the period of the kubelet's pod lifecycle event generator (PLEG). (kubelet: genericPlegRelistPeriod)
const relistPeriod = time.Second

// Write writes the metrics. The argument "pods" has the pods of the node.
//
// A kubelet lists its containers every second (relist), and compares the result with the list before. Here the store
// reports changes, and no goroutine per node is necessary. Instead Write lists the pods once, and counts one relist of
// the same duration for each second since the last call.
func (c *Counts) Write(to metric.Sink, pods []*v1.Pod) {
	c.mu.Lock()
	defer c.mu.Unlock()
	began := time.Now()
	listed := list(pods)
	c.relist(began)
	listed.write(to)
	c.writeRelists(to)
	c.writePods(to)
	c.writeOperations(to)
}

func (c *Counts) relist(began time.Time) {
	took, due := time.Since(began), max(0, began.Sub(c.relisted)/relistPeriod)
	c.relisted = c.relisted.Add(due * relistPeriod)
	count := uint64(due)
	c.relistInterval.Observe(defaultBounds, (relistPeriod + took).Seconds(), count)
	if c.relistDuration.Count() == 0 {
		count++ // there is one more relist than intervals
	}
	c.relistDuration.Observe(defaultBounds, took.Seconds(), count)
	c.operation(listPodSandbox, took, count)
	c.operation(listContainers, took, count)
}

func (c *Counts) writeRelists(to metric.Sink) {
	to.Histogram("kubelet_pleg_relist_duration_seconds", "[ALPHA] Duration in seconds for relisting pods in PLEG.",
		c.relistDuration.Export(defaultBounds))
	to.Histogram("kubelet_pleg_relist_interval_seconds", "[ALPHA] Interval in seconds between relisting in PLEG.",
		c.relistInterval.Export(defaultBounds))
	to.Gauge("kubelet_pleg_last_seen_seconds", "[ALPHA] Timestamp in seconds when PLEG was last seen active.",
		float64(c.relisted.Unix()))
}

func (c *Counts) writePods(to metric.Sink) {
	for i := range c.workers {
		if c.workers[i].Count() > 0 {
			to.Histogram("kubelet_pod_worker_duration_seconds", "[ALPHA] Duration in seconds to sync a single pod. "+
				"Broken down by operation type: create, update, or sync", c.workers[i].Export(defaultBounds),
				"operation_type", workNames[i])
		}
	}
	to.Histogram("kubelet_containers_per_pod_count", "[ALPHA] The number of containers per pod.",
		c.containersPerPod.Export(containerBounds))
	to.Histogram("kubelet_pod_start_duration_seconds", "[ALPHA] Duration in seconds from kubelet seeing a pod for the "+
		"first time to the pod starting to run", c.start.Export(startBounds))
	if c.startSLI.Count() > 0 {
		to.Histogram("kubelet_pod_start_sli_duration_seconds", "[ALPHA] Duration in seconds to start a pod, excluding "+
			"time to pull images and run init containers, measured from pod creation timestamp to when all its "+
			"containers are reported as started and observed via watch", c.startSLI.Export(startBounds))
	}
	if c.startTotal.Count() > 0 {
		to.Histogram("kubelet_pod_start_total_duration_seconds", "[ALPHA] Duration in seconds to start a pod since "+
			"creation, including time to pull images and run init containers, measured from pod creation timestamp "+
			"to when all its containers are reported as started and observed via watch",
			c.startTotal.Export(startBounds))
	}
	to.Counter("kubelet_started_pods_total", "[ALPHA] Cumulative number of pods started", float64(c.startedPods))
	to.Counter("kubelet_started_pods_errors_total", "[ALPHA] Cumulative number of errors when starting pods", 0)
	for kind, count := range c.startedContainers {
		to.Counter("kubelet_started_containers_total", "[ALPHA] Cumulative number of containers started",
			float64(count), "container_type", kind)
	}
	for key, count := range c.terminated {
		to.Counter("kubelet_terminated_containers_total", "[ALPHA] Cumulative number of container terminations.",
			float64(count), "container_type", key.containerType, "exit_code", strconv.Itoa(int(key.code)), "reason",
			key.reason)
	}
}

func (c *Counts) writeOperations(to metric.Sink) {
	for i := range c.runtime {
		count := c.runtime[i].Count()
		if count == 0 {
			continue
		}
		name := operationNames[i]
		to.Counter("kubelet_runtime_operations_total", "[ALPHA] Cumulative number of runtime operations by operation "+
			"type.", float64(count), "operation_type", name)
		to.Histogram("kubelet_runtime_operations_duration_seconds", "[ALPHA] Duration in seconds of runtime "+
			"operations. Broken down by operation type.", c.runtime[i].Export(runtimeBounds), "operation_type", name)
		if failed := c.runtimeErrors[i]; failed > 0 {
			to.Counter("kubelet_runtime_operations_errors_total", "[ALPHA] Cumulative number of runtime operation "+
				"errors by operation type.", float64(failed), "operation_type", name)
		}
	}
	for i := range c.cgroups {
		if c.cgroups[i].Count() > 0 {
			to.Histogram("kubelet_cgroup_manager_duration_seconds", "[ALPHA] Duration in seconds for cgroup manager "+
				"operations. Broken down by method.", c.cgroups[i].Export(defaultBounds), "operation_type",
				cgroupWorkNames[i])
		}
	}
	for key, histogram := range c.storage {
		exported := histogram.Export(storageBounds)
		if key.operation == volumeOverall {
			to.Histogram("volume_operation_total_seconds", "[BETA] Storage operation end to end duration in seconds",
				exported, "operation_name", key.operation, "plugin_name", key.plugin)
			continue
		}
		to.Histogram("storage_operation_duration_seconds", "[BETA] Storage operation duration", exported, "migrated",
			"false", "operation_name", key.operation, "status", "success", "volume_plugin", key.plugin)
	}
}

// listing has the numbers of pods, containers and volumes that one list of the pods yields.
type listing struct {
	running, mirrored, ephemeral        int
	runningContainers, exitedContainers int
	// desired and active are the numbers of pods, by whether they are static.
	desired, active map[bool]int
	working         map[workingKey]int
	volumes         map[volumeKey]int
}

// workingKey is a kind of pod in the metric kubelet_working_pods.
type workingKey struct {
	lifecycle string
	static    bool
}

// volumeKey is a kind of volume in the metric volume_manager_total_volumes. A volume that is desired but not actual has
// not been mounted yet.
type volumeKey struct {
	plugin string
	actual bool
}

const (
	lifecycleSync        = "sync"
	lifecycleTerminating = "terminating"
	lifecycleTerminated  = "terminated"
)

func list(pods []*v1.Pod) *listing {
	l := &listing{desired: map[bool]int{}, active: map[bool]int{}, working: map[workingKey]int{},
		volumes: map[volumeKey]int{}}
	for _, pod := range pods {
		static := isStatic(pod)
		running := l.containers(pod)
		if IsRunning(pod) {
			l.running++
		}
		l.desired[static]++
		if !isTerminal(pod) && (pod.DeletionTimestamp == nil || running) {
			l.active[static]++
		}
		if static {
			l.mirrored++
		}
		l.ephemeral += len(pod.Spec.EphemeralContainers)
		lifecycle := lifecycleSync
		if isTerminal(pod) || pod.DeletionTimestamp != nil {
			if lifecycle = lifecycleTerminated; running {
				lifecycle = lifecycleTerminating
			}
		}
		l.working[workingKey{lifecycle, static}]++
		if isTerminal(pod) {
			continue
		}
		for volume := range podvolumes.Mounted(pod) {
			plugin := podvolumes.Plugin(volume)
			l.volumes[volumeKey{plugin, false}]++
			if hasSandbox(pod) {
				l.volumes[volumeKey{plugin, true}]++
			}
		}
	}
	return l
}

// containers counts the containers of a pod that a container runtime has. It reports whether one of them runs. A
// kubelet keeps the last ended run of each container.
func (l *listing) containers(pod *v1.Pod) bool {
	running := 0
	for _, spec := range podlife.Containers(pod) {
		status := podlife.ContainerStatus(pod, spec.Name)
		if status == nil {
			continue
		}
		if status.State.Running != nil {
			running++
		}
		if status.State.Terminated != nil || status.LastTerminationState.Terminated != nil {
			l.exitedContainers++
		}
	}
	l.runningContainers += running
	return running > 0
}

// IsRunning reports whether the pod's sandbox runs: if the pod is in phase Running, or if one of its containers runs.
func IsRunning(pod *v1.Pod) bool {
	if pod.Status.Phase == v1.PodRunning {
		return true
	}
	for _, spec := range podlife.Containers(pod) {
		if status := podlife.ContainerStatus(pod, spec.Name); status != nil && status.State.Running != nil {
			return true
		}
	}
	return false
}

// isStatic reports whether a pod does not come from the apiserver. (kubelet: pkg/kubelet/types, IsStaticPod)
func isStatic(pod *v1.Pod) bool {
	source, found := pod.Annotations["kubernetes.io/config.source"]
	return found && source != "api"
}

func (l *listing) write(to metric.Sink) {
	to.Gauge("kubelet_running_pods", "[ALPHA] Number of pods that have a running pod sandbox", float64(l.running))
	const containersHelp = "[ALPHA] Number of containers currently running"
	to.Gauge("kubelet_running_containers", containersHelp, float64(l.runningContainers), "container_state", "running")
	if l.exitedContainers > 0 {
		to.Gauge("kubelet_running_containers", containersHelp, float64(l.exitedContainers), "container_state", "exited")
	}
	for _, static := range []bool{false, true} {
		label := ""
		if static {
			label = "true"
		}
		to.Gauge("kubelet_desired_pods", "[ALPHA] The number of pods the kubelet is being instructed to run. static "+
			"is true if the pod is not from the apiserver.", float64(l.desired[static]), "static", label)
		to.Gauge("kubelet_active_pods", "[ALPHA] The number of pods the kubelet considers active and which are being "+
			"considered when admitting new pods. static is true if the pod is not from the apiserver.",
			float64(l.active[static]), "static", label)
		for _, lifecycle := range []string{lifecycleSync, lifecycleTerminating, lifecycleTerminated} {
			const help = "[ALPHA] Number of pods the kubelet is actually running, broken down by lifecycle phase, " +
				"whether the pod is desired, orphaned, or runtime only (also orphaned), and whether the pod is " +
				"static. An orphaned pod has been removed from local configuration or force deleted in the API and " +
				"consumes resources that are not otherwise visible."
			write := func(config, static string, count int) {
				to.Gauge("kubelet_working_pods", help, float64(count), "config", config, "lifecycle", lifecycle,
					"static", static)
			}
			write("desired", label, l.working[workingKey{lifecycle, static}])
			write("orphan", label, 0)
			if !static {
				write("runtime_only", "unknown", 0)
			}
		}
	}
	to.Gauge("kubelet_mirror_pods", "[ALPHA] The number of mirror pods the kubelet will try to create (one per "+
		"admitted static pod)", float64(l.mirrored))
	to.Gauge("kubelet_managed_ephemeral_containers", "[ALPHA] Current number of ephemeral containers in pods managed "+
		"by this kubelet.", float64(l.ephemeral))
	for key, count := range l.volumes {
		state := "desired_state_of_world"
		if key.actual {
			state = "actual_state_of_world"
		}
		to.Gauge("volume_manager_total_volumes", "[ALPHA] Number of volumes in Volume Manager", float64(count),
			"plugin_name", key.plugin, "state", state)
	}
}
