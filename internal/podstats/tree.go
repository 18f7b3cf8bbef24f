package podstats

import (
	"crypto/sha256"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"fauxlet/internal/podlife"
	"fauxlet/internal/stableid"
	"fauxlet/scenario"
)

// Measure computes the resource usage of a node at the last multiple of [Interval] before now. A container is included
// if it runs at that time, and a pod is included if at least one of its containers is. The function "adjust" may change
// the usage that a container's description contains; it may be nil. A container never uses more than its limits.
func Measure(pods []scenario.Pod, machine Machine, now time.Time,
	adjust func(pod *v1.Pod, container string, usage scenario.Usage) scenario.Usage) *Measurement {
	if adjust == nil {
		adjust = func(_ *v1.Pod, _ string, usage scenario.Usage) scenario.Usage { return usage }
	}
	t := &tree{at: now.Truncate(Interval), machine: machine, adjust: adjust}
	if t.machine.Booted.IsZero() {
		t.machine.Booted = booted(pods, t.at)
	}
	const (
		node = iota
		system
		kubelet
		runtime
		all
		besteffort
		burstable
		first
	)
	t.groups = make([]Cgroup, first, first+4*len(pods))
	for _, pod := range pods {
		t.addPod(pod)
	}
	groups := t.groups

	kubepods := t.parts("kubepods")
	groups[all] = t.group(KindPods, t.path(kubepods))
	groups[besteffort] = t.group(kindGroup, t.path(append(kubepods, "besteffort")))
	groups[burstable] = t.group(kindGroup, t.path(append(kubepods, "burstable")))
	groups[besteffort].Shares, groups[burstable].Shares = shares(0), shares(0)
	var network Interface
	var disk Disk
	count := uint64(0) // pods
	for i := first; i < len(groups); i++ {
		c := &groups[i]
		switch c.Kind {
		case KindPod:
			count++
			for _, volume := range c.Volumes {
				if volume.onDisk {
					disk.add(Disk{Used: volume.Used, Inodes: volume.InodesUsed})
				}
			}
			groups[all].add(c)
			switch podlife.QOSClass(c.Pod) {
			case v1.PodQOSBestEffort:
				groups[besteffort].add(c)
			case v1.PodQOSBurstable:
				groups[burstable].add(c)
			}
		case KindSandbox:
			for _, n := range c.Network {
				network.RxBytes += n.RxBytes
				network.RxPackets += n.RxPackets
				network.TxBytes += n.TxBytes
				network.TxPackets += n.TxPackets
			}
		case KindContainer:
			disk.add(c.Rootfs)
			disk.add(c.Logs)
		}
	}

	// The system services use a fixed amount, plus a small amount per pod.
	groups[kubelet] = t.service(KindKubelet, "kubelet", 25*millicore+count*millicore, 60*mebibyte+count*mebibyte/4)
	groups[runtime] = t.service(KindRuntime, "containerd", 15*millicore+count*millicore/2, 50*mebibyte+count*mebibyte/4)
	rest := t.service(kindGroup, "the rest", 40*millicore, 380*mebibyte)
	groups[system] = t.group(kindGroup, "/system.slice")
	for _, c := range []*Cgroup{&groups[kubelet], &groups[runtime], &rest} {
		groups[system].add(c)
	}
	groups[node] = t.group(KindNode, "/")
	groups[node].add(&groups[system])
	groups[node].add(&groups[all])

	t.fit(&groups[node])
	root := &groups[node]
	root.Shares, root.Period = 0, 0
	root.MemoryLimit, root.SwapLimit = t.machine.Memory, 0
	groups[all].MemoryLimit = t.machine.Memory
	groups[all].Shares = shares(uint64(t.machine.Cores) * 1000)
	root.Processes.Processes, root.Processes.Files, root.Processes.Sockets = 140, 60, 10 // kernel threads and init
	uptime := t.since(t.machine.Booted)
	network.Name = "eth0"
	network.RxBytes += uptime * 5
	network.TxBytes += uptime * 3
	network.RxPackets += uptime / 40
	network.TxPackets += uptime / 50
	root.Network = []Interface{network}
	// Pods with hostNetwork use the network interfaces of the node.
	for i := first; i < len(groups); i++ {
		if groups[i].Kind == KindSandbox && groups[i].Pod.Spec.HostNetwork {
			groups[i].Network = root.Network
		}
	}
	images := Disk{Used: 4<<30 + count*96*mebibyte, Inodes: 90_000 + count*1_500}
	root.Filesystems = t.filesystems(root, images, disk)
	t.fitVolumes(groups[first:], root.Filesystems)
	return &Measurement{Time: t.at, Machine: t.machine, Cgroups: groups, Images: images,
		Threads: root.Processes.Threads + root.Processes.Processes, MaxThreads: 127_000}
}

// booted returns the boot time of a machine: an hour before the first start of one of its pods or running containers,
// rounded down to the minute. The boot time of a machine without pods changes only every 30 days, when it advances by
// 30 days.
func booted(pods []scenario.Pod, at time.Time) time.Time {
	first := at.Truncate(30 * 24 * time.Hour)
	for i := range pods {
		pod := pods[i].Pod
		if started := created(pod); i == 0 || started.Before(first) {
			first = started
		}
		for _, name := range podlife.ContainerNames(pod) {
			if status := podlife.ContainerStatus(pod, name); status != nil && status.State.Running != nil {
				if started := status.State.Running.StartedAt.Time; !started.IsZero() && started.Before(first) {
					first = started
				}
			}
		}
	}
	return first.Add(-time.Hour).Truncate(time.Minute)
}

// tree builds the list of cgroups.
type tree struct {
	at      time.Time
	machine Machine
	groups  []Cgroup
	adjust  func(*v1.Pod, string, scenario.Usage) scenario.Usage
}

// addPod adds the cgroups of a pod and its containers. A pod without running containers has no cgroups.
func (t *tree) addPod(p scenario.Pod) {
	pod := p.Pod
	at := len(t.groups)
	parts := t.parts("kubepods")
	switch podlife.QOSClass(pod) {
	case v1.PodQOSBestEffort:
		parts = append(parts, "besteffort")
	case v1.PodQOSBurstable:
		parts = append(parts, "burstable")
	}
	parent := t.path(append(parts, "pod"+string(pod.UID)))
	t.groups = append(t.groups, t.group(KindPod, parent), t.sandbox(pod, parent))

	var requested, quota, memory uint64
	unlimited, memoryUnlimited := false, false
	for kind, spec := range podlife.Containers(pod) {
		c := *spec
		if kind == podlife.EphemeralContainer {
			c.Resources = v1.ResourceRequirements{} // the API allows no resources in ephemeral containers
		}
		status := podlife.ContainerStatus(pod, c.Name)
		if status == nil || status.State.Running == nil {
			continue
		}
		started := status.State.Running.StartedAt.Time
		if started.IsZero() {
			started = pod.CreationTimestamp.Time
		}
		if !started.Before(t.at) {
			continue
		}
		usage := t.adjust(pod, c.Name, p.Containers[c.Name].Usage)
		group := t.container(pod, parent, &c, usage, status.ContainerID, started)
		t.groups = append(t.groups, group)
		requested += positive(c.Resources.Requests, v1.ResourceCPU, resource.Milli)
		quota += group.Quota
		unlimited = unlimited || group.Quota == 0
		memory += group.MemoryLimit
		memoryUnlimited = memoryUnlimited || group.MemoryLimit == Unlimited
	}
	if len(t.groups) == at+2 {
		t.groups = t.groups[:at]
		return
	}
	group := &t.groups[at]
	group.Pod, group.Created, group.Shares = pod, created(pod), shares(requested)
	if !unlimited {
		group.Quota = quota
	}
	if !memoryUnlimited {
		group.MemoryLimit = memory
	}
	for i := at + 1; i < len(t.groups); i++ {
		group.add(&t.groups[i])
	}
	group.Memory.Usage = min(group.Memory.Usage, group.MemoryLimit)
	group.Memory.WorkingSet = min(group.Memory.WorkingSet, group.MemoryLimit)
	group.Volumes = volumes(pod)
}

func (t *tree) container(pod *v1.Pod, parent string, c *v1.Container, usage scenario.Usage, id string,
	started time.Time) Cgroup {
	l := newLoad(pod, c, usage)
	group := t.group(KindContainer, "")
	group.Pod, group.Name, group.Image, group.Created = pod, c.Name, c.Image, started
	group.ID = runtimeID(pod, c.Name, id)
	group.Path = t.scope(parent, group.ID)
	group.Shares = shares(positive(c.Resources.Requests, v1.ResourceCPU, resource.Milli))
	if limit := positive(c.Resources.Limits, v1.ResourceCPU, resource.Milli); limit > 0 {
		group.Quota = limit * period / 1000
	}
	if limit := positive(c.Resources.Limits, v1.ResourceMemory, 0); limit > 0 {
		group.MemoryLimit = limit
	}
	group.SwapLimit = 0
	t.use(&group, l)
	elapsed := t.since(started)
	if group.Quota > 0 {
		group.CPU.Periods = elapsed / 200
		group.CPU.Throttled = group.CPU.Periods / 100
		group.CPU.ThrottledTime = group.CPU.Throttled * 12 * uint64(time.Millisecond)
	}
	group.IO = IO{ReadBytes: uint64(l.digit(1, 32)) * mebibyte,
		WriteBytes: elapsed / 1000 * pageSize / 4 / pageSize * pageSize}
	group.IO.Reads, group.IO.Writes = group.IO.ReadBytes/(8*pageSize), group.IO.WriteBytes/pageSize
	group.Rootfs = Disk{Used: uint64(l.digit(3, 60)) * pageSize, Inodes: uint64(l.digit(7, 30))}
	group.Logs = Disk{Used: uint64(l.digit(1, 12)) * pageSize, Inodes: 1}
	return group
}

// sandbox returns the cgroup of the pause container, which holds the pod's network.
func (t *tree) sandbox(pod *v1.Pod, parent string) Cgroup {
	group := t.group(KindSandbox, "")
	group.Pod, group.Image, group.Created = pod, "registry.k8s.io/pause:3.10", created(pod)
	group.ID = fmt.Sprintf("%x", sha256.Sum256([]byte("fauxlet sandbox "+pod.UID)))
	group.Path = t.scope(parent, group.ID)
	group.Shares, group.SwapLimit = shares(2), 0
	group.CPU.Total, group.CPU.User, group.CPU.System = 27_000_000, 9_000_000, 18_000_000
	group.Memory = Memory{Usage: 88 * pageSize, WorkingSet: 80 * pageSize, Peak: 900 * pageSize, RSS: 9 * pageSize,
		Kernel: 60 * pageSize, InactiveFile: 8 * pageSize, ActiveFile: 11 * pageSize, Mapped: 8 * pageSize,
		Faults: 1_020, MajorFaults: 3}
	group.Processes = Processes{Processes: 1, Threads: 1}
	l := load{hash: hashOf(string(pod.UID))}
	elapsed := t.since(created(pod))
	if !pod.Spec.HostNetwork {
		rx, tx := elapsed*uint64(l.digit(100, 4_000))/1000, elapsed*uint64(l.digit(50, 6_000))/1000
		group.Network = []Interface{{Name: "eth0", RxBytes: rx, TxBytes: tx, RxPackets: rx / 180, TxPackets: tx / 210}}
	}
	return group
}

// service returns the cgroup of a system service.
func (t *tree) service(kind Kind, name string, cpu, memory uint64) Cgroup {
	group := t.group(kind, "/system.slice/"+name+".service")
	hash := hashOf(t.machine.Node, name)
	t.use(&group, load{hash: hash, cpu: wave{mean: cpu, swing: cpu / 5, period: 420_000, phase: hash % 420_000},
		memory: wave{mean: memory, swing: memory / 40, period: 1_800_000, phase: hash % 1_800_000}})
	return group
}

// group returns an empty cgroup that was created when the machine booted.
func (t *tree) group(kind Kind, path string) Cgroup {
	return Cgroup{Kind: kind, Path: path, Created: t.machine.Booted, Shares: shares(1000), Period: period,
		MemoryLimit: Unlimited, SwapLimit: Unlimited}
}

// This method sets a cgroup's CPU usage, memory usage and number of processes. Memory is in whole pages.
func (t *tree) use(group *Cgroup, l load) {
	at, started := t.at.UnixMilli(), group.Created.UnixMilli()
	before := max(started, t.at.Add(-Interval).UnixMilli())
	// The kernel counts CPU time in microseconds.
	group.CPU.Total = l.cpu.sum(started, at) / 1000 * 1000
	group.CPU.Rate = mulDiv(group.CPU.Total-l.cpu.sum(started, before)/1000*1000, 1000, uint64(max(at-before, 1)))
	group.CPU.User = group.CPU.Total / 10_000 * 7_000
	group.CPU.System = group.CPU.Total - group.CPU.User
	if t.machine.Pressure {
		group.CPU.PressureSome, group.CPU.PressureFull = group.CPU.Total/1000/200, group.CPU.Total/1000/300
	}

	pages := func(bytes uint64) uint64 { return bytes / pageSize * pageSize }
	m := &group.Memory
	m.WorkingSet = pages(l.memory.at(at))
	m.InactiveFile = min(uint64(l.digit(64, 2048))*pageSize, pages(group.MemoryLimit-m.WorkingSet))
	m.Usage = m.WorkingSet + m.InactiveFile
	m.Peak = min(pages(l.memory.mean+l.memory.swing)+m.InactiveFile, group.MemoryLimit)
	m.RSS, m.Kernel = pages(m.WorkingSet/16*13), pages(m.WorkingSet/32)
	m.ActiveFile = m.WorkingSet - m.RSS - m.Kernel
	m.Mapped = pages((m.ActiveFile + m.InactiveFile) / 2)
	m.Faults = l.memory.mean/pageSize + t.since(group.Created)/1000*uint64(l.digit(1, 20))
	m.MajorFaults = uint64(l.digit(0, 40))

	n := uint64(l.digit(1, 6))
	group.Processes = Processes{Processes: n, Threads: n * 4, Files: n * 9, Sockets: n * 2}
}

// The method "fit" chooses the machine's number of cores and its memory, if they are not set. At least half of the
// cores and half of the memory must be free.
func (t *tree) fit(node *Cgroup) {
	if t.machine.Cores == 0 {
		for t.machine.Cores = 4; uint64(t.machine.Cores)*1e9 < 2*node.CPU.Rate; {
			t.machine.Cores *= 2
		}
	}
	if t.machine.Memory == 0 {
		for t.machine.Memory = 8 << 30; t.machine.Memory < 2*node.Memory.Peak; {
			t.machine.Memory *= 2
		}
	}
	t.machine.identify()
}

func (t *tree) filesystems(node *Cgroup, images, disk Disk) []Filesystem {
	root := Filesystem{Device: PartitionDevice, Capacity: 100 << 30, Inodes: 6_553_600,
		Used: 6<<30 + images.Used + disk.Used, InodesUsed: 210_000 + images.Inodes + disk.Inodes,
		Reads: node.IO.Reads, ReadSectors: node.IO.ReadBytes / 512,
		Writes: node.IO.Writes, WrittenSectors: node.IO.WriteBytes / 512}
	for root.Capacity < 2*root.Used {
		root.Capacity, root.Inodes = root.Capacity*2, root.Inodes*2
	}
	root.ReadTime, root.WriteTime = root.Reads*200_000, root.Writes*400_000
	run := Filesystem{Device: "/run", Capacity: t.machine.Memory / 10, Used: 1_200 * pageSize, Inodes: 819_200,
		InodesUsed: 900}
	shm := Filesystem{Device: "/dev/shm", Capacity: t.machine.Memory / 2, Inodes: 1 << 20, InodesUsed: 1}
	return []Filesystem{shm, root, run}
}

// The method "since" returns the milliseconds from a time to the measurement, or 0 for a time after the measurement.
func (t *tree) since(from time.Time) uint64 { return uint64(max(t.at.Sub(from).Milliseconds(), 0)) }

// The method "parts" returns the elements of the cgroup root's path, followed by the given name.
func (t *tree) parts(name string) []string {
	parts := strings.FieldsFunc(t.machine.CgroupRoot, func(r rune) bool { return r == '/' })
	return slices.Clip(append(parts, name))
}

// path returns the path of a cgroup. (kubelet: pkg/kubelet/cm, CgroupName.ToSystemd and ToCgroupfs)
func (t *tree) path(parts []string) string {
	if !t.machine.Systemd {
		return "/" + path.Join(parts...)
	}
	var whole strings.Builder
	name := ""
	for _, part := range parts {
		if name != "" {
			name += "-"
		}
		name += strings.ReplaceAll(part, "-", "_")
		whole.WriteString("/" + name + ".slice")
	}
	return whole.String()
}

func (t *tree) scope(parent, id string) string {
	if t.machine.Systemd {
		return parent + "/cri-containerd-" + id + ".scope"
	}
	return parent + "/" + id
}

// period is the period of the kernel's CPU bandwidth control, in microseconds.
const period = 100_000

// This function returns the CPU shares that cAdvisor reports for a CPU request. The kernel stores a weight from 1 to
// 10000, so the result is rounded. (cAdvisor: container/common, convertCPUWeightToCPULimit)
func shares(millicores uint64) uint64 {
	shares := min(max(millicores*1024/1000, 2), 262_144)
	weight := 1 + (shares-2)*9_999/262_142
	return 2 + (weight-1)*262_142/9_999
}

var hexID = regexp.MustCompile(`^[0-9a-f]{32,64}$`)

// runtimeID returns the id in a container's status if the id has the format that container runtimes use. Otherwise it
// returns an id that is derived from the pod's UID, the container's name and the status.
func runtimeID(pod *v1.Pod, name, status string) string {
	if _, id, _ := strings.Cut(status, "://"); hexID.MatchString(id) {
		return id
	}
	return fmt.Sprintf("%x", sha256.Sum256([]byte("fauxlet container "+string(pod.UID)+"/"+name+"/"+status)))
}

func created(pod *v1.Pod) time.Time {
	if pod.Status.StartTime != nil && !pod.Status.StartTime.IsZero() {
		return pod.Status.StartTime.Time
	}
	return pod.CreationTimestamp.Time
}

func madeID(name string) string { return stableid.UUID("pod fauxlet/" + name) }
