package pods

import (
	"cmp"
	"fmt"
	"math"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
)

// Interval is how often what is used is measured (kubelet: the housekeeping of cAdvisor). Between two measurements all
// who ask are told the same numbers of the same instant.
const Interval = 10 * time.Second

// Unlimited is a limit that is none.
const Unlimited = math.MaxUint64

// Machine is what the stand-in pretends to run on. Cores, memory and the start that are zero are made up from the pods, so
// that they fit; what it is called, where it is empty, from the node's name.
type Machine struct {
	// Node is the node's name.
	Node string
	// Cores are logical CPUs, Memory is in bytes.
	Cores  int
	Memory uint64
	// Booted is before the first of the pods started.
	Booted time.Time

	// Systemd says which of the two cgroup drivers names the cgroups; CgroupRoot is where those of pods begin, in the
	// kubelet's configuration cgroupRoot.
	Systemd    bool
	CgroupRoot string
	// Pressure says whether the kernel tells pressure (PSI).
	Pressure bool

	ID, SystemUUID, BootID string
	Kernel, OS             string
}

// NewMachine is the machine of a node, as both its API object and its metrics tell of it.
func NewMachine(node string, cores int, memory uint64, booted time.Time) Machine {
	m := Machine{Node: node, Cores: cores, Memory: memory, Booted: booted}
	m.identify()
	return m
}

// identify fills in what is empty: always the same for the same node.
func (m *Machine) identify() {
	m.Kernel = cmp.Or(m.Kernel, "6.12.48-fauxlet")
	m.OS = cmp.Or(m.OS, "fauxlet (there is no machine)")
	m.ID = cmp.Or(m.ID, strings.ReplaceAll(madeID("machine "+m.Node), "-", ""))
	m.SystemUUID = cmp.Or(m.SystemUUID, madeID("system "+m.Node))
	m.BootID = cmp.Or(m.BootID, madeID(fmt.Sprintf("boot %s %d", m.Node, m.Booted.Unix())))
}

// Measurement is what was measured of a node at an instant.
type Measurement struct {
	Time    time.Time
	Machine Machine
	// Cgroups are all that there are: the node itself, what the system runs, those of pods in order of their pods. Behind
	// the cgroup of a pod stand those of its sandbox and of its containers.
	Cgroups []Cgroup
	// Images is how much of the node's disk images take up.
	Images Disk
	// Threads is how many there are on the node, MaxThreads how many there may be.
	Threads, MaxThreads uint64
}

// Kind says what is in a cgroup.
type Kind int

const (
	kindGroup     Kind = iota // other cgroups, or a service
	KindNode                  // everything
	KindKubelet               // the kubelet
	KindRuntime               // the container runtime
	KindPods                  // all pods
	KindPod                   // a pod
	KindSandbox               // the container that holds a pod's network
	KindContainer             // a container
)

// Cgroup is what a cgroup uses, and what it may.
type Cgroup struct {
	Kind Kind
	// Path is absolute, and names the cgroup.
	Path string
	// Pod is set for pods, sandboxes and containers; Name is the name of the container; ID and Image are those of a sandbox
	// or a container in its runtime.
	Pod             *v1.Pod
	Name, ID, Image string
	// Created is when the cgroup, or its container, was.
	Created time.Time

	// Shares, Period and Quota are those of the CPU, in cAdvisor's units; Quota 0: no limit.
	Shares, Period, Quota uint64
	MemoryLimit           uint64 // bytes, or Unlimited
	SwapLimit             uint64 // bytes, or Unlimited

	CPU       CPU
	Memory    Memory
	IO        IO
	Processes Processes
	// Network is nil where the cgroup has none of its own.
	Network []Interface
	// Filesystems are those of the node.
	Filesystems []Filesystem
	// Rootfs and Logs are of containers.
	Rootfs, Logs Disk
}

// CPU has nanoseconds since the cgroup was created, but for Rate, which is in nanocores: the growth of Total in the last
// Interval.
type CPU struct {
	Total, User, System, Rate  uint64
	Periods, Throttled         uint64 // counts
	ThrottledTime              uint64
	PressureSome, PressureFull uint64 // microseconds
}

// Memory is in bytes, faults are counts since the cgroup was created.
type Memory struct {
	Usage, WorkingSet, Peak, RSS, Kernel, Mapped uint64
	ActiveFile, InactiveFile                     uint64
	Faults, MajorFaults                          uint64
}

// IO is of the node's one disk.
type IO struct{ ReadBytes, WriteBytes, Reads, Writes uint64 }

// Processes are counts.
type Processes struct{ Processes, Threads, Files, Sockets uint64 }

// Interface has what went through a network interface since the cgroup was created.
type Interface struct {
	Name                                     string
	RxBytes, RxPackets, TxBytes, TxPackets   uint64
	RxErrors, TxErrors, RxDropped, TxDropped uint64
}

// Filesystem is one that the node has mounted.
type Filesystem struct {
	Device                 string
	Capacity, Used         uint64
	Inodes, InodesUsed     uint64
	Reads, ReadSectors     uint64
	Writes, WrittenSectors uint64
	ReadTime, WriteTime    uint64 // nanoseconds
}

// Disk is a part of the node's disk.
type Disk struct{ Used, Inodes uint64 }

// Disks of the node: the whole one, which input and output are counted of, and the partition with everything on it.
const (
	DiskDevice      = "/dev/vda"
	PartitionDevice = "/dev/vda1"
	DiskMajor       = 254
)

func (d *Disk) add(other Disk) {
	d.Used += other.Used
	d.Inodes += other.Inodes
}

// add adds what another cgroup uses to that of the one around it.
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
	// Processes are counted where they are, threads in all that is around them.
	c.Processes.Threads += other.Processes.Threads
}
