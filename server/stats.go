package server

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/component-base/metrics/legacyregistry"
	statsapi "k8s.io/kubelet/pkg/apis/stats/v1alpha1"
	"k8s.io/utils/ptr"

	"fauxlet/config"
	"fauxlet/internal/apirequests"
	"fauxlet/internal/pods"
	"fauxlet/internal/podstats"
	"fauxlet/scenario"
)

// statsHandlers serve the resource usage of the node and its pods: /stats/summary and the metrics.
type statsHandlers struct {
	pods    *pods.Store
	machine podstats.Machine
	version config.Version
	// clockSkew and usage are the functions ClockSkew and Usage of the Server's Decorators. usage may be nil.
	clockSkew func() time.Duration
	usage     func(ctx context.Context, pod *v1.Pod, container string, usage scenario.Usage) scenario.Usage
	// cgroups is true if cAdvisor serves the metrics of cgroups. It is false with the feature gate
	// PodAndContainerStatsFromCRI.
	cgroups bool
	// volumes is true if the usage of volumes is measured. (volumeStatsAggPeriod)
	volumes bool
	metrics *metrics
	// requests counts the node's requests to the apiserver. It may be nil.
	requests *apirequests.Counts
}

// The method "now" returns the time of the node's clock.
func (h *statsHandlers) now() time.Time { return time.Now().Add(h.clockSkew()) }

// measure returns the last measurement of the node. Within one [podstats.Interval] all endpoints return the same
// measurement.
func (h *statsHandlers) measure(r *http.Request) *podstats.Measurement {
	machine := h.machine
	machine.Pressure = hasPressure()
	var adjust func(*v1.Pod, string, scenario.Usage) scenario.Usage
	if h.usage != nil {
		adjust = func(pod *v1.Pod, container string, used scenario.Usage) scenario.Usage {
			return h.usage(r.Context(), pod, container, used)
		}
	}
	measured := podstats.Measure(h.pods.Described(), machine, time.Now(), adjust)
	measured.Time = measured.Time.Add(h.clockSkew())
	return measured
}

// hasPressure returns whether the kernel of this machine reports pressure stall information (PSI). There is no setting
// for PSI, because a real kubelet reports PSI whenever the kernel does. (kubelet: pkg/kubelet/cadvisor, IsPsiEnabled)
func hasPressure() bool {
	file, err := os.Open("/sys/fs/cgroup/cpu.pressure")
	file.Close() // has no effect if Open has failed
	return err == nil
}

// getStatsSummary serves the usage of the node and its pods. (kubelet: pkg/kubelet/server/stats, handleSummary)
func (h *statsHandlers) getStatsSummary(w http.ResponseWriter, r *http.Request) error {
	if err := r.ParseForm(); err != nil {
		return statusErrorf(http.StatusInternalServerError, "Internal Error: parse form failed: %v", err)
	}
	only := r.Form["only_cpu_and_memory"]
	summary := newSummary(h.measure(r), h.now(), h.volumes, len(only) == 1 && only[0] == "true")
	data, err := json.MarshalIndent(summary, "", " ")
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	w.Write(data)
	return nil
}

// summarizer builds a summary. If the field "brief" is true, the summary has only CPU and memory. (kubelet:
// pkg/kubelet/stats, criStatsProvider over cAdvisor's containers)
type summarizer struct {
	*podstats.Measurement
	// The field "at" is the time of the last measurement of the cgroups. The field "now" is the time of the request.
	at, now metav1.Time
	disk    *podstats.Filesystem
	brief   bool
	volumes bool
}

func newSummary(m *podstats.Measurement, now time.Time, volumes, brief bool) *statsapi.Summary {
	s := &summarizer{Measurement: m, at: metav1.NewTime(m.Time), now: metav1.NewTime(now), brief: brief,
		volumes: volumes}
	root := &m.Cgroups[0]
	s.disk = &root.Filesystems[slices.IndexFunc(root.Filesystems,
		func(f podstats.Filesystem) bool { return f.Device == podstats.PartitionDevice })]
	summary := &statsapi.Summary{Node: s.node(root), Pods: []statsapi.PodStats{}}
	for i := range m.Cgroups {
		c := &m.Cgroups[i]
		system := func(name string, started time.Time) {
			summary.Node.SystemContainers = append(summary.Node.SystemContainers, s.basics(c, name, started))
		}
		switch c.Kind {
		case podstats.KindKubelet:
			system(statsapi.SystemContainerKubelet, legacyregistry.GetProcessStart())
		case podstats.KindRuntime:
			system(statsapi.SystemContainerRuntime, c.Created)
		case podstats.KindPods:
			system(statsapi.SystemContainerPods, c.Created)
		case podstats.KindPod:
			summary.Pods = append(summary.Pods, s.pod(c))
		case podstats.KindSandbox:
			if !brief {
				summary.Pods[len(summary.Pods)-1].Network = s.network(c.Network)
			}
		case podstats.KindContainer:
			s.container(&summary.Pods[len(summary.Pods)-1], c)
		}
	}
	return summary
}

func (s *summarizer) node(root *podstats.Cgroup) statsapi.NodeStats {
	node := statsapi.NodeStats{
		NodeName: s.Machine.Node, StartTime: metav1.NewTime(s.Machine.Booted),
		CPU: s.cpu(root), Memory: s.memory(root), Swap: s.swap(root),
	}
	if s.brief {
		return node
	}
	node.IO, node.Network = s.io(), s.network(root.Network)
	node.Fs = s.fs(podstats.Disk{Used: s.disk.Used, Inodes: s.disk.InodesUsed})
	node.Runtime = &statsapi.RuntimeStats{ImageFs: s.fs(s.Images), ContainerFs: s.fs(s.Images)}
	node.Rlimit = &statsapi.RlimitStats{Time: s.now, MaxPID: ptr.To(int64(s.MaxThreads)),
		NumOfRunningProcesses: ptr.To(int64(s.Threads))}
	return node
}

// The method "basics" returns the statistics that every cgroup has: CPU, memory, swap and IO.
func (s *summarizer) basics(c *podstats.Cgroup, name string, started time.Time) statsapi.ContainerStats {
	stats := statsapi.ContainerStats{Name: name, StartTime: metav1.NewTime(started), CPU: s.cpu(c), Memory: s.memory(c),
		Swap: s.swap(c)}
	if !s.brief {
		stats.IO = s.io()
	}
	return stats
}

func (s *summarizer) pod(c *podstats.Cgroup) statsapi.PodStats {
	stats := statsapi.PodStats{
		PodRef:    statsapi.PodReference{Name: c.Pod.Name, Namespace: c.Pod.Namespace, UID: string(c.Pod.UID)},
		StartTime: metav1.NewTime(c.Created), CPU: s.cpu(c), Memory: s.memory(c), Swap: s.swap(c),
	}
	if !s.brief {
		// Each pod has one more file besides the files of its containers: /etc/hosts.
		stats.IO, stats.EphemeralStorage = s.io(), s.fs(podstats.Disk{Used: 4096, Inodes: 1})
		stats.EphemeralStorage.Time = s.now
		stats.ProcessStats = &statsapi.ProcessStats{ProcessCount: ptr.To[uint64](0)}
		s.podVolumes(&stats, c)
	}
	return stats
}

// podVolumes adds the volumes of a pod: first the volumes that use the pod's ephemeral storage. (kubelet:
// pkg/kubelet/server/stats, volumeStatCalculator)
func (s *summarizer) podVolumes(to *statsapi.PodStats, c *podstats.Cgroup) {
	if !s.volumes {
		return
	}
	var others []statsapi.VolumeStats
	for i := range c.Volumes {
		v := &c.Volumes[i]
		stats := statsapi.VolumeStats{Name: v.Name, FsStats: statsapi.FsStats{
			Time: s.at, AvailableBytes: &v.Available, CapacityBytes: &v.Capacity, UsedBytes: &v.Used,
			InodesFree: &v.InodesFree, Inodes: &v.Inodes, InodesUsed: &v.InodesUsed,
		}}
		if v.Claim != "" {
			stats.PVCRef = &statsapi.PVCReference{Name: v.Claim, Namespace: c.Pod.Namespace}
		}
		if !v.Ephemeral {
			others = append(others, stats)
			continue
		}
		to.VolumeStats = append(to.VolumeStats, stats)
		*to.EphemeralStorage.UsedBytes += v.Used
		*to.EphemeralStorage.InodesUsed += v.InodesUsed
	}
	to.VolumeStats = append(to.VolumeStats, others...)
}

func (s *summarizer) container(to *statsapi.PodStats, c *podstats.Cgroup) {
	stats := s.basics(c, c.Name, c.Created)
	if !s.brief {
		stats.Rootfs, stats.Logs = s.fs(c.Rootfs), s.fs(c.Logs)
		stats.Logs.Time = s.now
		*to.EphemeralStorage.UsedBytes += c.Rootfs.Used + c.Logs.Used
		*to.EphemeralStorage.InodesUsed += c.Rootfs.Inodes + c.Logs.Inodes
		*to.ProcessStats.ProcessCount += c.Processes.Processes
	}
	to.Containers = append(to.Containers, stats)
}

func (s *summarizer) cpu(c *podstats.Cgroup) *statsapi.CPUStats {
	return &statsapi.CPUStats{
		Time: s.at, UsageNanoCores: &c.CPU.Rate, UsageCoreNanoSeconds: &c.CPU.Total,
		PSI: &statsapi.PSIStats{Full: statsapi.PSIData{Total: c.CPU.PressureFull},
			Some: statsapi.PSIData{Total: c.CPU.PressureSome}},
	}
}

func (s *summarizer) memory(c *podstats.Cgroup) *statsapi.MemoryStats {
	m := &c.Memory
	stats := &statsapi.MemoryStats{
		Time: s.at, UsageBytes: &m.Usage, WorkingSetBytes: &m.WorkingSet, RSSBytes: &m.RSS, PageFaults: &m.Faults,
		MajorPageFaults: &m.MajorFaults, PSI: &statsapi.PSIStats{},
	}
	if c.MemoryLimit != podstats.Unlimited {
		stats.AvailableBytes = ptr.To(c.MemoryLimit - min(m.WorkingSet, c.MemoryLimit))
	}
	return stats
}

func (s *summarizer) swap(c *podstats.Cgroup) *statsapi.SwapStats {
	stats := &statsapi.SwapStats{Time: s.at, SwapUsageBytes: ptr.To[uint64](0)}
	if c.SwapLimit != podstats.Unlimited {
		stats.SwapAvailableBytes = &c.SwapLimit
	}
	return stats
}

func (s *summarizer) io() *statsapi.IOStats {
	return &statsapi.IOStats{Time: s.at, PSI: &statsapi.PSIStats{}}
}

// The method "fs" returns the statistics of a part of the node's disk.
func (s *summarizer) fs(part podstats.Disk) *statsapi.FsStats {
	return &statsapi.FsStats{
		Time:           s.at,
		AvailableBytes: ptr.To(s.disk.Capacity - s.disk.Used), CapacityBytes: &s.disk.Capacity, UsedBytes: &part.Used,
		InodesFree: ptr.To(s.disk.Inodes - s.disk.InodesUsed), Inodes: &s.disk.Inodes, InodesUsed: &part.Inodes,
	}
}

func (s *summarizer) network(interfaces []podstats.Interface) *statsapi.NetworkStats {
	stats := &statsapi.NetworkStats{Time: s.at}
	for i := range interfaces {
		n := &interfaces[i]
		one := statsapi.InterfaceStats{Name: n.Name, RxBytes: &n.RxBytes, RxErrors: &n.RxErrors,
			TxBytes: &n.TxBytes, TxErrors: &n.TxErrors}
		if n.Name == "eth0" {
			stats.InterfaceStats = one
		}
		stats.Interfaces = append(stats.Interfaces, one)
	}
	return stats
}
