// Package podstats computes the resource usage of the containers of a node for /stats/summary, /metrics/cadvisor and
// /metrics/resource. It measures nothing: all numbers are made up.
//
// Begin with [Measure]. The same pods on the same machine at the same time give the same numbers in every process.
package podstats

import (
	"cmp"
	"fmt"
	"math"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
)

// Interval is the time between two measurements, like the housekeeping interval of cAdvisor. Until the next
// measurement all requests get the same numbers with the same timestamp.
const Interval = 10 * time.Second

// Unlimited is the value of a limit that is not set.
const Unlimited = math.MaxUint64

// Machine is the simulated machine of the node. If Cores, Memory or Booted is zero, its value is chosen so that the
// pods fit on the machine. Empty ids and versions are derived from the name of the node.
type Machine struct {
	Node   string    // the name of the node
	Cores  int       // logical CPUs
	Memory uint64    // bytes
	Booted time.Time // the boot time, which must be before the start of the first pod

	Systemd    bool   // whether the cgroup driver is systemd, not cgroupfs
	CgroupRoot string // the parent of the cgroups of all pods: cgroupRoot in the KubeletConfiguration
	Pressure   bool   // whether the kernel reports pressure stall information (PSI)

	ID, SystemUUID, BootID string
	Kernel, OS             string
}

// NewMachine returns the machine of a node. The Node object and the metrics of the node both use it.
func NewMachine(node string, cores int, memory uint64, booted time.Time) Machine {
	m := Machine{Node: node, Cores: cores, Memory: memory, Booted: booted}
	m.identify()
	return m
}

// identify fills in empty ids and versions. They depend only on the name and the boot time of the node.
func (m *Machine) identify() {
	m.Kernel = cmp.Or(m.Kernel, "6.12.48-fauxlet")
	m.OS = cmp.Or(m.OS, "fauxlet (there is no machine)")
	m.ID = cmp.Or(m.ID, strings.ReplaceAll(madeID("machine "+m.Node), "-", ""))
	m.SystemUUID = cmp.Or(m.SystemUUID, madeID("system "+m.Node))
	m.BootID = cmp.Or(m.BootID, madeID(fmt.Sprintf("boot %s %d", m.Node, m.Booted.Unix())))
}

// Measurement is the use of a node's resources at one time.
type Measurement struct {
	Time    time.Time
	Machine Machine
	// Cgroups are all cgroups of the node: first the root cgroup, then the cgroups of the system, then for each pod the
	// cgroups of the pod, of its sandbox and of its containers.
	Cgroups []Cgroup
	Images  Disk // the disk space of container images
	// Threads is the number of threads on the node, and MaxThreads is the maximum number.
	Threads, MaxThreads uint64
}

// Kind is the kind of a cgroup.
type Kind int

const (
	kindGroup     Kind = iota // a cgroup of cgroups, or a system service other than the two below
	KindNode                  // the root cgroup
	KindKubelet               // the system service of the kubelet
	KindRuntime               // the system service of the container runtime
	KindPods                  // the parent of all pods
	KindPod                   // a pod
	KindSandbox               // the sandbox of a pod, which holds the network of the pod
	KindContainer             // a container
)

// Cgroup contains the use and the limits of a cgroup.
type Cgroup struct {
	Kind Kind
	Path string // absolute
	// Pod is set for pods, sandboxes and containers. Name is the name of a container. ID and Image are set for
	// sandboxes and containers; ID is the id in the container runtime.
	Pod             *v1.Pod
	Name, ID, Image string
	// Created is the time at which the cgroup or, for a container, the container was created.
	Created time.Time

	// Shares, Period and Quota limit the CPU, in cAdvisor's units. Quota 0 means no limit.
	Shares, Period, Quota uint64
	MemoryLimit           uint64 // bytes, or Unlimited
	SwapLimit             uint64 // bytes, or Unlimited

	CPU       CPU
	Memory    Memory
	IO        IO
	Processes Processes
	// Network is nil if the cgroup has no network of its own.
	Network []Interface
	// Filesystems are set for the root cgroup only.
	Filesystems []Filesystem
	// Rootfs and Logs are set for containers only. Volumes are set for pods only.
	Rootfs, Logs Disk
	Volumes      []Volume
}

// CPU contains CPU times in nanoseconds since the cgroup was created. Rate is in nanocores: the growth of Total during
// the last Interval.
type CPU struct {
	Total, User, System, Rate  uint64
	Periods, Throttled         uint64 // counts
	ThrottledTime              uint64
	PressureSome, PressureFull uint64 // microseconds
}

// Memory is in bytes. Faults and MajorFaults count page faults since the cgroup was created.
type Memory struct {
	Usage, WorkingSet, Peak, RSS, Kernel, Mapped uint64
	ActiveFile, InactiveFile                     uint64
	Faults, MajorFaults                          uint64
}

// IO counts input and output on the node's only disk.
type IO struct{ ReadBytes, WriteBytes, Reads, Writes uint64 }

// Processes contains numbers of processes, threads, open files and sockets.
type Processes struct{ Processes, Threads, Files, Sockets uint64 }

// Interface counts the traffic of a network interface since the cgroup was created.
type Interface struct {
	Name                                     string
	RxBytes, RxPackets, TxBytes, TxPackets   uint64
	RxErrors, TxErrors, RxDropped, TxDropped uint64
}

// Filesystem is a mounted file system.
type Filesystem struct {
	Device                 string
	Capacity, Used         uint64
	Inodes, InodesUsed     uint64
	Reads, ReadSectors     uint64
	Writes, WrittenSectors uint64
	ReadTime, WriteTime    uint64 // nanoseconds
}

// Disk is the use of a part of the node's disk, in bytes and inodes.
type Disk struct{ Used, Inodes uint64 }

// DiskDevice is the node's disk, for which IO is counted. PartitionDevice is its only partition.
const (
	DiskDevice      = "/dev/vda"
	PartitionDevice = "/dev/vda1"
	DiskMajor       = 254
)

func (d *Disk) add(other Disk) {
	d.Used += other.Used
	d.Inodes += other.Inodes
}

// add adds the resource usage of a cgroup to the usage of its parent.
func (c *Cgroup) add(other *Cgroup) {
	c.CPU.Total += other.CPU.Total
	c.CPU.User += other.CPU.User
	c.CPU.System += other.CPU.System
	c.CPU.Rate += other.CPU.Rate
	c.CPU.PressureSome += other.CPU.PressureSome / 2
	c.CPU.PressureFull += other.CPU.PressureFull / 2

	c.Memory.Usage += other.Memory.Usage
	c.Memory.WorkingSet += other.Memory.WorkingSet
	c.Memory.Peak += other.Memory.Peak
	c.Memory.RSS += other.Memory.RSS
	c.Memory.Kernel += other.Memory.Kernel
	c.Memory.Mapped += other.Memory.Mapped
	c.Memory.ActiveFile += other.Memory.ActiveFile
	c.Memory.InactiveFile += other.Memory.InactiveFile
	c.Memory.Faults += other.Memory.Faults
	c.Memory.MajorFaults += other.Memory.MajorFaults

	c.IO.ReadBytes += other.IO.ReadBytes
	c.IO.WriteBytes += other.IO.WriteBytes
	c.IO.Reads += other.IO.Reads
	c.IO.Writes += other.IO.Writes
	// cAdvisor counts a process only in the cgroup that contains it, but a thread also in the parents of that cgroup.
	c.Processes.Threads += other.Processes.Threads
}
