package server

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"fauxlet/internal/podstats"
)

const (
	counter = prometheus.CounterValue
	gauge   = prometheus.GaugeValue
)

// cadvisorMetrics are the metrics of cgroups that the kubelet turns on and that cgroup v2 has.
// (cAdvisor: metrics/prometheus.go; kubelet: includedMetrics of InstallAuthNotRequiredHandlers)
var cadvisorMetrics = described([]cadvisorMetric{
	{name: "container_creation_time_seconds", help: "Container creation time since unix epoch in seconds.",
		kind: gauge, untimed: true,
		value: func(c *podstats.Cgroup) (float64, bool) { return float64(c.Created.Unix()), true }},
	{name: "container_start_time_seconds", help: "Start time of the container since unix epoch in seconds.",
		kind: gauge, untimed: true,
		value: func(c *podstats.Cgroup) (float64, bool) { return float64(c.Created.Unix()), true }},
	{name: "container_spec_cpu_period", help: "CPU period of the container.", kind: gauge, untimed: true,
		value: func(c *podstats.Cgroup) (float64, bool) { return float64(c.Period), true }},
	{name: "container_spec_cpu_quota", help: "CPU quota of the container.", kind: gauge, untimed: true,
		value: func(c *podstats.Cgroup) (float64, bool) { return float64(c.Quota), c.Quota != 0 }},
	{name: "container_spec_cpu_shares", help: "CPU share of the container.", kind: gauge, untimed: true,
		value: func(c *podstats.Cgroup) (float64, bool) { return float64(c.Shares), true }},
	{name: "container_spec_memory_limit_bytes", help: "Memory limit for the container.", kind: gauge, untimed: true,
		value: func(c *podstats.Cgroup) (float64, bool) { return limit(c.MemoryLimit), true }},
	{name: "container_spec_memory_swap_limit_bytes", help: "Memory swap limit for the container.", kind: gauge,
		untimed: true,
		value:   func(c *podstats.Cgroup) (float64, bool) { return limit(c.SwapLimit), true }},
	{name: "container_spec_memory_reservation_limit_bytes", help: "Memory reservation limit for the container.",
		kind: gauge, untimed: true, value: zero},
	{name: "container_health_state", help: "The result of the container's health check", kind: gauge,
		value: func(*podstats.Cgroup) (float64, bool) { return -1, true }}, // no health check

	{name: "container_cpu_user_seconds_total", help: "Cumulative user cpu time consumed in seconds.", kind: counter,
		value: func(c *podstats.Cgroup) (float64, bool) { return seconds(c.CPU.User), true }},
	{name: "container_cpu_system_seconds_total", help: "Cumulative system cpu time consumed in seconds.",
		kind:  counter,
		value: func(c *podstats.Cgroup) (float64, bool) { return seconds(c.CPU.System), true }},
	{name: "container_cpu_usage_seconds_total", help: "Cumulative cpu time consumed in seconds.", kind: counter,
		labels: []string{"cpu"},
		values: func(c *podstats.Cgroup, give func(float64, ...string)) {
			if c.CPU.Total > 0 {
				give(seconds(c.CPU.Total), "total")
			}
		}},
	{name: "container_cpu_cfs_periods_total", help: "Number of elapsed enforcement period intervals.", kind: counter,
		value: func(c *podstats.Cgroup) (float64, bool) { return float64(c.CPU.Periods), c.Quota != 0 }},
	{name: "container_cpu_cfs_throttled_periods_total", help: "Number of throttled period intervals.", kind: counter,
		value: func(c *podstats.Cgroup) (float64, bool) { return float64(c.CPU.Throttled), c.Quota != 0 }},
	{name: "container_cpu_cfs_throttled_seconds_total",
		help: "Total time duration the container has been throttled.", kind: counter,
		value: func(c *podstats.Cgroup) (float64, bool) { return seconds(c.CPU.ThrottledTime), c.Quota != 0 }},
	{name: "container_cpu_cfs_burst_periods_total", help: "Number of periods when burst occurs.", kind: counter,
		value: zeroOfQuota},
	{name: "container_cpu_cfs_burst_seconds_total", help: "Total time duration the container has been bursted.",
		kind: counter, value: zeroOfQuota},

	{name: "container_memory_cache", help: "Number of bytes of page cache memory.", kind: gauge,
		value: memory(func(m *podstats.Memory) uint64 { return m.ActiveFile + m.InactiveFile })},
	{name: "container_memory_rss", help: "Size of RSS in bytes.", kind: gauge,
		value: memory(func(m *podstats.Memory) uint64 { return m.RSS })},
	{name: "container_memory_kernel_usage", help: "Size of kernel memory allocated in bytes.", kind: gauge,
		value: memory(func(m *podstats.Memory) uint64 { return m.Kernel })},
	{name: "container_memory_mapped_file", help: "Size of memory mapped files in bytes.", kind: gauge,
		value: memory(func(m *podstats.Memory) uint64 { return m.Mapped })},
	{name: "container_memory_swap", help: "Container swap usage in bytes.", kind: gauge, value: zero},
	{name: "container_memory_failcnt", help: "Number of memory usage hits limits", kind: counter, value: zero},
	{name: "container_memory_usage_bytes",
		help: "Current memory usage in bytes, including all memory regardless of when it was accessed", kind: gauge,
		value: memory(func(m *podstats.Memory) uint64 { return m.Usage })},
	{name: "container_memory_max_usage_bytes", help: "Maximum memory usage recorded in bytes", kind: gauge,
		value: memory(func(m *podstats.Memory) uint64 { return m.Peak })},
	{name: "container_memory_working_set_bytes", help: "Current working set in bytes.", kind: gauge,
		value: memory(func(m *podstats.Memory) uint64 { return m.WorkingSet })},
	{name: "container_memory_total_active_file_bytes", help: "Current total active file in bytes.", kind: gauge,
		value: memory(func(m *podstats.Memory) uint64 { return m.ActiveFile })},
	{name: "container_memory_total_inactive_file_bytes", help: "Current total inactive file in bytes.", kind: gauge,
		value: memory(func(m *podstats.Memory) uint64 { return m.InactiveFile })},
	{name: "container_memory_failures_total", help: "Cumulative count of memory allocation failures.",
		kind: counter, labels: []string{"failure_type", "scope"},
		values: func(c *podstats.Cgroup, give func(float64, ...string)) {
			for _, scope := range []string{"container", "hierarchy"} {
				give(float64(c.Memory.Faults), "pgfault", scope)
				give(float64(c.Memory.MajorFaults), "pgmajfault", scope)
			}
		}},
	{name: "container_memory_events_high_total",
		help: "Cumulative count of memory.high throttle events for the container", kind: counter, value: zero},
	{name: "container_memory_events_max_total",
		help: "Cumulative count of memory.max limit hit events for the container", kind: counter, value: zero},
	{name: "container_memory_file_dirty_bytes",
		help: "Number of bytes of file cache that has been modified but not yet written back to disk.", kind: gauge,
		value: zero},
	{name: "container_memory_file_writeback_bytes",
		help: "Number of bytes of file cache that is currently being written back to disk.", kind: gauge, value: zero},
	{name: "container_memory_pgscan_total",
		help: "Cumulative number of pages scanned by the page reclaim algorithm.", kind: counter, value: zero},
	{name: "container_memory_pgsteal_total",
		help: "Cumulative number of pages reclaimed by the page reclaim algorithm.", kind: counter, value: zero},
	{name: "container_memory_workingset_refault_file_total",
		help: "Cumulative number of refaults of previously evicted file pages.", kind: counter, value: zero},
	{name: "container_memory_workingset_refault_anon_total",
		help: "Cumulative number of refaults of previously evicted anonymous pages.", kind: counter, value: zero},

	filesystem("container_fs_inodes_free", "Number of available Inodes", gauge,
		func(f *podstats.Filesystem) float64 { return float64(f.Inodes - f.InodesUsed) }),
	filesystem("container_fs_inodes_total", "Number of Inodes", gauge,
		func(f *podstats.Filesystem) float64 { return float64(f.Inodes) }),
	filesystem("container_fs_limit_bytes",
		"Number of bytes that can be consumed by the container on this filesystem.", gauge,
		func(f *podstats.Filesystem) float64 { return float64(f.Capacity) }),
	filesystem("container_fs_usage_bytes", "Number of bytes that are consumed by the container on this filesystem.",
		gauge, func(f *podstats.Filesystem) float64 { return float64(f.Used) }),

	disk("container_fs_reads_bytes_total", "Cumulative count of bytes read",
		func(io *podstats.IO) uint64 { return io.ReadBytes }, nil),
	disk("container_fs_reads_total", "Cumulative count of reads completed",
		func(io *podstats.IO) uint64 { return io.Reads },
		func(f *podstats.Filesystem) float64 { return float64(f.Reads) }),
	disk("container_fs_writes_bytes_total", "Cumulative count of bytes written",
		func(io *podstats.IO) uint64 { return io.WriteBytes }, nil),
	disk("container_fs_writes_total", "Cumulative count of writes completed",
		func(io *podstats.IO) uint64 { return io.Writes },
		func(f *podstats.Filesystem) float64 { return float64(f.Writes) }),
	filesystem("container_fs_sector_reads_total", "Cumulative count of sector reads completed", counter,
		func(f *podstats.Filesystem) float64 { return float64(f.ReadSectors) }),
	filesystem("container_fs_reads_merged_total", "Cumulative count of reads merged", counter, none),
	filesystem("container_fs_read_seconds_total", "Cumulative count of seconds spent reading", counter,
		func(f *podstats.Filesystem) float64 { return seconds(f.ReadTime) }),
	filesystem("container_fs_sector_writes_total", "Cumulative count of sector writes completed", counter,
		func(f *podstats.Filesystem) float64 { return float64(f.WrittenSectors) }),
	filesystem("container_fs_writes_merged_total", "Cumulative count of writes merged", counter, none),
	filesystem("container_fs_write_seconds_total", "Cumulative count of seconds spent writing", counter,
		func(f *podstats.Filesystem) float64 { return seconds(f.WriteTime) }),
	filesystem("container_fs_io_current", "Number of I/Os currently in progress", gauge, none),
	filesystem("container_fs_io_time_seconds_total", "Cumulative count of seconds spent doing I/Os", counter, ioTime),
	filesystem("container_fs_io_time_weighted_seconds_total", "Cumulative weighted I/O time in seconds", counter,
		ioTime),
	{name: "container_blkio_device_usage_total", help: "Blkio Device bytes usage", kind: counter,
		labels: []string{"device", "major", "minor", "operation"},
		values: func(c *podstats.Cgroup, give func(float64, ...string)) {
			if c.IO != (podstats.IO{}) {
				give(float64(c.IO.ReadBytes), podstats.DiskDevice, strconv.Itoa(podstats.DiskMajor), "0", "Read")
				give(float64(c.IO.WriteBytes), podstats.DiskDevice, strconv.Itoa(podstats.DiskMajor), "0", "Write")
			}
		}},

	network("container_network_receive_bytes_total", "Cumulative count of bytes received",
		func(n *podstats.Interface) uint64 { return n.RxBytes }),
	network("container_network_receive_packets_total", "Cumulative count of packets received",
		func(n *podstats.Interface) uint64 { return n.RxPackets }),
	network("container_network_receive_packets_dropped_total",
		"Cumulative count of packets dropped while receiving",
		func(n *podstats.Interface) uint64 { return n.RxDropped }),
	network("container_network_receive_errors_total", "Cumulative count of errors encountered while receiving",
		func(n *podstats.Interface) uint64 { return n.RxErrors }),
	network("container_network_transmit_bytes_total", "Cumulative count of bytes transmitted",
		func(n *podstats.Interface) uint64 { return n.TxBytes }),
	network("container_network_transmit_packets_total", "Cumulative count of packets transmitted",
		func(n *podstats.Interface) uint64 { return n.TxPackets }),
	network("container_network_transmit_packets_dropped_total",
		"Cumulative count of packets dropped while transmitting",
		func(n *podstats.Interface) uint64 { return n.TxDropped }),
	network("container_network_transmit_errors_total", "Cumulative count of errors encountered while transmitting",
		func(n *podstats.Interface) uint64 { return n.TxErrors }),

	{name: "container_processes", help: "Number of processes running inside the container.", kind: gauge,
		value: func(c *podstats.Cgroup) (float64, bool) { return float64(c.Processes.Processes), true }},
	{name: "container_file_descriptors", help: "Number of open file descriptors for the container.", kind: gauge,
		value: func(c *podstats.Cgroup) (float64, bool) { return float64(c.Processes.Files), true }},
	{name: "container_sockets", help: "Number of open sockets for the container.", kind: gauge,
		value: func(c *podstats.Cgroup) (float64, bool) { return float64(c.Processes.Sockets), true }},
	{name: "container_threads_max",
		help: "Maximum number of threads allowed inside the container, infinity if value is zero", kind: gauge,
		value: zero},
	{name: "container_threads", help: "Number of threads running inside the container", kind: gauge,
		value: func(c *podstats.Cgroup) (float64, bool) { return float64(c.Processes.Threads), true }},
	{name: "container_ulimits_soft",
		help: "Soft ulimit values for the container root process. Unlimited if -1, except priority and nice",
		kind: gauge, labels: []string{"ulimit"},
		values: func(c *podstats.Cgroup, give func(float64, ...string)) {
			if c.Kind == podstats.KindNode || c.ID != "" { // other cgroups have no root process in cAdvisor
				give(1<<20, "max_open_files")
			}
		}},
	{name: "container_oom_events_total", help: "Count of out of memory events observed for the container",
		kind: counter, value: zero},

	{name: "container_pressure_cpu_stalled_seconds_total",
		help: "Total time duration no tasks in the container could make progress due to CPU congestion.", kind: counter,
		pressure: true,
		value:    func(c *podstats.Cgroup) (float64, bool) { return float64(c.CPU.PressureFull) / 1e6, true }},
	{name: "container_pressure_cpu_waiting_seconds_total",
		help: "Total time duration tasks in the container have waited due to CPU congestion.", kind: counter,
		pressure: true,
		value:    func(c *podstats.Cgroup) (float64, bool) { return float64(c.CPU.PressureSome) / 1e6, true }},
	{name: "container_pressure_memory_stalled_seconds_total",
		help: "Total time duration no tasks in the container could make progress due to memory congestion.",
		kind: counter, pressure: true, value: zero},
	{name: "container_pressure_memory_waiting_seconds_total",
		help: "Total time duration tasks in the container have waited due to memory congestion.", kind: counter,
		pressure: true, value: zero},
	{name: "container_pressure_io_stalled_seconds_total",
		help: "Total time duration no tasks in the container could make progress due to IO congestion.", kind: counter,
		pressure: true, value: zero},
	{name: "container_pressure_io_waiting_seconds_total",
		help: "Total time duration tasks in the container have waited due to IO congestion.", kind: counter,
		pressure: true, value: zero},
})

func zero(*podstats.Cgroup) (float64, bool) { return 0, true }

func zeroOfQuota(c *podstats.Cgroup) (float64, bool) { return 0, c.Quota != 0 }

// limit returns a limit as cAdvisor does: 0 means unlimited.
func limit(bytes uint64) float64 {
	if bytes == podstats.Unlimited {
		return 0
	}
	return float64(bytes)
}

func memory(of func(*podstats.Memory) uint64) func(*podstats.Cgroup) (float64, bool) {
	return func(c *podstats.Cgroup) (float64, bool) { return float64(of(&c.Memory)), true }
}

// filesystem returns a metric of the node's filesystems.
func filesystem(name, help string, kind prometheus.ValueType, of func(*podstats.Filesystem) float64) cadvisorMetric {
	return cadvisorMetric{name: name, help: help, kind: kind, labels: []string{"device"},
		values: func(c *podstats.Cgroup, give func(float64, ...string)) {
			for i := range c.Filesystems {
				give(of(&c.Filesystems[i]), c.Filesystems[i].Device)
			}
		}}
}

func none(*podstats.Filesystem) float64 { return 0 }

func ioTime(f *podstats.Filesystem) float64 { return seconds(f.ReadTime + f.WriteTime) }

// disk returns a metric of the disk input and output of a cgroup and, if the cgroup has filesystems, of each
// filesystem.
func disk(name, help string, of func(*podstats.IO) uint64, also func(*podstats.Filesystem) float64) cadvisorMetric {
	return cadvisorMetric{name: name, help: help, kind: counter, labels: []string{"device"},
		values: func(c *podstats.Cgroup, give func(float64, ...string)) {
			if c.IO != (podstats.IO{}) {
				give(float64(of(&c.IO)), podstats.DiskDevice)
			}
			if also == nil {
				return
			}
			for i := range c.Filesystems {
				give(also(&c.Filesystems[i]), c.Filesystems[i].Device)
			}
		}}
}

func network(name, help string, of func(*podstats.Interface) uint64) cadvisorMetric {
	return cadvisorMetric{name: name, help: help, kind: counter, labels: []string{"interface"},
		values: func(c *podstats.Cgroup, give func(float64, ...string)) {
			for i := range c.Network {
				give(float64(of(&c.Network[i])), c.Network[i].Name)
			}
		}}
}
