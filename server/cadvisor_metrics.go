package server

import (
	"net/http"
	"strconv"

	"fauxlet/internal/podstats"
)

// getCadvisorMetrics serves cAdvisor's metrics of the machine and of its cgroups. With the feature gate
// PodAndContainerStatsFromCRI, it serves only the metrics of the machine. A kubelet then gets the metrics of cgroups
// from the container runtime, but a stand-in kubelet has no runtime that could report them. (kubelet:
// InstallAuthNotRequiredHandlers, containerPrometheusLabelsFunc)
func (h *statsHandlers) getCadvisorMetrics(w http.ResponseWriter, r *http.Request) error {
	m, now, metrics := h.measure(r), h.now(), exposition{}
	metrics.addMachine(&m.Machine)
	if !h.cgroups {
		return metrics.write(w, r)
	}
	metrics.with("cadvisorRevision", "", "cadvisorVersion", "", "dockerVersion", "",
		"kernelVersion", m.Machine.Kernel, "osVersion", m.Machine.OS).gauge("cadvisor_version_info",
		"A metric with a constant '1' value labeled by kernel version, OS version, docker version, cadvisor "+
			"version & cadvisor revision.", 1)
	metrics.with().gauge("container_scrape_error",
		"1 if there was an error while getting container metrics, 0 otherwise", 0)
	for i := range m.Cgroups {
		c := &m.Cgroups[i]
		namespace, pod := "", ""
		if c.Pod != nil {
			namespace, pod = c.Pod.Namespace, c.Pod.Name
		}
		all := metrics.with("container", c.Name, "id", c.Path, "image", c.Image, "name", c.ID, "namespace", namespace,
			"pod", pod)
		all.timed(now).gauge("container_last_seen", "Last time a container was seen by the exporter",
			float64(now.Unix()))
		all.addLimits(c)
		timed := all.timed(m.Time)
		timed.addCPU(c)
		timed.addMemory(c)
		timed.addDisks(c)
		timed.addNetwork(c)
		timed.addProcesses(c)
		if m.Machine.Pressure {
			timed.addPressure(c)
		}
	}
	return metrics.write(w, r)
}

// addMachine adds the metrics of the machine. (cAdvisor: metrics/prometheus_machine.go)
func (e exposition) addMachine(m *podstats.Machine) {
	l := e.with("boot_id", m.BootID, "machine_id", m.ID, "system_uuid", m.SystemUUID)
	l.gauge("machine_cpu_physical_cores", "Number of physical CPU cores.", float64((m.Cores+1)/2))
	l.gauge("machine_cpu_cores", "Number of logical CPU cores.", float64(m.Cores))
	l.gauge("machine_cpu_sockets", "Number of CPU sockets.", 1)
	l.gauge("machine_cpu_books", "Number of CPU books.", 0)
	l.gauge("machine_cpu_drawers", "Number of CPU drawers.", 0)
	l.gauge("machine_memory_bytes", "Amount of memory installed on the machine.", float64(m.Memory))
	l.gauge("machine_swap_bytes", "Amount of swap memory available on the machine.", 0)
	for _, mode := range []string{"memory_mode", "app_direct_mode"} {
		l.and("mode", mode).gauge("machine_nvm_capacity",
			"NVM capacity value labeled by NVM mode (memory mode or app direct mode).", 0)
	}
	l.gauge("machine_nvm_avg_power_budget_watts", "NVM power budget.", 0)
	e.with().gauge("machine_scrape_error", "1 if there was an error while getting machine metrics, 0 otherwise.", 0)
}

// addLimits adds the limits and the start time of a cgroup. cAdvisor reports these metrics without a timestamp. Some of
// cAdvisor's metrics are missing, here and in the methods below: those that the kubelet turns off, and those that
// cgroup v2 does not have. (cAdvisor: metrics/prometheus.go; kubelet: includedMetrics of
// InstallAuthNotRequiredHandlers)
func (l labelled) addLimits(c *podstats.Cgroup) {
	created := float64(c.Created.Unix())
	l.gauge("container_creation_time_seconds", "Container creation time since unix epoch in seconds.", created)
	l.gauge("container_start_time_seconds", "Start time of the container since unix epoch in seconds.", created)
	l.gauge("container_spec_cpu_period", "CPU period of the container.", float64(c.Period))
	if c.Quota != 0 {
		l.gauge("container_spec_cpu_quota", "CPU quota of the container.", float64(c.Quota))
	}
	l.gauge("container_spec_cpu_shares", "CPU share of the container.", float64(c.Shares))
	l.gauge("container_spec_memory_limit_bytes", "Memory limit for the container.", limit(c.MemoryLimit))
	l.gauge("container_spec_memory_swap_limit_bytes", "Memory swap limit for the container.", limit(c.SwapLimit))
	l.gauge("container_spec_memory_reservation_limit_bytes", "Memory reservation limit for the container.", 0)
}

// The function "limit" returns a memory limit as cAdvisor reports it: in bytes, with 0 for unlimited.
func limit(bytes uint64) float64 {
	if bytes == podstats.Unlimited {
		return 0
	}
	return float64(bytes)
}

func (l labelled) addCPU(c *podstats.Cgroup) {
	l.counter("container_cpu_user_seconds_total", "Cumulative user cpu time consumed in seconds.", seconds(c.CPU.User))
	l.counter("container_cpu_system_seconds_total", "Cumulative system cpu time consumed in seconds.",
		seconds(c.CPU.System))
	if c.CPU.Total > 0 {
		l.and("cpu", "total").counter("container_cpu_usage_seconds_total", "Cumulative cpu time consumed in seconds.",
			seconds(c.CPU.Total))
	}
	if c.Quota == 0 {
		return
	}
	l.counter("container_cpu_cfs_periods_total", "Number of elapsed enforcement period intervals.",
		float64(c.CPU.Periods))
	l.counter("container_cpu_cfs_throttled_periods_total", "Number of throttled period intervals.",
		float64(c.CPU.Throttled))
	l.counter("container_cpu_cfs_throttled_seconds_total", "Total time duration the container has been throttled.",
		seconds(c.CPU.ThrottledTime))
	l.counter("container_cpu_cfs_burst_periods_total", "Number of periods when burst occurs.", 0)
	l.counter("container_cpu_cfs_burst_seconds_total", "Total time duration the container has been bursted.", 0)
}

func (l labelled) addMemory(c *podstats.Cgroup) {
	m := &c.Memory
	l.gauge("container_memory_cache", "Number of bytes of page cache memory.", float64(m.ActiveFile+m.InactiveFile))
	l.gauge("container_memory_rss", "Size of RSS in bytes.", float64(m.RSS))
	l.gauge("container_memory_kernel_usage", "Size of kernel memory allocated in bytes.", float64(m.Kernel))
	l.gauge("container_memory_mapped_file", "Size of memory mapped files in bytes.", float64(m.Mapped))
	l.gauge("container_memory_swap", "Container swap usage in bytes.", 0)
	l.counter("container_memory_failcnt", "Number of memory usage hits limits", 0)
	l.gauge("container_memory_usage_bytes",
		"Current memory usage in bytes, including all memory regardless of when it was accessed", float64(m.Usage))
	l.gauge("container_memory_max_usage_bytes", "Maximum memory usage recorded in bytes", float64(m.Peak))
	l.gauge("container_memory_working_set_bytes", "Current working set in bytes.", float64(m.WorkingSet))
	l.gauge("container_memory_total_active_file_bytes", "Current total active file in bytes.", float64(m.ActiveFile))
	l.gauge("container_memory_total_inactive_file_bytes", "Current total inactive file in bytes.",
		float64(m.InactiveFile))
	for _, scope := range []string{"container", "hierarchy"} {
		const name, help = "container_memory_failures_total", "Cumulative count of memory allocation failures."
		l.and("failure_type", "pgfault", "scope", scope).counter(name, help, float64(m.Faults))
		l.and("failure_type", "pgmajfault", "scope", scope).counter(name, help, float64(m.MajorFaults))
	}
	l.counter("container_memory_events_high_total",
		"Cumulative count of memory.high throttle events for the container", 0)
	l.counter("container_memory_events_max_total",
		"Cumulative count of memory.max limit hit events for the container", 0)
	l.gauge("container_memory_file_dirty_bytes",
		"Number of bytes of file cache that has been modified but not yet written back to disk.", 0)
	l.gauge("container_memory_file_writeback_bytes",
		"Number of bytes of file cache that is currently being written back to disk.", 0)
	l.counter("container_memory_pgscan_total", "Cumulative number of pages scanned by the page reclaim algorithm.", 0)
	l.counter("container_memory_pgsteal_total",
		"Cumulative number of pages reclaimed by the page reclaim algorithm.", 0)
	l.counter("container_memory_workingset_refault_file_total",
		"Cumulative number of refaults of previously evicted file pages.", 0)
	l.counter("container_memory_workingset_refault_anon_total",
		"Cumulative number of refaults of previously evicted anonymous pages.", 0)
	l.counter("container_oom_events_total", "Count of out of memory events observed for the container", 0)
}

// addDisks adds the metrics of disk I/O and, for the root cgroup, of the node's filesystems.
func (l labelled) addDisks(c *podstats.Cgroup) {
	const (
		reads, readsHelp   = "container_fs_reads_total", "Cumulative count of reads completed"
		writes, writesHelp = "container_fs_writes_total", "Cumulative count of writes completed"
	)
	if io := c.IO; io != (podstats.IO{}) {
		disk := l.and("device", podstats.DiskDevice)
		disk.counter("container_fs_reads_bytes_total", "Cumulative count of bytes read", float64(io.ReadBytes))
		disk.counter(reads, readsHelp, float64(io.Reads))
		disk.counter("container_fs_writes_bytes_total", "Cumulative count of bytes written", float64(io.WriteBytes))
		disk.counter(writes, writesHelp, float64(io.Writes))
		const name, help = "container_blkio_device_usage_total", "Blkio Device bytes usage"
		disk = disk.and("major", strconv.Itoa(podstats.DiskMajor), "minor", "0")
		disk.and("operation", "Read").counter(name, help, float64(io.ReadBytes))
		disk.and("operation", "Write").counter(name, help, float64(io.WriteBytes))
	}
	for _, f := range c.Filesystems {
		fs := l.and("device", f.Device)
		fs.gauge("container_fs_inodes_free", "Number of available Inodes", float64(f.Inodes-f.InodesUsed))
		fs.gauge("container_fs_inodes_total", "Number of Inodes", float64(f.Inodes))
		fs.gauge("container_fs_limit_bytes",
			"Number of bytes that can be consumed by the container on this filesystem.", float64(f.Capacity))
		fs.gauge("container_fs_usage_bytes",
			"Number of bytes that are consumed by the container on this filesystem.", float64(f.Used))
		fs.counter(reads, readsHelp, float64(f.Reads))
		fs.counter(writes, writesHelp, float64(f.Writes))
		fs.counter("container_fs_sector_reads_total", "Cumulative count of sector reads completed",
			float64(f.ReadSectors))
		fs.counter("container_fs_reads_merged_total", "Cumulative count of reads merged", 0)
		fs.counter("container_fs_read_seconds_total", "Cumulative count of seconds spent reading", seconds(f.ReadTime))
		fs.counter("container_fs_sector_writes_total", "Cumulative count of sector writes completed",
			float64(f.WrittenSectors))
		fs.counter("container_fs_writes_merged_total", "Cumulative count of writes merged", 0)
		fs.counter("container_fs_write_seconds_total", "Cumulative count of seconds spent writing",
			seconds(f.WriteTime))
		fs.gauge("container_fs_io_current", "Number of I/Os currently in progress", 0)
		fs.counter("container_fs_io_time_seconds_total", "Cumulative count of seconds spent doing I/Os",
			seconds(f.ReadTime+f.WriteTime))
		fs.counter("container_fs_io_time_weighted_seconds_total", "Cumulative weighted I/O time in seconds",
			seconds(f.ReadTime+f.WriteTime))
	}
}

func (l labelled) addNetwork(c *podstats.Cgroup) {
	for i := range c.Network {
		n := &c.Network[i]
		named := l.and("interface", n.Name)
		for _, direction := range []struct {
			name, done, doing               string
			bytes, packets, dropped, errors uint64
		}{
			{"receive", "received", "receiving", n.RxBytes, n.RxPackets, n.RxDropped, n.RxErrors},
			{"transmit", "transmitted", "transmitting", n.TxBytes, n.TxPackets, n.TxDropped, n.TxErrors},
		} {
			add := func(what, help string, value uint64) {
				named.counter("container_network_"+direction.name+what, "Cumulative count of "+help, float64(value))
			}
			add("_bytes_total", "bytes "+direction.done, direction.bytes)
			add("_packets_total", "packets "+direction.done, direction.packets)
			add("_packets_dropped_total", "packets dropped while "+direction.doing, direction.dropped)
			add("_errors_total", "errors encountered while "+direction.doing, direction.errors)
		}
	}
}

func (l labelled) addProcesses(c *podstats.Cgroup) {
	p := &c.Processes
	l.gauge("container_health_state", "The result of the container's health check", -1) // no health check
	l.gauge("container_processes", "Number of processes running inside the container.", float64(p.Processes))
	l.gauge("container_file_descriptors", "Number of open file descriptors for the container.", float64(p.Files))
	l.gauge("container_sockets", "Number of open sockets for the container.", float64(p.Sockets))
	l.gauge("container_threads_max",
		"Maximum number of threads allowed inside the container, infinity if value is zero", 0)
	l.gauge("container_threads", "Number of threads running inside the container", float64(p.Threads))
	if c.Kind == podstats.KindNode || c.ID != "" { // in cAdvisor, other cgroups have no root process
		l.and("ulimit", "max_open_files").gauge("container_ulimits_soft",
			"Soft ulimit values for the container root process. Unlimited if -1, except priority and nice", 1<<20)
	}
}

// addPressure adds the metrics of pressure stall information (PSI). Only the CPU is ever under pressure.
func (l labelled) addPressure(c *podstats.Cgroup) {
	for _, resource := range []struct {
		name, title string
		full, some  uint64 // microseconds
	}{{"cpu", "CPU", c.CPU.PressureFull, c.CPU.PressureSome}, {"memory", "memory", 0, 0}, {"io", "IO", 0, 0}} {
		l.counter("container_pressure_"+resource.name+"_stalled_seconds_total",
			"Total time duration no tasks in the container could make progress due to "+resource.title+" congestion.",
			float64(resource.full)/1e6)
		l.counter("container_pressure_"+resource.name+"_waiting_seconds_total",
			"Total time duration tasks in the container have waited due to "+resource.title+" congestion.",
			float64(resource.some)/1e6)
	}
}
